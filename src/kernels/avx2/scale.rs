//! Sixteen pixels of two rows to eight of one.

use std::arch::x86_64::*;

use super::{both_halves, load16_twice, store12_twice};
use crate::kernels::scale::scalar;

#[target_feature(enable = "avx2")]
pub fn halve_row(above: &[u8], below: &[u8], out: &mut [u8]) {
    let (above, above_rest) = above.as_chunks::<48>();
    let (below, below_rest) = below.as_chunks::<48>();
    let (out, out_rest) = out.as_chunks_mut::<24>();
    // Each half takes four pixels, twelve bytes: bytes 0 and 24 on, then 12 and 36 on, the last of which is loaded from
    // 32 on to stay inside the block. The two pixels of a pair stand side by side by channel.
    let pairs = both_halves([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1]);
    let last = _mm256_set_m128i(_mm_set1_epi8(4), _mm_setzero_si128());
    let pairs_from_32 = _mm256_add_epi8(pairs, last);
    for ((above, below), out) in above.iter().zip(below).zip(out) {
        let even = mean(load16_twice::<0, 24, 48>(above), load16_twice::<0, 24, 48>(below), pairs);
        let odd = mean(load16_twice::<12, 32, 48>(above), load16_twice::<12, 32, 48>(below), pairs_from_32);
        let bytes = _mm256_packus_epi16(even, odd);
        let without_gaps = both_halves([0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1]);
        store12_twice(out, _mm256_shuffle_epi8(bytes, without_gaps));
    }
    scalar::halve_row(above_rest, below_rest, out_rest);
}

/// Six means in each half, as 16-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn mean(above: __m256i, below: __m256i, pairs: __m256i) -> __m256i {
    let sums = |row| _mm256_maddubs_epi16(_mm256_shuffle_epi8(row, pairs), _mm256_set1_epi8(1));
    let sum = _mm256_add_epi16(sums(above), sums(below));
    _mm256_srli_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16(2)), 2)
}
