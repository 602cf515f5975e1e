//! NEON: on every 64-bit ARM; with `sdot` in [`dotprod`], with `usmmla` in [`i8mm`].
//!
//! Without them, `smull` and `smlal2` sum two products exactly in each of eight 16-bit lanes, and `sadalp` adds
//! neighbours to 32 bits: three instructions for sixteen products, two of them on the one pipe of a Cortex-A72 that
//! multiplies. So 8 products a cycle are the most, where `f32` reaches 4. A tile is 2 rows x 8 outputs, each sum in
//! four lanes that are added at the end: sixteen registers of sums, two of activations, and weights and products
//! passing through the others.

use std::arch::aarch64::*;
use std::arch::asm;

use super::pack::Packed;
use super::requantise::Requantise;
use super::tiles::Tiles;
use super::{Addend, Dense, Isa, Residual, Rows, Target};

mod depthwise;
mod dotprod;
mod fours;
mod i8mm;
#[cfg(test)]
mod tests;

pub(super) use depthwise::{depthwise, depthwise_sums};

/// # Safety
/// The CPU has the layer's instruction set; what [`Dense::run`] checks holds.
pub(super) unsafe fn dense(layer: &Dense, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>) {
    let (target, places) = (target.bytes.as_mut_ptr(), target.places.at);
    let out = Out::Bytes { requantise: &layer.requantise, addend, target, places };
    // SAFETY: the caller's promise; every place has room for the outputs.
    unsafe { panels(layer, rows, &out) }
}

/// # Safety
/// As [`dense`], and `out` has room for all sums.
pub(super) unsafe fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32]) {
    let out = Out::Sums { target: out.as_mut_ptr(), outputs: layer.outputs };
    // SAFETY: as above; `out` was seen to have rows x outputs sums.
    unsafe { panels(layer, rows, &out) }
}

fn tiles_of(packed: &Packed) -> &Tiles {
    let Packed::Tiles(tiles) = packed else { unreachable!("packed by the same instruction set") };
    tiles
}

/// # Safety
/// As [`dense`].
unsafe fn panels(layer: &Dense, rows: Rows<'_>, out: &Out<'_>) {
    let tiles = tiles_of(&layer.packed);
    let wide = tiles.shape.wide;
    for (panel, first) in (0..layer.outputs).step_by(wide).enumerate() {
        let panel = Panel {
            rows,
            weights: tiles.panel(panel),
            steps: tiles.steps,
            bias: &tiles.bias[first..][..wide],
            first,
            outputs: wide.min(layer.outputs - first),
        };
        // SAFETY: the caller's promise; the panel is packed for this instruction set.
        unsafe {
            match layer.isa {
                Isa::NeonI8mm => i8mm::panel(&panel, out),
                Isa::NeonDotprod => dotprod::panel(&panel, out),
                _ if tiles.has_least => by_smull::<true>(&panel, out),
                _ => by_smull::<false>(&panel, out),
            }
        }
    }
}

/// A panel of weights, and all rows.
struct Panel<'a> {
    rows: Rows<'a>,
    weights: *const i8,
    steps: usize,
    /// Of the whole panel.
    bias: &'a [i32],
    /// Its first output.
    first: usize,
    /// How many of its outputs there are.
    outputs: usize,
}

impl Panel<'_> {
    /// Where a row begins.
    ///
    /// # Safety
    /// There is such a row.
    #[inline]
    unsafe fn row(&self, row: usize) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe { self.rows.bytes.as_ptr().add(row * self.rows.stride) }
    }

    /// The first output, and how many there are.
    fn range(&self) -> [usize; 2] {
        [self.first, self.outputs]
    }

    /// Where M rows begin.
    ///
    /// # Safety
    /// There are such rows.
    #[inline]
    unsafe fn rows_from<const M: usize>(&self, row: usize) -> [*const u8; M] {
        // SAFETY: the caller's promise.
        std::array::from_fn(|m| unsafe { self.row(row + m) })
    }

    /// # Safety
    /// The panel has 4·N outputs.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn bias<const N: usize>(&self) -> [int32x4_t; N] {
        // SAFETY: the caller's promise.
        std::array::from_fn(|n| unsafe { vld1q_s32(self.bias.as_ptr().add(4 * n)) })
    }
}

/// # Safety
/// What [`Dense::run`] checks holds, and the panel is packed for [`Isa::Neon`].
#[target_feature(enable = "neon")]
unsafe fn by_smull<const LEAST: bool>(panel: &Panel<'_>, out: &Out<'_>) {
    let count = panel.rows.count;
    let mut row = 0;
    // SAFETY: the caller's promise; rows from `row` to the tile's height are there.
    unsafe {
        if panel.outputs <= 4 {
            while row < count {
                smull_tile::<1, 1, LEAST>(panel, row, out);
                row += 1;
            }
        }
        while row + 2 <= count {
            smull_tile::<2, 2, LEAST>(panel, row, out);
            row += 2;
        }
        while row < count {
            smull_tile::<1, 2, LEAST>(panel, row, out);
            row += 1;
        }
    }
}

/// M rows by 4·N outputs.
///
/// # Safety
/// As [`by_smull`]; M rows are there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn smull_tile<const M: usize, const N: usize, const LEAST: bool>(panel: &Panel<'_>, row: usize, out: &Out<'_>) {
    // SAFETY: the caller's promise; every step reads sixteen bytes of a row, the last of them within its slack.
    unsafe {
        let mut sums = [[[vdupq_n_s32(0); 4]; N]; M];
        let (mut bytes, mut weights) = (panel.rows_from::<M>(row), panel.weights);
        for _ in 0..panel.steps {
            let rows = bytes.map(|row| signed(row));
            for n in 0..N {
                let weights = std::array::from_fn(|k| vld1q_s8(weights.add(16 * (4 * n + k))));
                for (sums, &row) in sums.iter_mut().zip(&rows) {
                    multiply::<LEAST>(&mut sums[n], row, weights);
                }
            }
            (bytes, weights) = (bytes.map(|row| row.add(16)), weights.add(16 * 8));
        }
        let bias: [int32x4_t; N] = panel.bias();
        let sums: [[int32x4_t; N]; M] = std::array::from_fn(|m| {
            std::array::from_fn(|n| {
                let [a, b, c, d] = sums[m][n];
                vaddq_s32(vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)), bias[n])
            })
        });
        out.put(row, panel.range(), &sums);
    }
}

/// Adds the products of sixteen numbers with those of four outputs to four times four sums.
///
/// In assembler, as a compiler that may order all the instructions of a tile makes its products first, for which there
/// are no registers. Four by four they also are far enough apart for a Cortex-A53, which runs in order.
#[inline]
#[target_feature(enable = "neon")]
fn multiply<const LEAST: bool>(sums: &mut [int32x4_t; 4], bytes: int8x16_t, weights: [int8x16_t; 4]) {
    let [a, b, c, d] = sums;
    let [w, x, y, z] = weights;
    macro_rules! quad {
        ($($line:literal)*) => {
            asm!($($line),*, a = inout(vreg) *a, b = inout(vreg) *b, c = inout(vreg) *c, d = inout(vreg) *d,
                w = in(vreg) w, x = in(vreg) x, y = in(vreg) y, z = in(vreg) z, bytes = in(vreg) bytes,
                p = out(vreg) _, q = out(vreg) _, r = out(vreg) _, s = out(vreg) _,
                options(pure, nomem, nostack, preserves_flags))
        };
    }
    // SAFETY: registers in, registers out.
    unsafe {
        if LEAST {
            quad! {
                "smull {p:v}.8h, {bytes:v}.8b, {w:v}.8b"
                "smull {q:v}.8h, {bytes:v}.8b, {x:v}.8b"
                "smull {r:v}.8h, {bytes:v}.8b, {y:v}.8b"
                "smull {s:v}.8h, {bytes:v}.8b, {z:v}.8b"
                "sadalp {a:v}.4s, {p:v}.8h"
                "sadalp {b:v}.4s, {q:v}.8h"
                "sadalp {c:v}.4s, {r:v}.8h"
                "sadalp {d:v}.4s, {s:v}.8h"
                "smull2 {p:v}.8h, {bytes:v}.16b, {w:v}.16b"
                "smull2 {q:v}.8h, {bytes:v}.16b, {x:v}.16b"
                "smull2 {r:v}.8h, {bytes:v}.16b, {y:v}.16b"
                "smull2 {s:v}.8h, {bytes:v}.16b, {z:v}.16b"
                "sadalp {a:v}.4s, {p:v}.8h"
                "sadalp {b:v}.4s, {q:v}.8h"
                "sadalp {c:v}.4s, {r:v}.8h"
                "sadalp {d:v}.4s, {s:v}.8h"
            }
        } else {
            // 2 · 128 · 127 is the most in 16 bits.
            quad! {
                "smull {p:v}.8h, {bytes:v}.8b, {w:v}.8b"
                "smull {q:v}.8h, {bytes:v}.8b, {x:v}.8b"
                "smull {r:v}.8h, {bytes:v}.8b, {y:v}.8b"
                "smull {s:v}.8h, {bytes:v}.8b, {z:v}.8b"
                "smlal2 {p:v}.8h, {bytes:v}.16b, {w:v}.16b"
                "smlal2 {q:v}.8h, {bytes:v}.16b, {x:v}.16b"
                "smlal2 {r:v}.8h, {bytes:v}.16b, {y:v}.16b"
                "smlal2 {s:v}.8h, {bytes:v}.16b, {z:v}.16b"
                "sadalp {a:v}.4s, {p:v}.8h"
                "sadalp {b:v}.4s, {q:v}.8h"
                "sadalp {c:v}.4s, {r:v}.8h"
                "sadalp {d:v}.4s, {s:v}.8h"
            }
        }
    }
}

/// Sixteen bytes, less 128.
///
/// # Safety
/// They are there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn signed(from: *const u8) -> int8x16_t {
    // SAFETY: the caller's promise.
    vreinterpretq_s8_u8(veorq_u8(unsafe { vld1q_u8(from) }, vdupq_n_u8(128)))
}

/// Where a tile's sums go.
enum Out<'a> {
    Bytes {
        requantise: &'a Requantise,
        addend: Option<Addend<'a>>,
        target: *mut u8,
        places: &'a [u32],
    },
    /// Rows of so many sums.
    Sums {
        target: *mut i32,
        outputs: usize,
    },
}

impl Out<'_> {
    /// Not inlined, so that the loop over a tile's depth has the registers to itself.
    ///
    /// # Safety
    /// M rows from `row` on and the `outputs` from `first` on, at most 4·N, are of the layer.
    #[inline(never)]
    #[target_feature(enable = "neon")]
    unsafe fn put<const M: usize, const N: usize>(
        &self,
        row: usize,
        [first, outputs]: [usize; 2],
        sums: &[[int32x4_t; N]; M],
    ) {
        // SAFETY: scales are filled up to whole panels; rows and outputs are there by the caller's promise.
        unsafe {
            match *self {
                Out::Bytes { requantise, addend, target, places } => {
                    let scales = Scales::<N>::new(requantise, first);
                    for (row, sums) in (row..).zip(sums) {
                        let mut reals = scales.reals(sums);
                        if let (Some(addend), Some(residual)) = (addend, requantise.residual) {
                            let from = addend.bytes.as_ptr().add(*addend.places.at.get_unchecked(row) as usize + first);
                            add::<N>(&mut reals, residual, load::<N>(from, outputs));
                        }
                        let to = target.add(*places.get_unchecked(row) as usize + first);
                        store::<N>(to, outputs, narrow(requantise, reals));
                    }
                }
                Out::Sums { target, outputs: stride } => {
                    for (row, sums) in (row..).zip(sums) {
                        let to = target.add(row * stride + first);
                        to.copy_from_nonoverlapping(sums.as_ptr().cast(), outputs);
                    }
                }
            }
        }
    }
}

/// Of 4·N outputs.
struct Scales<const N: usize> {
    positive: [float32x4_t; N],
    negative: Option<[float32x4_t; N]>,
}

impl<const N: usize> Scales<N> {
    /// # Safety
    /// 4·N scales from `first` on are there.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn new(requantise: &Requantise, first: usize) -> Self {
        // SAFETY: the caller's promise.
        let load = |scales: &[f32]| std::array::from_fn(|n| unsafe { vld1q_f32(scales.as_ptr().add(first + 4 * n)) });
        Self {
            positive: load(&requantise.positive),
            negative: requantise.has_slope.then(|| load(&requantise.negative)),
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn reals(&self, sums: &[int32x4_t; N]) -> [float32x4_t; N] {
        std::array::from_fn(|n| {
            let scale = match self.negative {
                Some(negative) => vbslq_f32(vcltzq_s32(sums[n]), negative[n], self.positive[n]),
                None => self.positive[n],
            };
            vmulq_f32(vcvtq_f32_s32(sums[n]), scale)
        })
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn add<const N: usize>(reals: &mut [float32x4_t; N], residual: Residual, bytes: uint8x16_t) {
    let (zero, scale) = (vdupq_n_s32(residual.zero.into()), vdupq_n_f32(residual.scale));
    let [low, high] = residual.bounds.map(|bound| vdupq_n_f32(bound));
    for (real, bytes) in reals.iter_mut().zip(widened(bytes)) {
        let steps = vcvtq_f32_s32(vsubq_s32(bytes, zero));
        *real = vaddq_f32(vminq_f32(vmaxq_f32(*real, low), high), vmulq_f32(steps, scale));
    }
}

/// The bytes of 4·N results. Saturating on the way changes nothing: zero is at most 255, and what is beyond 16 bits is
/// beyond a byte after it was added, too.
#[inline]
#[target_feature(enable = "neon")]
fn narrow<const N: usize>(requantise: &Requantise, reals: [float32x4_t; N]) -> uint8x16_t {
    let range = requantise.range;
    let half = |n: usize| {
        let [low, high] = [n, n + 1].map(|n| vcvtnq_s32_f32(reals[n % N]));
        vqaddq_s16(vqmovn_high_s32(vqmovn_s32(low), high), vdupq_n_s16(range.zero.into()))
    };
    let bytes = vqmovun_s16(half(0));
    let bytes = if N > 2 { vqmovun_high_s16(bytes, half(2)) } else { vcombine_u8(bytes, bytes) };
    vminq_u8(vmaxq_u8(bytes, vdupq_n_u8(range.low)), vdupq_n_u8(range.high))
}

#[inline]
#[target_feature(enable = "neon")]
fn widened(bytes: uint8x16_t) -> [int32x4_t; 4] {
    let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
    [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)]
        .map(|four| vreinterpretq_s32_u32(four))
}

/// The first `count` bytes, 4·N as a rule.
///
/// # Safety
/// They are there, and at most 4·N.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load<const N: usize>(from: *const u8, count: usize) -> uint8x16_t {
    // SAFETY: the caller's promise; no more than `count` bytes are read.
    unsafe {
        if N == 4 && count == 16 {
            return vld1q_u8(from);
        }
        if N == 2 && count == 8 {
            return vcombine_u8(vld1_u8(from), vdup_n_u8(0));
        }
        let mut bytes = [0; 16];
        bytes.as_mut_ptr().copy_from_nonoverlapping(from, count.min(16));
        vld1q_u8(bytes.as_ptr())
    }
}

/// # Safety
/// There is room for `count` bytes, at most 4·N.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store<const N: usize>(mut to: *mut u8, count: usize, mut bytes: uint8x16_t) {
    // SAFETY: the caller's promise; the parts come to `count` bytes.
    unsafe {
        if N == 4 && count == 16 {
            return vst1q_u8(to, bytes);
        }
        if count & 8 != 0 {
            vst1_u8(to, vget_low_u8(bytes));
            (to, bytes) = (to.add(8), vextq_u8::<8>(bytes, bytes));
        }
        if count & 4 != 0 {
            to.cast::<u32>().write_unaligned(vgetq_lane_u32::<0>(vreinterpretq_u32_u8(bytes)));
            (to, bytes) = (to.add(4), vextq_u8::<4>(bytes, bytes));
        }
        if count & 2 != 0 {
            to.cast::<u16>().write_unaligned(vgetq_lane_u16::<0>(vreinterpretq_u16_u8(bytes)));
            (to, bytes) = (to.add(2), vextq_u8::<2>(bytes, bytes));
        }
        if count & 1 != 0 {
            to.write(vgetq_lane_u8::<0>(bytes));
        }
    }
}
