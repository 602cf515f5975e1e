//! Whether a buffer that the driver has filled holds a whole picture.

#![forbid(unsafe_code)]

use super::stream::Buffer;
use crate::frame::PixelFormat;

/// Cameras pad a JPEG to whole USB packets with what was there before, never by more than one transfer, or with as many
/// zeros as they like.
const MAX_JPEG_PADDING: usize = 4096;

/// The bytes of a picture, or what is wrong with them. Sizes of raw formats are checked where the frame is made.
pub(super) fn whole<'a>(format: PixelFormat, buffer: &Buffer<'a>) -> Result<&'a [u8], String> {
    if buffer.flagged {
        return Err("the driver marks its data as corrupt".to_owned());
    }
    match format {
        PixelFormat::Mjpeg => jpeg(buffer.data),
        _ => Ok(buffer.data),
    }
}

/// From the start of image to its end (ITU-T T.81 B.1.1.3: FF D8 and FF D9). A transfer that broke off has no end.
fn jpeg(data: &[u8]) -> Result<&[u8], String> {
    if !data.starts_with(&[0xFF, 0xD8]) {
        return Err(format!("{} bytes that do not start like a JPEG", data.len()));
    }
    let used = data.len() - data.iter().rev().take_while(|byte| **byte == 0).count();
    let tail = used.saturating_sub(MAX_JPEG_PADDING);
    let end = data[tail..used].windows(2).rposition(|pair| pair == [0xFF, 0xD9]);
    match end {
        Some(at) => Ok(&data[..tail + at + 2]),
        None => Err(format!("a JPEG of {} bytes that breaks off", data.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: PixelFormat, data: &[u8], flagged: bool) -> Result<&[u8], String> {
        whole(format, &Buffer { data, flagged, stamp: None, sequence: 0 })
    }

    #[test]
    fn a_flagged_buffer_is_refused_whatever_it_holds() {
        assert!(check(PixelFormat::Grey, &[0; 64], true).unwrap_err().contains("corrupt"));
    }

    #[test]
    fn a_jpeg_is_cut_at_its_end_and_one_without_end_or_start_is_refused() {
        let whole = [0xFF, 0xD8, 1, 2, 3, 0xFF, 0xD9];
        assert_eq!(check(PixelFormat::Mjpeg, &whole, false).unwrap(), whole);
        let padded = [&whole[..], &[0; 500]].concat();
        assert_eq!(check(PixelFormat::Mjpeg, &padded, false).unwrap(), whole);
        assert!(check(PixelFormat::Mjpeg, &whole[..6], false).unwrap_err().contains("breaks off"));
        assert!(check(PixelFormat::Mjpeg, &whole[1..], false).unwrap_err().contains("start"));
        assert!(check(PixelFormat::Mjpeg, &[], false).is_err());
    }

    #[test]
    fn padding_beyond_a_transfer_counts_as_broken_off() {
        let mut data = vec![0xFF, 0xD8, 0xFF, 0xD9];
        data.resize(4 + MAX_JPEG_PADDING, 7);
        assert!(check(PixelFormat::Mjpeg, &data, false).is_err());
        data[4..].fill(0);
        data.resize(4 + 3 * MAX_JPEG_PADDING, 0);
        assert_eq!(check(PixelFormat::Mjpeg, &data, false).unwrap(), [0xFF, 0xD8, 0xFF, 0xD9], "zeros are padding");
    }
}
