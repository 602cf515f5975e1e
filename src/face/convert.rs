//! From a frame of any format to RGB.

use super::jpeg::{JpegError, MjpegDecoder};
use crate::frame::{Frame, PixelFormat, RgbImage};
use crate::kernels::colour;

/// Turns a frame into RGB; `out` takes its size, and its buffer is reused.
///
/// # Errors
/// A JPEG frame that doesn't decode, or has another size than the frame says. The other formats can't fail.
pub fn to_rgb(frame: &Frame, out: &mut RgbImage, decoder: &mut MjpegDecoder) -> Result<(), JpegError> {
    match frame.format() {
        PixelFormat::Yuyv => colour::yuyv_to_rgb(frame, out),
        PixelFormat::Nv12 => colour::nv12_to_rgb(frame, out),
        PixelFormat::Grey => colour::grey_to_rgb(frame, out),
        PixelFormat::Rgb8 => copy_rows(frame, out),
        PixelFormat::Mjpeg => return decoder.decode(frame.data(), frame.width(), frame.height(), out),
    }
    Ok(())
}

fn copy_rows(frame: &Frame, out: &mut RgbImage) {
    out.resize(frame.width(), frame.height());
    let row = frame.width() * 3;
    for (to, from) in out.data_mut().chunks_exact_mut(row).zip(frame.data().chunks(frame.stride())) {
        to.copy_from_slice(&from[..row]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Geometry;
    use crate::time::Instant;

    #[test]
    fn padding_at_the_end_of_rows_is_left_out() {
        let geometry = Geometry { format: PixelFormat::Rgb8, width: 1, height: 2, stride: 4 };
        let frame = Frame::new(geometry, 0, Instant::BOOT, &[1, 2, 3, 99, 4, 5, 6]).unwrap();
        let mut out = RgbImage::default();
        to_rgb(&frame, &mut out, &mut MjpegDecoder::default()).unwrap();
        assert_eq!(out.data(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn grey_becomes_three_equal_channels() {
        let frame = Frame::new(Geometry::packed(PixelFormat::Grey, 2, 1), 0, Instant::BOOT, &[0, 200]).unwrap();
        let mut out = RgbImage::default();
        to_rgb(&frame, &mut out, &mut MjpegDecoder::default()).unwrap();
        assert_eq!(out.data(), [0, 0, 0, 200, 200, 200]);
    }

    #[test]
    fn a_jpeg_that_is_none_is_a_bad_frame() {
        let geometry = Geometry::packed(PixelFormat::Mjpeg, 64, 48);
        let frame = Frame::new(geometry, 0, Instant::BOOT, &[0; 100]).unwrap();
        let result = to_rgb(&frame, &mut RgbImage::default(), &mut MjpegDecoder::default());
        assert_eq!(result, Err(JpegError::NotJpeg));
    }
}
