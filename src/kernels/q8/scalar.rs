//! The definition of the layers, in plain Rust.

#![forbid(unsafe_code)]

use super::{Addend, Dense, Depthwise, Rows, Target};

pub(super) fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32]) {
    for (row, out) in out.chunks_exact_mut(layer.outputs).enumerate() {
        let bytes = &rows.bytes[row * rows.stride..][..layer.depth];
        for (channel, out) in out.iter_mut().enumerate() {
            *out = layer.requantise.bias[channel] + dot(bytes, layer.packed.row(channel));
        }
    }
}

pub(super) fn dense(layer: &Dense, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>) {
    for (row, &place) in target.places.at.iter().enumerate() {
        let bytes = &rows.bytes[row * rows.stride..][..layer.depth];
        for channel in 0..layer.outputs {
            let sum = layer.requantise.bias[channel] + dot(bytes, layer.packed.row(channel));
            let addend = addend.map(|addend| addend.bytes[addend.places.at[row] as usize + channel]);
            target.bytes[place as usize + channel] = layer.requantise.byte(channel, sum, addend);
        }
    }
}

pub(super) fn depthwise(layer: &Depthwise, image: &[u8], addend: Option<Addend<'_>>, target: Target<'_>) {
    for (at, &place) in target.places.at.iter().enumerate() {
        for channel in 0..layer.channels {
            let addend = addend.map(|addend| addend.bytes[addend.places.at[at] as usize + channel]);
            let byte = layer.requantise.byte(channel, filtered(layer, image, at, channel), addend);
            target.bytes[place as usize + channel] = byte;
        }
    }
}

pub(super) fn depthwise_sums(layer: &Depthwise, image: &[u8], out: &mut [i32]) {
    for (at, out) in out.chunks_exact_mut(layer.channels).enumerate() {
        for (channel, out) in out.iter_mut().enumerate() {
            *out = filtered(layer, image, at, channel);
        }
    }
}

/// The sum of a channel's window at the output `at`.
fn filtered(layer: &Depthwise, image: &[u8], at: usize, channel: usize) -> i32 {
    let window = layer.window;
    let [top, left] = [at / window.out[1] * window.stride[0], at % window.out[1] * window.stride[1]];
    let product = |(tap, &weight): (usize, &i8)| {
        let row = top + tap / window.kernel[1] * window.dilation[0];
        let column = left + tap % window.kernel[1] * window.dilation[1];
        i32::from(image[(row * window.width + column) * layer.channels + channel]) * i32::from(weight)
    };
    layer.requantise.bias[channel] + layer.packed.row(channel).iter().enumerate().map(product).sum::<i32>()
}

fn dot(bytes: &[u8], weights: &[i8]) -> i32 {
    bytes.iter().zip(weights).map(|(&byte, &weight)| i32::from(byte) * i32::from(weight)).sum()
}
