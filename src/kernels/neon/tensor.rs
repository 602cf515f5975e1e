//! Eight pixels at a time.

use std::arch::aarch64::*;

use super::{load_threes, store_f32};
use crate::kernels::tensor::scalar;

#[target_feature(enable = "neon")]
pub fn planar(rgb: &[u8], mean: [f32; 3], scale: [f32; 3], [r, g, b]: [&mut [f32]; 3]) {
    let (blocks, rest) = rgb.as_chunks::<24>();
    let [(r, r_rest), (g, g_rest), (b, b_rest)] = [r, g, b].map(|plane| plane.as_chunks_mut::<8>());
    let (mean_of, scale_of) = (mean.map(|x| vdupq_n_f32(x)), scale.map(|x| vdupq_n_f32(x)));
    for (((block, r), g), b) in blocks.iter().zip(r).zip(g).zip(b) {
        let uint8x8x3_t(red, green, blue) = load_threes(block);
        for (c, (samples, out)) in [(red, r), (green, g), (blue, b)].into_iter().enumerate() {
            let samples = vmovl_u8(samples);
            let halves = [vmovl_u16(vget_low_u16(samples)), vmovl_high_u16(samples)];
            for (half, out) in halves.into_iter().zip(out.as_chunks_mut().0) {
                store_f32(out, vmulq_f32(vsubq_f32(vcvtq_f32_u32(half), mean_of[c]), scale_of[c]));
            }
        }
    }
    scalar::planar(rest, mean, scale, [r_rest, g_rest, b_rest]);
}
