//! A one-slot mailbox: a slow reader sees fewer frames and never old ones.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::frame::{Frame, FrameError, Geometry};
use crate::time::{Duration, Instant};

/// A frame with its bytes, in a buffer that is used again and again.
#[derive(Debug, Default)]
pub struct Letter {
    /// Which opening of the camera it is from.
    pub opening: u32,
    geometry: Option<Geometry>,
    sequence: u32,
    captured_at: Instant,
    data: Vec<u8>,
}

impl Letter {
    /// Copies a frame; allocates only while frames still grow.
    fn write(&mut self, opening: u32, frame: &Frame<'_>) {
        self.opening = opening;
        self.geometry = Some(frame.geometry());
        self.sequence = frame.sequence();
        self.captured_at = frame.captured_at();
        self.data.clear();
        self.data.extend_from_slice(frame.data());
    }

    /// The frame that was written.
    ///
    /// # Errors
    /// Never for a letter that came out of a [`Mailbox`].
    pub fn frame(&self) -> Result<Frame<'_>, FrameError> {
        let geometry = self.geometry.ok_or(FrameError::Size { width: 0, height: 0 })?;
        Frame::new(geometry, self.sequence, self.captured_at, &self.data)
    }
}

#[derive(Debug, Default)]
struct Slot {
    letter: Letter,
    is_full: bool,
}

/// One writer, one reader, the newest frame.
#[derive(Debug, Default)]
pub struct Mailbox {
    slot: Mutex<Slot>,
    arrived: Condvar,
}

impl Mailbox {
    /// Leaves a frame, with the number of the camera's opening, in place of one that wasn't fetched.
    pub fn put(&self, opening: u32, frame: &Frame<'_>) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.letter.write(opening, frame);
        slot.is_full = true;
        self.arrived.notify_one();
    }

    /// Exchanges `letter` for the newest one; `false` where none came within `timeout`.
    pub fn fetch(&self, letter: &mut Letter, timeout: Duration) -> bool {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.arrived.wait_timeout_while(slot, timeout, |slot| !slot.is_full);
        let mut slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        if slot.is_full {
            std::mem::swap(&mut slot.letter, letter);
            slot.is_full = false;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    fn frame(sequence: u32, data: &[u8]) -> Frame<'_> {
        Frame::new(Geometry::packed(PixelFormat::Grey, 2, 2), sequence, Instant::from_millis(7), data).unwrap()
    }

    #[test]
    fn the_newest_frame_is_fetched_once() {
        let mailbox = Mailbox::default();
        let mut letter = Letter::default();
        assert!(!mailbox.fetch(&mut letter, Duration::ZERO));
        mailbox.put(1, &frame(1, &[1; 4]));
        mailbox.put(1, &frame(2, &[2; 4]));
        assert!(mailbox.fetch(&mut letter, Duration::ZERO));
        let newest = letter.frame().unwrap();
        assert_eq!((newest.sequence(), newest.data()), (2, &[2; 4][..]));
        assert!(!mailbox.fetch(&mut letter, Duration::ZERO));
    }
}
