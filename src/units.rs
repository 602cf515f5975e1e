//! Numbers with a unit and a range, so that a similarity is never taken for a rate, nor a NaN for either.
//!
//! Every constructor refuses what lies outside the unit's range, NaN included. Comparisons on the values that exist are
//! therefore total, and a condition such as `similarity >= threshold` has no third outcome.

#![forbid(unsafe_code)]

use std::fmt;

/// How far outside its mathematical range a computed value may lie and still be rounding error: 128 single-precision
/// products, each off by at most 2⁻²⁴, summed.
const ROUNDING: f32 = 128.0 / (1 << 24) as f32;

/// Cosine of the angle between two encodings, in [-1, 1]; larger is more alike.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Similarity(f32);

impl Similarity {
    /// No two encodings are more alike.
    pub const MAX: Self = Self(1.0);
    /// No two encodings are less alike.
    pub const MIN: Self = Self(-1.0);

    /// A cosine; what lies outside [-1, 1] by no more than rounding is clamped, all else (NaN included) is `None`.
    pub fn new(cosine: f32) -> Option<Self> {
        (cosine.abs() <= 1.0 + ROUNDING).then(|| Self(cosine.clamp(-1.0, 1.0)))
    }

    pub fn get(self) -> f32 {
        self.0
    }

    /// d = 2 − 2·cos, the squared Euclidean distance of the two unit vectors, in [0, 4]; smaller is more alike.
    pub fn distance(self) -> f32 {
        2.0 - 2.0 * self.0
    }
}

/// False match rate: the share of comparisons between different people that are taken for the same person, in (0, 1)
/// (ISO/IEC 19795-1).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Fmr(f64);

impl Fmr {
    /// A rate strictly between 0 and 1; all else, NaN included, is `None`.
    pub fn new(rate: f64) -> Option<Self> {
        (rate > 0.0 && rate < 1.0).then_some(Self(rate))
    }

    pub fn get(self) -> f64 {
        self.0
    }

    /// The rate that each of `n` comparisons must meet so that the whole search, among `n` people each compared once,
    /// stays at `self`: the inverse of FPIR = 1 − (1 − FMR)ⁿ (independent comparisons, ISO/IEC 19795-1). `n` = 0 counts
    /// as 1.
    pub fn per_comparison(self, n: usize) -> Self {
        // ln_1p and exp_m1 keep the digits that 1 − 1e-6 would lose.
        let each = -((-self.0).ln_1p() / n.max(1) as f64).exp_m1();
        // Underflow for absurd n would leave 0, which is no rate: the smallest one is stricter than any table.
        Self(each.max(f64::MIN_POSITIVE))
    }

    /// Among how many a whole search stays at `self` where each comparison meets `each`: the inverse of
    /// [`Fmr::per_comparison`].
    pub fn comparisons(self, each: Self) -> usize {
        ((-self.0).ln_1p() / (-each.0).ln_1p()) as usize
    }
}

/// An upper bound in so many digits, rounded up: one that is rounded down isn't one.
pub fn rounded_up(rate: f64, digits: i32) -> f64 {
    let last = 10f64.powi(rate.log10().floor() as i32 + 1 - digits);
    // A rate that has no more digits stays what it is, whatever its division leaves.
    (rate / last - 1e-9).ceil() * last
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl fmt::Display for Fmr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_infinity_are_no_value_of_any_unit() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Similarity::new(x).is_none());
            assert!(Fmr::new(f64::from(x)).is_none());
        }
        assert!(Fmr::new(0.0).is_none() && Fmr::new(1.0).is_none());
    }

    #[test]
    fn rounding_is_clamped_and_more_is_refused() {
        assert_eq!(Similarity::new(1.0 + 1e-6), Some(Similarity::MAX));
        assert!(Similarity::new(1.001).is_none());
    }

    /// The false positive identification rate of a search among `n` people.
    fn fpir(fmr: Fmr, n: usize) -> f64 {
        -(n as f64 * (-fmr.0).ln_1p()).exp_m1()
    }

    #[test]
    fn a_search_among_many_meets_the_rate_when_each_comparison_does() {
        let fmr = Fmr::new(1e-6).unwrap();
        assert!((fpir(fmr, 1) - 1e-6).abs() < 1e-15);
        assert!((fpir(fmr, 1000) - 9.995e-4).abs() < 1e-7);
        let target = Fmr::new(1e-4).unwrap();
        let each = target.per_comparison(5000);
        assert!((fpir(each, 5000) / 1e-4 - 1.0).abs() < 1e-9);
        assert_eq!(target.per_comparison(0), target.per_comparison(1));
    }

    #[test]
    fn a_search_may_be_among_as_many_as_a_comparisons_rate_leaves() {
        let (target, each) = (Fmr::new(1e-4).unwrap(), Fmr::new(1.665e-7).unwrap());
        assert_eq!(target.comparisons(each), 600);
        assert!(target.per_comparison(600) >= each && target.per_comparison(601) < each);
        assert_eq!((each.comparisons(each), each.comparisons(target)), (1, 0));
    }
}
