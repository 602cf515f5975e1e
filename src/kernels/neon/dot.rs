//! Two vectors hold the eight partial sums.

use std::arch::aarch64::*;

use super::{load_f32, store_f32};

#[target_feature(enable = "neon")]
pub fn dot(a: &[[f32; 8]], b: &[[f32; 8]]) -> [f32; 8] {
    let mut sums = [vdupq_n_f32(0.0); 2];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (halves(a), halves(b));
        for k in 0..2 {
            sums[k] = vaddq_f32(sums[k], vmulq_f32(a[k], b[k]));
        }
    }
    lanes(sums)
}

#[target_feature(enable = "neon")]
pub fn weighted_l1(a: &[[f32; 8]], b: &[[f32; 8]], w: &[[f32; 8]]) -> [f32; 8] {
    let mut sums = [vdupq_n_f32(0.0); 2];
    for ((a, b), w) in a.iter().zip(b).zip(w) {
        let (a, b, w) = (halves(a), halves(b), halves(w));
        for k in 0..2 {
            sums[k] = vaddq_f32(sums[k], vmulq_f32(w[k], vabdq_f32(a[k], b[k])));
        }
    }
    lanes(sums)
}

#[inline]
#[target_feature(enable = "neon")]
fn halves(from: &[f32; 8]) -> [float32x4_t; 2] {
    let (halves, _) = from.as_chunks();
    [load_f32(&halves[0]), load_f32(&halves[1])]
}

#[inline]
#[target_feature(enable = "neon")]
fn lanes(sums: [float32x4_t; 2]) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    for (sums, lanes) in sums.into_iter().zip(lanes.as_chunks_mut().0) {
        store_f32(lanes, sums);
    }
    lanes
}
