//! With `sdot` (Cortex-A75 and later, Pi 5, Jetson Orin) one instruction takes four dimensions of four rows; without it
//! (Cortex-A53, A72, Pi 3 and 4) `smull` makes eight products, exact in 16 bits, and `sadalp` adds them in pairs to 32.
//! Four products of a query within [`NARROW`] fit 16 bits, so `smlal` adds three more before `sadalp` does.
//!
//! [`NARROW`]: crate::kernels::panels::NARROW

use std::arch::aarch64::*;
use std::arch::asm;

use super::{load_i8, repeat4, store_i32};
use crate::kernels::panels::{Quad, ROWS, Search, Task};

/// Vectors that hold one quad of a panel, four rows each.
const VECTORS: usize = ROWS / 4;
/// Quads of which products are added in 16 bits: 4 · 128 · 63 < 2¹⁵.
const QUADS: usize = 4;

#[target_feature(enable = "neon")]
pub fn search(task: Task<'_>, search: &mut impl Search) {
    if task.is_narrow() {
        by_smull::<QUADS>(task, search);
    } else {
        by_smull::<1>(task, search);
    }
}

#[target_feature(enable = "neon,dotprod")]
pub fn by_sdot(task: Task<'_>, search: &mut impl Search) {
    task.each_panel(search, |panel, floor| {
        let mut sums = [vdupq_n_s32(0); VECTORS];
        for (quad, query) in panel.iter().zip(task.query) {
            let query = repeat4(*query);
            for (sum, rows) in sums.iter_mut().zip(quad.0.as_flattened().as_chunks().0) {
                *sum = sdot(*sum, load_i8(rows), query);
            }
        }
        above(&sums, floor)
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

/// Adds the products of so many quads in 16 bits.
#[target_feature(enable = "neon")]
fn by_smull<const N: usize>(task: Task<'_>, search: &mut impl Search) {
    task.each_panel(search, |panel, floor| {
        // Two lanes a row, which are added at the end.
        let mut sums = [[vdupq_n_s32(0); 2]; VECTORS];
        let ((panel, panel_rest), (query, query_rest)) = (panel.as_chunks::<N>(), task.query.as_chunks::<N>());
        for (quads, query) in panel.iter().zip(query) {
            add(&mut sums, quads, query);
        }
        for (quad, query) in panel_rest.iter().zip(query_rest) {
            add(&mut sums, &[*quad], &[*query]);
        }
        above(&sums.map(|[low, high]| vpaddq_s32(low, high)), floor)
    });
}

#[inline]
#[target_feature(enable = "neon")]
fn add<const N: usize>(sums: &mut [[int32x4_t; 2]; VECTORS], quads: &[Quad; N], query: &[[i8; 4]; N]) {
    let query = query.map(|query| repeat4(query));
    for (k, [low, high]) in sums.iter_mut().enumerate() {
        let rows: [_; N] = std::array::from_fn(|n| load_i8(&quads[n].0.as_flattened().as_chunks().0[k]));
        let mut products = [vmull_s8(vget_low_s8(rows[0]), vget_low_s8(query[0])), vmull_high_s8(rows[0], query[0])];
        for n in 1..N {
            products[0] = vmlal_s8(products[0], vget_low_s8(rows[n]), vget_low_s8(query[n]));
            products[1] = vmlal_high_s8(products[1], rows[n], query[n]);
        }
        *low = vpadalq_s16(*low, products[0]);
        *high = vpadalq_s16(*high, products[1]);
    }
}

/// The sums, where one of them is above the floor.
#[inline]
#[target_feature(enable = "neon")]
fn above(sums: &[int32x4_t; VECTORS], floor: i32) -> Option<[i32; ROWS]> {
    let largest = sums.iter().skip(1).fold(sums[0], |largest, sums| vmaxq_s32(largest, *sums));
    if vmaxvq_s32(largest) <= floor {
        return None;
    }
    let mut out = [0; ROWS];
    for (out, sums) in out.as_chunks_mut().0.iter_mut().zip(sums) {
        store_i32(out, *sums);
    }
    Some(out)
}
