//! `usmmla`, of ARMv8.6: two rows of eight unsigned bytes times two rows of eight signed ones are four sums of eight
//! products.
//!
//! A tile is 2 pairs of rows x 8 pairs of outputs: sixteen registers with sums of two by two.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Out, Panel};

/// Pairs of outputs in a panel.
const PAIRS: usize = 8;

/// # Safety
/// The CPU has the instruction; what [`Dense::run`](super::Dense::run) checks holds, and the panel is packed for it.
#[target_feature(enable = "neon,i8mm")]
pub(super) unsafe fn panel(panel: &Panel<'_>, out: &Out<'_>) {
    // SAFETY: the caller's promise; the panel has so many outputs.
    unsafe {
        match panel.outputs.div_ceil(4) {
            1 => rows::<1>(panel, out),
            2 => rows::<2>(panel, out),
            _ => rows::<4>(panel, out),
        }
    }
}

/// # Safety
/// As [`panel`], which has no more than 4·N outputs.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn rows<const N: usize>(panel: &Panel<'_>, out: &Out<'_>) {
    let count = panel.rows.count;
    let mut row = 0;
    // SAFETY: the caller's promise; rows from `row` on are there.
    unsafe {
        while row + 4 <= count {
            tile::<2, N>(panel, row, out);
            row += 4;
        }
        while row < count {
            tile::<1, N>(panel, row, out);
            row += 2;
        }
    }
}

/// 2·M rows by 4·N outputs. The last row, if it has no neighbour, is its own.
///
/// # Safety
/// As [`rows`]; 2·M - 1 rows are there.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const M: usize, const N: usize>(panel: &Panel<'_>, row: usize, out: &Out<'_>) {
    // SAFETY: the caller's promise; what is read of a row beyond its depth is within its slack.
    unsafe {
        let mut sums = [[[vdupq_n_s32(0); 2]; N]; M];
        let last = panel.rows.count - 1;
        let mut bytes: [[*const u8; 2]; M] =
            std::array::from_fn(|m| [0, 1].map(|k| panel.row((row + 2 * m + k).min(last))));
        let mut weights = panel.weights;
        for _ in 0..panel.steps / 2 {
            let rows = bytes.map(|[a, b]| (vreinterpretq_u64_u8(vld1q_u8(a)), vreinterpretq_u64_u8(vld1q_u8(b))));
            eight(&mut sums, &rows.map(|(a, b)| vreinterpretq_u8_u64(vzip1q_u64(a, b))), weights);
            eight(&mut sums, &rows.map(|(a, b)| vreinterpretq_u8_u64(vzip2q_u64(a, b))), weights.add(16 * PAIRS));
            bytes = bytes.map(|pair| pair.map(|row| row.add(16)));
            weights = weights.add(2 * 16 * PAIRS);
        }
        if panel.steps % 2 == 1 {
            eight(&mut sums, &bytes.map(|[a, b]| vcombine_u8(vld1_u8(a), vld1_u8(b))), weights);
        }
        let bias: [int32x4_t; N] = panel.bias();
        for (m, sums) in sums.into_iter().enumerate() {
            let row_of = |which: fn(int64x2_t, int64x2_t) -> int64x2_t| -> [int32x4_t; N] {
                std::array::from_fn(|n| {
                    let [a, b] = sums[n].map(|pair| vreinterpretq_s64_s32(pair));
                    vaddq_s32(vreinterpretq_s32_s64(which(a, b)), bias[n])
                })
            };
            let both = [row_of(|a, b| vzip1q_s64(a, b)), row_of(|a, b| vzip2q_s64(a, b))];
            let row = row + 2 * m;
            if row < last {
                out.put(row, panel.range(), &both);
            } else {
                out.put(row, panel.range(), &[both[0]]);
            }
        }
    }
}

/// Adds the products of eight numbers of each row to all sums.
///
/// # Safety
/// The CPU has the instruction; there are weights of 4·N outputs.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn eight<const M: usize, const N: usize>(
    sums: &mut [[[int32x4_t; 2]; N]; M],
    rows: &[uint8x16_t; M],
    weights: *const i8,
) {
    for n in 0..N {
        for k in 0..2 {
            // SAFETY: the caller's promise.
            let weights = unsafe { vld1q_s8(weights.add(16 * (2 * n + k))) };
            for (sums, row) in sums.iter_mut().zip(rows) {
                sums[n][k] = usmmla(sums[n][k], *row, weights);
            }
        }
    }
}

/// Adds the product of a 2 x 8 matrix and the transpose of another. (The intrinsic, `vusmmlaq_s32`, is not stable yet.)
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn usmmla(mut sums: int32x4_t, a: uint8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers in, registers out; the function's feature is the instruction's.
    unsafe {
        asm!("usmmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
