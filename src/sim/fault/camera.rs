//! A camera in trouble.

use super::{FaultInjector, Trouble};
use crate::frame::{Frame, Geometry};
use crate::ports::{Camera, CameraError};
use crate::sim::rng::Rng;
use crate::time::{Duration, Instant};

/// What can be wrong with a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraFault {
    /// Unplugged: every call says lost.
    Gone,
    /// It streams, but nothing comes.
    Silent,
    /// The same picture again and again, under new numbers and times, as a hung sensor gives it.
    FrozenPicture,
    /// The same frame again and again, number and time too, as a hung driver gives it.
    FrozenFrame,
    /// Buffers that end early.
    Short,
    /// Pictures full of noise, as a bad cable gives them. A JPEG is torn.
    Corrupt,
    /// Each frame comes up to two seconds late.
    Slow,
}

impl CameraFault {
    pub const ALL: [Self; 7] =
        [Self::Gone, Self::Silent, Self::FrozenPicture, Self::FrozenFrame, Self::Short, Self::Corrupt, Self::Slow];
}

/// The longest delay of a slow frame.
const SLOWEST: Duration = Duration::from_secs(2);
/// One byte in so many is noise in a corrupt picture.
const NOISE_EVERY: usize = 16;

impl Trouble for CameraFault {
    type Memory = Option<Kept>;
}

/// A frame of one's own, its buffer used again.
pub struct Kept {
    geometry: Geometry,
    sequence: u32,
    captured_at: Instant,
    data: Vec<u8>,
}

impl Kept {
    fn take(memory: &mut Option<Self>, frame: &Frame<'_>) {
        let mut data = memory.take().map(|kept| kept.data).unwrap_or_default();
        data.clear();
        data.extend_from_slice(frame.data());
        let (geometry, sequence, captured_at) = (frame.geometry(), frame.sequence(), frame.captured_at());
        *memory = Some(Self { geometry, sequence, captured_at, data });
    }

    fn add_noise(&mut self, rng: &mut Rng) {
        for _ in 0..self.data.len().div_ceil(NOISE_EVERY) {
            let at = rng.below(self.data.len());
            if let Some(byte) = self.data.get_mut(at) {
                *byte = rng.next_u64() as u8;
            }
        }
    }

    fn frame(&self, bytes: usize) -> Result<Frame<'_>, CameraError> {
        let data = &self.data[..bytes.min(self.data.len())];
        Frame::new(self.geometry, self.sequence, self.captured_at, data)
            .map_err(|e| CameraError::BadFrame(e.to_string()))
    }
}

impl<C: Camera> Camera for FaultInjector<C, CameraFault> {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        let fault = self.present_fault();
        match fault {
            Some(CameraFault::Gone) => {
                let device = self.device.describe();
                return Err(CameraError::Lost { device, reason: "the camera was unplugged (simulated)".to_owned() });
            }
            Some(CameraFault::Silent) => {
                self.clock.pause(timeout);
                return Err(CameraError::Timeout(timeout));
            }
            Some(CameraFault::Slow) => {
                let delay = self.rng.between(Duration::ZERO, SLOWEST);
                self.clock.pause(delay.min(timeout));
                if delay > timeout {
                    return Err(CameraError::Timeout(timeout));
                }
            }
            _ => {}
        }
        let frame = self.device.next_frame(timeout)?;
        match (fault, &mut self.memory) {
            (Some(CameraFault::FrozenFrame), Some(_)) => {}
            (Some(CameraFault::FrozenPicture), Some(kept)) => {
                (kept.sequence, kept.captured_at) = (frame.sequence(), frame.captured_at());
            }
            (_, memory) => Kept::take(memory, &frame),
        }
        // A frame that is spoilt is not the one to freeze: what follows takes its place.
        let Some(kept) = &mut self.memory else { return Err(CameraError::Timeout(timeout)) };
        let mut bytes = kept.data.len();
        match fault {
            Some(CameraFault::Short) => bytes = self.rng.below(bytes),
            Some(CameraFault::Corrupt) => kept.add_noise(&mut self.rng),
            _ => {}
        }
        kept.frame(bytes)
    }

    fn describe(&self) -> String {
        format!("{}, with faults", self.device.describe())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::Clock;
    use crate::sim::clock::SimClock;
    use crate::sim::fault::{Episode, Schedule};
    use crate::sim::synthetic::SyntheticCamera;

    const SECOND: Duration = Duration::from_secs(1);

    /// A camera whose fault begins after its third frame and ends after a second.
    fn camera(fault: CameraFault) -> (SimClock, FaultInjector<SyntheticCamera, CameraFault>) {
        let clock = SimClock::default();
        let inner = SyntheticCamera::new(64, 32, 10, Arc::new(clock.clone())).unwrap();
        let ms = Instant::from_millis;
        let schedule = Schedule::listed([Episode { from: ms(200), until: ms(1200), fault }]);
        let mut camera = FaultInjector::new(inner, Arc::new(clock.clone()), schedule, 1);
        for n in 0..3 {
            assert_eq!(camera.next_frame(SECOND).unwrap().sequence(), n, "all is well at first");
        }
        (clock, camera)
    }

    fn next(camera: &mut impl Camera) -> (u32, Instant, Vec<u8>) {
        let frame = camera.next_frame(SECOND).unwrap();
        (frame.sequence(), frame.captured_at(), frame.data().to_vec())
    }

    #[test]
    fn a_camera_that_is_gone_comes_back() {
        let (clock, mut camera) = camera(CameraFault::Gone);
        for _ in 0..3 {
            assert!(matches!(camera.next_frame(SECOND), Err(CameraError::Lost { .. })));
        }
        clock.advance(SECOND);
        assert!(camera.next_frame(SECOND).is_ok());
    }

    #[test]
    fn a_silent_camera_takes_the_time_it_was_given() {
        let (clock, mut camera) = camera(CameraFault::Silent);
        let before = clock.now().mono;
        assert!(matches!(camera.next_frame(SECOND / 2), Err(CameraError::Timeout(_))));
        assert_eq!(clock.now().mono.since(before), SECOND / 2);
    }

    #[test]
    fn a_frozen_picture_looks_new_and_a_frozen_frame_does_not() {
        let (_, mut picture) = camera(CameraFault::FrozenPicture);
        let (a, b) = (next(&mut picture), next(&mut picture));
        assert!(b.0 > a.0 && b.1 > a.1 && b.2 == a.2);
        let (_, mut frame) = camera(CameraFault::FrozenFrame);
        assert_eq!(next(&mut frame), next(&mut frame));
        let after: Vec<_> = (0..12).map(|_| next(&mut frame).2).collect();
        assert_ne!(after[10], after[11], "it thaws");
    }

    #[test]
    fn a_short_buffer_is_a_bad_frame() {
        let (_, mut camera) = camera(CameraFault::Short);
        assert!(matches!(camera.next_frame(SECOND), Err(CameraError::BadFrame(_))));
    }

    #[test]
    fn a_corrupt_picture_is_whole_in_size_and_wrong_in_content() {
        let (_, mut corrupt) = camera(CameraFault::Corrupt);
        let (_, mut fine) = camera(CameraFault::Silent);
        fine.schedule = Schedule::none();
        let (a, b) = (next(&mut corrupt), next(&mut fine));
        assert_eq!((a.0, a.2.len()), (b.0, b.2.len()));
        assert!(a.2.iter().zip(&b.2).filter(|(x, y)| x != y).count() > a.2.len() / 64);
    }

    #[test]
    fn a_slow_camera_keeps_within_the_timeout() {
        let (clock, mut camera) = camera(CameraFault::Slow);
        let before = clock.now().mono;
        let mut late = 0;
        while clock.now().mono.since(before) < SECOND {
            late += usize::from(camera.next_frame(SECOND / 10).is_err());
        }
        assert!(late > 0);
    }
}
