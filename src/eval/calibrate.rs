//! `facelatch calibrate`: a folder with a folder for each person to the table from score to false match rate.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::encode::{EvalError, MAX_WORKERS, encode_all};
use crate::face::{Encoding, ModelChoice};
use crate::gallery::Decider;
use crate::gallery::calibrate::{Calibration, Counts, Origin};
use crate::units::Similarity;

/// The most pictures of one calibration: 5 · 10⁹ comparisons.
pub const MAX_IMAGES: usize = 100_000;
/// Of the comparisons of different people, so many of the most alike are named: among them are mislabelled pictures.
pub const SUSPECTS: usize = 20;
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "ppm"];

/// Two pictures of different people that look like one person, or of one person that is filed under two names.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    pub a: PathBuf,
    pub b: PathBuf,
    pub similarity: Similarity,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    pub calibration: Calibration,
    /// The most alike first, at most [`SUSPECTS`].
    pub suspects: Vec<Suspect>,
    pub lost: Vec<PathBuf>,
}

/// The pictures in the folders of `root`, in the order of their names, each with the number of its folder.
///
/// # Errors
/// A folder can't be read, there are fewer than two people, or too many pictures.
pub fn list_people(root: &Path) -> Result<Vec<(usize, PathBuf)>, EvalError> {
    let read = |path: &Path| {
        let wrong = |source| EvalError::Read { path: path.into(), source };
        let mut entries: Vec<_> = fs::read_dir(path).map_err(wrong)?.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        Ok::<_, EvalError>(entries)
    };
    let is_picture = |p: &PathBuf| {
        p.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
    };
    let mut pictures = Vec::new();
    let mut people = 0;
    for folder in read(root)?.into_iter().filter(|p| p.is_dir()) {
        let before = pictures.len();
        pictures.extend(read(&folder)?.into_iter().filter(is_picture).map(|picture| (people, picture)));
        people += usize::from(pictures.len() > before);
        if pictures.len() > MAX_IMAGES {
            return Err(EvalError::Folder { path: root.into(), reason: format!("more than {MAX_IMAGES} pictures") });
        }
    }
    if people < 2 {
        let reason = "a calibration needs a folder for each of at least two people".into();
        return Err(EvalError::Folder { path: root.into(), reason });
    }
    Ok(pictures)
}

/// Compares every picture with every other, by this decider. `evaluation` and `date` go into the table as they are.
///
/// # Errors
/// Pictures can't be read, a network fails, or two people can't be told apart at all.
pub fn measure(
    root: &Path,
    choice: &ModelChoice,
    decider: &Decider,
    (evaluation, date): (String, String),
    workers: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Measured, EvalError> {
    let (people, paths): (Vec<_>, Vec<_>) = list_people(root)?.into_iter().unzip();
    let encoded = encode_all(&paths, choice, workers, progress)?;
    let encodings = encoded.into_iter().map(|e| Some(e.face?.0)).collect();
    let origin = Origin {
        model: choice.embedder.spec.name.clone(),
        sha256: choice.embedder.spec.sha256.to_string(),
        detector: choice.detector.spec.name.clone(),
        evaluation,
        date,
        people: people.last().map_or(0, |last| *last as u64 + 1),
        images: paths.len() as u64,
        lost: 0,
        impostors: 0,
        genuine: 0,
    };
    compare(&people, &paths, encodings, decider, origin, workers).ok_or_else(|| EvalError::Folder {
        path: root.into(),
        reason: "no table: faces were found of one person at most, or one picture is filed under two people".into(),
    })
}

/// Compares encodings, one a picture, `None` where its face was lost; and fills in the counts of `origin`.
/// `None` where that makes no table, see [`Counts::tabulate`].
pub fn compare(
    people: &[usize],
    paths: &[PathBuf],
    encodings: Vec<Option<Encoding>>,
    decider: &Decider,
    mut origin: Origin,
    workers: usize,
) -> Option<Measured> {
    let lost: Vec<_> = paths.iter().zip(&encodings).filter(|(_, e)| e.is_none()).map(|(p, _)| p.clone()).collect();
    let faces: Vec<_> = encodings
        .into_iter()
        .zip(people)
        .enumerate()
        .filter_map(|(picture, (encoding, &person))| Some(Face { picture, person, encoding: encoding? }))
        .collect();
    origin.lost = lost.len() as u64;
    let (counts, suspects) = compare_all(&faces, decider, workers);
    let suspect = |(similarity, a, b): (Similarity, usize, usize)| Suspect {
        a: paths[a].clone(),
        b: paths[b].clone(),
        similarity,
    };
    let suspects = suspects.into_iter().map(suspect).collect();
    Some(Measured { calibration: counts.tabulate(origin)?, suspects, lost })
}

struct Face {
    picture: usize,
    person: usize,
    encoding: Encoding,
}

type Alike = (Similarity, usize, usize);

fn compare_all(faces: &[Face], decider: &Decider, workers: usize) -> (Counts, Vec<Alike>) {
    let mut of_person = vec![0usize; faces.last().map_or(0, |f| f.person + 1)];
    faces.iter().for_each(|f| of_person[f.person] += 1);
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut counts, mut alike) = (Counts::default(), Vec::new());
        // Rows are handed out one by one, since later ones are shorter.
        while let Some((i, a)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, faces.get(i)?))) {
            for b in &faces[i + 1..] {
                let Some(similarity) = decider.similarity(&a.encoding, &b.encoding) else { continue };
                if a.person == b.person {
                    let n = of_person[a.person];
                    counts.genuine(similarity, n * (n - 1) / 2);
                } else {
                    counts.impostor(similarity);
                    keep_most_alike(&mut alike, (similarity, a.picture, b.picture));
                }
            }
        }
        (counts, alike)
    };
    let mut total = (Counts::default(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.clamp(1, MAX_WORKERS)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (counts, alike) = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            total.0.add(&counts);
            alike.into_iter().for_each(|pair| keep_most_alike(&mut total.1, pair));
        }
    });
    total
}

/// Keeps the [`SUSPECTS`] most alike, sorted.
fn keep_most_alike(alike: &mut Vec<Alike>, pair: Alike) {
    if alike.len() == SUSPECTS && alike.last().is_some_and(|last| last.0 >= pair.0) {
        return;
    }
    let at = alike.partition_point(|kept| kept.0 >= pair.0);
    alike.insert(at, pair);
    alike.truncate(SUSPECTS);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(picture: usize, person: usize, raw: [f32; 2]) -> Face {
        Face { picture, person, encoding: Encoding::from_raw(&raw).unwrap() }
    }

    #[test]
    fn every_pair_counts_once_whatever_the_number_of_threads() {
        let faces: Vec<_> = (0..40).map(|i| face(i, i / 2, [(i as f32).sin(), (i as f32).cos()])).collect();
        let (one, alike) = compare_all(&faces, &Decider::Threshold, 1);
        let (many, the_same) = compare_all(&faces, &Decider::Threshold, 4);
        assert_eq!(one, many);
        assert_eq!(alike.len(), SUSPECTS);
        let scores = |of: &[Alike]| of.iter().map(|a| a.0.get()).collect::<Vec<_>>();
        assert_eq!(scores(&alike), scores(&the_same));
    }

    #[test]
    fn people_are_folders_and_a_single_one_is_not_enough() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("ana")).unwrap();
        fs::write(root.path().join("ana/1.JPG"), b"").unwrap();
        assert!(matches!(list_people(root.path()), Err(EvalError::Folder { .. })));
        fs::create_dir(root.path().join("ben")).unwrap();
        fs::write(root.path().join("ben/2.png"), b"").unwrap();
        fs::write(root.path().join("ben/notes.txt"), b"").unwrap();
        let people: Vec<_> = list_people(root.path()).unwrap().into_iter().map(|(person, _)| person).collect();
        assert_eq!(people, [0, 1]);
    }
}
