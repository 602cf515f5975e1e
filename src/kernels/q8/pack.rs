//! Weights in the order in which the kernels read them.

#![forbid(unsafe_code)]

use super::Window;
#[cfg(target_arch = "aarch64")]
use super::tiles::{Shape, Tiles};
use super::walk::Walk;
use crate::kernels::Isa;

/// One register's, or cache line's, worth.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Block<T, const N: usize>(pub [T; N]);

/// Outputs that lie side by side in a block.
pub(super) const WIDE: usize = 16;

pub(super) enum Packed {
    /// As they came: a row for each output.
    Rows { weights: Vec<i8>, depth: usize },
    /// Four neighbours in depth of sixteen outputs: [outputs / 16][depth / 4][16][4], zeros where there are none. A
    /// depthwise window's depth is its taps in the order of [`Walk`], each line filled up to a multiple of four, and
    /// its channels are interleaved ([`super::Requantise::interleaved`]): [channels / 64][depth / 4][4][16][4], or of
    /// half as many channels.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read by kernels of x86 alone"))]
    Quads { blocks: Vec<Block<i8, 64>>, depth: usize },
    /// Two neighbours in depth of sixteen outputs, in 16 bits: [outputs / 16][depth / 2][16][2]. Of a depthwise window
    /// the taps are those of quads of 32 channels, the first and third of four before the second and fourth: [channels
    /// / 32][depth / 4][4][2][8][2].
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read by kernels of x86 alone"))]
    Pairs { blocks: Vec<Block<i16, 32>>, depth: usize },
    /// With a bias of their own.
    #[cfg(target_arch = "aarch64")]
    Tiles(Tiles),
}

impl Packed {
    pub(super) fn dense(isa: Isa, weights: &[i8], depth: usize, bias: &[i32]) -> Self {
        let _ = bias;
        match isa {
            Isa::Avx2 => pairs(weights, depth),
            Isa::AvxVnni | Isa::Avx512Vnni => quads(weights, depth),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => {
                Self::Tiles(Tiles::new(Shape::dense(isa), weights, depth, bias))
            }
            _ => Self::Rows { weights: weights.to_vec(), depth },
        }
    }

    pub(super) fn depthwise(isa: Isa, weights: &[i8], window: Window, bias: &[i32]) -> Self {
        let _ = bias;
        match isa {
            Isa::Avx2 => window_pairs(weights, window),
            Isa::AvxVnni => window_quads(weights, window, 2),
            Isa::Avx512Vnni => window_quads(weights, window, 4),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => Self::Tiles(Tiles::depthwise(isa, weights, window, bias)),
            _ => Self::Rows { weights: weights.to_vec(), depth: window.taps() },
        }
    }

    /// Of the scalar form.
    ///
    /// # Panics
    /// If they are packed for something else, or there is no such output.
    pub(super) fn row(&self, output: usize) -> &[i8] {
        let Self::Rows { weights, depth } = self else { panic!("weights of another instruction set") };
        &weights[output * depth..][..*depth]
    }
}

/// Lanes of 128 bits in which depthwise kernels interleave channels ([`super::Requantise::interleaved`]), if they do.
pub(super) fn lanes(isa: Isa) -> Option<usize> {
    match isa {
        Isa::Avx2 | Isa::AvxVnni => Some(2),
        Isa::Avx512Vnni => Some(4),
        _ => None,
    }
}

fn quads(weights: &[i8], depth: usize) -> Packed {
    Packed::Quads { blocks: blocks::<i8, 64>(weights, depth), depth: depth.div_ceil(4) }
}

fn pairs(weights: &[i8], depth: usize) -> Packed {
    Packed::Pairs { blocks: blocks::<i16, 32>(weights, depth), depth: depth.div_ceil(2) }
}

/// [outputs / 16][depth / K][16][K], where N = 16 · K.
fn blocks<T: From<i8>, const N: usize>(weights: &[i8], depth: usize) -> Vec<Block<T, N>> {
    let (outputs, deep) = (weights.len() / depth, N / WIDE);
    let steps = depth.div_ceil(deep);
    let block = |panel: usize, step: usize| {
        Block(std::array::from_fn(|at| {
            let (output, k) = (panel * WIDE + at / deep, step * deep + at % deep);
            T::from(if output < outputs && k < depth { weights[output * depth + k] } else { 0 })
        }))
    };
    (0..outputs.div_ceil(WIDE)).flat_map(|panel| (0..steps).map(move |step| block(panel, step))).collect()
}

/// The filters of all channels, in blocks.
struct Filters<'a> {
    weights: &'a [i8],
    walk: Walk,
    taps: usize,
    block: usize,
}

impl<'a> Filters<'a> {
    fn new(weights: &'a [i8], window: Window, block: usize) -> Self {
        let taps = window.taps();
        Self { weights, walk: Walk::new(window, weights.len() / taps, block), taps, block }
    }

    fn quads(&self) -> usize {
        self.walk.lines * self.walk.quads()
    }

    /// The first channel of each block.
    fn blocks(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.weights.len() / self.taps).step_by(self.block)
    }

    /// Tap 0 to 3 of a quad, zero beyond its line's end and the last channel; channels repeat where a block has several
    /// pixels.
    fn weight(&self, channel: usize, quad: usize, tap: usize) -> i8 {
        let pixels = self.walk.pixels;
        let channel = if pixels > 1 { channel % (self.block / pixels) } else { channel };
        let at = self.walk.tap(quad, tap).map(|tap| channel * self.taps + tap);
        at.and_then(|at| self.weights.get(at)).copied().unwrap_or(0)
    }
}

fn window_quads(weights: &[i8], window: Window, lanes: usize) -> Packed {
    let filters = Filters::new(weights, window, 16 * lanes);
    let mut blocks = Vec::new();
    for first in filters.blocks() {
        for (quad, part) in (0..filters.quads() * lanes).map(|at| (at / lanes, at % lanes)) {
            blocks.push(Block(std::array::from_fn(|at| {
                let at = part * 64 + at;
                let (register, at) = (at / (16 * lanes), at % (16 * lanes));
                filters.weight(first + 16 * (at / 16) + 4 * register + at % 16 / 4, quad, at % 4)
            })));
        }
    }
    Packed::Quads { blocks, depth: filters.quads() }
}

fn window_pairs(weights: &[i8], window: Window) -> Packed {
    let filters = Filters::new(weights, window, 32);
    let mut blocks = Vec::new();
    for first in filters.blocks() {
        for (quad, register) in (0..filters.quads() * 4).map(|at| (at / 4, at % 4)) {
            blocks.push(Block(std::array::from_fn(|at| {
                let (half, at) = (at / 16, at % 16);
                filters.weight(first + 16 * (at / 8) + 4 * register + at % 8 / 2, quad, half + 2 * (at % 2)).into()
            })));
        }
    }
    Packed::Pairs { blocks, depth: filters.quads() }
}
