//! Many pictures to encodings, on several threads.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::pairs::PairsError;
use crate::face::detect::principal;
use crate::face::photo::{self, PhotoError};
use crate::face::{Encoding, Faces, ModelChoice, Quality, Role};
use crate::frame::RgbImage;
use crate::infer::InferError;

/// More threads than this only wait for each other's memory.
pub const MAX_WORKERS: usize = 8;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}, {source}", path = path.display())]
    Pairs { path: PathBuf, source: PairsError },
    #[error(transparent)]
    Photo(#[from] PhotoError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error("{path}: {reason}", path = path.display())]
    Folder { path: PathBuf, reason: String },
    #[error("no table: faces of too few people were found, {found} in all{}", begins(lost.as_ref()))]
    TooFew { found: usize, lost: Option<Lost> },
    #[error("no table: {a} and {b} are the same picture, filed under two people; take it out of one", a = a.display(), b = b.display())]
    Twice { a: PathBuf, b: PathBuf },
}

fn begins(lost: Option<&Lost>) -> String {
    lost.map(|lost| format!("; to begin with, {lost}")).unwrap_or_default()
}

/// Milliseconds of each stage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stages {
    pub detect: f32,
    pub landmarks: f32,
    pub align: f32,
    pub encode: f32,
}

/// What became of one picture.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// `None` where no face was found.
    pub face: Option<(Encoding, Quality)>,
    /// Faces in the picture; the principal one counts.
    pub faces: usize,
    /// `None` where no face was found.
    pub stages: Option<Stages>,
    /// Why there is no picture, a sentence with its path.
    pub unreadable: Option<String>,
}

/// What a picture that can't be read does to an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Somebody named it, and a result without it would be another's.
    Ends,
    /// It lay in a folder among thousands, and is lost as one without a face is.
    IsLost,
}

/// A picture that tells nothing of whom it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub path: PathBuf,
    /// A sentence with the path; `None` where it has no face.
    pub unreadable: Option<String>,
}

impl Lost {
    /// Of these pictures, of which that became; in their order.
    pub fn of<'a>(pictures: impl IntoIterator<Item = (&'a PathBuf, &'a Encoded)>) -> Vec<Self> {
        let lost = pictures.into_iter().filter(|(_, encoded)| encoded.face.is_none());
        lost.map(|(path, encoded)| Self { path: path.clone(), unreadable: encoded.unreadable.clone() }).collect()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unreadable {
            Some(sentence) => f.write_str(sentence),
            None => write!(f, "{}: no face was found", self.path.display()),
        }
    }
}

/// Encodes the principal face of each picture, in order. `progress` is called with the number done, from any thread.
///
/// # Errors
/// The first picture that can't be read where that [`Unreadable::Ends`] it, or a network that fails.
pub fn encode_all(
    paths: &[PathBuf],
    choice: &ModelChoice,
    role: Role,
    unreadable: Unreadable,
    workers: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Encoded>, EvalError> {
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(vec![None; paths.len()]);
    let work = || -> Result<(), EvalError> {
        let mut faces = Faces::load(choice)?;
        while let (Some(index), false) = (Some(next.fetch_add(1, Ordering::Relaxed)), stop.load(Ordering::Relaxed)) {
            let Some(path) = paths.get(index) else { break };
            let encoded = match photo::load(path) {
                Ok(image) => encode(&mut faces, &image, role)?,
                Err(error) if unreadable == Unreadable::Ends => return Err(error.into()),
                Err(error) => Encoded { unreadable: Some(error.to_string()), ..Encoded::default() },
            };
            results.lock().expect("no thread panics while it holds this")[index] = Some(encoded);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Ok(())
    };
    let work = || work().inspect_err(|_| stop.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.clamp(1, MAX_WORKERS)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let results = results.into_inner().expect("no thread panics while it holds this");
    Ok(results.into_iter().flatten().collect())
}

fn encode(faces: &mut Faces, image: &RgbImage, role: Role) -> Result<Encoded, EvalError> {
    let mut clock = Instant::now();
    let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f32() * 1e3;
    let found = faces.detector.detect(image)?;
    let detect = lap();
    let lost = Encoded { faces: found.len(), ..Encoded::default() };
    let Some(face) = principal(&found, image.width(), image.height()) else { return Ok(lost) };
    let points = faces.refine(image, face)?;
    let landmarks = lap();
    if faces.align(image, &points).is_none() {
        return Ok(lost);
    }
    let align = lap();
    let encoding = faces.encode_as(role)?;
    let stages = Stages { detect, landmarks, align, encode: lap() };
    let quality = faces.quality(face, &points);
    Ok(Encoded { face: Some((encoding, quality)), stages: Some(stages), ..lost })
}
