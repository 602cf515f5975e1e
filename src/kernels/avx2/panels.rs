//! Bytes as halves of 16-bit numbers: even dimensions below, odd ones above.
//!
//! A shift right leaves the odd ones, a shift left 256 times the even ones, and both are exact operands of `vpmaddwd`. That
//! takes no byte across lanes, as widening would, and allows every value, as `vpmaddubsw` would not.

use std::arch::x86_64::*;

use super::{load_i8, store_i32};
use crate::kernels::panels::{MAX_DIMS, Quad, ROWS, each_panel};

/// Vectors that hold one quad of a panel, eight rows each.
const VECTORS: usize = ROWS / 8;

#[target_feature(enable = "avx2")]
pub fn scores(quads: &[Quad], query: &[[i8; 4]], out: &mut [i32]) {
    // Two dimensions as vpmaddwd takes them.
    let pair = |low: i8, high: i8| i32::from(low) & 0xffff | i32::from(high) << 16;
    let [mut even, mut odd] = [[0; MAX_DIMS / 4]; 2];
    for (k, &[a, b, c, d]) in query.iter().enumerate() {
        (even[k], odd[k]) = (pair(a, c), pair(b, d));
    }
    let (even, odd) = (&even[..query.len()], &odd[..query.len()]);
    each_panel(quads, query.len(), out, |panel, out| panel_scores(panel, even, odd, out));
}

#[inline]
#[target_feature(enable = "avx2")]
fn panel_scores(panel: &[Quad], even: &[i32], odd: &[i32], out: &mut [i32; ROWS]) {
    let mut even_sums = [_mm256_setzero_si256(); VECTORS];
    let mut odd_sums = even_sums;
    for ((quad, &even), &odd) in panel.iter().zip(even).zip(odd) {
        let (even, odd) = (_mm256_set1_epi32(even), _mm256_set1_epi32(odd));
        for (k, rows) in quad.0.as_flattened().as_chunks().0.iter().enumerate() {
            let rows = load_i8(rows);
            even_sums[k] = _mm256_add_epi32(even_sums[k], _mm256_madd_epi16(_mm256_slli_epi16(rows, 8), even));
            odd_sums[k] = _mm256_add_epi32(odd_sums[k], _mm256_madd_epi16(_mm256_srai_epi16(rows, 8), odd));
        }
    }
    for (k, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        store_i32(out, _mm256_add_epi32(_mm256_srai_epi32(even_sums[k], 8), odd_sums[k]));
    }
}
