//! An encoding: what a face became, a point on the unit sphere.
//!
//! It is finite and of unit length by type. An encoder's raw output becomes one through [`Encoding::from_raw`] or not
//! at all, so a NaN out of a broken network never reaches a comparison.

use crate::kernels::dot;
pub use crate::kernels::panels::MAX_DIMS;
use crate::units::Similarity;

/// A raw output shorter than this has no direction worth the name; those of real faces measure 1 to 100.
const MIN_NORM: f64 = 1e-6;

/// How far from 1 the length of what was stored may be: half a unit in the last place of each of [`MAX_DIMS`] numbers.
const UNIT_TOLERANCE: f64 = 1e-5;

/// One to [`MAX_DIMS`] finite numbers of unit length.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding(heapless::Vec<f32, MAX_DIMS>);

impl Encoding {
    /// Scales a network's output to unit length.
    ///
    /// `None` for none or more than [`MAX_DIMS`] numbers, for any that is NaN or infinite, and for a vector so short
    /// that it has no direction.
    pub fn from_raw(raw: &[f32]) -> Option<Self> {
        let norm = norm(raw);
        if !(norm.is_finite() && norm >= MIN_NORM) {
            return None;
        }
        let mut unit = heapless::Vec::new();
        for &x in raw {
            unit.push((f64::from(x) / norm) as f32).ok()?;
        }
        Some(Self(unit))
    }

    /// Takes back what [`Encoding::as_slice`] gave, bit for bit. `None` where that is no vector of unit length.
    pub fn from_unit(stored: &[f32]) -> Option<Self> {
        let is_unit = (norm(stored) - 1.0).abs() <= UNIT_TOLERANCE;
        is_unit.then(|| heapless::Vec::from_slice(stored).ok()).flatten().map(Self)
    }

    pub fn dims(&self) -> usize {
        self.0.len()
    }

    /// The numbers, each in [-1, 1].
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The cosine of the angle between the two; `None` where they come from models of different sizes.
    pub fn similarity(&self, other: &Self) -> Option<Similarity> {
        (self.dims() == other.dims()).then(|| Similarity::new(dot::dot_f32(&self.0, &other.0))).flatten()
    }

    /// The direction of the sum of several encodings of one face: less noisy than any one of them.
    ///
    /// `None` without any, on different sizes, and where they cancel out.
    pub fn mean<'a>(of: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut of = of.into_iter();
        let mut sum = of.next()?.clone();
        for other in of {
            if other.dims() != sum.dims() {
                return None;
            }
            sum.0.iter_mut().zip(other.as_slice()).for_each(|(s, x)| *s += x);
        }
        Self::from_raw(&sum.0)
    }
}

/// Euclidean length, summed in double precision.
fn norm(of: &[f32]) -> f64 {
    of.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_vector_becomes_one_of_unit_length() {
        let e = Encoding::from_raw(&[3.0, 0.0, -4.0]).unwrap();
        assert_eq!(e.as_slice(), [0.6, 0.0, -0.8]);
        assert_eq!(Encoding::from_unit(e.as_slice()), Some(e));
    }

    #[test]
    fn what_has_no_direction_is_no_encoding() {
        assert!(Encoding::from_raw(&[]).is_none());
        assert!(Encoding::from_raw(&[0.0; 128]).is_none());
        assert!(Encoding::from_raw(&[1.0, f32::NAN]).is_none());
        assert!(Encoding::from_raw(&[1.0, f32::INFINITY]).is_none());
        assert!(Encoding::from_raw(&[1.0; MAX_DIMS + 1]).is_none());
        assert!(Encoding::from_unit(&[0.5, 0.5]).is_none());
        assert!(Encoding::from_unit(&[f32::NAN]).is_none());
    }

    #[test]
    fn similarity_is_the_cosine_and_needs_equal_sizes() {
        let a = Encoding::from_raw(&[1.0, 0.0]).unwrap();
        let b = Encoding::from_raw(&[1.0, 1.0]).unwrap();
        let c = Encoding::from_raw(&[1.0, 0.0, 0.0]).unwrap();
        assert_eq!(a.similarity(&a), Some(Similarity::MAX));
        assert!((a.similarity(&b).unwrap().get() - 0.5f32.sqrt()).abs() < 1e-6);
        assert!(a.similarity(&c).is_none());
    }

    #[test]
    fn a_mean_lies_between_and_opposites_have_none() {
        let a = Encoding::from_raw(&[1.0, 0.0]).unwrap();
        let b = Encoding::from_raw(&[0.0, 1.0]).unwrap();
        let minus_a = Encoding::from_raw(&[-1.0, 0.0]).unwrap();
        let mean = Encoding::mean(&[a.clone(), b]).unwrap();
        assert!((mean.as_slice()[0] - mean.as_slice()[1]).abs() < 1e-7);
        assert!(Encoding::mean(&[a, minus_a]).is_none());
        assert!(Encoding::mean(&[]).is_none());
    }
}
