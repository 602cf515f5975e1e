//! Eight pixels at a time.

use std::arch::x86_64::*;

use super::{both_halves, load16_twice, store_f32};
use crate::kernels::tensor::scalar;

#[target_feature(enable = "avx2")]
pub fn planar(rgb: &[u8], mean: [f32; 3], scale: [f32; 3], [r, g, b]: [&mut [f32]; 3]) {
    let (blocks, rest) = rgb.as_chunks::<24>();
    let [(r, r_rest), (g, g_rest), (b, b_rest)] = [r, g, b].map(|plane| plane.as_chunks_mut::<8>());
    let (mean_of, scale_of) = (mean.map(|x| _mm256_set1_ps(x)), scale.map(|x| _mm256_set1_ps(x)));
    // The high half is loaded from byte 8 on to stay inside the block; its four pixels begin four bytes later.
    let red = both_halves([0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1]);
    let first = _mm256_set_m128i(_mm_set1_epi32(4), _mm_setzero_si128());
    let red = _mm256_add_epi32(red, first);
    let of_channel = [0, 1, 2].map(|c| _mm256_add_epi32(red, _mm256_set1_epi32(c)));
    for (((block, r), g), b) in blocks.iter().zip(r).zip(g).zip(b) {
        let block = load16_twice::<0, 8, 24>(block);
        for (c, out) in [r, g, b].into_iter().enumerate() {
            let samples = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(block, of_channel[c]));
            store_f32(out, _mm256_mul_ps(_mm256_sub_ps(samples, mean_of[c]), scale_of[c]));
        }
    }
    scalar::planar(rest, mean, scale, [r_rest, g_rest, b_rest]);
}
