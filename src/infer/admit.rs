//! What a network may hold, judged before anything is built from it: nothing that could take all memory, run forever or
//! read other files.
//!
//! tract computes on loading what depends on constants alone, however large it becomes: a file of 300 bytes can ask for
//! gigabytes. So among constants only operators are admitted of which it is known how large their result is at most,
//! and all results together are bounded. What depends on the picture is judged by its shape, once tract has inferred
//! it. And no operator is admitted at all that isn't known.

use std::collections::{HashMap, HashSet};

use tract_core::ops::cnn::{Conv, MaxPool, SumPool};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{TractError, TractResult, TypedModel};

/// More layers than any network for a door has; what has more is no such network.
const MAX_NODES: usize = 4096;
/// The largest tensor between two layers, and all that is computed on loading, in elements (256 MiB of f32).
pub(super) const MAX_ELEMENTS: usize = 64 << 20;
/// All tensors between layers together, in elements (1 GiB of f32): eight times what SCRFD-500m has at 640 x 640.
const MAX_ALL_ELEMENTS: usize = 256 << 20;
/// The most taps in tract's lists of windows, 16 bytes each; a layer with windows of 3 x 3 has 81 at most.
const MAX_TAPS: usize = 4 << 20;
/// More than any tensor has sides: what `Shape` gives at most.
const MAX_RANK: usize = 16;
/// ONNX's number for int64 (TensorProto.DataType).
const INT64: i32 = 7;

/// Operators whose result has at most as many elements as their first input.
const KEEPING_OPS: [&str; 23] = [
    "Abs",
    "Cast",
    "Ceil",
    "Clip",
    "DequantizeLinear",
    "Exp",
    "Flatten",
    "Floor",
    "Identity",
    "Log",
    "Neg",
    "Not",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceProd",
    "Reshape",
    "Round",
    "Slice",
    "Split",
    "Sqrt",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];
/// Operators whose result has at most as many elements as the product of what their inputs have.
const BROADCASTING_OPS: [&str; 12] =
    ["Add", "And", "Div", "Equal", "Gather", "Greater", "Less", "Max", "Min", "Mul", "Pow", "Sub"];
/// What else networks that look at pictures are made of. Of tract's other operators some run forever (`Loop`), some
/// take as much memory as an attribute or a constant says (`DFT`, `MatMulNBits`), some are filled on loading
/// (`EyeLike`).
const OTHER_OPS: &str = "\
    ArgMax ArgMin AveragePool BatchNormalization CastLike Celu Concat Constant ConstantOfShape Conv ConvInteger \
    ConvTranspose Cos DepthToSpace Dropout DynamicQuantizeLinear Elu Erf Expand Gelu Gemm GlobalAveragePool \
    GlobalLpPool GlobalMaxPool GreaterOrEqual GroupNormalization HardSigmoid HardSwish InstanceNormalization \
    LayerNormalization LeakyRelu LessOrEqual LogSoftmax LpNormalization MatMul MatMulInteger MaxPool Mean \
    MeanVarianceNormalization Mish NonZero Or PRelu Pad QLinearConv QLinearMatMul RMSNormalization ReduceL1 ReduceL2 \
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Resize Selu Shape \
    Sigmoid Sign Sin Size Softmax Softplus Softsign SpaceToDepth Sum Swish Tanh ThresholdedRelu Tile Where Xor";

/// Refuses what is described above, and says which layer or tensor it was.
pub(super) fn admit(proto: &ModelProto) -> TractResult<()> {
    let Some(graph) = &proto.graph else { return Err(TractError::msg("there is no graph in it")) };
    ensure(graph.node.len() <= MAX_NODES, || format!("{} layers are more than {MAX_NODES}", graph.node.len()))?;
    ensure(graph.sparse_initializer.is_empty(), || "sparse tensors are not read".into())?;
    for node in &graph.node {
        let known = is_known(&node.op_type);
        ensure(known, || format!("layer {} is a {}, an operator that doesn't run here", node.name, node.op_type))?;
        node.attribute.iter().filter_map(|a| a.t.as_ref()).try_for_each(admit_tensor)?;
        let is_sparse = node.attribute.iter().any(|a| a.sparse_tensor.is_some());
        ensure(!is_sparse, || format!("layer {} has a sparse tensor, which is not read", node.name))?;
        ensure(is_permutation(node), || format!("layer {} names a side twice, or one that isn't there", node.name))?;
    }
    graph.initializer.iter().try_for_each(admit_tensor)?;
    admit_constants(graph)
}

fn is_known(op: &str) -> bool {
    KEEPING_OPS.contains(&op) || BROADCASTING_OPS.contains(&op) || OTHER_OPS.split(' ').any(|known| known == op)
}

/// tract takes a `Transpose` apart into moves of single sides, and goes on for ever where a side is named twice.
fn is_permutation(node: &NodeProto) -> bool {
    let mut orders = node.attribute.iter().filter(|a| node.op_type == "Transpose" && a.name == "perm");
    orders.all(|order| (0..).zip(&order.ints).all(|(side, _)| order.ints.contains(&side)))
}

fn admit_tensor(tensor: &TensorProto) -> TractResult<()> {
    let name = &tensor.name;
    ensure(tensor.external_data.is_empty(), || format!("{name} refers to another file"))?;
    ensure(elements(tensor).is_some(), || format!("{name} has impossible sides {:?}", tensor.dims))
}

/// How many, if no more than [`MAX_ELEMENTS`].
fn elements(of: &TensorProto) -> Option<usize> {
    let sides = of.dims.iter().map(|&side| usize::try_from(side).ok());
    volume(sides).filter(|&n| n <= MAX_ELEMENTS)
}

/// How many elements a value with these sides has at most; `None` beyond what can be counted, or where a side is none.
/// A side of zero counts as one: what has no elements still has its other sides, and lists as long as they are.
pub(super) fn volume(sides: impl IntoIterator<Item = Option<usize>>) -> Option<usize> {
    sides.into_iter().try_fold(1usize, |n, side| n.checked_mul(side?.max(1)))
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
        // tract reads the list only where there are no raw bytes.
        let listed = if tensor.raw_data.is_empty() { tensor.int64_data.as_slice() } else { &[] };
        let sides = raw.chain(listed.iter().copied()).map(|side| usize::try_from(side).ok());
        let volume = volume(sides).filter(|_| tensor.data_type == INT64);
        Self { elements: elements(tensor).unwrap_or(MAX_ELEMENTS), volume }
    }

    fn computed(elements: usize) -> Self {
        Self { elements, volume: None }
    }
}

/// A result that could be larger than any that is admitted.
struct Grows;

/// Follows the constants from layer to layer.
fn admit_constants(graph: &GraphProto) -> TractResult<()> {
    let mut names = HashSet::new();
    let results = || graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    for name in graph.initializer.iter().map(|tensor| &tensor.name).chain(results()) {
        ensure(names.insert(name), || format!("two tensors are called {name}"))?;
    }
    let written = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), Constant::written(tensor)));
    let mut constants: HashMap<&str, Constant> = written.collect();
    let mut left: Vec<&NodeProto> = graph.node.iter().collect();
    let mut total = 0usize;
    // One turn is enough where layers are in order; whatever the order, each turn but the last takes one away.
    for _ in 0..=graph.node.len() {
        let before = left.len();
        for node in std::mem::take(&mut left) {
            let folded = fold(node, &constants);
            let Ok(Some(constant)) = folded else {
                ensure(folded.is_ok(), || too_large(node))?;
                left.push(node);
                continue;
            };
            total = total.saturating_add(constant.elements.saturating_mul(node.output.len()));
            ensure(total <= MAX_ELEMENTS, || too_large(node))?;
            constants.extend(node.output.iter().map(|name| (name.as_str(), constant)));
        }
        if left.len() == before {
            break;
        }
    }
    admit_copies(graph, &constants)
}

/// Each layer has a copy of its numbers, in its own order: those that many layers read, which a small file holds once,
/// could take all memory.
fn admit_copies(graph: &GraphProto, constants: &HashMap<&str, Constant>) -> TractResult<()> {
    let mut read = HashSet::new();
    let again = graph.node.iter().flat_map(|node| &node.input).filter(|name| !read.insert(name.as_str()));
    let copied = again.filter_map(|name| constants.get(name.as_str())).map(|constant| constant.elements);
    let copies = copied.fold(0, usize::saturating_add);
    ensure(copies <= MAX_ELEMENTS, || format!("copies of its numbers would be more than {MAX_ELEMENTS}"))
}

fn too_large(NodeProto { name, op_type, output, .. }: &NodeProto) -> String {
    let name = output.first().unwrap_or(name);
    format!(
        "{name}, which {op_type} makes of constants, could take all memory; simplify the network (onnxsim) and add that"
    )
}

/// What a layer becomes on loading; `None` where it waits for the picture.
fn fold(node: &NodeProto, constants: &HashMap<&str, Constant>) -> Result<Option<Constant>, Grows> {
    let op = node.op_type.as_str();
    match op {
        "Shape" => return Ok(Some(Constant::computed(MAX_RANK))),
        "Size" => return Ok(Some(Constant::computed(1))),
        _ => {}
    }
    let named = node.input.iter().filter(|name| !name.is_empty());
    let inputs: Option<Vec<_>> = named.map(|name| constants.get(name.as_str())).collect();
    let Some(inputs) = inputs else { return Ok(None) };
    let elements = || inputs.iter().map(|input| input.elements.max(1));
    let folded = match op {
        "Constant" => Some(constant(node)),
        "ConstantOfShape" => inputs.first().and_then(|shape| shape.volume).map(Constant::computed),
        "Concat" => Some(Constant::computed(elements().fold(0, usize::saturating_add))),
        _ if KEEPING_OPS.contains(&op) => elements().next().map(Constant::computed),
        _ if BROADCASTING_OPS.contains(&op) => Some(Constant::computed(elements().fold(1, usize::saturating_mul))),
        _ => None,
    };
    folded.filter(|constant| constant.elements <= MAX_ELEMENTS).map(Some).ok_or(Grows)
}

/// What a layer of the type `Constant` says.
fn constant(node: &NodeProto) -> Constant {
    if let [attribute] = node.attribute.as_slice()
        && let Some(tensor) = &attribute.t
    {
        return Constant::written(tensor);
    }
    let lists = node.attribute.iter().map(|a| a.floats.len() + a.ints.len() + a.strings.len());
    let tensors = node.attribute.iter().filter_map(|a| a.t.as_ref()).map(|tensor| Constant::written(tensor).elements);
    Constant::computed(lists.chain(tensors).fold(1, usize::saturating_add))
}

/// Refuses a layer whose result has no fixed shape, or more numbers than any network for a door has, alone or with all
/// others.
pub(super) fn admit_sizes(model: &TypedModel) -> TractResult<()> {
    let mut all = 0usize;
    for node in model.nodes() {
        for output in &node.outputs {
            let Some(shape) = output.fact.shape.as_concrete() else {
                return Err(TractError::msg(format!("{} has no fixed shape", node.name)));
            };
            let elements = volume(shape.iter().copied().map(Some));
            let fits = elements.is_some_and(|n| n <= MAX_ELEMENTS);
            ensure(fits, || format!("{} would hold more than {MAX_ELEMENTS} numbers", node.name))?;
            all = all.saturating_add(elements.unwrap_or(usize::MAX));
            let fits = || format!("with {} its layers would hold more than {MAX_ALL_ELEMENTS} numbers", node.name);
            ensure(all <= MAX_ALL_ELEMENTS, fits)?;
        }
    }
    Ok(())
}

/// Refuses windows that are too large to be listed, as tract does on loading, for each way in which a border cuts them.
pub(super) fn admit_windows(model: &TypedModel) -> TractResult<()> {
    let mut taps = 0usize;
    for node in model.nodes() {
        let windows = node.op_as::<Conv>().map(|op| &op.pool_spec);
        let windows = windows.or_else(|| node.op_as::<MaxPool>().map(|op| &op.pool_spec));
        let windows = windows.or_else(|| node.op_as::<SumPool>().map(|op| &op.pool_spec));
        let Some(windows) = windows else { continue };
        let kernel = windows.kernel_shape.iter();
        let places =
            node.outputs.first().and_then(|output| output.fact.shape.as_concrete()?.get(2..)).unwrap_or_default();
        // Before and behind the picture so many taps can be cut off, or none.
        let ways =
            kernel.clone().zip(places).map(|(taps, &places)| Some(places.min(taps.checked_mul(2)?.checked_add(1)?)));
        let listed = volume(kernel.map(|taps| Some(*taps)).chain(ways));
        taps = taps.saturating_add(listed.unwrap_or(usize::MAX));
        ensure(taps <= MAX_TAPS, || format!("{} has windows that are too large", node.name))?;
    }
    Ok(())
}

/// Whether a constant's numbers can mean something: a layer with a NaN or with infinite weights gives nothing but
/// these, or, where it compares or rounds, a number that looks like any other. A bound alone may be infinite.
pub(super) fn are_numbers(constant: &[f32]) -> bool {
    constant.iter().all(|x| x.is_finite() || (constant.len() == 1 && !x.is_nan()))
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> TractResult<()> {
    if holds { Ok(()) } else { Err(TractError::msg(otherwise())) }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::AttributeProto;

    use super::*;

    fn shape(name: &str, sides: &[i64]) -> TensorProto {
        let (dims, int64_data) = (vec![sides.len() as i64], sides.to_vec());
        TensorProto { name: name.into(), dims, int64_data, data_type: INT64, ..TensorProto::default() }
    }

    fn layer(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        let input = inputs.iter().map(|&name| name.into()).collect();
        NodeProto { op_type: op.into(), input, output: vec![output.into()], ..NodeProto::default() }
    }

    fn told(initializer: Vec<TensorProto>, node: Vec<NodeProto>) -> Option<String> {
        let graph = GraphProto { initializer, node, ..GraphProto::default() };
        admit(&ModelProto { graph: Some(graph), ..ModelProto::default() }).err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_network_computes_on_loading_is_bounded_in_whatever_order_it_stands() {
        let made = |elements| vec![layer("Neg", &["made"], "out"), elements, layer("Conv", &["image", "out"], "end")];
        let of_shape = made(layer("ConstantOfShape", &["s"], "made"));
        assert_eq!(told(vec![shape("s", &[1000, 10])], of_shape.clone()), None);
        for sides in [&[1 << 30, 1][..], &[1 << 40, 1 << 40], &[-1]] {
            let told = told(vec![shape("s", sides)], of_shape.clone()).unwrap();
            assert!(told.contains("made, which ConstantOfShape makes of constants, could take all memory"), "{told}");
        }
        let raw_data = [1i64 << 15, 1 << 16].iter().flat_map(|side| side.to_le_bytes()).collect();
        let both = TensorProto { dims: vec![2], raw_data, ..shape("s", &[0]) };
        assert!(told(vec![both], of_shape.clone()).is_some(), "a list beside raw bytes isn't read");
        for op in ["Tile", "Expand", "Pad", "Resize", "MatMul"] {
            assert!(told(vec![shape("s", &[1])], made(layer(op, &["s", "s"], "made"))).is_some(), "{op}");
            assert_eq!(told(vec![shape("s", &[1])], made(layer(op, &["image", "s"], "made"))), None, "{op}");
        }
    }

    #[test]
    fn an_operator_that_is_not_known_is_refused() {
        for op in ["Loop", "If", "DFT", "STFT", "MatMulNBits", "EyeLike", "Range", "Unheard", ""] {
            let told = told(vec![shape("s", &[1])], vec![layer(op, &["image", "s"], "made")]).unwrap();
            assert_eq!(told, format!("layer  is a {op}, an operator that doesn't run here"));
        }
    }

    #[test]
    fn a_transposition_names_each_side_once() {
        let of = |perm: &[i64]| {
            let perm = AttributeProto { name: "perm".into(), ints: perm.to_vec(), ..AttributeProto::default() };
            told(vec![], vec![NodeProto { attribute: vec![perm], ..layer("Transpose", &["image"], "turned") }])
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0, 2, 3, 1]), None);
        for perm in [&[0, 2, 0, 1][..], &[0, 0, 0, 0], &[1, 2, 3, 4], &[-1, 0, 1, 2]] {
            assert!(of(perm).unwrap().contains("names a side twice"), "{perm:?}");
        }
    }

    #[test]
    fn a_tensor_without_numbers_is_as_large_as_its_other_sides() {
        let of = |dims: &[i64]| told(vec![TensorProto { dims: dims.to_vec(), ..shape("s", &[]) }], vec![]);
        assert_eq!(of(&[0]), None);
        assert_eq!(of(&[8, 0, 1, 1]), None);
        assert!(of(&[1 << 40, 0, 1, 1]).unwrap().contains("impossible sides"));
    }

    #[test]
    fn numbers_that_many_layers_read_count_for_each() {
        let weights = || vec![TensorProto { dims: vec![1 << 22], ..shape("w", &[]) }];
        let of = |layers: usize| {
            let layer = |k: usize| layer("Conv", &["image", "w"], &format!("out{k}"));
            told(weights(), (0..layers).map(layer).collect())
        };
        assert_eq!(of(17), None);
        assert!(of(18).unwrap().starts_with("copies of its numbers"));
    }

    #[test]
    fn constants_that_grow_step_by_step_are_added_up() {
        let large = |name: &str| TensorProto { dims: vec![1 << 13], ..shape(name, &[]) };
        let grown = |times: usize| {
            let add = |i: usize| layer("Add", &["a", "b"], &format!("sum{i}"));
            told(
                vec![large("a"), TensorProto { dims: vec![1 << 12], ..shape("b", &[]) }],
                (0..times).map(add).collect(),
            )
        };
        assert_eq!(grown(2), None);
        assert!(grown(3).unwrap().starts_with("sum2"));
        assert!(
            told(vec![large("a"), large("b")], vec![layer("Mul", &["a", "b"], "c"), layer("Mul", &["c", "c"], "d")])
                .is_some()
        );
    }

    #[test]
    fn a_shape_may_be_reckoned_with_and_no_name_means_two_tensors() {
        let reckoned = vec![
            layer("Shape", &["image"], "sides"),
            layer("Gather", &["sides", "s"], "side"),
            layer("Concat", &["side", "s"], "shape"),
            layer("Reshape", &["image", "shape"], "out"),
        ];
        assert_eq!(told(vec![shape("s", &[2])], reckoned), None);
        let counted = vec![
            layer("Size", &["image"], "size"),
            layer("Concat", &["size", "size"], "sides"),
            layer("ConstantOfShape", &["sides"], "made"),
        ];
        assert!(told(vec![], counted).unwrap().starts_with("made, which ConstantOfShape makes"));
        let twice = told(vec![shape("s", &[2])], vec![layer("Neg", &["image"], "s")]).unwrap();
        assert_eq!(twice, "two tensors are called s");
    }
}
