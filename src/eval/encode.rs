//! Many pictures to encodings, on several threads.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::pairs::PairsError;
use crate::face::detect::principal;
use crate::face::photo::{self, PhotoError};
use crate::face::{Encoding, Faces, ModelChoice, Quality, Role};
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
    #[error("no table: faces of too few people were found, {found} in all")]
    TooFew { found: usize },
    #[error("no table: {a} and {b} are the same picture, filed under two people; take it out of one", a = a.display(), b = b.display())]
    Twice { a: PathBuf, b: PathBuf },
}

/// Milliseconds of each stage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stages {
    pub detect: f32,
    pub landmarks: f32,
    pub align: f32,
    pub embed: f32,
}

/// What became of one picture.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `None` where no face was found.
    pub face: Option<(Encoding, Quality)>,
    /// Faces in the picture; the principal one counts.
    pub faces: usize,
    /// `None` where no face was found.
    pub stages: Option<Stages>,
}

/// Encodes the principal face of each picture, in order. `progress` is called with the number done, from any thread.
///
/// # Errors
/// The first picture that can't be read, or a network that fails.
pub fn encode_all(
    paths: &[PathBuf],
    choice: &ModelChoice,
    role: Role,
    workers: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Encoded>, EvalError> {
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(vec![None; paths.len()]);
    let work = || -> Result<(), EvalError> {
        let mut faces = Faces::load(choice)?;
        while let (Some(index), false) = (Some(next.fetch_add(1, Ordering::Relaxed)), stop.load(Ordering::Relaxed)) {
            let Some(path) = paths.get(index) else { break };
            let encoded = encode(&mut faces, path, role)?;
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

fn encode(faces: &mut Faces, path: &std::path::Path, role: Role) -> Result<Encoded, EvalError> {
    let image = photo::load(path)?;
    let mut clock = Instant::now();
    let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f32() * 1e3;
    let found = faces.detect(&image)?;
    let detect = lap();
    let lost = Encoded { face: None, faces: found.len(), stages: None };
    let Some(face) = principal(&found, image.width(), image.height()) else { return Ok(lost) };
    let points = faces.refine(&image, face)?;
    let landmarks = lap();
    if faces.align(&image, &points).is_none() {
        return Ok(lost);
    }
    let align = lap();
    let encoding = faces.embed_as(role)?;
    let stages = Stages { detect, landmarks, align, embed: lap() };
    let quality = faces.quality(face, &points);
    Ok(Encoded { face: Some((encoding, quality)), faces: found.len(), stages: Some(stages) })
}
