//! The capture thread: the newest frame into the mailbox, and the gate told when there is none.
//!
//! A camera that is lost, or whose frames vision can't make sense of, is opened again after growing pauses for as long
//! as the daemon runs; the door stays locked until vision has judged a frame, because the gate holds the fault.

use super::shared::{Shared, WAIT, WatchedThread};
use crate::backoff::Backoff;
use crate::gate::{Event, Fault};
use crate::hw::camera::CameraConfig;
use crate::ports::{Camera, CameraError};
use crate::time::{Duration, Instant};

/// A camera that gives nothing for this long is lost: 15 frames at the slowest rate that recognition works with.
pub const MAX_SILENCE: Duration = Duration::from_secs(2);
const _: () = {
    let slowest_ms = 1000.0 / CameraConfig::MIN_FPS;
    assert!(slowest_ms <= MAX_SILENCE.as_millis() as f32, "the slowest camera is not lost between two frames");
};
/// But for its first frame, which it has this long for: some take seconds to start, and one opened anew for that would
/// never get there.
pub const MAX_FIRST_FRAME: Duration = Duration::from_secs(5);
/// Opens the camera, as often as needed.
pub type OpenCamera = Box<dyn FnMut() -> Result<Box<dyn Camera>, CameraError> + Send>;

/// Runs until the daemon stops or the recording ends.
pub fn run(shared: &Shared, mut open: OpenCamera) {
    let mut backoff = Backoff::default();
    while !shared.is_stopping() {
        shared.beat(WatchedThread::Capture);
        let lost = match open() {
            Ok(mut camera) => {
                log::info!("camera: {}", camera.describe());
                let (end, ran_for) = stream(shared, camera.as_mut());
                if has_worked(ran_for) && !shared.is_camera_useless() {
                    backoff.succeeded();
                }
                end
            }
            Err(error) => error,
        };
        if let CameraError::Ended = lost {
            log::info!("camera: {lost}");
            shared.recording_ended();
            return;
        }
        if shared.is_stopping() {
            return;
        }
        if shared.camera_lost(&lost.to_string()) {
            log::warn!("camera: {lost}");
        }
        shared.tell(Event::Fault(Fault::CameraLost));
        shared.sleep(backoff.failed());
    }
}

/// Whether a camera that gave frames for so long works. One that dies sooner each time would fill the ledger with its
/// comings and goings.
fn has_worked(ran_for: Duration) -> bool {
    ran_for >= Backoff::MAX
}

/// Hands frames over until the camera fails; for how long it gave any.
fn stream(shared: &Shared, camera: &mut dyn Camera) -> (CameraError, Duration) {
    let opening = shared.camera_opened();
    let opened_at = shared.now().mono;
    let mut frames: Option<(Instant, Instant)> = None;
    loop {
        let ran_for = frames.map_or(Duration::ZERO, |(first, last)| last.since(first));
        if shared.is_stopping() {
            return (CameraError::Timeout(WAIT), ran_for);
        }
        if shared.is_camera_useless() {
            return (CameraError::BadFrame("none of its frames can be decoded".into()), ran_for);
        }
        shared.beat(WatchedThread::Capture);
        match camera.next_frame(WAIT) {
            Ok(frame) => {
                shared.mailbox.put(opening, &frame);
                let now = shared.now().mono;
                frames = Some((frames.map_or(now, |(first, _)| first), now));
            }
            Err(error @ (CameraError::Timeout(_) | CameraError::BadFrame(_))) => {
                let (since, patience) = frames.map_or((opened_at, MAX_FIRST_FRAME), |(_, last)| (last, MAX_SILENCE));
                if shared.now().mono.since(since) >= patience {
                    return (error, ran_for);
                }
            }
            Err(error) => return (error, ran_for),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::daemon::keeper::nobody;
    use crate::frame::{Frame, Geometry, PixelFormat};
    use crate::ports::Clock;
    use crate::sim::clock::SimClock;

    /// Gives so many frames, four a second, once it has started, and then nothing.
    struct Starting {
        clock: SimClock,
        ready_at: Instant,
        left: u32,
    }

    impl Camera for Starting {
        fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
            self.clock.advance(timeout);
            let now = self.clock.now().mono;
            if now < self.ready_at || self.left == 0 {
                return Err(CameraError::Timeout(timeout));
            }
            self.left -= 1;
            let geometry = Geometry::packed(PixelFormat::Grey, 2, 2);
            Frame::new(geometry, 1, now, &[0; 4]).map_err(|error| CameraError::BadFrame(error.to_string()))
        }

        fn describe(&self) -> String {
            "one that takes its time".to_owned()
        }
    }

    /// When a camera that starts for so long is opened, until it was opened twice.
    fn openings(starts_for: Duration) -> Vec<Instant> {
        let clock = SimClock::default();
        let shared = Shared::new(Arc::new(clock.clone()), nobody());
        let openings = Arc::new(Mutex::new(Vec::new()));
        let opened = Arc::clone(&openings);
        let open: OpenCamera = Box::new(move || {
            let now = clock.now().mono;
            let mut opened = opened.lock().unwrap();
            opened.push(now);
            if opened.len() > 1 {
                return Err(CameraError::Ended);
            }
            Ok(Box::new(Starting { clock: clock.clone(), ready_at: now + starts_for, left: 1 }) as Box<dyn Camera>)
        });
        run(&shared, open);
        openings.lock().unwrap().clone()
    }

    #[test]
    fn a_camera_has_five_seconds_for_its_first_frame_and_two_for_each_further_one() {
        let at = |seconds: u64| Instant::from_millis(1000 * seconds);
        assert_eq!(openings(Duration::from_secs(4)), [at(0), at(6)]);
        assert_eq!(openings(Duration::from_secs(6)), [at(0), at(5)]);
    }

    #[test]
    fn a_camera_that_gives_a_frame_an_opening_is_opened_ever_more_seldom_and_one_that_ran_for_long_at_once() {
        let clock = SimClock::default();
        let shared = Shared::new(Arc::new(clock.clone()), nobody());
        let mut backoff = Backoff::default();
        let mut pause_after = |frames| {
            let ready_at = clock.now().mono;
            let (_, ran_for) = stream(&shared, &mut Starting { clock: clock.clone(), ready_at, left: frames });
            if has_worked(ran_for) {
                backoff.succeeded();
            }
            backoff.failed()
        };
        for ms in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert_eq!(pause_after(1), Duration::from_millis(ms));
        }
        assert_eq!(pause_after(40), Backoff::MAX, "9.75 s");
        assert_eq!(pause_after(41), Backoff::FIRST, "10 s");
    }
}
