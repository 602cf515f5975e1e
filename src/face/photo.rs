//! Photos from files, for enrolment, comparison and evaluation: whole, upright, and of a bounded size.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::jpeg;
use crate::frame::{MAX_SIDE, RgbImage};

/// The largest file that is read.
pub const MAX_PHOTO_BYTES: u64 = 32 << 20;
/// The most memory for what the decoder gives and the copy in RGB together: of 8192 x 8192 grey pixels 64 MiB and 192
/// MiB. What is in RGB needs no copy, and turning it upright takes as much again.
const MAX_DECODED_BYTES: u64 = 256 << 20;
const RGB_BYTES: u64 = 3;
/// How the names of files end whose bytes [`decode`] takes, in either case.
const ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "bmp", "ppm", "pgm"];

/// Why a file is no photo that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is a folder; name the photos in it, such as {path}/*.jpg", path = path.display())]
    Folder { path: PathBuf },
    #[error("{path} has more than {} MiB; save it smaller", MAX_PHOTO_BYTES >> 20, path = path.display())]
    TooManyBytes { path: PathBuf },
    #[error("{path}: {reason}", path = path.display())]
    Picture { path: PathBuf, reason: DecodeError },
}

/// Why bytes are no picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a picture that can be read; JPEG, PNG, WebP, BMP and PNM can")]
    UnknownFormat,
    #[error("a JPEG that ends before its picture does; copy it again")]
    Truncated,
    #[error(
        "{width}x{height} pixels are too many; scale it down to at most {MAX_SIDE} a side, 8 bits a colour and not transparent"
    )]
    TooManyPixels { width: u32, height: u32 },
    #[error("the picture is damaged ({0})")]
    Damaged(String),
}

/// Whether a file's name is that of a picture. What macOS puts beside each file on a disk that isn't its own has the
/// file's name behind `._`, and no picture in it.
pub fn is_named_as_one(path: &Path) -> bool {
    let is_beside = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"._"));
    !is_beside && path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Reads a photo and turns it upright, as its EXIF says.
///
/// # Errors
/// [`PhotoError`]: each says what is wrong with which file and what to do.
pub fn load(path: &Path) -> Result<RgbImage, PhotoError> {
    let read = |source| PhotoError::Read { path: path.into(), source };
    let file = File::open(path).map_err(read)?;
    if file.metadata().map_err(read)?.is_dir() {
        return Err(PhotoError::Folder { path: path.into() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_PHOTO_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > MAX_PHOTO_BYTES {
        return Err(PhotoError::TooManyBytes { path: path.into() });
    }
    decode(&bytes).map_err(|reason| PhotoError::Picture { path: path.into(), reason })
}

/// Decodes a JPEG, PNG, WebP, BMP or PNM; transparency is dropped.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    // The decoder would fill the rest with grey, and a face with it.
    if format == ImageFormat::Jpeg && (!jpeg::survey(bytes).is_ok_and(|s| s.is_whole) || jpeg::breaks_off(bytes)) {
        return Err(DecodeError::Truncated);
    }
    let damaged = |e: image::ImageError| DecodeError::Damaged(e.to_string());
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| match e {
        image::ImageError::Unsupported(_) => DecodeError::UnknownFormat,
        e => damaged(e),
    })?;
    let (width, height) = decoder.dimensions();
    // Not every decoder keeps to its limits.
    let copy = match decoder.color_type() {
        ColorType::Rgb8 => 0,
        _ => u64::from(width) * u64::from(height) * RGB_BYTES,
    };
    if width > MAX_SIDE || height > MAX_SIDE || decoder.total_bytes().saturating_add(copy) > MAX_DECODED_BYTES {
        return Err(DecodeError::TooManyPixels { width, height });
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let panicked = || Err(DecodeError::Damaged(jpeg::PANICKED.into()));
    let decoded = jpeg::unless_it_panics(|| DynamicImage::from_decoder(decoder).map_err(damaged));
    let mut picture = decoded.unwrap_or_else(panicked)?;
    picture.apply_orientation(orientation);
    let rgb = picture.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    RgbImage::from_rgb8(width, height, rgb.into_raw()).ok_or_else(|| DecodeError::Damaged("it has no pixels".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let picture =
            image::RgbImage::from_fn(width, height, |x, _| image::Rgb([if x < width / 2 { 250 } else { 5 }; 3]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    /// An APP1 segment that says orientation 6: turn by 90° clockwise to see it upright.
    fn with_exif(jpeg: &[u8]) -> Vec<u8> {
        let exif = b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        [&jpeg[..2], exif, &jpeg[2..]].concat()
    }

    #[test]
    fn a_picture_in_a_folder_is_known_by_its_ending() {
        let is_one = |name: &&str| is_named_as_one(Path::new(name));
        assert!(["a.jpg", "a.JPEG", "a.Png", "a.webp", "a.bmp", "a.ppm", "a.pgm"].iter().all(is_one));
        assert!(!["a.txt", "jpg", "a.jpg.part", "", "b/._a.jpg"].iter().any(is_one));
    }

    #[test]
    fn a_photo_taken_sideways_is_turned_upright() {
        let plain = decode(&jpeg(64, 32)).unwrap();
        assert_eq!((plain.width(), plain.height()), (64, 32));
        let turned = decode(&with_exif(&jpeg(64, 32))).unwrap();
        assert_eq!((turned.width(), turned.height()), (32, 64));
        assert!(turned.pixel(16, 4)[0] > 200 && turned.pixel(16, 60)[0] < 50);
    }

    #[test]
    fn a_truncated_jpeg_is_no_grey_face() {
        let bytes = with_exif(&jpeg(64, 64));
        for cut in [bytes.len() - 2, bytes.len() / 2, 40] {
            assert!(matches!(decode(&bytes[..cut]), Err(DecodeError::Truncated)), "{cut}");
            let ended = [&bytes[..cut], &[0xFF, 0xD9]].concat();
            assert_eq!(decode(&ended).is_ok(), cut == bytes.len() - 2, "{cut}");
        }
        assert!(matches!(decode(b"not a picture"), Err(DecodeError::UnknownFormat)));
        assert!(matches!(decode(&[]), Err(DecodeError::UnknownFormat)));
    }

    #[test]
    fn whole_jpegs_of_every_kind_are_taken_and_half_of_one_with_an_end_is_not() {
        let kinds: [(&str, &[u8]); 5] = [
            ("progressive", include_bytes!("../../tests/data/jpeg/progressive.jpg")),
            ("grey", include_bytes!("../../tests/data/jpeg/grey.jpg")),
            ("CMYK, progressive", include_bytes!("../../tests/data/jpeg/cmyk.jpg")),
            ("4:2:0 with restart markers, of odd size", include_bytes!("../../tests/data/jpeg/restarts.jpg")),
            ("4:1:1", include_bytes!("../../tests/data/jpeg/411.jpg")),
        ];
        for (kind, bytes) in kinds {
            let picture = decode(bytes).unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!((picture.width(), picture.height()), (61, 83), "{kind}");
            assert_eq!(decode(&[bytes, b"behind it"].concat()).unwrap(), picture, "{kind}");
            // Of a progressive one this is within the first scan.
            let scan = jpeg::survey(bytes).unwrap().scan_at.unwrap() + 40;
            let ended = [&bytes[..scan], &[0xFF, 0xD9]].concat();
            assert!(matches!(decode(&ended), Err(DecodeError::Truncated)), "{kind}");
        }
    }

    #[test]
    fn a_picture_of_20_000_pixels_is_told_by_its_header() {
        let header = b"P6 20000 15000 255\n";
        let error = decode(header).unwrap_err().to_string();
        assert!(error.contains("20000x15000") && error.contains("8192"), "{error}");
    }

    #[test]
    fn a_large_picture_with_transparency_counts_with_its_copy_without() {
        // The header of a PNG of 8192 x 8192 pixels, and the beginning of what follows.
        let header = |colour| {
            let mut chunk = b"IHDR\0\0\x20\0\0\0\x20\0\x08".to_vec();
            chunk.extend([colour, 0, 0, 0]);
            let crc = !chunk.iter().fold(!0_u32, |crc, &byte| {
                (0..8)
                    .fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
            });
            [&b"\x89PNG\r\n\x1a\n\0\0\0\x0d"[..], &chunk, &crc.to_be_bytes(), b"\0\0\0\x04IDAT\0\0\0\0"].concat()
        };
        let (grey, rgb, rgba) = (decode(&header(0)), decode(&header(2)), decode(&header(6)));
        assert!(matches!(grey, Err(DecodeError::Damaged(_))) && matches!(rgb, Err(DecodeError::Damaged(_))));
        let rgba = rgba.unwrap_err().to_string();
        assert!(rgba.contains("8192x8192") && rgba.contains("not transparent"), "{rgba}");
    }

    #[test]
    fn a_folder_and_a_missing_file_say_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(PhotoError::Folder { .. })));
        let missing = load(&dir.path().join("nobody.jpg")).unwrap_err().to_string();
        assert!(missing.contains("nobody.jpg"), "{missing}");
    }

    #[test]
    fn damaged_pictures_of_every_format_are_errors() {
        let picture = image::RgbImage::from_fn(20, 20, |x, y| image::Rgb([x as u8 * 9, y as u8 * 9, 7]));
        let mut seed = 7u64;
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Pnm] {
            let mut bytes = Cursor::new(Vec::new());
            if picture.write_to(&mut bytes, format).is_err() {
                continue;
            }
            let whole = bytes.into_inner();
            assert!(decode(&whole).is_ok(), "{format:?}");
            for _ in 0..400 {
                let mut bytes = whole.clone();
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % bytes.len();
                bytes[at] = (seed >> 24) as u8;
                bytes.truncate(bytes.len() - (seed >> 60) as usize);
                // A picture of some kind or an error, and no panic.
                let _ = decode(&bytes);
            }
        }
    }
}
