//! What of a graph runs at eight bits: layers with their integers, in order, before any size is known.

use super::graph::{Grid, Weights};
use crate::kernels::q8::OutputRange;

/// The operator that [`super::rewrite`] puts in the place of a part.
pub(super) const OPERATOR: &str = "FacelatchQ8";
/// Its one attribute: which recipe.
pub(super) const WHICH: &str = "recipe";

/// A tensor within a recipe.
pub(super) type Value = usize;

/// A connected part of a graph, which one operator computes.
#[derive(Default)]
pub(crate) struct Recipe {
    /// The grid of each value.
    pub(super) grids: Vec<Grid>,
    pub(super) layers: Vec<Layer>,
    /// Float tensors that are read and made bytes first.
    pub(super) inputs: Vec<(String, Value)>,
    /// The input that comes as a picture's bytes, which are its own already.
    pub(super) pixels: Option<usize>,
    pub(super) outputs: Vec<(String, Output)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// A value, made floats.
    Of(Value),
    /// What the layer gives in floats.
    From(usize),
}

/// One layer; `out` is `None` where it ends in floats.
pub(super) struct Layer {
    /// The file's name of the layer.
    pub name: String,
    pub work: Work,
    pub inputs: Vec<Value>,
    pub out: Option<Value>,
}

pub(super) enum Work {
    /// The second input, if there is one, is added.
    Convolution(Convolution),
    Sum(OutputRange),
    /// Windows of the greatest bytes.
    MaxPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pads: [usize; 4],
    },
    /// The mean of each channel.
    GlobalAverage,
    /// Each pixel so many times in rows and columns.
    Repeat([usize; 2]),
    Concat,
}

pub(super) struct Convolution {
    pub weights: Weights,
    /// Rows and columns; one row where the network is one-dimensional.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    pub groups: usize,
    /// In steps of the input's scale times the weight's.
    pub bias: Vec<i32>,
    /// One for each output, if sums below zero have a factor of their own.
    pub slopes: Option<Vec<f32>>,
    /// Between which the layer's own part of an addition is kept.
    pub bounds: Option<[f32; 2]>,
    /// Of the bytes that come out; its zero is theirs.
    pub range: OutputRange,
}

impl Recipe {
    /// Takes the tensor `name` as the bytes of a picture, if it's an input whose bytes are those of the numbers 0
    /// to 255.
    pub(super) fn takes_pixels(&mut self, name: &str) -> bool {
        let is_plain = |value: Value| self.grids[value] == Grid { scale: 1.0, zero: 0 };
        self.pixels = self.inputs.iter().position(|(input, value)| input == name && is_plain(*value));
        self.pixels.is_some()
    }

    /// A line for each layer, whose result has these rows, columns and channels.
    pub(super) fn describe(&self, results: &[[usize; 3]]) -> Vec<String> {
        let of = |(layer, [rows, columns, channels]): (&Layer, &[usize; 3])| {
            let kind = match &layer.work {
                Work::Convolution(c) => {
                    let groups = if c.groups > 1 { format!(" in {} groups", c.groups) } else { String::new() };
                    let added = if layer.inputs.len() > 1 { " with an addition" } else { "" };
                    format!("convolution {}x{}{groups}{added}", c.kernel[0], c.kernel[1])
                }
                Work::Sum(_) => "addition".into(),
                Work::MaxPool { kernel, .. } => format!("maximum {}x{}", kernel[0], kernel[1]),
                Work::GlobalAverage => "mean".into(),
                Work::Repeat(factors) => format!("enlarging {}x{}", factors[0], factors[1]),
                Work::Concat => "concatenation".into(),
            };
            format!("{kind} to {rows}x{columns}x{channels} {}", layer.name)
        };
        self.layers.iter().zip(results).map(of).collect()
    }
}
