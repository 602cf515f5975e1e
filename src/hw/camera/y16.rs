//! A video device of 16 bits a pixel (V4L2 `Y16 `), as thermal cameras give them, read without being asked for a size:
//! it has one.

#![forbid(unsafe_code)]

use std::path::Path;

use super::device::Device;
use super::stream::{Stream, Take};
use super::{Refusal, lost, stamp};
use crate::hw::clock::monotonic_and_boottime;
use crate::time::{Duration, Instant};

/// A streaming camera.
pub struct Y16Camera {
    name: String,
    card: String,
    width: usize,
    height: usize,
    stride: usize,
    stream: Stream,
}

/// One picture; bytes are whole rows, the lower byte of a pixel first.
#[derive(Debug, Clone, Copy)]
pub struct Y16Frame<'a> {
    pub at: Instant,
    pub width: usize,
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    pub bytes: &'a [u8],
}

impl Y16Camera {
    /// Opens the device in the size that it has, and starts the stream.
    ///
    /// # Errors
    /// [`Refusal`]: what is wrong and what to do.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        let device = Device::open(path)?;
        let (width, height, stride) = device.agree_on_y16()?;
        let stride = if stride > 0 { stride } else { 2 * width };
        Ok(Self {
            name: path.display().to_string(),
            card: device.card().to_owned(),
            width: width as usize,
            height: height as usize,
            stride: stride as usize,
            stream: device.stream()?,
        })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The newest picture, `None` where there is none within `timeout`.
    ///
    /// # Errors
    /// A sentence; the camera is to be opened anew.
    pub fn take(&mut self, timeout: Duration) -> Result<Option<Y16Frame<'_>>, String> {
        let Self { width, height, stride, stream, .. } = self;
        let buffer = match stream.take(timeout) {
            Ok(Take::Buffer(buffer)) if !buffer.flagged => buffer,
            Ok(_) => return Ok(None),
            Err(error) => return Err(lost(&error)),
        };
        let (monotonic, boottime) = monotonic_and_boottime();
        let at = Instant::from_nanos(stamp::to_boottime(buffer.stamp, monotonic, boottime));
        Ok(Some(Y16Frame { at, width: *width, height: *height, stride: *stride, bytes: buffer.data }))
    }

    /// One line: device, name, size.
    pub fn describe(&self) -> String {
        format!("{} ({}), {}x{} of 16 bits", self.name, self.card, self.width, self.height)
    }
}
