//! Layers that are no products: plain loops, written so that the compiler makes vectors of them.

use super::graph::Grid;
use super::program::Layout;
use crate::kernels::q8::ROUNDS;

/// Numbers that are made bytes at a time.
const STRIP: usize = 64;

/// An input holds what isn't a finite number.
pub(super) struct NotFinite;

pub(super) fn quantise(
    planes: &[f32],
    grid: Grid,
    channels: usize,
    places: &[u32],
    bytes: &mut [u8],
) -> Result<(), NotFinite> {
    const EXPONENT: u32 = f32::INFINITY.to_bits();
    let zero = f32::from(grid.zero);
    let mut overflow = 0;
    for (channel, plane) in planes.chunks_exact(places.len()).enumerate().take(channels) {
        for (reals, places) in plane.chunks(STRIP).zip(places.chunks(STRIP)) {
            let mut strip = [0; STRIP];
            for (byte, &real) in strip.iter_mut().zip(reals) {
                // An exponent of all ones, and no other, runs over into the sign.
                overflow |= (real.to_bits() & EXPONENT).wrapping_add(1 << 23);
                let steps = (real / grid.scale).clamp(-zero, 255.0 - zero);
                *byte = (steps + ROUNDS).to_bits().wrapping_add(u32::from(grid.zero)) as u8;
            }
            for (&byte, &place) in strip.iter().zip(places) {
                bytes[place as usize + channel] = byte;
            }
        }
    }
    if overflow >> 31 == 0 { Ok(()) } else { Err(NotFinite) }
}

pub(super) fn dequantise(bytes: &[u8], layout: &Layout, grid: Grid, planes: &mut [f32]) {
    let pixels = layout.pixels();
    for row in 0..layout.sides[0] {
        for column in 0..layout.sides[1] {
            let pixel = &bytes[layout.place(row, column)..][..layout.sides[2]];
            for (channel, &byte) in pixel.iter().enumerate() {
                let steps = i32::from(byte) - i32::from(grid.zero);
                planes[channel * pixels + row * layout.sides[1] + column] = steps as f32 * grid.scale;
            }
        }
    }
}

/// Sums of windows from `first` on, each of `count` in its channel's plane; `real` says what a channel's sum stands
/// for.
pub(super) fn spread(
    real: impl Fn(usize, i32) -> f32,
    channels: usize,
    sums: &[i32],
    [first, count]: [usize; 2],
    planes: &mut [f32],
) {
    for channel in 0..channels {
        let plane = &mut planes[channel * count + first..][..sums.len() / channels];
        for (out, sums) in plane.iter_mut().zip(sums.chunks_exact(channels)) {
            *out = real(channel, sums[channel]);
        }
    }
}

pub(super) fn max_pool(
    image: &[u8],
    from: &Layout,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    bytes: &mut [u8],
    to: &Layout,
) {
    let channels = from.sides[2];
    if (kernel, stride, pads) == ([2, 2], [2, 2], [0; 4]) {
        for row in 0..to.sides[0] {
            let line = |down: usize| &image[from.place(2 * row + down, 0)..][..2 * to.sides[1] * channels];
            let out = &mut bytes[to.place(row, 0)..][..to.sides[1] * channels];
            match channels {
                16 => halve::<16>(line(0), line(1), out),
                32 => halve::<32>(line(0), line(1), out),
                64 => halve::<64>(line(0), line(1), out),
                _ => halve_any(channels, line(0), line(1), out),
            }
        }
        return;
    }
    // What the border holds is left out, as it is less than any number.
    let inside = |at: usize, k: usize| {
        let end = (at * stride[k] + kernel[k]).saturating_sub(pads[k]).min(from.sides[k]);
        (at * stride[k]).saturating_sub(pads[k])..end
    };
    for row in 0..to.sides[0] {
        for column in 0..to.sides[1] {
            let out = &mut bytes[to.place(row, column)..][..channels];
            out.fill(0);
            for y in inside(row, 0) {
                for x in inside(column, 1) {
                    greatest(out, &image[from.place(y, x)..][..channels]);
                }
            }
        }
    }
}

/// The greatest of two by two pixels, of two rows: with so many channels, which lets the compiler make vectors of it.
fn halve<const CHANNELS: usize>(above: &[u8], below: &[u8], out: &mut [u8]) {
    halve_any(CHANNELS, above, below, out);
}

#[inline(always)]
fn halve_any(channels: usize, above: &[u8], below: &[u8], out: &mut [u8]) {
    let pairs = above.chunks_exact(2 * channels).zip(below.chunks_exact(2 * channels));
    for (out, (above, below)) in out.chunks_exact_mut(channels).zip(pairs) {
        let ((a, b), (c, d)) = (above.split_at(channels), below.split_at(channels));
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out = (*a).max(*b).max((*c).max(*d));
        }
    }
}

/// Sixteen at a time: a vector, whatever the compiler knows of `channels`.
fn greatest(out: &mut [u8], bytes: &[u8]) {
    let (outs, out_rest) = out.as_chunks_mut::<16>();
    let (chunks, rest) = bytes.as_chunks::<16>();
    for (out, chunk) in outs.iter_mut().zip(chunks) {
        *out = std::array::from_fn(|k| out[k].max(chunk[k]));
    }
    out_rest.iter_mut().zip(rest).for_each(|(out, &byte)| *out = (*out).max(byte));
}
