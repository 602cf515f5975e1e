//! Whether two encodings are one person's: two deciders behind one interface.
//!
//! The plain one takes the cosine of the two; the other is a [`PairHead`]. Each gives a score on the scale of a
//! similarity and has a table of its own from score to false match rate, so whatever asks for a rate — gate, search,
//! enrolment, audit — need not know which of them decides.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pair_head::PairHead;
use crate::digest::Digest;
use crate::face::encoding::Encoding;
use crate::kernels::dot;
use crate::units::Similarity;

named! {
    /// Which decider a configuration names; as options and JSON spell it, too.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    DeciderKind {
        /// A threshold on the cosine.
        #[default]
        Threshold = "threshold",
        /// A threshold on what a pair head says.
        PairHead = "pair-head",
    }
}

/// What turns two encodings of one encoder into a score. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Decider {
    #[default]
    Threshold,
    PairHead(Arc<PairHead>),
}

/// A pair head can only judge encodings of the encoder that it was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pair head has {weights} weights for the encoder {}…, and the encoder in use is {}…, of {dims} numbers: set faces.model to the \
     one it was trained with, train a pair head for this one, or set faces.decider = \"threshold\"",
    short(head),
    short(encoder)
)]
pub struct OtherEncoder {
    pub weights: usize,
    pub head: Digest,
    pub encoder: Digest,
    pub dims: usize,
}

fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(8).collect()
}

impl Decider {
    pub fn kind(&self) -> DeciderKind {
        match self {
            Self::Threshold => DeciderKind::Threshold,
            Self::PairHead(_) => DeciderKind::PairHead,
        }
    }

    /// What sentences call its score.
    pub fn measure(&self) -> &'static str {
        match self {
            Self::Threshold => "similarity",
            Self::PairHead(_) => "pair-head similarity",
        }
    }

    /// Whether it can judge this encoder's encodings of `dims` numbers.
    ///
    /// # Errors
    /// [`OtherEncoder`].
    pub fn judges(&self, encoder: &Digest, dims: usize) -> Result<(), OtherEncoder> {
        match self {
            Self::PairHead(head) if head.model() != encoder || head.dims() != dims => {
                Err(OtherEncoder { weights: head.dims(), head: *head.model(), encoder: *encoder, dims })
            }
            Self::Threshold | Self::PairHead(_) => Ok(()),
        }
    }

    /// How alike two encodings are; `None` where their sizes differ from each other or from the pair head's.
    pub fn similarity(&self, a: &Encoding, b: &Encoding) -> Option<Similarity> {
        let fits = match self {
            Self::Threshold => true,
            Self::PairHead(head) => head.dims() == a.dims(),
        };
        (fits && a.dims() == b.dims()).then(|| Similarity::new(self.score(a.as_slice(), b.as_slice()))).flatten()
    }

    /// What [`Decider::similarity`] is made of, by which a search ranks.
    ///
    /// # Panics
    /// If the sizes differ from each other or from the pair head's.
    pub(super) fn score(&self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Self::Threshold => dot::dot_f32(a, b),
            Self::PairHead(head) => head.score(a, b),
        }
    }

    /// The probability that a pair head gives that two encodings are one person's, among pairs mixed as those it was
    /// trained with. `None` for the other decider, and for other sizes than the head's.
    pub fn probability(&self, a: &Encoding, b: &Encoding) -> Option<f64> {
        let Self::PairHead(head) = self else { return None };
        let fits = a.dims() == head.dims() && b.dims() == head.dims();
        fits.then(|| 1.0 / (1.0 + f64::from(-head.log_odds(a.as_slice(), b.as_slice())).exp()))
    }
}

impl fmt::Display for DeciderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeciderKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| "it is threshold or pair-head".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Digest = Digest([1; 32]);

    fn pair_head() -> Decider {
        Decider::PairHead(Arc::new(PairHead::new(MODEL, 2.0, vec![-4.0, -1.0], None).unwrap()))
    }

    fn encoding(raw: &[f32]) -> Encoding {
        Encoding::from_raw(raw).unwrap()
    }

    #[test]
    fn the_plain_decider_is_the_cosine() {
        let (a, b) = (encoding(&[3.0, 4.0]), encoding(&[4.0, -3.0]));
        assert_eq!(Decider::default().similarity(&a, &b), a.similarity(&b));
        assert_eq!(Decider::default().probability(&a, &b), None);
    }

    #[test]
    fn the_same_encoding_twice_is_most_alike_to_both_and_as_probable_as_the_bias_says() {
        let a = encoding(&[3.0, 4.0]);
        for decider in [Decider::Threshold, pair_head()] {
            assert_eq!(decider.similarity(&a, &a), Some(Similarity::MAX));
        }
        let probability = pair_head().probability(&a, &a).unwrap();
        assert!((probability - 1.0 / (1.0 + (-2f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn a_pair_head_weighs_what_the_cosine_does_not() {
        // Off by as much in the one number as in the other.
        let (a, first, second) = (encoding(&[1.0, 1.0]), encoding(&[0.8, 1.0]), encoding(&[1.0, 0.8]));
        assert!((a.similarity(&first).unwrap().get() - a.similarity(&second).unwrap().get()).abs() < 1e-6);
        let of = |other| pair_head().similarity(&a, other).unwrap();
        assert!(of(&second) > of(&first), "{} {}", of(&second), of(&first));
    }

    #[test]
    fn encodings_of_other_sizes_are_not_compared() {
        let (two, three) = (encoding(&[1.0, 0.0]), encoding(&[1.0, 0.0, 0.0]));
        assert_eq!(Decider::Threshold.similarity(&two, &three), None);
        for (a, b) in [(&two, &three), (&three, &two), (&three, &three)] {
            assert_eq!(pair_head().similarity(a, b), None);
            assert_eq!(pair_head().probability(a, b), None);
        }
    }

    #[test]
    fn a_head_of_another_encoder_is_refused_with_what_to_do() {
        assert_eq!(pair_head().judges(&MODEL, 2), Ok(()));
        assert_eq!(Decider::Threshold.judges(&Digest([9; 32]), 512), Ok(()));
        assert!(pair_head().judges(&MODEL, 3).is_err());
        let said = pair_head().judges(&Digest([0xab; 32]), 2).unwrap_err().to_string();
        for part in ["01010101…", "abababab…", "set faces.model", "faces.decider = \"threshold\""] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_kind_reads_back_from_its_name() {
        for kind in DeciderKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("cosine".parse::<DeciderKind>().is_err());
    }
}
