//! A graph of ONNX as the rewriting looks at it: who makes a tensor, who reads it, and which tensors are bytes.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use crate::infer::admit::are_numbers;

/// TensorProto.DataType of ONNX.
pub(in crate::infer) const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT32: i32 = 6;
const INT64: i32 = 7;

/// What a byte stands for: (byte − zero) · scale. A signed byte of the file is 128 less than the one here, its zero
/// too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::infer) struct Grid {
    pub scale: f32,
    pub zero: u8,
}

impl Grid {
    /// The least and the greatest number that a byte stands for; zero lies between them.
    pub fn ends(self) -> [f32; 2] {
        [0.0, 255.0].map(|byte| (byte - f32::from(self.zero)) * self.scale)
    }

    /// The byte that stands for a number, or comes closest.
    pub fn byte(self, real: f32) -> u8 {
        ((real / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, 255.0) as u8
    }
}

/// Signed weights with a scale for each output, or one for all.
pub(in crate::infer) struct Weights {
    pub numbers: Vec<i8>,
    pub dims: Vec<usize>,
    pub scales: Vec<f32>,
}

impl Weights {
    pub fn scale(&self, output: usize) -> f32 {
        self.scales[if self.scales.len() == 1 { 0 } else { output }]
    }
}

pub(in crate::infer) struct Graph<'a> {
    pub nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    makers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
}

impl<'a> Graph<'a> {
    pub fn of(graph: &'a GraphProto) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                readers.entry(input).or_default().push(index);
            }
        }
        let makers = graph.node.iter().enumerate();
        Self {
            nodes: &graph.node,
            constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            makers: makers.flat_map(|(k, node)| node.output.iter().map(move |o| (o.as_str(), k))).collect(),
            readers,
            outputs: graph.output.iter().map(|output| output.name.as_str()).collect(),
        }
    }

    pub fn maker(&self, name: &str) -> Option<usize> {
        self.makers.get(name).copied()
    }

    pub fn readers(&self, name: &str) -> &[usize] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn is_output(&self, name: &str) -> bool {
        self.outputs.contains(name)
    }

    /// The one node that reads this tensor, which is no output of the graph.
    pub fn only_reader(&self, name: &str) -> Option<usize> {
        match self.readers(name) {
            [reader] if !self.is_output(name) => Some(*reader),
            _ => None,
        }
    }

    /// The grid of a `QuantizeLinear` or `DequantizeLinear` of activations.
    pub fn grid(&self, node: &NodeProto) -> Option<Grid> {
        let [_, scale, zero] = node.input.as_slice() else { return None };
        let scale = self.floats(scale).filter(|scale| scale.len() == 1)?[0];
        let zero = self.constants.get(zero.as_str()).filter(|zero| zero.dims.iter().product::<i64>() == 1)?;
        let byte = *byte_values(zero)?.first()?;
        let zero = match zero.data_type {
            UINT8 => byte,
            INT8 => byte ^ 0x80,
            _ => return None,
        };
        (scale.is_finite() && scale > 0.0).then_some(Grid { scale, zero })
    }

    /// The bytes behind a float tensor: the output of the `QuantizeLinear` whose `DequantizeLinear` this tensor is, if
    /// all that read these bytes read them on their own grid.
    pub fn bytes_of(&self, name: &str) -> Option<(&'a str, Grid)> {
        let back = &self.nodes[self.maker(name)?];
        if back.op_type != "DequantizeLinear" {
            return None;
        }
        let forth = &self.nodes[self.maker(back.input.first()?)?];
        let (bytes, grid) = self.rounded(forth)?;
        Some((bytes, grid))
    }

    /// The output of a `QuantizeLinear` that only `DequantizeLinear` of the same grid reads.
    pub fn rounded(&self, forth: &'a NodeProto) -> Option<(&'a str, Grid)> {
        if forth.op_type != "QuantizeLinear" {
            return None;
        }
        let bytes = forth.output.first()?.as_str();
        let grid = self.grid(forth)?;
        let is_back = |&reader: &usize| {
            let node = &self.nodes[reader];
            node.op_type == "DequantizeLinear" && self.grid(node) == Some(grid)
        };
        (!self.is_output(bytes) && self.readers(bytes).iter().all(is_back)).then_some((bytes, grid))
    }

    /// A constant's floats; `None` where it is none, or holds what no weight can be.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.constants.get(name).filter(|tensor| tensor.data_type == FLOAT)?;
        let raw = tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        complete(tensor, raw.chain(tensor.float_data.iter().copied()).collect()).filter(|numbers| are_numbers(numbers))
    }

    pub fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.constants.get(name)?;
        let numbers = match tensor.data_type {
            INT32 => {
                let raw = tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes));
                raw.chain(tensor.int32_data.iter().copied()).map(i64::from).collect()
            }
            INT64 => {
                let raw = tensor.raw_data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
                raw.chain(tensor.int64_data.iter().copied()).collect()
            }
            _ => return None,
        };
        complete(tensor, numbers)
    }

    /// The constants behind a `DequantizeLinear` with symmetric signed bytes; `axis` is where outputs lie. `None` where
    /// there are no numbers, or a scale turns the sign of sums, by which a slope is chosen.
    pub fn weights(&self, name: &str, axis: usize) -> Option<Weights> {
        let node = &self.nodes[self.maker(name)?];
        if node.op_type != "DequantizeLinear" {
            return None;
        }
        let tensor = self.constants.get(node.input.first()?.as_str())?;
        let dims: Vec<usize> = tensor.dims.iter().map(|&side| usize::try_from(side).ok()).collect::<Option<_>>()?;
        let offset = match tensor.data_type {
            INT8 => 0,
            UINT8 => 0x80,
            _ => return None,
        };
        let numbers: Vec<i8> =
            complete(tensor, byte_values(tensor)?)?.into_iter().map(|byte| (byte ^ offset) as i8).collect();
        let scales = self.floats(node.input.get(1)?)?;
        let outputs = *dims.get(axis)?;
        let on_axis = attribute_or(node, "axis", 1).rem_euclid(dims.len() as i64) == axis as i64;
        let are_scales = scales.iter().all(|scale| (0.0..=f32::MAX).contains(scale));
        if numbers.is_empty() || !are_scales || !(scales.len() == 1 || (scales.len() == outputs && on_axis)) {
            return None;
        }
        let zeros = match node.input.get(2) {
            Some(zero) => byte_values(self.constants.get(zero.as_str())?)?,
            // Where none is said it is 0, of unsigned bytes, too.
            None => vec![0],
        };
        (!zeros.is_empty() && zeros.iter().all(|&zero| zero == offset)).then_some(Weights { numbers, dims, scales })
    }

    /// A bias in steps of `steps`, from integers in these steps or from floats.
    pub fn bias(&self, name: &str, steps: &[f64]) -> Option<Vec<i32>> {
        let reals: Vec<f64> = match self.maker(name).map(|maker| &self.nodes[maker]) {
            None => self.floats(name)?.into_iter().map(f64::from).collect(),
            Some(node) if node.op_type == "DequantizeLinear" => {
                let numbers = self.integers(node.input.first()?)?;
                let scales = self.floats(node.input.get(1)?)?;
                let scale = |c: usize| scales.get(if scales.len() == 1 { 0 } else { c }).map(|&s| f64::from(s));
                let zeros = node.input.get(2).map_or(Some(Vec::new()), |zero| self.integers(zero))?;
                if zeros.iter().any(|&zero| zero != 0) {
                    return None;
                }
                let numbers = numbers.into_iter().enumerate();
                numbers.map(|(c, number)| Some(number as f64 * scale(c)?)).collect::<Option<_>>()?
            }
            Some(_) => return None,
        };
        if reals.len() != steps.len() {
            return None;
        }
        let in_steps = reals.into_iter().zip(steps).map(|(real, step)| (real / step).round());
        in_steps.map(|n| (n.abs() < f64::from(1 << 30)).then_some(n as i32)).collect()
    }
}

fn complete<T>(tensor: &TensorProto, numbers: Vec<T>) -> Option<Vec<T>> {
    let expected = tensor.dims.iter().try_fold(1usize, |n, &side| n.checked_mul(usize::try_from(side).ok()?));
    (expected == Some(numbers.len())).then_some(numbers)
}

fn byte_values(tensor: &TensorProto) -> Option<Vec<u8>> {
    let is_bytes = [UINT8, INT8].contains(&tensor.data_type);
    let listed = tensor.int32_data.iter().map(|&number| number as u8);
    is_bytes.then(|| tensor.raw_data.iter().copied().chain(listed).collect())
}

/// An integer attribute.
pub(super) fn attribute_or(node: &NodeProto, name: &str, otherwise: i64) -> i64 {
    node.attribute.iter().find(|a| a.name == name).map_or(otherwise, |a| a.i)
}

/// A float attribute.
pub(super) fn float_or(node: &NodeProto, name: &str, otherwise: f32) -> f32 {
    node.attribute.iter().find(|a| a.name == name).map_or(otherwise, |a| a.f)
}

/// A text attribute: empty where it isn't there, and no word that anybody knows where it is no text.
pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> &'a str {
    let attribute = node.attribute.iter().find(|a| a.name == name);
    attribute.map_or("", |a| std::str::from_utf8(&a.s).unwrap_or("?"))
}

/// A list of sides: empty where it isn't there, `None` where it's none or one of them is negative. Such a layer isn't
/// one with the default; tract says what is wrong with it.
pub(super) fn sides(node: &NodeProto, name: &str) -> Option<Vec<usize>> {
    let Some(attribute) = node.attribute.iter().find(|a| a.name == name) else { return Some(Vec::new()) };
    let sides = attribute.ints.iter().map(|&side| usize::try_from(side).ok());
    sides.collect::<Option<Vec<_>>>().filter(|sides| !sides.is_empty())
}
