//! Sixteen pixels at a time, as 16-bit numbers: pixels 0 to 7 in the low half of a vector, 8 to 15 in the high one.

use std::arch::x86_64::*;

use super::{both_halves, load16, load32, store8, store16};
use crate::kernels::colour::{FRACTION, matrix, scalar};

#[target_feature(enable = "avx2")]
pub fn yuyv_row(yuyv: &[u8], rgb: &mut [u8]) {
    let (blocks, rest) = yuyv.as_chunks::<32>();
    let (out, out_rest) = rgb.as_chunks_mut::<48>();
    let u_of_pair = both_halves([1, -1, 1, -1, 5, -1, 5, -1, 9, -1, 9, -1, 13, -1, 13, -1]);
    let v_of_pair = both_halves([3, -1, 3, -1, 7, -1, 7, -1, 11, -1, 11, -1, 15, -1, 15, -1]);
    for (block, out) in blocks.iter().zip(out) {
        let block = load32(block);
        let y = _mm256_and_si256(block, _mm256_set1_epi16(0xff));
        convert(y, _mm256_shuffle_epi8(block, u_of_pair), _mm256_shuffle_epi8(block, v_of_pair), out);
    }
    scalar::yuyv_row(rest, out_rest);
}

#[target_feature(enable = "avx2")]
pub fn nv12_row(luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
    let (luma, luma_rest) = luma.as_chunks::<16>();
    let (chroma, chroma_rest) = chroma.as_chunks::<16>();
    let (out, out_rest) = rgb.as_chunks_mut::<48>();
    let u_of_pair = both_halves([0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12, -1]);
    let v_of_pair = both_halves([2, -1, 2, -1, 6, -1, 6, -1, 10, -1, 10, -1, 14, -1, 14, -1]);
    for ((luma, chroma), out) in luma.iter().zip(chroma).zip(out) {
        let y = _mm256_cvtepu8_epi16(load16::<0, 16>(luma));
        let uv = _mm256_cvtepu8_epi16(load16::<0, 16>(chroma));
        convert(y, _mm256_shuffle_epi8(uv, u_of_pair), _mm256_shuffle_epi8(uv, v_of_pair), out);
    }
    scalar::nv12_row(luma_rest, chroma_rest, out_rest);
}

#[target_feature(enable = "avx2")]
pub fn grey_row(grey: &[u8], rgb: &mut [u8]) {
    let (blocks, rest) = grey.as_chunks::<16>();
    let (out, out_rest) = rgb.as_chunks_mut::<48>();
    for (block, out) in blocks.iter().zip(out) {
        let block = load16::<0, 16>(block);
        let first = _mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5);
        let second = _mm_setr_epi8(5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10);
        let third = _mm_setr_epi8(10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15);
        store16::<0, 48>(out, _mm_shuffle_epi8(block, first));
        store16::<16, 48>(out, _mm_shuffle_epi8(block, second));
        store16::<32, 48>(out, _mm_shuffle_epi8(block, third));
    }
    scalar::grey_row(rest, out_rest);
}

/// `scalar::pixel` of sixteen pixels.
#[inline]
#[target_feature(enable = "avx2")]
fn convert(y: __m256i, u: __m256i, v: __m256i, rgb: &mut [u8; 48]) {
    let y = fixed(y, 16);
    let (u, v) = (fixed(u, 128), fixed(v, 128));
    let y = _mm256_add_epi16(y, times(y, matrix::Y));
    let red = _mm256_add_epi16(_mm256_add_epi16(y, v), times(v, matrix::RV));
    let green = _mm256_sub_epi16(_mm256_sub_epi16(y, times(u, matrix::GU)), times(v, matrix::GV));
    let blue = _mm256_add_epi16(_mm256_add_epi16(y, _mm256_add_epi16(u, u)), times(u, matrix::BU));
    interleave(rounded(red), rounded(green), rounded(blue), rgb);
}

#[inline]
#[target_feature(enable = "avx2")]
fn fixed(samples: __m256i, zero: i16) -> __m256i {
    _mm256_slli_epi16(_mm256_sub_epi16(samples, _mm256_set1_epi16(zero)), FRACTION)
}

#[inline]
#[target_feature(enable = "avx2")]
fn times(x: __m256i, q15: i16) -> __m256i {
    _mm256_mulhrs_epi16(x, _mm256_set1_epi16(q15))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rounded(sums: __m256i) -> __m256i {
    _mm256_srai_epi16(_mm256_add_epi16(sums, _mm256_set1_epi16(1 << (FRACTION - 1))), FRACTION)
}

/// Saturates three channels of sixteen pixels to bytes and weaves them.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(red: __m256i, green: __m256i, blue: __m256i, rgb: &mut [u8; 48]) {
    // Each half now holds eight reds, then eight greens; eight blues, twice. It makes 24 bytes of RGB.
    let red_green = _mm256_packus_epi16(red, green);
    let blue = _mm256_packus_epi16(blue, blue);
    let first = _mm256_or_si256(
        _mm256_shuffle_epi8(red_green, both_halves([0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5])),
        _mm256_shuffle_epi8(blue, both_halves([-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1])),
    );
    let last = _mm256_or_si256(
        _mm256_shuffle_epi8(red_green, both_halves([13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1])),
        _mm256_shuffle_epi8(blue, both_halves([-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1])),
    );
    store16::<0, 48>(rgb, _mm256_castsi256_si128(first));
    store8::<16, 48>(rgb, _mm256_castsi256_si128(last));
    store16::<24, 48>(rgb, _mm256_extracti128_si256(first, 1));
    store8::<40, 48>(rgb, _mm256_extracti128_si256(last, 1));
}
