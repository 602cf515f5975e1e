//! Weights for NEON.
//!
//! But for `usmmla` there is no product of an unsigned and a signed byte: those kernels take 128 off each activation,
//! which flips one bit, and what that takes off a sum depends on weights alone. The bias here puts it back.

#![forbid(unsafe_code)]

use super::Window;
use super::pack::Block;
use crate::kernels::Isa;

/// Tiles of `wide` outputs by `deep` numbers: [outputs / wide][depth / deep][wide][deep], zeros where there are none. A
/// depthwise layer's depth is its taps.
pub(super) struct Tiles {
    blocks: Vec<Block<i8, 64>>,
    pub(super) shape: Shape,
    /// Tiles in a panel, which is a row of them.
    pub(super) steps: usize,
    /// Of a depthwise layer: how far the byte that meets each tap is from the first one's.
    pub(super) offsets: Vec<usize>,
    /// Filled up with zeros to whole panels.
    pub(super) bias: Vec<i32>,
    /// Whether a weight is -128: the sum of two products with it may not fit 16 bits.
    pub(super) has_least: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub wide: usize,
    pub deep: usize,
    /// Whether the kernel takes 128 off each activation.
    pub is_shifted: bool,
}

impl Shape {
    /// Sixteen numbers fill a register.
    const SMULL: Self = Self { wide: 8, deep: 16, is_shifted: true };
    const SDOT: Self = Self { wide: 16, deep: 4, is_shifted: true };
    /// The matrices of `usmmla`, two outputs by eight numbers, lie side by side.
    const USMMLA: Self = Self { wide: 16, deep: 8, is_shifted: false };
    const TAPS: Self = Self { wide: 16, deep: 1, is_shifted: true };
    /// Three taps side by side and nothing, then nothing and three taps.
    pub(super) const FOURS: Self = Self { wide: 16, deep: 4, is_shifted: true };

    /// What the dense kernels of an instruction set read.
    pub(super) fn dense(isa: Isa) -> Self {
        match isa {
            Isa::NeonI8mm => Self::USMMLA,
            Isa::NeonDotprod => Self::SDOT,
            _ => Self::SMULL,
        }
    }
}

impl Tiles {
    /// `weights`: a row of `depth` numbers for each output; `bias`: one for each output, or more.
    pub(super) fn new(shape: Shape, weights: &[i8], depth: usize, bias: &[i32]) -> Self {
        let Shape { wide, deep, is_shifted } = shape;
        let (panels, steps) = ((weights.len() / depth).div_ceil(wide), depth.div_ceil(deep));
        let mut blocks = vec![Block([0; 64]); (panels * steps * wide * deep).div_ceil(64)];
        let mut shifted = vec![0; panels * wide];
        for (output, row) in weights.chunks_exact(depth).enumerate() {
            for (k, &weight) in row.iter().enumerate() {
                let tile = output / wide * steps + k / deep;
                let at = (tile * wide + output % wide) * deep + k % deep;
                blocks[at / 64].0[at % 64] = weight;
            }
            let sum: i32 = row.iter().map(|&weight| i32::from(weight)).sum();
            // The sum of magnitudes times 255 and the bias fit: `Requantise::new` has seen it.
            shifted[output] = bias[output] + if is_shifted { 128 * sum } else { 0 };
        }
        Self { blocks, shape, steps, offsets: Vec::new(), bias: shifted, has_least: weights.contains(&i8::MIN) }
    }

    /// `weights`: the taps of each channel, row by row.
    pub(super) fn depthwise(isa: Isa, weights: &[i8], window: Window, bias: &[i32]) -> Self {
        let is_dense = [window.stride, window.dilation] == [[1, 1]; 2];
        if isa != Isa::Neon && window.kernel == [3, 3] && is_dense {
            return Self::fours(weights, bias);
        }
        let (taps, wide) = (window.taps(), window.kernel[1]);
        let channels = weights.len() / taps;
        let [down, right] = [window.dilation[0] * window.width * channels, window.dilation[1] * channels];
        let offsets = (0..taps).map(|tap| tap / wide * down + tap % wide * right).collect();
        Self { offsets, ..Self::new(Shape::TAPS, weights, taps, bias) }
    }

    fn fours(weights: &[i8], bias: &[i32]) -> Self {
        let lines = weights.as_chunks::<3>().0;
        let fours: Vec<_> = lines.iter().flat_map(|&[a, b, c]| [a, b, c, 0, 0, a, b, c]).collect();
        let plain = Self::new(Shape::TAPS, weights, 9, bias);
        Self {
            shape: Shape::FOURS,
            bias: plain.bias,
            ..Self::new(Shape { is_shifted: false, ..Shape::FOURS }, &fours, 24, bias)
        }
    }

    /// Where the weights of this panel begin: `steps` tiles.
    pub(super) fn panel(&self, panel: usize) -> *const i8 {
        let at = panel * self.steps * self.shape.wide * self.shape.deep;
        debug_assert!(at < self.blocks.len() * 64);
        self.blocks.as_ptr().cast::<i8>().wrapping_add(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_where_its_output_and_number_are() {
        // Output o's number k is 20·o + k - 90; nine outputs are two panels of eight, eighteen numbers two steps of
        // sixteen.
        let weights: Vec<_> = (0..9 * 18).map(|at| (20 * (at / 18) + at % 18 - 90) as i8).collect();
        let bias: Vec<_> = (0..9).collect();
        let tiles = Tiles::new(Shape::dense(Isa::Neon), &weights, 18, &bias);
        assert_eq!((tiles.steps, tiles.bias.len(), tiles.has_least), (2, 16, false));
        let at = |panel: usize, step: usize, output: usize, k: usize| {
            let flat = (tiles.panel(panel).addr() - tiles.panel(0).addr()) + (step * 8 + output) * 16 + k;
            tiles.blocks[flat / 64].0[flat % 64]
        };
        assert_eq!([at(0, 0, 0, 0), at(0, 0, 7, 15), at(0, 1, 7, 1), at(1, 1, 0, 0)], [-90, 65, 67, 86]);
        // Beyond the last number, and the last output.
        assert_eq!([at(0, 1, 7, 2), at(1, 0, 1, 0)], [0, 0]);
        let sum: i32 = (0..18).map(|k| k - 90 + 20).sum();
        assert_eq!((tiles.bias[1], tiles.bias[9]), (1 + 128 * sum, 0));
        let unsigned = Tiles::new(Shape::dense(Isa::NeonI8mm), &weights, 18, &bias);
        assert_eq!((unsigned.steps, unsigned.bias[1]), (3, 1));
    }

    #[test]
    fn the_least_weight_is_noticed() {
        assert!(Tiles::new(Shape::dense(Isa::NeonDotprod), &[-128], 1, &[0]).has_least);
    }

    #[test]
    fn a_tap_is_so_far_from_the_first_one() {
        let window = Window { kernel: [2, 3], stride: [1, 1], dilation: [2, 1], width: 10, out: [1, 1] };
        let tiles = Tiles::depthwise(Isa::NeonDotprod, &[1; 4 * 6], window, &[0; 4]);
        assert_eq!((tiles.steps, tiles.shape), (6, Shape::TAPS));
        assert_eq!(tiles.offsets, [0, 4, 8, 80, 84, 88]);
    }

    #[test]
    fn three_taps_are_there_for_the_left_output_and_for_the_right_one() {
        let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], width: 4, out: [1, 1] };
        let tiles = Tiles::depthwise(Isa::NeonDotprod, &[1, 2, 3, 4, 5, 6, 7, 8, 9], window, &[5]);
        assert_eq!((tiles.steps, tiles.shape, tiles.bias[0]), (6, Shape::FOURS, 5 + 128 * 45));
        let fours = [0, 1, 4, 5].map(|step| tiles.blocks[step].0[..4].to_vec());
        assert_eq!(fours, [[1, 2, 3, 0], [0, 1, 2, 3], [7, 8, 9, 0], [0, 7, 8, 9]]);
        assert_eq!(Tiles::depthwise(Isa::Neon, &[1; 9], window, &[5]).shape, Shape::TAPS);
    }
}
