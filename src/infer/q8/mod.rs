//! Eight-bit networks at eight bits: what of a graph runs on [`crate::kernels::q8`], and how.
//!
//! tract computes a file whose tensors go through `QuantizeLinear` and `DequantizeLinear` literally, in floats. Before
//! it sees the graph, [`rewrite`] finds the layers that lie between such pairs, takes them out with their integers as
//! they stand in the file, and puts one operator in the place of each connected part. tract infers shapes, runs the
//! operator and whatever is around it; inside, a [`program::Program`] goes from layer to layer in memory planned at
//! load.
//!
//! Between a convolution and the addition or activation that follows it a file rounds once more; here the sum goes on
//! unrounded, within the bounds at which it would have saturated. That is one rounding less than the file asks for, and
//! the only difference from it beyond the last bit of a scale.

mod attributes;
mod chain;
mod compile;
mod extent;
mod graph;
mod operator;
mod pixels;
mod program;
mod recipe;
mod search;
#[cfg(test)]
mod tests;
mod unroll;

pub(super) use graph::{FLOAT, Graph};
pub(super) use operator::{Operator, place};
pub(super) use recipe::Recipe;
pub(super) use search::{rewrite, take_pixels};
