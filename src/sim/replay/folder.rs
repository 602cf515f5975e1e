//! Pictures in a folder, in the order of their names.

use std::fs;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader};

use super::{ReplayError, Source, Trouble};
use crate::face::photo;
use crate::frame::{Geometry, MAX_SIDE, PixelFormat};
use crate::time::Duration;

/// Pictures have no rate of their own.
pub const PER_SECOND: u32 = 10;
/// Most pictures of one folder.
const MAX_PICTURES: usize = 100_000;
/// Largest picture file: a large camera's JPEG takes a tenth.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Most memory that decoding one picture may take.
const MAX_DECODED_BYTES: u64 = 1024 * 1024 * 1024;

/// A folder's pictures, or a single one.
pub(super) struct Folder {
    pictures: Vec<PathBuf>,
    next: usize,
    geometry: Geometry,
    rgb: Vec<u8>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let mut pictures = Vec::new();
        if path.is_file() {
            pictures.push(path.to_owned());
        } else {
            let unreadable = |source| ReplayError::Unreadable { path: path.to_owned(), source };
            for entry in fs::read_dir(path).map_err(unreadable)? {
                let picture = entry.map_err(unreadable)?.path();
                if photo::is_named_as_one(&picture) && picture.is_file() {
                    if pictures.len() == MAX_PICTURES {
                        return Err(ReplayError::TooMany { path: path.to_owned(), max: MAX_PICTURES });
                    }
                    pictures.push(picture);
                }
            }
        }
        if pictures.is_empty() {
            return Err(ReplayError::NoPictures(path.to_owned()));
        }
        pictures.sort();
        let geometry = Geometry::packed(PixelFormat::Rgb8, 0, 0);
        Ok(Self { pictures, next: 0, geometry, rgb: Vec::new() })
    }
}

impl Source for Folder {
    fn advance(&mut self, _timeout: Duration) -> Result<bool, Trouble> {
        let Some(path) = self.pictures.get(self.next) else { return Ok(false) };
        self.next += 1;
        let picture = decode(path).map_err(|reason| Trouble::Bad(format!("{}: {reason}", path.display())))?;
        self.geometry = Geometry::packed(PixelFormat::Rgb8, picture.width(), picture.height());
        self.rgb = picture.into_rgb8().into_raw();
        Ok(true)
    }

    fn skip(&mut self, _timeout: Duration) -> Result<bool, Trouble> {
        let there_is_one = self.next < self.pictures.len();
        self.next += usize::from(there_is_one);
        Ok(there_is_one)
    }

    fn rewind(&mut self) -> Result<(), Trouble> {
        self.next = 0;
        Ok(())
    }

    fn picture(&self) -> (Geometry, &[u8]) {
        (self.geometry, &self.rgb)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / PER_SECOND
    }

    fn describe(&self) -> String {
        format!("{} pictures, {PER_SECOND} a second", self.pictures.len())
    }
}

/// A picture the right way up (EXIF orientation applied).
fn decode(path: &Path) -> Result<DynamicImage, String> {
    let bytes = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(format!("{bytes} bytes; a picture may have {MAX_FILE_BYTES}"));
    }
    let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|e| e.to_string())?;
    let mut limits = image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let orientation = decoder.orientation().map_err(|e| e.to_string())?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    picture.apply_orientation(orientation);
    Ok(picture)
}
