//! Eight pairs of pixels at a time, as 16-bit numbers; what chroma adds is worked out once a pair.

use std::arch::aarch64::*;

use super::{load_fours, load_twos, load_u8, store_threes_q};
use crate::kernels::colour::{FRACTION, matrix, scalar};

#[target_feature(enable = "neon")]
pub fn yuyv_row(yuyv: &[u8], rgb: &mut [u8]) {
    let (blocks, rest) = yuyv.as_chunks::<32>();
    let (out, out_rest) = rgb.as_chunks_mut::<48>();
    for (block, out) in blocks.iter().zip(out) {
        let uint8x8x4_t(y0, u, y1, v) = load_fours(block);
        store_threes_q(out, convert(y0, y1, u, v));
    }
    scalar::yuyv_row(rest, out_rest);
}

#[target_feature(enable = "neon")]
pub fn nv12_row(luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
    let (luma, luma_rest) = luma.as_chunks::<16>();
    let (chroma, chroma_rest) = chroma.as_chunks::<16>();
    let (out, out_rest) = rgb.as_chunks_mut::<48>();
    for ((luma, chroma), out) in luma.iter().zip(chroma).zip(out) {
        let (uint8x8x2_t(y0, y1), uint8x8x2_t(u, v)) = (load_twos(luma), load_twos(chroma));
        store_threes_q(out, convert(y0, y1, u, v));
    }
    scalar::nv12_row(luma_rest, chroma_rest, out_rest);
}

#[target_feature(enable = "neon")]
pub fn grey_row(grey: &[u8], rgb: &mut [u8]) {
    let (blocks, rest) = grey.as_chunks::<16>();
    let (out, out_rest) = rgb.as_chunks_mut::<48>();
    for (block, out) in blocks.iter().zip(out) {
        let block = load_u8(block);
        store_threes_q(out, uint8x16x3_t(block, block, block));
    }
    scalar::grey_row(rest, out_rest);
}

/// `scalar::pixel` of eight pairs: the first pixels' luma, the second ones', and their chroma.
#[inline]
#[target_feature(enable = "neon")]
fn convert(y0: uint8x8_t, y1: uint8x8_t, u: uint8x8_t, v: uint8x8_t) -> uint8x16x3_t {
    let (u, v) = (fixed(u, 128), fixed(v, 128));
    let red = vaddq_s16(v, times(v, matrix::RV));
    let green = vaddq_s16(times(u, matrix::GU), times(v, matrix::GV));
    let blue = vaddq_s16(vaddq_s16(u, u), times(u, matrix::BU));
    let [first, second] = [y0, y1].map(|y| {
        let y = fixed(y, 16);
        let y = vaddq_s16(y, times(y, matrix::Y));
        [vaddq_s16(y, red), vsubq_s16(y, green), vaddq_s16(y, blue)].map(|sum| vqrshrun_n_s16::<FRACTION>(sum))
    });
    let weave = |c: usize| vcombine_u8(vzip1_u8(first[c], second[c]), vzip2_u8(first[c], second[c]));
    uint8x16x3_t(weave(0), weave(1), weave(2))
}

#[inline]
#[target_feature(enable = "neon")]
fn fixed(samples: uint8x8_t, zero: u8) -> int16x8_t {
    vshlq_n_s16::<FRACTION>(vreinterpretq_s16_u16(vsubl_u8(samples, vdup_n_u8(zero))))
}

#[inline]
#[target_feature(enable = "neon")]
fn times(x: int16x8_t, q15: i16) -> int16x8_t {
    vqrdmulhq_n_s16(x, q15)
}
