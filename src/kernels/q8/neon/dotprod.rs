//! `sdot`, of ARMv8.2: each of four lanes adds four products of signed bytes. Two a cycle on Cortex-A76 and A78, 32
//! products.
//!
//! A tile is 4 rows x 16 outputs: sixteen registers of sums, four with sixteen bytes of each row, which the instruction
//! takes four by four from a lane, and weights passing through the others.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Out, Panel, signed};

/// # Safety
/// The CPU has the instruction; what [`Dense::run`](super::Dense::run) checks holds, and the panel is packed for it.
#[target_feature(enable = "neon,dotprod")]
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
#[target_feature(enable = "neon,dotprod")]
unsafe fn rows<const N: usize>(panel: &Panel<'_>, out: &Out<'_>) {
    let count = panel.rows.count;
    let mut row = 0;
    // SAFETY: the caller's promise; rows from `row` to the tile's height are there.
    unsafe {
        while row + 4 <= count {
            tile::<4, N>(panel, row, out);
            row += 4;
        }
        while row + 2 <= count {
            tile::<2, N>(panel, row, out);
            row += 2;
        }
        if row < count {
            tile::<1, N>(panel, row, out);
        }
    }
}

/// M rows by 4·N outputs.
///
/// # Safety
/// As [`rows`]; M rows are there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const M: usize, const N: usize>(panel: &Panel<'_>, row: usize, out: &Out<'_>) {
    // SAFETY: the caller's promise; what is read of a row beyond its depth is within its slack.
    unsafe {
        let mut sums: [[int32x4_t; N]; M] = [panel.bias(); M];
        let (mut bytes, mut weights) = (panel.rows_from::<M>(row), panel.weights);
        for _ in 0..panel.steps / 4 {
            let rows = bytes.map(|row| signed(row));
            four::<M, N, 0>(&mut sums, &rows, weights);
            four::<M, N, 1>(&mut sums, &rows, weights.add(64));
            four::<M, N, 2>(&mut sums, &rows, weights.add(2 * 64));
            four::<M, N, 3>(&mut sums, &rows, weights.add(3 * 64));
            (bytes, weights) = (bytes.map(|row| row.add(16)), weights.add(4 * 64));
        }
        for _ in 0..panel.steps % 4 {
            let rows = bytes.map(|row| signed(row));
            four::<M, N, 0>(&mut sums, &rows, weights);
            (bytes, weights) = (bytes.map(|row| row.add(4)), weights.add(64));
        }
        // A copy, whose address may be known: the sums themselves are to stay in registers.
        out.put(row, panel.range(), &sums.map(|sums| sums.map(|four| four)));
    }
}

/// Adds the products of four numbers of each row to all sums.
///
/// # Safety
/// The CPU has the instruction; there are weights of 4·N outputs.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn four<const M: usize, const N: usize, const LANE: i32>(
    sums: &mut [[int32x4_t; N]; M],
    rows: &[int8x16_t; M],
    weights: *const i8,
) {
    for n in 0..N {
        // SAFETY: the caller's promise.
        let weights = unsafe { vld1q_s8(weights.add(16 * n)) };
        for (sums, row) in sums.iter_mut().zip(rows) {
            sums[n] = sdot::<LANE>(sums[n], weights, *row);
        }
    }
}

/// Adds to each lane the products of its four bytes of `a` and the four in that lane of `b`. (The intrinsic,
/// `vdotq_laneq_s32`, is not stable yet.)
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: i32>(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers in, registers out; the function's feature is the instruction's.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{lane}]", inout(vreg) sum, in(vreg) a, in(vreg) b, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
