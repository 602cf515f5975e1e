//! Depthwise layers, sixteen channels at a time: two taps are summed exactly in 16-bit lanes, and that sum added to 32
//! bits.
//!
//! A pair of outputs shares the loads of the weights. Of windows of 3 x 3 with a stride of one, which most are, four
//! outputs also share those of their six columns.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Out, fours, signed, tiles_of};
use crate::kernels::q8::tiles::{Shape, Tiles};
use crate::kernels::q8::{Addend, Depthwise, Target};

/// The sums of sixteen channels.
type Sixteen = [int32x4_t; 4];

/// # Safety
/// The CPU has the layer's instruction set; what [`Depthwise::run`] checks holds.
pub(in crate::kernels::q8) unsafe fn depthwise(
    layer: &Depthwise,
    image: &[u8],
    addend: Option<Addend<'_>>,
    target: Target<'_>,
) {
    let (target, places) = (target.bytes.as_mut_ptr(), target.places.at);
    // SAFETY: the caller's promise.
    unsafe { filters(layer, image, &Out::Bytes { requantise: layer.ordered(), addend, target, places }) }
}

/// # Safety
/// As [`depthwise`], and `out` has room for all sums.
pub(in crate::kernels::q8) unsafe fn depthwise_sums(layer: &Depthwise, image: &[u8], out: &mut [i32]) {
    // SAFETY: the caller's promise.
    unsafe { filters(layer, image, &Out::Sums { target: out.as_mut_ptr(), outputs: layer.channels }) }
}

/// # Safety
/// As [`depthwise`].
unsafe fn filters(layer: &Depthwise, image: &[u8], out: &Out<'_>) {
    let tiles = tiles_of(&layer.packed);
    if tiles.shape == Shape::FOURS {
        // SAFETY: the caller's promise; they are packed so where the CPU has `sdot`.
        return unsafe { fours::depthwise(layer, image, out) };
    }
    for first in (0..layer.channels).step_by(16) {
        let filter = Filter { layer, image, tiles, first };
        // SAFETY: the caller's promise.
        unsafe {
            match (tiles.steps, tiles.has_least) {
                (9, false) => filter.run::<9, false>(out),
                (_, false) => filter.run::<0, false>(out),
                (_, true) => filter.run::<0, true>(out),
            }
        }
    }
}

/// The weights of sixteen channels, or of as many as there are.
struct Filter<'a> {
    layer: &'a Depthwise,
    image: &'a [u8],
    tiles: &'a Tiles,
    first: usize,
}

impl Filter<'_> {
    /// TAPS of them, or any number if it is zero.
    ///
    /// # Safety
    /// As [`depthwise`]; the channels are there.
    #[target_feature(enable = "neon")]
    unsafe fn run<const TAPS: usize, const LEAST: bool>(&self, out: &Out<'_>) {
        let (window, channels) = (self.layer.window, self.layer.channels);
        let [rows, columns] = window.out;
        let [down, right] = [window.stride[0] * window.width * channels, window.stride[1] * channels];
        let is_by_four = TAPS == 9 && window.kernel == [3, 3] && window.stride[1] == 1 && window.dilation[1] == 1;
        for row in 0..rows {
            // SAFETY: the outputs from `place` on are there.
            unsafe {
                let mut pixel = self.image.as_ptr().add(row * down + self.first);
                let (mut place, end) = (row * columns, (row + 1) * columns);
                while is_by_four && place + 4 <= end {
                    self.four(pixel, place, out);
                    (pixel, place) = (pixel.wrapping_add(4 * right), place + 4);
                }
                while place + 2 <= end {
                    self.outputs::<2, TAPS, LEAST>([pixel, pixel.add(right)], place, out);
                    (pixel, place) = (pixel.wrapping_add(2 * right), place + 2);
                }
                if place < end {
                    self.outputs::<1, TAPS, LEAST>([pixel], place, out);
                }
            }
        }
    }

    /// Four neighbours, whose windows of 3 x 3 side by side begin at `pixel`.
    ///
    /// # Safety
    /// As [`Filter::run`]; they are there, and no weight is -128.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn four(&self, pixel: *const u8, place: usize, out: &Out<'_>) {
        let bias = self.tiles.bias[self.first..][..16].as_ptr();
        let offsets = &self.tiles.offsets[..9];
        // SAFETY: the caller's promise; sixteen channels of a pixel are read, within the image's slack.
        unsafe {
            let mut sums: [Sixteen; 4] = [std::array::from_fn(|n| vld1q_s32(bias.add(4 * n))); 4];
            let mut weights = self.tiles.panel(self.first / 16);
            for row in [0, 3, 6] {
                let mut at = pixel.add(offsets[row]);
                let columns: [int8x16_t; 6] = std::array::from_fn(|_| {
                    let column = signed(at);
                    at = at.wrapping_add(self.layer.channels);
                    column
                });
                let [first, second, third] = std::array::from_fn(|tap| vld1q_s8(weights.add(16 * tap)));
                weights = weights.add(3 * 16);
                for (p, sums) in sums.iter_mut().enumerate() {
                    *sums = add(*sums, multiply(columns[p], first));
                    add_two(sums, [columns[p + 1], columns[p + 2]], [second, third]);
                }
            }
            let outputs = (self.layer.channels - self.first).min(16);
            out.put(place, [self.first, outputs], &sums.map(|sums| sums.map(|four| four)));
        }
    }

    /// P of them, whose windows begin at `pixels`.
    ///
    /// # Safety
    /// As [`Filter::run`]; they are there.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn outputs<const P: usize, const TAPS: usize, const LEAST: bool>(
        &self,
        pixels: [*const u8; P],
        place: usize,
        out: &Out<'_>,
    ) {
        let bias = self.tiles.bias[self.first..][..16].as_ptr();
        let offsets = if TAPS == 0 { &self.tiles.offsets[..] } else { &self.tiles.offsets[..TAPS] };
        // SAFETY: the caller's promise; sixteen channels of a pixel are read, within the image's slack.
        unsafe {
            let mut sums: [Sixteen; P] = [std::array::from_fn(|n| vld1q_s32(bias.add(4 * n))); P];
            accumulate::<P, LEAST>(&mut sums, pixels, offsets, self.tiles.panel(self.first / 16));
            let outputs = (self.layer.channels - self.first).min(16);
            // A copy, whose address may be known: the sums themselves are to stay in registers.
            out.put(place, [self.first, outputs], &sums.map(|sums| sums.map(|four| four)));
        }
    }
}

/// Adds the products of two taps, of which no weight is -128.
///
/// In assembler, as a compiler that may order the instructions makes all products first, for which there are no
/// registers.
#[inline]
#[target_feature(enable = "neon")]
fn add_two([s, t, u, v]: &mut Sixteen, [a, b]: [int8x16_t; 2], [by_a, by_b]: [int8x16_t; 2]) {
    // SAFETY: registers in, registers out.
    unsafe {
        asm!(
            "smull {low:v}.8h, {a:v}.8b, {by_a:v}.8b",
            "smull2 {high:v}.8h, {a:v}.16b, {by_a:v}.16b",
            "smlal {low:v}.8h, {b:v}.8b, {by_b:v}.8b",
            "smlal2 {high:v}.8h, {b:v}.16b, {by_b:v}.16b",
            "saddw {s:v}.4s, {s:v}.4s, {low:v}.4h",
            "saddw2 {t:v}.4s, {t:v}.4s, {low:v}.8h",
            "saddw {u:v}.4s, {u:v}.4s, {high:v}.4h",
            "saddw2 {v:v}.4s, {v:v}.4s, {high:v}.8h",
            s = inout(vreg) *s, t = inout(vreg) *t, u = inout(vreg) *u, v = inout(vreg) *v,
            a = in(vreg) a, b = in(vreg) b, by_a = in(vreg) by_a, by_b = in(vreg) by_b,
            low = out(vreg) _, high = out(vreg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// Adds the products of these taps.
///
/// # Safety
/// Sixteen bytes are at each offset of each pixel, and sixteen weights for each.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn accumulate<const P: usize, const LEAST: bool>(
    sums: &mut [Sixteen; P],
    pixels: [*const u8; P],
    offsets: &[usize],
    weights: *const i8,
) {
    // SAFETY: the caller's promise.
    let of = |tap: usize| unsafe { vld1q_s8(weights.add(16 * tap)) };
    // SAFETY: the caller's promise.
    let at = |pixel: *const u8, offset: usize| unsafe { signed(pixel.add(offset)) };
    let (pairs, single) = offsets.as_chunks::<2>();
    for (pair, offsets) in pairs.iter().enumerate() {
        let by = [of(2 * pair), of(2 * pair + 1)];
        for (sums, pixel) in sums.iter_mut().zip(pixels) {
            let [a, b] = offsets.map(|offset| at(pixel, offset));
            if LEAST {
                *sums = add(add(*sums, multiply(a, by[0])), multiply(b, by[1]));
            } else {
                add_two(sums, [a, b], by);
            }
        }
    }
    if let [offset] = *single {
        let by = of(offsets.len() - 1);
        for (sums, pixel) in sums.iter_mut().zip(pixels) {
            *sums = add(*sums, multiply(at(pixel, offset), by));
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn multiply(bytes: int8x16_t, weights: int8x16_t) -> [int16x8_t; 2] {
    [vmull_s8(vget_low_s8(bytes), vget_low_s8(weights)), vmull_high_s8(bytes, weights)]
}

#[inline]
#[target_feature(enable = "neon")]
fn add(sums: Sixteen, [low, high]: [int16x8_t; 2]) -> Sixteen {
    [
        vaddw_s16(sums[0], vget_low_s16(low)),
        vaddw_high_s16(sums[1], low),
        vaddw_s16(sums[2], vget_low_s16(high)),
        vaddw_high_s16(sums[3], high),
    ]
}
