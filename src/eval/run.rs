//! `facelatch eval`: a file of pairs and a folder of pictures to the figures of LFW's protocol.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::encode::{Encoded, EvalError, Lost, Stages, Unreadable, encode_all};
use super::pairs::{MAX_PAIRS_BYTES, Pairs};
use super::protocol::{self, Scored};
use crate::face::{ModelChoice, Role};
use crate::gallery::{Decider, DeciderKind};
use crate::infer::ModelSpec;
use crate::units::Similarity;

/// What `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub pairs: usize,
    pub folds: usize,
    /// `null` with fewer than two folds.
    pub accuracy: Option<f64>,
    pub accuracy_sd: Option<f64>,
    pub tar: Tar,
    pub eer: Option<f64>,
    /// Pictures without a face; their pairs score −1 and so count as different.
    pub failed_to_detect: usize,
    pub decider: DeciderKind,
    /// On the decider's own scale.
    pub threshold_similarity: Option<f64>,
    pub model: Model,
    pub detector: Model,
    pub ms: Timing,
}

/// `null` where the impostors are too few for the rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tar {
    #[serde(rename = "1e-2")]
    pub at_1e2: Option<f64>,
    #[serde(rename = "1e-3")]
    pub at_1e3: Option<f64>,
    #[serde(rename = "1e-4")]
    pub at_1e4: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    pub name: String,
    pub sha256: String,
}

impl From<&ModelSpec> for Model {
    fn from(spec: &ModelSpec) -> Self {
        Self { name: spec.name.clone(), sha256: spec.sha256.to_string() }
    }
}

/// Milliseconds a picture, with as many running at once as there were workers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timing {
    pub detect: Percentiles,
    pub landmarks: Percentiles,
    pub align: Percentiles,
    #[serde(rename = "embed")]
    pub encode: Percentiles,
}

/// Median and 95th percentile; 0 where there was nothing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
}

impl Percentiles {
    /// Of any numbers, NaN last (nearest rank).
    pub fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |percent| nearest_rank(&sorted, percent).map_or(0.0, |x| (f64::from(x) * 1e3).round() / 1e3);
        Self { p50: at(50), p95: at(95) }
    }
}

/// The value that so many in a hundred don't exceed (nearest rank), of values that rise; `None` of none.
pub fn nearest_rank<T: Copy>(rising: &[T], percent: usize) -> Option<T> {
    let rank = (rising.len() * percent).div_ceil(100);
    rising.get(rank.saturating_sub(1)).copied()
}

impl Timing {
    pub fn of(stages: &[Stages]) -> Self {
        let of = |stage: fn(&Stages) -> f32| Percentiles::of(stages.iter().map(stage));
        Self {
            detect: of(|s| s.detect),
            landmarks: of(|s| s.landmarks),
            align: of(|s| s.align),
            encode: of(|s| s.encode),
        }
    }
}

/// A report, and the scores that it and the DET curve are made of.
#[derive(Debug, Clone)]
pub struct Evaluation {
    pub report: Report,
    pub scores: Vec<Scored>,
    /// The pictures that no face was found in.
    pub lost: Vec<Lost>,
}

/// Reads a file of pairs.
///
/// # Errors
/// It can't be read, is too large, or has a line that is wrong.
pub fn read_pairs(path: &Path) -> Result<Pairs, EvalError> {
    let read = |source| EvalError::Read { path: path.into(), source };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > MAX_PAIRS_BYTES {
        return Err(EvalError::Folder { path: path.into(), reason: format!("more than {MAX_PAIRS_BYTES} bytes") });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    Pairs::parse(&text).map_err(|source| EvalError::Pairs { path: path.into(), source })
}

/// The folder that the pictures of a file of pairs lie in unless somebody says otherwise: `images` beside it.
pub fn default_images(pairs: &Path) -> PathBuf {
    pairs.with_file_name("images")
}

/// Encodes every picture of the pairs and judges them by this decider.
///
/// # Errors
/// A picture is missing or unreadable; a network fails.
pub fn evaluate(
    pairs: &Pairs,
    images: &Path,
    choice: &ModelChoice,
    decider: &Decider,
    workers: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Evaluation, EvalError> {
    let paths: Vec<_> = pairs.images.iter().map(|name| name.path(images)).collect();
    let encoded = encode_all(&paths, choice, Role::Probe, Unreadable::Ends, workers, progress)?;
    let scores = score(pairs, &encoded, decider);
    let accuracy = protocol::accuracy(&scores, pairs.folds);
    let tar = |fmr| protocol::tar_at(&scores, fmr);
    let stages: Vec<_> = encoded.iter().filter_map(|e| e.stages).collect();
    let lost = Lost::of(paths.iter().zip(&encoded));
    let report = Report {
        pairs: pairs.pairs.len(),
        folds: pairs.folds,
        accuracy: accuracy.map(|a| a.mean),
        accuracy_sd: accuracy.map(|a| a.sd),
        tar: Tar { at_1e2: tar(1e-2), at_1e3: tar(1e-3), at_1e4: tar(1e-4) },
        eer: protocol::equal_error_rate(&scores),
        failed_to_detect: lost.len(),
        decider: decider.kind(),
        threshold_similarity: accuracy.map(|a| a.threshold),
        model: Model::from(&choice.encoder.spec),
        detector: Model::from(&choice.detector.spec),
        ms: Timing::of(&stages),
    };
    Ok(Evaluation { report, scores, lost })
}

fn score(pairs: &Pairs, encoded: &[Encoded], decider: &Decider) -> Vec<Scored> {
    let of = |i: usize| encoded[i].face.as_ref().map(|(encoding, _)| encoding);
    let similarity = |a: usize, b: usize| decider.similarity(of(a)?, of(b)?);
    let scored = |p: &super::Pair| Scored {
        score: similarity(p.a, p.b).unwrap_or(Similarity::MIN).get(),
        same: p.same,
        fold: p.fold,
    };
    pairs.pairs.iter().map(scored).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Encoding;

    #[test]
    fn a_lost_face_is_a_pair_that_does_not_match() {
        let pairs = Pairs::parse("1 1\nAna 1 2\nAna 1 Ben 1\n").unwrap();
        let ana = Encoded::default();
        assert!(score(&pairs, &vec![ana; 3], &Decider::Threshold).iter().all(|s| s.score == -1.0));
        assert!(Encoding::from_raw(&[0.0]).is_none());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let p = Percentiles::of((1..=100).map(|x| x as f32));
        assert_eq!((p.p50, p.p95), (50.0, 95.0));
        assert_eq!(Percentiles::of([]), Percentiles::default());
        assert_eq!(Percentiles::of([7.0]).p95, 7.0);
    }

    #[test]
    fn the_names_of_the_report_are_those_that_were_promised() {
        let tar = serde_json::to_string(&Tar { at_1e2: Some(0.5), at_1e3: None, at_1e4: None }).unwrap();
        assert_eq!(tar, r#"{"1e-2":0.5,"1e-3":null,"1e-4":null}"#);
    }

    #[test]
    fn pictures_are_looked_for_beside_the_pairs() {
        assert_eq!(default_images(Path::new("lfw/pairs-dev.txt")), Path::new("lfw/images"));
    }
}
