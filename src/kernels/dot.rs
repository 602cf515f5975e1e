//! Products and distances of two vectors, in an order that every instruction set keeps.
//!
//! Element k goes to partial sum k mod 8, in order; the eight are then added as ((0+4)+(2+6)) + ((1+5)+(3+7)). Products
//! are rounded before they are added: nothing is fused.

use super::{Isa, active};

/// Partial sums.
pub(super) const LANES: usize = 8;

/// Σ aₖ·bₖ. NaN and infinity come out as IEEE 754 has them.
///
/// # Panics
/// If the lengths differ.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    dot_on(active(), a, b)
}

/// Σ wₖ·|aₖ − bₖ|: what the pair head's logistic regression takes. NaN and infinity come out as IEEE 754 has them.
///
/// # Panics
/// If the lengths differ.
pub fn weighted_l1(a: &[f32], b: &[f32], w: &[f32]) -> f32 {
    weighted_l1_on(active(), a, b, w)
}

pub(super) fn dot_on(isa: Isa, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let (a, a_rest) = a.as_chunks();
    let (b, b_rest) = b.as_chunks();
    let lanes = dispatch!(isa, dot::dot(a, b));
    sum(lanes, a_rest.iter().zip(b_rest).map(|(a, b)| a * b))
}

pub(super) fn weighted_l1_on(isa: Isa, a: &[f32], b: &[f32], w: &[f32]) -> f32 {
    assert!(a.len() == b.len() && a.len() == w.len(), "vectors of {}, {} and {} elements", a.len(), b.len(), w.len());
    let (a, a_rest) = a.as_chunks();
    let (b, b_rest) = b.as_chunks();
    let (w, w_rest) = w.as_chunks();
    let lanes = dispatch!(isa, dot::weighted_l1(a, b, w));
    sum(lanes, a_rest.iter().zip(b_rest).zip(w_rest).map(|((a, b), w)| w * (a - b).abs()))
}

/// The partial sums and the terms that fill no whole vector.
fn sum(mut lanes: [f32; LANES], rest: impl Iterator<Item = f32>) -> f32 {
    for (lane, term) in lanes.iter_mut().zip(rest) {
        *lane += term;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The definition.
pub(super) mod scalar {
    use super::LANES;

    pub fn dot(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        for (a, b) in a.iter().zip(b) {
            for k in 0..LANES {
                lanes[k] += a[k] * b[k];
            }
        }
        lanes
    }

    pub fn weighted_l1(a: &[[f32; LANES]], b: &[[f32; LANES]], w: &[[f32; LANES]]) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        for ((a, b), w) in a.iter().zip(b).zip(w) {
            for k in 0..LANES {
                lanes[k] += w[k] * (a[k] - b[k]).abs();
            }
        }
        lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_shorter_than_the_lanes_is_summed_as_any_other() {
        assert_eq!(dot_f32(&[], &[]), 0.0);
        assert_eq!(dot_f32(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 32.0);
        assert_eq!(weighted_l1(&[1.0, 5.0], &[2.0, 3.0], &[10.0, 100.0]), 210.0);
    }

    #[test]
    fn nan_in_any_place_makes_the_sum_nan() {
        for at in 0..19 {
            let (mut a, b) = ([1.0; 19], [0.5; 19]);
            a[at] = f32::NAN;
            assert!(dot_f32(&a, &b).is_nan() && weighted_l1(&b, &b, &a).is_nan(), "element {at}");
        }
    }
}
