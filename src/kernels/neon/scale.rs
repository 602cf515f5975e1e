//! Sixteen pixels of two rows to eight of one.

use std::arch::aarch64::*;

use super::{load_threes_q, store_threes};
use crate::kernels::scale::scalar;

#[target_feature(enable = "neon")]
pub fn halve_row(above: &[u8], below: &[u8], out: &mut [u8]) {
    let (above, above_rest) = above.as_chunks::<48>();
    let (below, below_rest) = below.as_chunks::<48>();
    let (out, out_rest) = out.as_chunks_mut::<24>();
    let mean = |above, below| vrshrn_n_u16::<2>(vpadalq_u8(vpaddlq_u8(above), below));
    for ((above, below), out) in above.iter().zip(below).zip(out) {
        let (above, below) = (load_threes_q(above), load_threes_q(below));
        store_threes(out, uint8x8x3_t(mean(above.0, below.0), mean(above.1, below.1), mean(above.2, below.2)));
    }
    scalar::halve_row(above_rest, below_rest, out_rest);
}
