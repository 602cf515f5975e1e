//! One picture as the camera gave it: borrowed bytes and what is needed to read them.
//!
//! A [`Frame`] can't be made from a buffer that is too small for what it claims, so that what reads it needs no checks.

#![forbid(unsafe_code)]

use crate::time::Instant;

/// The largest side that any stage accepts, in pixels: 8K video, and an upper bound for every size computation.
pub const MAX_SIDE: u32 = 8192;

/// How the bytes of a frame encode pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// 8-bit R, G, B, interleaved.
    Rgb8,
    /// 4:2:2, bytes Y0 U Y1 V (V4L2 `YUYV`), BT.601 limited range.
    Yuyv,
    /// 4:2:0, a plane of Y, then one of interleaved U V (V4L2 `NV12`), BT.601 limited range.
    Nv12,
    /// 8-bit luminance (V4L2 `GREY`), full range.
    Grey,
    /// One baseline JPEG a frame (V4L2 `MJPG`), Huffman tables perhaps left out.
    Mjpeg,
}

/// A borrowed picture with the time and number that its driver gave it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    format: PixelFormat,
    width: u32,
    height: u32,
    stride: u32,
    sequence: u32,
    captured_at: Instant,
    data: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {width}x{height} pixels: each side must be 1 to {MAX_SIDE}")]
    Size { width: u32, height: u32 },
    #[error("{format:?} needs even sides, and this frame has {width}x{height}")]
    Odd { format: PixelFormat, width: u32, height: u32 },
    #[error("a stride of {stride} bytes is too short for {width} pixels of {format:?}")]
    Stride { format: PixelFormat, width: u32, stride: u32 },
    #[error("the buffer holds {got} bytes and the frame needs {needed}")]
    Short { needed: usize, got: usize },
}

/// What a frame is besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub format: PixelFormat,
    pub width: u32,
    pub height: u32,
    /// Bytes from one row to the next; ignored for [`PixelFormat::Mjpeg`].
    pub stride: u32,
}

impl Geometry {
    /// Rows without padding.
    pub fn packed(format: PixelFormat, width: u32, height: u32) -> Self {
        let bytes_per_pixel = match format {
            PixelFormat::Rgb8 => 3,
            PixelFormat::Yuyv => 2,
            PixelFormat::Nv12 | PixelFormat::Grey => 1,
            PixelFormat::Mjpeg => 0,
        };
        Self { format, width, height, stride: width.saturating_mul(bytes_per_pixel) }
    }

    /// The bytes that such a frame takes at least.
    ///
    /// # Errors
    /// A side out of range, odd where chroma is shared by two pixels, or a stride shorter than a row.
    pub fn required_bytes(&self) -> Result<usize, FrameError> {
        let Self { format, width, height, stride } = *self;
        let side = 1..=MAX_SIDE;
        if !(side.contains(&width) && side.contains(&height)) {
            return Err(FrameError::Size { width, height });
        }
        let odd = match format {
            PixelFormat::Yuyv => !width.is_multiple_of(2),
            PixelFormat::Nv12 => !(width.is_multiple_of(2) && height.is_multiple_of(2)),
            _ => false,
        };
        if odd {
            return Err(FrameError::Odd { format, width, height });
        }
        let row = Self::packed(format, width, height).stride;
        if format == PixelFormat::Mjpeg {
            return Ok(1);
        }
        if stride < row || stride > MAX_SIDE * 4 {
            return Err(FrameError::Stride { format, width, stride });
        }
        let (h, stride, row) = (height as usize, stride as usize, row as usize);
        // The last row need not be padded to the stride; drivers differ.
        Ok(match format {
            PixelFormat::Nv12 => stride * (h + h / 2 - 1) + row,
            _ => stride * (h - 1) + row,
        })
    }
}

impl<'a> Frame<'a> {
    /// Takes the bytes for a frame if there are enough of them; more are cut off.
    ///
    /// # Errors
    /// [`FrameError`], which says what doesn't fit.
    pub fn new(geometry: Geometry, sequence: u32, captured_at: Instant, data: &'a [u8]) -> Result<Self, FrameError> {
        let needed = geometry.required_bytes()?;
        let cut = match geometry.format {
            PixelFormat::Mjpeg => data.len().max(1),
            _ => needed,
        };
        let data = data.get(..cut).ok_or(FrameError::Short { needed, got: data.len() })?;
        let Geometry { format, width, height, stride } = geometry;
        Ok(Self { format, width, height, stride, sequence, captured_at, data })
    }

    pub fn format(&self) -> PixelFormat {
        self.format
    }
    /// Pixels a row.
    pub fn width(&self) -> usize {
        self.width as usize
    }
    /// Rows.
    pub fn height(&self) -> usize {
        self.height as usize
    }
    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride as usize
    }
    /// The driver's count of frames; a gap is a frame that was lost, a repetition a stalled camera.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }
    /// When the driver filled the buffer.
    pub fn captured_at(&self) -> Instant {
        self.captured_at
    }
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
    pub fn geometry(&self) -> Geometry {
        Geometry { format: self.format, width: self.width, height: self.height, stride: self.stride }
    }
}

/// An owned 8-bit RGB picture, rows packed; its buffer is reused from frame to frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl RgbImage {
    /// A black picture.
    ///
    /// # Panics
    /// If a side exceeds [`MAX_SIDE`]: sizes come from a [`Frame`] or were checked by whoever read them.
    pub fn new(width: usize, height: usize) -> Self {
        let mut image = Self::default();
        image.resize(width, height);
        image
    }

    /// From packed RGB bytes; `None` where they are not `width * height * 3`.
    pub fn from_rgb8(width: usize, height: usize, data: Vec<u8>) -> Option<Self> {
        let side = 1..=MAX_SIDE as usize;
        (side.contains(&width) && side.contains(&height) && data.len() == width * height * 3).then_some(Self {
            width,
            height,
            data,
        })
    }

    /// Changes the size; allocates only where the picture grows beyond what it ever was. The pixels are unspecified.
    ///
    /// # Panics
    /// If a side exceeds [`MAX_SIDE`].
    pub fn resize(&mut self, width: usize, height: usize) {
        assert!(width <= MAX_SIDE as usize && height <= MAX_SIDE as usize, "image of {width}x{height}");
        self.data.resize(width * height * 3, 0);
        (self.width, self.height) = (width, height);
    }

    pub fn width(&self) -> usize {
        self.width
    }
    pub fn height(&self) -> usize {
        self.height
    }
    /// `height * width * 3` bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
    /// Red, green, blue of one pixel.
    ///
    /// # Panics
    /// If it lies outside.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_one_byte_short_is_no_frame() {
        for (format, needed) in [
            (PixelFormat::Rgb8, 4 * 2 * 3),
            (PixelFormat::Yuyv, 4 * 2 * 2),
            (PixelFormat::Nv12, 4 * 3),
            (PixelFormat::Grey, 4 * 2),
            (PixelFormat::Mjpeg, 1),
        ] {
            let geometry = Geometry::packed(format, 4, 2);
            let bytes = vec![0; needed];
            assert!(Frame::new(geometry, 0, Instant::BOOT, &bytes).is_ok(), "{format:?}");
            let short = Frame::new(geometry, 0, Instant::BOOT, &bytes[1..]);
            assert!(matches!(short, Err(FrameError::Short { .. })), "{format:?}");
        }
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let frame = |w, h, stride, format| {
            Frame::new(Geometry { format, width: w, height: h, stride }, 0, Instant::BOOT, &[0; 64]).map(|_| ())
        };
        assert!(matches!(frame(0, 2, 8, PixelFormat::Grey), Err(FrameError::Size { .. })));
        assert!(matches!(frame(u32::MAX, u32::MAX, u32::MAX, PixelFormat::Rgb8), Err(FrameError::Size { .. })));
        assert!(matches!(frame(3, 2, 8, PixelFormat::Yuyv), Err(FrameError::Odd { .. })));
        assert!(matches!(frame(4, 2, 3, PixelFormat::Grey), Err(FrameError::Stride { .. })));
        assert!(matches!(frame(4, 2, u32::MAX, PixelFormat::Grey), Err(FrameError::Stride { .. })));
    }

    #[test]
    fn the_last_row_needs_no_padding() {
        let geometry = Geometry { format: PixelFormat::Grey, width: 4, height: 3, stride: 8 };
        assert_eq!(geometry.required_bytes(), Ok(20));
    }

    #[test]
    fn an_image_shrinks_and_grows_back_without_allocating() {
        let mut image = RgbImage::new(640, 480);
        let before = image.data.capacity();
        image.resize(320, 240);
        image.resize(640, 480);
        assert_eq!(image.data.capacity(), before);
    }
}
