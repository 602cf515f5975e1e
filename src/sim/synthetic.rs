//! A camera that films nobody: a grey gradient with a square that wanders, for benchmarks and for trying the plumbing.

use std::sync::Arc;

use super::metronome::Metronome;
use crate::frame::{Frame, FrameError, Geometry, PixelFormat};
use crate::ports::{Camera, CameraError, Clock};
use crate::time::Duration;

/// Side of the square.
const SQUARE: usize = 16;
/// Its luminance; the gradient stays below.
const WHITE: u8 = 235;

/// Frames in NV12 at a fixed rate.
pub struct SyntheticCamera {
    geometry: Geometry,
    metronome: Metronome,
    fps: u32,
    sequence: u32,
    data: Vec<u8>,
}

impl SyntheticCamera {
    /// # Errors
    /// A side that is odd, zero or beyond [`MAX_SIDE`](crate::frame::MAX_SIDE). `fps` 0 counts as 1.
    pub fn new(width: u32, height: u32, fps: u32, clock: Arc<dyn Clock>) -> Result<Self, FrameError> {
        let geometry = Geometry::packed(PixelFormat::Nv12, width, height);
        // 128 is no colour in both chroma planes.
        let data = vec![128; geometry.required_bytes()?];
        let fps = fps.max(1);
        Ok(Self { geometry, metronome: Metronome::new(clock, Duration::from_secs(1) / fps), fps, sequence: 0, data })
    }

    fn draw(&mut self) {
        let (width, height) = (self.geometry.width as usize, self.geometry.height as usize);
        let step = self.sequence as usize * 4;
        let (left, top) = (step % width, (step / width * SQUARE) % height);
        for (y, row) in self.data[..width * height].chunks_exact_mut(width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let inside = (left..left + SQUARE).contains(&x) && (top..top + SQUARE).contains(&y);
                *pixel = if inside { WHITE } else { 16 + ((x + y) % 192) as u8 };
            }
        }
    }
}

impl Camera for SyntheticCamera {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        if !self.metronome.wait(timeout) {
            return Err(CameraError::Timeout(timeout));
        }
        self.sequence = self.sequence.wrapping_add(self.metronome.missed());
        self.metronome.beaten();
        self.draw();
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        Frame::new(self.geometry, sequence, self.metronome.now(), &self.data)
            .map_err(|e| CameraError::BadFrame(e.to_string()))
    }

    fn describe(&self) -> String {
        let Geometry { width, height, .. } = self.geometry;
        format!("a synthetic camera, {width}x{height} nv12 at {} a second", self.fps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;
    use crate::time::Instant;

    #[test]
    fn frames_come_at_their_rate_and_each_differs_from_the_last() {
        let clock = SimClock::default();
        let mut camera = SyntheticCamera::new(64, 32, 25, Arc::new(clock.clone())).unwrap();
        let mut last = Vec::new();
        for n in 0..40 {
            let frame = camera.next_frame(Duration::from_millis(100)).unwrap();
            assert_eq!((frame.sequence(), frame.captured_at()), (n, Instant::from_millis(u64::from(n) * 40)));
            assert_ne!(frame.data(), last);
            last = frame.data().to_vec();
        }
        assert!(matches!(camera.next_frame(Duration::from_millis(1)), Err(CameraError::Timeout(_))));
    }

    #[test]
    fn an_odd_size_is_refused() {
        assert!(SyntheticCamera::new(63, 32, 25, Arc::new(SimClock::default())).is_err());
    }
}
