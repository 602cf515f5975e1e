//! A camera that plays a recording: a folder of pictures, a Y4M file, or any video that an installed `ffmpeg` reads.

mod ffmpeg;
mod folder;
mod y4m;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::metronome::Metronome;
use crate::face::photo;
use crate::frame::{Frame, Geometry};
use crate::ports::{Camera, CameraError, Clock};
use crate::time::Duration;

/// How fast a recording goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it was recorded. Who comes late misses frames, as with a camera, and sees that by their sequence numbers.
    RealTime,
    /// As fast as frames are taken; none is missed.
    AsTaken,
}

/// Why a recording can't be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no pictures: .jpg, .png, .webp, .bmp, .ppm and .pgm count", .0.display())]
    NoPictures(PathBuf),
    #[error("{} holds more than {max} pictures: split it", path.display())]
    TooMany { path: PathBuf, max: usize },
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{} needs ffmpeg, which is not installed: `apt install ffmpeg` (Debian), or give a .y4m or a folder", .0.display())]
    NoFfmpeg(PathBuf),
}

/// Where the pictures of a recording come from. One is held at a time, in a buffer that is used again.
trait Source: Send {
    /// Moves on to the next picture; `false` at the end.
    fn advance(&mut self, timeout: Duration) -> Result<bool, Trouble>;
    /// Passes over a picture; `false` at the end.
    fn skip(&mut self, timeout: Duration) -> Result<bool, Trouble> {
        self.advance(timeout)
    }
    /// Back to the beginning.
    fn rewind(&mut self) -> Result<(), Trouble>;
    /// The picture that [`Source::advance`] moved to.
    fn picture(&self) -> (Geometry, &[u8]);
    /// The time from one picture to the next.
    fn interval(&self) -> Duration;
    fn describe(&self) -> String;
}

/// Why there is no picture.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// Not yet.
    Timeout,
    /// This one is spoilt; the next may be fine.
    Bad(String),
    /// There will be no more.
    Dead(String),
}

/// A recording in a camera's place. Frames are stamped with the time at which they are taken.
pub struct ReplayCamera {
    path: PathBuf,
    source: Box<dyn Source>,
    metronome: Metronome,
    pace: Pace,
    looped: bool,
    sequence: u32,
    /// Pictures since the beginning, so that a recording without any does not loop for ever.
    since_rewind: u64,
    ended: bool,
}

impl ReplayCamera {
    /// Opens a folder of pictures (in the order of their names, [`folder::PER_SECOND`] a second), a single picture, a
    /// file whose name ends in .y4m, or anything else through ffmpeg. `looped` begins anew at the end.
    ///
    /// # Errors
    /// [`ReplayError`] says what is wrong with the file, or which package is missing.
    pub fn open(path: &Path, pace: Pace, looped: bool, clock: Arc<dyn Clock>) -> Result<Self, ReplayError> {
        let unreadable = |source| ReplayError::Unreadable { path: path.to_owned(), source };
        let is_folder = std::fs::metadata(path).map_err(unreadable)?.is_dir();
        let source: Box<dyn Source> = if is_folder || photo::is_named_as_one(path) {
            Box::new(folder::Folder::open(path)?)
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("y4m")) {
            Box::new(y4m::Y4mFile::open(path)?)
        } else {
            Box::new(ffmpeg::Video::open(path)?)
        };
        let metronome = Metronome::new(clock, source.interval());
        let path = path.to_owned();
        Ok(Self { path, source, metronome, pace, looped, sequence: 0, since_rewind: 0, ended: false })
    }

    /// The time from one frame of the recording to the next.
    pub fn interval(&self) -> Duration {
        self.source.interval()
    }

    /// Moves the source on by one; the end of a loop counts as its beginning.
    fn step(&mut self, timeout: Duration, wanted: bool) -> Result<(), CameraError> {
        if self.ended {
            return Err(CameraError::Ended);
        }
        let mut moved = self.move_on(timeout, wanted)?;
        if !moved && self.looped && self.since_rewind > 0 {
            self.since_rewind = 0;
            self.source.rewind().map_err(|trouble| self.explain(trouble, timeout))?;
            moved = self.move_on(timeout, wanted)?;
        }
        if !moved {
            self.ended = true;
            return Err(CameraError::Ended);
        }
        self.since_rewind += 1;
        Ok(())
    }

    fn move_on(&mut self, timeout: Duration, wanted: bool) -> Result<bool, CameraError> {
        let moved = if wanted { self.source.advance(timeout) } else { self.source.skip(timeout) };
        moved.map_err(|trouble| self.explain(trouble, timeout))
    }

    fn explain(&mut self, trouble: Trouble, timeout: Duration) -> CameraError {
        match trouble {
            Trouble::Timeout => CameraError::Timeout(timeout),
            Trouble::Bad(reason) => {
                self.sequence = self.sequence.wrapping_add(1);
                self.metronome.beaten();
                CameraError::BadFrame(reason)
            }
            Trouble::Dead(reason) => {
                self.ended = true;
                CameraError::Lost { device: self.path.display().to_string(), reason }
            }
        }
    }
}

impl Camera for ReplayCamera {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        if self.pace == Pace::RealTime {
            if !self.metronome.wait(timeout) {
                return Err(CameraError::Timeout(timeout));
            }
            for _ in 0..self.metronome.missed() {
                self.step(timeout, false)?;
                self.sequence = self.sequence.wrapping_add(1);
            }
        }
        self.step(timeout, true)?;
        self.metronome.beaten();
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let (geometry, data) = self.source.picture();
        Frame::new(geometry, sequence, self.metronome.now(), data).map_err(|e| CameraError::BadFrame(e.to_string()))
    }

    fn describe(&self) -> String {
        let pace = match self.pace {
            Pace::RealTime => "in real time",
            Pace::AsTaken => "as fast as frames are taken",
        };
        let looped = if self.looped { ", again and again" } else { "" };
        format!("{}: {}, {pace}{looped}", self.path.display(), self.source.describe())
    }
}

#[cfg(test)]
mod tests;
