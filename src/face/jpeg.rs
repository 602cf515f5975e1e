//! Motion JPEG: one baseline JPEG a frame, as UVC cameras send it, often without its Huffman tables.

mod whole;

use std::panic::{AssertUnwindSafe, catch_unwind};

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

pub use whole::breaks_off;

use crate::frame::{MAX_SIDE, RgbImage};

/// Why bytes are no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    #[error("not a JPEG: it doesn't begin with FF D8")]
    NotJpeg,
    #[error("a JPEG that ends before its picture does")]
    Truncated,
    #[error("a JPEG that can't be decoded: {0}")]
    Broken(String),
}

/// The structure of a JPEG, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Where the first scan's header begins, if there is one.
    pub scan_at: Option<usize>,
    /// Huffman tables come before the first scan.
    pub has_tables: bool,
    /// The end of the picture is there.
    pub is_whole: bool,
}

/// Most segments that are looked at; a picture has a dozen, a progressive one with its EXIF some more.
const MAX_SEGMENTS: usize = 4096;

/// Walks over the markers (ITU-T T.81, annex B).
///
/// # Errors
/// The bytes don't begin as a JPEG does.
pub fn survey(bytes: &[u8]) -> Result<Survey, JpegError> {
    let mut survey = Survey { scan_at: None, has_tables: false, is_whole: false };
    if !bytes.starts_with(&[0xFF, 0xD8]) {
        return Err(JpegError::NotJpeg);
    }
    let mut at = 2;
    for _ in 0..MAX_SEGMENTS {
        // Between scans lie entropy-coded bytes, in which FF is followed by 00 or a restart marker.
        let Some(skip) = bytes.get(at..).unwrap_or_default().windows(2).position(is_marker) else { break };
        at += skip;
        match bytes[at + 1] {
            0xD9 => return Ok(Survey { is_whole: true, ..survey }),
            0xDA if survey.scan_at.is_none() => survey.scan_at = Some(at),
            0xC4 if survey.scan_at.is_none() => survey.has_tables = true,
            _ => {}
        }
        let Some(length) = bytes.get(at + 2..at + 4) else { break };
        at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
    }
    Ok(survey)
}

fn is_marker(pair: &[u8]) -> bool {
    pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0x01 | 0xD0..=0xD8 | 0xFF)
}

/// Decodes frame after frame; its buffer and the picture's are reused.
#[derive(Debug, Default)]
pub struct MjpegDecoder {
    completed: Vec<u8>,
    /// See [`MjpegDecoder::of_whole_pictures`].
    asks_for_all: bool,
}

impl MjpegDecoder {
    /// One that refuses a picture which an end was put to before all of it is there: no loss to a door, which sees the
    /// next, and half a face in a gallery.
    pub fn of_whole_pictures() -> Self {
        Self { asks_for_all: true, ..Self::default() }
    }

    /// Decodes a picture of `width` x `height` pixels into `out`, which takes that size. Frames without Huffman tables
    /// get the standard ones.
    ///
    /// # Errors
    /// The bytes are no JPEG, end too early, don't decode, or say another size, which is refused before memory is taken
    /// for it; `out` is unspecified then.
    pub fn decode(&mut self, bytes: &[u8], width: usize, height: usize, out: &mut RgbImage) -> Result<(), JpegError> {
        let Survey { scan_at, has_tables, is_whole } = survey(bytes)?;
        let (Some(scan_at), true) = (scan_at, is_whole) else { return Err(JpegError::Truncated) };
        let bytes = match has_tables {
            true => bytes,
            false => {
                self.completed.clear();
                self.completed.extend_from_slice(&bytes[..scan_at]);
                push_standard_tables(&mut self.completed);
                self.completed.extend_from_slice(&bytes[scan_at..]);
                &self.completed
            }
        };
        if self.asks_for_all && breaks_off(bytes) {
            return Err(JpegError::Truncated);
        }
        let side = MAX_SIDE as usize;
        let options =
            DecoderOptions::default().set_max_width(side).set_max_height(side).jpeg_set_out_colorspace(ColorSpace::RGB);
        let broken = |e: &dyn std::fmt::Debug| JpegError::Broken(format!("{e:?}"));
        let decoded = unless_it_panics(|| {
            let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
            decoder.decode_headers().map_err(|e| broken(&e))?;
            let info = decoder.info().ok_or(JpegError::Truncated)?;
            let got = (usize::from(info.width), usize::from(info.height));
            if got != (width, height) {
                let reason = format!("it has {}x{} pixels where {width}x{height} were agreed", got.0, got.1);
                return Err(JpegError::Broken(reason));
            }
            out.resize(width, height);
            // Where the scan breaks off the decoder leaves what was there: the face of whoever came before.
            out.data_mut().fill(0);
            decoder.decode_into(out.data_mut()).map_err(|e| broken(&e))
        });
        decoded.unwrap_or_else(|| Err(JpegError::Broken(PANICKED.into())))
    }
}

/// What is said of a picture at which its decoder panics.
pub(super) const PANICKED: &str = "the decoder panicked";

/// What a decoder makes of bytes; `None` where it panics, as zune-jpeg 0.5.15 does at some damaged pictures (in its
/// transform for AVX2): that is the picture's trouble and not the door's. What it leaves behind is used by nobody.
pub(super) fn unless_it_panics<T>(decode: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(decode)).ok()
}

/// A table: its class and number, how many codes of each length there are, and what they stand for.
type Table = (u8, [u8; 16], &'static [u8]);

/// The tables that Motion JPEG leaves out (ITU-T T.81, annex K.3).
const STANDARD_TABLES: [Table; 4] = [
    (0x00, [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC),
    (0x01, [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC),
    (0x10, [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D], &AC_LUMA),
    (0x11, [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77], &AC_CHROMA),
];
const DC: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
#[rustfmt::skip]
const AC_LUMA: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
    0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];
#[rustfmt::skip]
const AC_CHROMA: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
    0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
    0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

fn push_standard_tables(into: &mut Vec<u8>) {
    let length: usize = 2 + STANDARD_TABLES.iter().map(|(_, _, symbols)| 17 + symbols.len()).sum::<usize>();
    into.extend([0xFF, 0xC4]);
    into.extend((length as u16).to_be_bytes());
    for (id, counts, symbols) in STANDARD_TABLES {
        into.push(id);
        into.extend(counts);
        into.extend(symbols);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageEncoder, codecs::jpeg::JpegEncoder};

    /// A JPEG with the standard tables, which `image` writes.
    fn picture(width: usize, height: usize) -> Vec<u8> {
        let rgb: Vec<u8> =
            (0..width * height).flat_map(|i| [(i % width * 3) as u8, (i / width * 3) as u8, 90]).collect();
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.write_image(&rgb, width as u32, height as u32, image::ExtendedColorType::Rgb8).unwrap();
        bytes
    }

    /// As a camera sends it: the DHT segments cut out.
    fn without_tables(bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (bytes[..2].to_vec(), 2);
        while bytes[at + 1] != 0xDA {
            let length = 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            if bytes[at + 1] != 0xC4 {
                out.extend(&bytes[at..at + length]);
            }
            at += length;
        }
        out.extend(&bytes[at..]);
        out
    }

    #[test]
    fn a_frame_at_which_the_decoder_panics_is_broken_and_the_next_is_none_the_worse() {
        let trips = include_bytes!("../../tests/data/jpeg/trips-decoder.jpg");
        let (mut decoder, mut out) = (MjpegDecoder::default(), RgbImage::default());
        // Of its kernels it is AVX2's alone that panics.
        let told = decoder.decode(trips, 48, 32, &mut out);
        assert!(told.is_ok() || told == Err(JpegError::Broken(PANICKED.into())), "{told:?}");
        decoder.decode(&picture(48, 32), 48, 32, &mut out).unwrap();
        assert_eq!(unless_it_panics(|| -> u8 { panic!("as a decoder does") }), None);
    }

    #[test]
    fn a_frame_without_tables_decodes_to_the_same_pixels() {
        let whole = picture(64, 48);
        let bare = without_tables(&whole);
        assert!(bare.len() + 400 < whole.len());
        let (mut a, mut b) = (RgbImage::default(), RgbImage::default());
        let mut decoder = MjpegDecoder::default();
        decoder.decode(&whole, 64, 48, &mut a).unwrap();
        decoder.decode(&bare, 64, 48, &mut b).unwrap();
        assert_eq!((a.width(), a.height()), (64, 48));
        assert_eq!(a, b);
        let [r, g, _] = a.pixel(40, 20);
        assert!(r.abs_diff(120) < 6 && g.abs_diff(60) < 6);
    }

    #[test]
    fn a_frame_cut_anywhere_is_truncated_and_never_half_a_picture() {
        let whole = picture(64, 48);
        let mut decoder = MjpegDecoder::default();
        for cut in 0..whole.len() - 1 {
            assert!(decoder.decode(&whole[..cut], 64, 48, &mut RgbImage::default()).is_err(), "{cut}");
        }
    }

    #[test]
    fn half_a_frame_with_an_end_put_to_it_is_refused_where_all_of_it_is_asked_for() {
        let whole = without_tables(&picture(64, 48));
        let mut decoder = MjpegDecoder::of_whole_pictures();
        decoder.decode(&whole, 64, 48, &mut RgbImage::default()).unwrap();
        let cut = [&whole[..whole.len() / 2], &[0xFF, 0xD9]].concat();
        assert_eq!(decoder.decode(&cut, 64, 48, &mut RgbImage::default()), Err(JpegError::Truncated));
        assert_eq!(MjpegDecoder::default().decode(&cut, 64, 48, &mut RgbImage::default()), Ok(()));
    }

    #[test]
    fn flipped_bits_and_noise_never_panic() {
        let whole = picture(40, 24);
        let mut decoder = MjpegDecoder::default();
        let mut seed = 0x9E37_79B9_7F4A_7C15u64;
        for _ in 0..3000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + seed % 4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (seed >> 33) as usize % bytes.len();
                bytes[at] = (seed >> 24) as u8;
            }
            // Either a picture of some kind or an error.
            let _ = decoder.decode(&bytes, 40, 24, &mut RgbImage::default());
        }
    }
}
