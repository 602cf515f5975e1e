//! The pair head: a logistic regression that has learnt from pairs which numbers of an encoding tell people apart.
//!
//! ŷ = σ(z), z = β + Σₖ wₖ·|aₖ − bₖ| (Koch, Zemel and Salakhutdinov, Siamese Neural Networks for One-shot Image
//! Recognition, 2015). What decides is z alone, and a table measured for these weights says how much of it is enough.
//!
//! # Its score
//! z has no natural range, so it is told on the scale of a similarity: the cosine of a pair that has the same z and
//! whose differences are spread evenly. Where the n differences of two unit vectors at distance d are normal with the
//! same variance, d²/n, |aₖ − bₖ| is d·√(2/πn) on average, so
//!
//! > z = β + d·√(2/πn)·Σwₖ, solved for d, and score = 1 − d²/2, as cos = 1 − d²/2.
//!
//! The score rises with z, lies in [−1, 1], and is of the same size as the cosine of the same pair: the gate's margin
//! means as much for both deciders. β cancels out; a z above it, which only weights above 0 can bring about, counts as
//! β.

use std::f64::consts::PI;

use serde::Deserialize;

use super::calibrate::{Calibration, CalibrationError};
use crate::digest::Digest;
use crate::face::encoding::MAX_DIMS;
use crate::kernels::dot;

/// The longest file of a pair head, its table included, in bytes.
pub const MAX_HEAD_BYTES: usize = 96 << 10;
/// No weight or bias is larger, so that no sum of [`MAX_DIMS`] of them overflows. Trained ones are below 1000.
const MAX_WEIGHT: f32 = 1e6;
/// The squared distance of two unit vectors is at most 4.
const MAX_DISTANCE: f32 = 2.0;
/// Weights on a line of the file.
const ON_A_LINE: usize = 8;

/// The pair head that comes with this program, for its own encoder.
const BUILTIN: &str = include_str!("../../models/pair-head.toml");

/// Why a text is no pair head.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PairHeadError {
    #[error("not a pair head: {0}")]
    Syntax(String),
    #[error("a pair head belongs to one encoder: its model must be the encoder's SHA-256, 64 digits 0 to f")]
    Model,
    #[error("a pair head has 1 to {MAX_DIMS} weights, and this one has {0}")]
    Weights(usize),
    #[error("{0} of the pair head is no number between -1e6 and 1e6: train it again")]
    Range(String),
    #[error(
        "the pair head's weights add up to {0}, so that two faces would be the more alike the more they differ: train it again"
    )]
    Sum(f64),
    #[error(transparent)]
    Table(#[from] CalibrationError),
}

/// A pair head of one encoder: finite, and falling with the differences as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct PairHead {
    model: Digest,
    bias: f32,
    weights: Vec<f32>,
    /// √(2/πn)·Σwₖ, below 0: what z loses for each unit of distance that is spread evenly.
    slope: f32,
    table: Option<Calibration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: String,
    bias: f32,
    weights: Vec<f32>,
    calibration: Option<Calibration>,
}

impl PairHead {
    /// Without a table nobody is admitted by it, until one is measured.
    ///
    /// # Errors
    /// No or too many weights, one that isn't finite, or none of the sense that the module's score needs.
    pub fn new(model: Digest, bias: f32, weights: Vec<f32>, table: Option<Calibration>) -> Result<Self, PairHeadError> {
        if !(1..=MAX_DIMS).contains(&weights.len()) {
            return Err(PairHeadError::Weights(weights.len()));
        }
        // Written positively: NaN is in no range.
        let in_range = |x: &f32| (-MAX_WEIGHT..=MAX_WEIGHT).contains(x);
        if !in_range(&bias) {
            return Err(PairHeadError::Range("the bias".into()));
        }
        if let Some(at) = weights.iter().position(|weight| !in_range(weight)) {
            return Err(PairHeadError::Range(format!("weight {}", at + 1)));
        }
        let sum: f64 = weights.iter().copied().map(f64::from).sum();
        let slope = (sum * (2.0 / (PI * weights.len() as f64)).sqrt()) as f32;
        if slope > -f32::MIN_POSITIVE {
            return Err(PairHeadError::Sum(sum));
        }
        Ok(Self { model, bias, weights, slope, table })
    }

    /// The pair head that comes with this program.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN).expect("a test parses the built-in pair head")
    }

    /// # Errors
    /// No TOML of a pair head, or one of [`PairHead::new`]'s.
    pub fn parse(text: &str) -> Result<Self, PairHeadError> {
        if text.len() > MAX_HEAD_BYTES {
            return Err(PairHeadError::Syntax(format!("more than {MAX_HEAD_BYTES} bytes")));
        }
        let file: File = toml::from_str(text).map_err(|error| PairHeadError::Syntax(error.to_string()))?;
        let model = Digest::parse(&file.model).ok_or(PairHeadError::Model)?;
        let table = file.calibration.map(|table| table.of_encoder(&model)).transpose()?;
        Self::new(model, file.bias, file.weights, table)
    }

    /// As [`PairHead::parse`] reads it.
    pub fn to_toml(&self) -> String {
        let lines = self.weights.chunks(ON_A_LINE).map(|line| {
            let numbers: Vec<_> = line.iter().map(|weight| format!("{weight:?}")).collect();
            format!("    {},\n", numbers.join(", "))
        });
        let (model, bias, weights) = (self.model, self.bias, lines.collect::<String>());
        let table =
            self.table.as_ref().map(|table| format!("\n[calibration]\n{}", table.to_toml())).unwrap_or_default();
        format!(
            "# The SHA-256 of the encoder that it was trained with.\nmodel = \"{model}\"\nbias = {bias:?}\nweights = [\n{weights}]\n{table}"
        )
    }

    /// The same weights with a table measured for them.
    #[must_use]
    pub fn with_table(self, table: Calibration) -> Self {
        Self { table: Some(table), ..self }
    }

    /// The encoder that it was trained with.
    pub fn model(&self) -> &Digest {
        &self.model
    }

    /// How many numbers that encoder's encodings have.
    pub fn dims(&self) -> usize {
        self.weights.len()
    }

    /// From its score to a false match rate; `None` where nobody has measured it yet.
    pub fn table(&self) -> Option<&Calibration> {
        self.table.as_ref()
    }

    /// z, the log odds that two encodings are one person's, among pairs mixed as those it was trained with.
    ///
    /// # Panics
    /// If either has another size than [`PairHead::dims`].
    pub fn log_odds(&self, a: &[f32], b: &[f32]) -> f32 {
        self.bias + dot::weighted_l1(a, b, &self.weights)
    }

    /// z on the scale of a similarity, in [−1, 1]; see the module. NaN only for encodings with NaN in them.
    ///
    /// # Panics
    /// If either has another size than [`PairHead::dims`].
    pub fn score(&self, a: &[f32], b: &[f32]) -> f32 {
        let distance = (dot::weighted_l1(a, b, &self.weights) / self.slope).clamp(0.0, MAX_DISTANCE);
        1.0 - distance * distance / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::encoding::Encoding;
    use crate::gallery::calibrate::Origin;
    use crate::gallery::counts::Counts;
    use crate::units::Similarity;
    use proptest::prelude::*;

    const MODEL: Digest = Digest([0xa5; 32]);

    fn head(bias: f32, weights: &[f32]) -> Result<PairHead, PairHeadError> {
        PairHead::new(MODEL, bias, weights.to_vec(), None)
    }

    fn table() -> Calibration {
        let mut counts = Counts::default();
        (0..1000).for_each(|i| counts.impostor(Similarity::new(i as f32 / 2000.0).unwrap(), 1));
        let empty = "evaluation = ''\ndate = ''\npeople = 2\nimages = 0\nlost = 0\nimpostors = 0\ngenuine = 0";
        let origin: Origin =
            toml::from_str(&format!("model = ''\nsha256 = '{MODEL}'\ndetector = ''\n{empty}")).unwrap();
        counts.tabulate(origin).unwrap()
    }

    #[test]
    fn log_odds_are_the_weighted_differences_and_the_bias() {
        let head = head(4.0, &[-2.0, -10.0]).unwrap();
        assert_eq!(head.log_odds(&[0.5, 0.0], &[-0.5, 0.25]), 4.0 - 2.0 - 2.5);
        assert_eq!(head.log_odds(&[0.6, 0.8], &[0.6, 0.8]), 4.0);
    }

    #[test]
    fn a_pair_whose_differences_are_even_scores_about_its_cosine_whatever_the_weights_size() {
        // Normal differences, by Box and Muller from a fixed sequence.
        let n = 512;
        let unit = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 10_007.0 + 1e-6;
        let normal = |i| ((-2.0 * unit(i).ln()).sqrt() * (2.0 * PI * unit(i + 4001)).cos()) as f32;
        let a = Encoding::from_raw(&(0..n).map(normal).collect::<Vec<_>>()).unwrap();
        let near: Vec<_> = (0..n).map(|i| a.as_slice()[i] + 0.03 * normal(i + 600)).collect();
        let b = Encoding::from_raw(&near).unwrap();
        let cosine = a.similarity(&b).unwrap().get();
        assert!((0.5..0.95).contains(&cosine), "{cosine}");
        for weight in [-0.1, -30.0] {
            let score = head(5.0, &vec![weight; n]).unwrap().score(a.as_slice(), b.as_slice());
            assert!((score - cosine).abs() < 0.04, "{score} for {cosine}");
        }
    }

    #[test]
    fn weights_of_no_sense_are_refused() {
        assert_eq!(head(0.0, &[]), Err(PairHeadError::Weights(0)));
        assert_eq!(head(0.0, &[-1.0; MAX_DIMS + 1]), Err(PairHeadError::Weights(MAX_DIMS + 1)));
        assert_eq!(head(f32::NAN, &[-1.0]), Err(PairHeadError::Range("the bias".into())));
        for wrong in [f32::NAN, f32::INFINITY, -2e6] {
            assert_eq!(head(0.0, &[-1.0, wrong]), Err(PairHeadError::Range("weight 2".into())));
        }
        assert_eq!(head(0.0, &[1.0, -1.0]), Err(PairHeadError::Sum(0.0)));
        assert_eq!(head(0.0, &[1.0]), Err(PairHeadError::Sum(1.0)));
    }

    #[test]
    fn a_head_reads_back_from_its_text_with_and_without_a_table() {
        let bare = head(7.125, &[-0.1, 1e-7, -3.0, 0.0, -12.75, -0.3, -1e3, -2.5, -1.0 / 3.0]).unwrap();
        assert_eq!(PairHead::parse(&bare.to_toml()).unwrap(), bare);
        let text = bare.with_table(table()).to_toml();
        let head = PairHead::parse(&text).unwrap();
        assert_eq!(head.to_toml(), text);
        assert_eq!(head.table().unwrap().rows().len(), table().rows().len());
        assert_eq!((head.model(), head.dims()), (&MODEL, 9));
    }

    #[test]
    fn a_text_that_is_no_head_is_refused_with_its_fault() {
        let text = head(1.0, &[-1.0]).unwrap().with_table(table()).to_toml();
        assert!(matches!(PairHead::parse("weights"), Err(PairHeadError::Syntax(_))));
        assert_eq!(PairHead::parse(&text.replacen("a5", "a", 1)), Err(PairHeadError::Model));
        assert_eq!(PairHead::parse(&text.replacen("a5", "gg", 1)), Err(PairHeadError::Model));
        assert!(matches!(PairHead::parse(&text.replacen("bias = 1.0", "bias = nan", 1)), Err(PairHeadError::Range(_))));
        assert!(matches!(PairHead::parse(&text.replacen("bias", "bios", 1)), Err(PairHeadError::Syntax(_))));
        let table = text.replacen("rows = [", "rows = [\n    [0.9, 0.1, 0.2, 0.0],", 1);
        assert!(matches!(PairHead::parse(&table), Err(PairHeadError::Syntax(why)) if why.contains("row 2")));
        let others = text.replacen(&MODEL.to_string(), &Digest([1; 32]).to_string(), 1);
        assert!(matches!(PairHead::parse(&others), Err(PairHeadError::Table(CalibrationError::Model(_)))));
        let long = format!("{text}{}", "#".repeat(MAX_HEAD_BYTES));
        assert!(matches!(PairHead::parse(&long), Err(PairHeadError::Syntax(_))));
        for cut in 0..text.len() {
            let _read_or_refused = PairHead::parse(&text[..cut]);
        }
    }

    #[test]
    fn the_head_that_comes_with_the_program_is_sound_and_measured() {
        assert!(PairHead::builtin().table().unwrap().origin().impostors > 1_000_000);
    }

    proptest! {
        #![proptest_config(crate::testing::properties(2000))]

        #[test]
        fn a_score_lies_in_its_range_and_never_falls_where_the_log_odds_rise(
            (weights, a, b, c) in (1usize..40).prop_flat_map(|n| {
                let raw = || prop::collection::vec(-1f32..1.0, n);
                (prop::collection::vec(-9f32..3.0, n), raw(), raw(), raw())
            }),
        ) {
            let Ok(head) = head(3.0, &weights) else { return Ok(()) };
            let unit = |raw: &[f32]| Encoding::from_raw(raw);
            let (Some(a), Some(b), Some(c)) = (unit(&a), unit(&b), unit(&c)) else { return Ok(()) };
            let of = |x: &Encoding| (head.log_odds(a.as_slice(), x.as_slice()), head.score(a.as_slice(), x.as_slice()));
            let ((z, score), (other_z, other_score)) = (of(&b), of(&c));
            prop_assert!((-1.0..=1.0).contains(&score));
            let (low, high) = if z < other_z { (score, other_score) } else { (other_score, score) };
            prop_assert!(z == other_z || low <= high);
            prop_assert_eq!(head.score(b.as_slice(), a.as_slice()), score, "both ways alike");
        }
    }
}
