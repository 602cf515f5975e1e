//! Weights in the order in which the kernels read them.

#![forbid(unsafe_code)]

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
    /// Four neighbours in depth of sixteen outputs: [outputs / 16][depth / 4][16][4], zeros where there are none.
    /// A depthwise window's depth is its taps, each row of which is filled up to a multiple of four, and its channels are
    /// interleaved ([`super::Finish::interleaved`]): [channels / 64][depth / 4][4][16][4].
    Quads { blocks: Vec<Block<i8, 64>>, depth: usize },
}

impl Packed {
    pub(super) fn dense(isa: Isa, weights: &[i8], depth: usize) -> Self {
        match isa {
            Isa::Avx512Vnni => quads(weights, depth),
            _ => Self::Rows { weights: weights.to_vec(), depth },
        }
    }

    pub(super) fn depthwise(isa: Isa, weights: &[i8], kernel: [usize; 2]) -> Self {
        match isa {
            Isa::Avx512Vnni => window_quads(weights, kernel),
            _ => Self::Rows { weights: weights.to_vec(), depth: kernel[0] * kernel[1] },
        }
    }

    /// Whether a depthwise layer's channels are in [`super::Finish::interleaved`]'s order.
    pub(super) fn is_interleaved(&self) -> bool {
        matches!(self, Self::Quads { .. })
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

fn quads(weights: &[i8], depth: usize) -> Packed {
    let (outputs, quads) = (weights.len() / depth, depth.div_ceil(4));
    let block = |panel: usize, quad: usize| {
        Block(std::array::from_fn(|at| {
            let (output, k) = (panel * WIDE + at / 4, quad * 4 + at % 4);
            if output < outputs && k < depth { weights[output * depth + k] } else { 0 }
        }))
    };
    let panels = outputs.div_ceil(WIDE);
    let blocks = (0..panels).flat_map(|panel| (0..quads).map(move |quad| block(panel, quad))).collect();
    Packed::Quads { blocks, depth: quads }
}

fn window_quads(weights: &[i8], [high, wide]: [usize; 2]) -> Packed {
    let (channels, quads) = (weights.len() / (high * wide), wide.div_ceil(4));
    let mut blocks = Vec::with_capacity(channels.div_ceil(64) * high * quads * 4);
    for first in (0..channels).step_by(64) {
        for (row, quad, register) in (0..high * quads * 4).map(|at| (at / 4 / quads, at / 4 % quads, at % 4)) {
            blocks.push(Block(std::array::from_fn(|at| {
                let channel = first + 16 * (at / 16) + 4 * register + at % 16 / 4;
                let column = quad * 4 + at % 4;
                let is_there = channel < channels && column < wide;
                if is_there { weights[channel * high * wide + row * wide + column] } else { 0 }
            })));
        }
    }
    Packed::Quads { blocks, depth: high * quads }
}
