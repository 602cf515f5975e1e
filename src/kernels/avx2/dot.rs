//! One vector holds the eight partial sums.

use std::arch::x86_64::*;

use super::{load_f32, store_f32};

#[target_feature(enable = "avx2")]
pub fn dot(a: &[[f32; 8]], b: &[[f32; 8]]) -> [f32; 8] {
    let mut sums = _mm256_setzero_ps();
    for (a, b) in a.iter().zip(b) {
        sums = _mm256_add_ps(sums, _mm256_mul_ps(load_f32(a), load_f32(b)));
    }
    lanes(sums)
}

#[target_feature(enable = "avx2")]
pub fn weighted_l1(a: &[[f32; 8]], b: &[[f32; 8]], w: &[[f32; 8]]) -> [f32; 8] {
    let mut sums = _mm256_setzero_ps();
    for ((a, b), w) in a.iter().zip(b).zip(w) {
        let distance = _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(load_f32(a), load_f32(b)));
        sums = _mm256_add_ps(sums, _mm256_mul_ps(load_f32(w), distance));
    }
    lanes(sums)
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(sums: __m256) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    store_f32(&mut lanes, sums);
    lanes
}
