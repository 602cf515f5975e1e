//! Pictures in a folder, in the order of their names.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ReplayError, Source, Trouble};
use crate::face::photo;
use crate::frame::{Geometry, PixelFormat, RgbImage};
use crate::time::Duration;

/// Pictures have no rate of their own.
pub const PER_SECOND: u32 = 10;
/// Most pictures of one folder.
const MAX_PICTURES: usize = 100_000;

/// A folder's pictures, or a single one.
pub(super) struct Folder {
    pictures: Vec<PathBuf>,
    next: usize,
    picture: RgbImage,
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
        Ok(Self { pictures, next: 0, picture: RgbImage::default() })
    }
}

impl Source for Folder {
    fn advance(&mut self, _timeout: Duration) -> Result<bool, Trouble> {
        let Some(path) = self.pictures.get(self.next) else { return Ok(false) };
        self.next += 1;
        self.picture = photo::load(path).map_err(|error| Trouble::Bad(error.to_string()))?;
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
        // Within `MAX_SIDE`.
        let [width, height] = [self.picture.width(), self.picture.height()].map(|side| side as u32);
        (Geometry::packed(PixelFormat::Rgb8, width, height), self.picture.data())
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / PER_SECOND
    }

    fn describe(&self) -> String {
        format!("{} pictures, {PER_SECOND} a second", self.pictures.len())
    }
}
