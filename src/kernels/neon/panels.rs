//! With `sdot` (Cortex-A75 and later, Pi 5, Jetson Orin) one instruction takes four dimensions of four rows; without it
//! (Cortex-A53, A72, Pi 3 and 4) `smull` makes eight products, exact in 16 bits, and `sadalp` adds them in pairs to 32.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::{load_i8, repeat4, store_i32};
use crate::kernels::panels::{Quad, ROWS, each_panel};

/// Vectors that hold one quad of a panel, four rows each.
const VECTORS: usize = ROWS / 4;

#[target_feature(enable = "neon")]
pub fn scores(quads: &[Quad], query: &[[i8; 4]], out: &mut [i32]) {
    if is_aarch64_feature_detected!("dotprod") {
        // SAFETY: the CPU has been seen to have it.
        unsafe { by_sdot(quads, query, out) }
    } else {
        by_smull(quads, query, out);
    }
}

#[target_feature(enable = "neon,dotprod")]
fn by_sdot(quads: &[Quad], query: &[[i8; 4]], out: &mut [i32]) {
    each_panel(quads, query.len(), out, |panel, out| {
        let mut sums = [vdupq_n_s32(0); VECTORS];
        for (quad, query) in panel.iter().zip(query) {
            let query = repeat4(*query);
            for (sum, rows) in sums.iter_mut().zip(quad.0.as_flattened().as_chunks().0) {
                *sum = sdot(*sum, load_i8(rows), query);
            }
        }
        for (out, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
            store_i32(out, sum);
        }
    });
}

/// Adds to each lane the dot product of four bytes. (The intrinsic, `vdotq_s32`, is not stable yet.)
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers in, registers out; the function's feature is the instruction's.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

#[target_feature(enable = "neon")]
fn by_smull(quads: &[Quad], query: &[[i8; 4]], out: &mut [i32]) {
    each_panel(quads, query.len(), out, |panel, out| {
        // Two lanes a row, which are added at the end.
        let mut sums = [[vdupq_n_s32(0); 2]; VECTORS];
        for (quad, query) in panel.iter().zip(query) {
            let query = repeat4(*query);
            for ([low, high], rows) in sums.iter_mut().zip(quad.0.as_flattened().as_chunks().0) {
                let rows = load_i8(rows);
                *low = vpadalq_s16(*low, vmull_s8(vget_low_s8(rows), vget_low_s8(query)));
                *high = vpadalq_s16(*high, vmull_high_s8(rows, query));
            }
        }
        for (out, [low, high]) in out.as_chunks_mut().0.iter_mut().zip(sums) {
            store_i32(out, vpaddq_s32(low, high));
        }
    });
}
