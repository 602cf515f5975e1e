//! Depthwise windows of 3 x 3 with a stride of one by `sdot`, which wants four taps of a channel side by side.
//!
//! Four columns of a line are interleaved and serve two outputs: the first three of them one, with a weight of zero for
//! the fourth, and the last three the other. The lines between two rows of outputs serve both. A block is 2 x 2 outputs
//! of sixteen channels: sixteen sums, from four lines.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Out, signed, tiles_of};
use crate::kernels::q8::Depthwise;

/// The weights of a line of a window: four registers for the left output, and four for the right one.
const LINE: usize = 8 * 16;

/// # Safety
/// The CPU has the instruction; what [`Depthwise::run`] checks holds, and the weights are of
/// [`Shape::FOURS`](crate::kernels::q8::tiles::Shape::FOURS).
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn depthwise(layer: &Depthwise, image: &[u8], out: &Out<'_>) {
    let (window, channels) = (layer.window, layer.channels);
    let tiles = tiles_of(&layer.packed);
    let line = window.width * channels;
    // Where there is but one row, or column, of outputs, the last line or column is read twice, and what comes of it
    // left out.
    let lines = [0, 1, 2, 3].map(|at: usize| at.min(window.out[0] + 1) * line);
    let columns = [0, 1, 2, 3].map(|at: usize| at.min(window.out[1] + 1) * channels);
    for first in (0..channels).step_by(16) {
        let block = Block {
            lines,
            columns,
            weights: tiles.panel(first / 16),
            bias: tiles.bias[first..][..16].as_ptr(),
            range: [first, (channels - first).min(16)],
            out,
        };
        for row in starts(window.out[0]) {
            for column in starts(window.out[1]) {
                // SAFETY: the lines and columns from there on lie in the image; sixteen channels of a pixel end within
                // its slack.
                unsafe {
                    let pixel = image.as_ptr().add(row * line + column * channels + first);
                    block.run(pixel, row * window.out[1] + column, window.out);
                }
            }
        }
    }
}

/// Where pairs begin, the last of them a place earlier if there is an odd number.
fn starts(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(2).map(move |start| start.min(count.saturating_sub(2)))
}

/// What blocks of the same channels share.
struct Block<'a> {
    lines: [usize; 4],
    columns: [usize; 4],
    weights: *const i8,
    bias: *const i32,
    range: [usize; 2],
    out: &'a Out<'a>,
}

impl Block<'_> {
    /// # Safety
    /// As [`depthwise`]; the block's outputs, from `place` on, are there, and its pixels.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn run(&self, pixel: *const u8, place: usize, [rows, columns]: [usize; 2]) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums: [[[int32x4_t; 4]; 2]; 2] = [[std::array::from_fn(|n| vld1q_s32(self.bias.add(4 * n))); 2]; 2];
            let taps =
                |line: usize| interleave(self.columns.map(|column| signed(pixel.add(self.lines[line]).add(column))));
            let [top, bottom] = &mut sums;
            let line = taps(0);
            add(top, line, self.weights);
            let line = taps(1);
            add(top, line, self.weights.add(LINE));
            add(bottom, line, self.weights);
            let line = taps(2);
            add(top, line, self.weights.add(2 * LINE));
            add(bottom, line, self.weights.add(LINE));
            add(bottom, taps(3), self.weights.add(2 * LINE));
            for (row, sums) in sums.iter().enumerate().take(rows) {
                let place = place + row * columns;
                let [left, right] = sums.map(|sums| sums.map(|four| four));
                if columns == 1 {
                    self.out.put(place, self.range, &[left]);
                } else {
                    self.out.put(place, self.range, &[left, right]);
                }
            }
        }
    }
}

/// Four bytes for each channel, of which a register holds four.
#[inline]
#[target_feature(enable = "neon")]
fn interleave([a, b, c, d]: [int8x16_t; 4]) -> [int8x16_t; 4] {
    let [ab, cd] = [[vzip1q_s8(a, b), vzip2q_s8(a, b)], [vzip1q_s8(c, d), vzip2q_s8(c, d)]];
    let [ab, cd] = [ab, cd].map(|pair| pair.map(|bytes| vreinterpretq_s16_s8(bytes)));
    let fours =
        [vzip1q_s16(ab[0], cd[0]), vzip2q_s16(ab[0], cd[0]), vzip1q_s16(ab[1], cd[1]), vzip2q_s16(ab[1], cd[1])];
    fours.map(|four| vreinterpretq_s8_s16(four))
}

/// Adds a line's products to both outputs.
///
/// # Safety
/// There are [`LINE`] weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add(sums: &mut [[int32x4_t; 4]; 2], taps: [int8x16_t; 4], weights: *const i8) {
    for (side, sums) in sums.iter_mut().enumerate() {
        for (n, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let weights = unsafe { vld1q_s8(weights.add(16 * (4 * side + n))) };
            // SAFETY: registers in, registers out; the function's feature is the instruction's.
            unsafe {
                asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) *sum, in(vreg) taps[n], in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
    }
}
