//! A one-slot mailbox: a slow reader sees fewer frames and never old ones.

use std::sync::{Condvar, Mutex, PoisonError};

use super::shared::lock;
use crate::frame::{Frame, Geometry};
use crate::time::{Duration, Instant};

/// What a frame is besides its bytes.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Which opening of the camera it is from.
    opening: u32,
    geometry: Geometry,
    sequence: u32,
    captured_at: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    /// `None` where the frame was fetched.
    head: Option<Head>,
    data: Vec<u8>,
}

/// One writer, one reader, the newest frame.
#[derive(Debug, Default)]
pub struct Mailbox {
    slot: Mutex<Slot>,
    arrived: Condvar,
}

impl Mailbox {
    /// Leaves a frame, with the number of the camera's opening, in place of one that wasn't fetched. Allocates only
    /// while frames still grow.
    pub fn put(&self, opening: u32, frame: &Frame<'_>) {
        let (geometry, sequence, captured_at) = (frame.geometry(), frame.sequence(), frame.captured_at());
        let mut slot = lock(&self.slot);
        slot.head = Some(Head { opening, geometry, sequence, captured_at });
        slot.data.clear();
        slot.data.extend_from_slice(frame.data());
        self.arrived.notify_one();
    }

    /// The newest frame, with the number of the camera's opening; `None` where none came within `timeout`. Its bytes
    /// are in `buffer`, and what was there before is used again.
    pub fn fetch<'a>(&self, buffer: &'a mut Vec<u8>, timeout: Duration) -> Option<(u32, Frame<'a>)> {
        let slot = lock(&self.slot);
        let waited = self.arrived.wait_timeout_while(slot, timeout, |slot| slot.head.is_none());
        let mut slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        let Head { opening, geometry, sequence, captured_at } = slot.head.take()?;
        std::mem::swap(&mut slot.data, buffer);
        // What was put was a frame, and so this is one.
        Frame::new(geometry, sequence, captured_at, buffer).ok().map(|frame| (opening, frame))
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
        let mut buffer = Vec::new();
        assert!(mailbox.fetch(&mut buffer, Duration::ZERO).is_none());
        mailbox.put(1, &frame(1, &[1; 4]));
        mailbox.put(1, &frame(2, &[2; 4]));
        let (opening, newest) = mailbox.fetch(&mut buffer, Duration::ZERO).unwrap();
        assert_eq!((opening, newest.sequence(), newest.data()), (1, 2, &[2; 4][..]));
        assert!(mailbox.fetch(&mut buffer, Duration::ZERO).is_none());
    }
}
