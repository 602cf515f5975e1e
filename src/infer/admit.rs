//! What a network may hold, judged before anything is built from it: nothing that could take all memory, run forever or
//! read other files.
//!
//! tract computes on loading what depends on constants alone, however large it becomes. So among constants only
//! operators are admitted whose result is no larger than the product of what they are given, and all results together are
//! bounded. What depends on the picture is judged by its shape, once tract has inferred it.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{TractError, TractResult};

/// More layers than any network for a door has; what has more is no such network.
const MAX_NODES: usize = 4096;
/// The largest tensor between two layers, and all that is computed on loading, in elements (256 MiB of f32).
pub(super) const MAX_ELEMENTS: usize = 64 << 20;
/// Subgraphs with loops can run forever.
const FORBIDDEN_OPS: [&str; 3] = ["Loop", "Scan", "If"];
/// More than any tensor has sides: what `Shape` gives at most.
const MAX_RANK: usize = 16;
/// ONNX's number for int64 (TensorProto.DataType).
const INT64: i32 = 7;

/// Operators whose result has at most as many elements as the product of what their inputs have: element by element with
/// broadcasting, moving, choosing.
const FOLDABLE_OPS: [&str; 36] = [
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "DequantizeLinear", "Div", "Equal", "Exp", "Flatten", "Floor", "Gather", "Greater",
    "Identity", "Less", "Log", "Max", "Min", "Mul", "Neg", "Not", "Pow", "QuantizeLinear", "ReduceProd", "Reciprocal",
    "Reshape", "Round", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
];

/// Refuses what is described above, and says which layer or tensor it was.
pub(super) fn admit(proto: &ModelProto) -> TractResult<()> {
    let Some(graph) = &proto.graph else { return Err(TractError::msg("there is no graph in it")) };
    ensure(graph.node.len() <= MAX_NODES, || format!("{} layers are more than {MAX_NODES}", graph.node.len()))?;
    ensure(graph.sparse_initializer.is_empty(), || "sparse tensors are not read".into())?;
    for node in &graph.node {
        let allowed = !FORBIDDEN_OPS.contains(&node.op_type.as_str());
        ensure(allowed, || format!("layer {} is a {}, which could run forever", node.name, node.op_type))?;
        node.attribute.iter().filter_map(|a| a.t.as_ref()).try_for_each(admit_tensor)?;
        let is_sparse = node.attribute.iter().any(|a| a.sparse_tensor.is_some());
        ensure(!is_sparse, || format!("layer {} has a sparse tensor, which is not read", node.name))?;
    }
    graph.initializer.iter().try_for_each(admit_tensor)?;
    admit_constants(graph)
}

fn admit_tensor(tensor: &TensorProto) -> TractResult<()> {
    let name = &tensor.name;
    ensure(tensor.external_data.is_empty(), || format!("{name} refers to another file"))?;
    ensure(elements(tensor).is_some(), || format!("{name} has impossible sides {:?}", tensor.dims))
}

/// How many, if no more than [`MAX_ELEMENTS`].
fn elements(of: &TensorProto) -> Option<usize> {
    let sides = of.dims.iter().map(|&side| usize::try_from(side).ok());
    sides.into_iter().try_fold(1, |n, side| volume(n, side?)).filter(|&n| n <= MAX_ELEMENTS)
}

pub(super) fn volume(elements: usize, side: usize) -> Option<usize> {
    elements.checked_mul(side)
}

/// What is known of a tensor that depends on constants alone.
#[derive(Clone, Copy)]
struct Constant {
    /// It has no more elements.
    elements: usize,
    /// As a shape, it has so many elements; known of what is written in the file.
    volume: Option<usize>,
}

impl Constant {
    fn written(tensor: &TensorProto) -> Self {
        let raw = tensor.raw_data.as_chunks::<8>().0.iter().map(|side| i64::from_le_bytes(*side));
        let sides = raw.chain(tensor.int64_data.iter().copied()).map(|side| usize::try_from(side).ok());
        let shape = sides.into_iter().try_fold(1, |n, side| volume(n, side?));
        let volume = shape.filter(|_| tensor.data_type == INT64);
        Self { elements: elements(tensor).unwrap_or(MAX_ELEMENTS), volume }
    }

    fn computed(elements: usize) -> Self {
        Self { elements, volume: None }
    }
}

/// Follows the constants from layer to layer.
fn admit_constants(graph: &GraphProto) -> TractResult<()> {
    let written = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), Constant::written(tensor)));
    let mut constants: HashMap<&str, Constant> = written.collect();
    let mut left: Vec<&NodeProto> = graph.node.iter().collect();
    let mut total = 0;
    // In order one turn is enough; whatever the order, each turn but the last takes one away.
    for _ in 0..=graph.node.len() {
        let before = left.len();
        for node in std::mem::take(&mut left) {
            match fold(node, &constants) {
                None => left.push(node),
                Some(constant) => {
                    let sum = constant.map(|constant| total + constant.elements * node.output.len());
                    let Some(sum) = sum.filter(|&sum| sum <= MAX_ELEMENTS) else {
                        let (name, op) = (node.output.first().unwrap_or(&node.name), &node.op_type);
                        let help = "simplify the network (onnxsim) before it is added";
                        return Err(TractError::msg(format!(
                            "{name}, a {op} of constants, could take all memory; {help}"
                        )));
                    };
                    total = sum;
                    constants.extend(node.output.iter().filter_map(|name| Some((name.as_str(), constant?))));
                }
            }
        }
        if left.len() == before {
            break;
        }
    }
    Ok(())
}

/// What a layer becomes: `None` where it waits for the picture, `Some(None)` where it could become too large.
#[expect(clippy::option_option, reason = "both absences are told apart in one place, right above")]
fn fold(node: &NodeProto, constants: &HashMap<&str, Constant>) -> Option<Option<Constant>> {
    let named = || node.input.iter().filter(|name| !name.is_empty());
    let op = node.op_type.as_str();
    if op == "Shape" {
        return Some(Some(Constant::computed(MAX_RANK)));
    }
    let inputs: Vec<Constant> = named().map(|name| constants.get(name.as_str()).copied()).collect::<Option<_>>()?;
    Some(match op {
        "Constant" => node.attribute.first().map(|value| match &value.t {
            Some(tensor) => Constant::written(tensor),
            None => Constant::computed(1 + value.floats.len() + value.ints.len() + value.strings.len()),
        }),
        "ConstantOfShape" => inputs.first().and_then(|shape| shape.volume).map(Constant::computed),
        "Concat" => inputs.iter().try_fold(0usize, |n, input| n.checked_add(input.elements)).map(Constant::computed),
        _ if FOLDABLE_OPS.contains(&op) => {
            inputs.iter().try_fold(1, |n, input| volume(n, input.elements.max(1))).map(Constant::computed)
        }
        _ => None,
    })
    .map(|constant| constant.filter(|constant| constant.elements <= MAX_ELEMENTS))
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> TractResult<()> {
    if holds { Ok(()) } else { Err(TractError::msg(otherwise())) }
}
