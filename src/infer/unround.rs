//! What doesn't run at eight bits, at the speed of a float network.
//!
//! Between its layers an int8 network rounds what it passes on (`QuantizeLinear`, then `DequantizeLinear` of the same
//! scale and zero point). Where `q8` doesn't take such a pair, tract takes it literally and spends more time on it than
//! on the layers: the encoder needed 24 ms in place of 11. Without the rounding the result differs by no more than
//! that, and the weights stay int8 in the file.
//!
//! A pair does more than round: it saturates at the least and the greatest byte. A quantiser relies on it and leaves
//! out the ReLU before a pair that has no byte below zero. So the bounds stay, except where nothing can be beyond them.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use super::q8::{FLOAT, Graph};

/// A tensor is followed over so many layers to what bounds it.
const MAX_STEPS: usize = 8;
/// Layers whose numbers are some of their first input's.
const MOVING_OPS: [&str; 8] =
    ["Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"];

/// Puts bounds in the place of each pair that rounds, or a wire; weights, whose `DequantizeLinear` stands alone, stay
/// as they are.
pub(super) fn pass_over_rounding(proto: &mut ModelProto) {
    let Some(graph) = &mut proto.graph else { return };
    let Pairs { bounds, wires } = Pairs::of(&Graph::of(graph));
    for node in &mut graph.node {
        let Some((kind, bound)) = node.output.first().and_then(|output| bounds.get(output)) else { continue };
        let name = format!("{}.{kind}", node.output[0]);
        let float_data = vec![*bound];
        graph.initializer.push(TensorProto {
            name: name.clone(),
            data_type: FLOAT,
            float_data,
            ..TensorProto::default()
        });
        node.op_type = (*kind).into();
        node.input.truncate(1);
        node.input.push(name);
        node.attribute.clear();
    }
    wire(graph, &wires);
}

/// What becomes of the pairs.
#[derive(Default)]
struct Pairs {
    /// Layers by their output: a pair is the greater of a number and its least, and then the lesser of that and its
    /// greatest.
    bounds: HashMap<String, (&'static str, f32)>,
    /// What a pair gives that does nothing but round, and what goes into it.
    wires: HashMap<String, String>,
}

impl Pairs {
    fn of(graph: &Graph<'_>) -> Self {
        let mut pairs = Self::default();
        for forth in graph.nodes {
            let Some((bytes, grid)) = graph.rounded(forth) else { continue };
            let [least, greatest] = grid.ends();
            let is_within = |[low, high]: [f32; 2]| least <= low && high <= greatest;
            let is_idle = range(graph, &forth.input[0]).is_some_and(is_within);
            let backs = graph.readers(bytes).iter().filter_map(|&back| graph.nodes[back].output.first());
            for back in backs {
                match is_idle && !graph.is_output(back) {
                    true => drop(pairs.wires.insert(back.clone(), forth.input[0].clone())),
                    false => drop(pairs.bounds.insert(back.clone(), ("Min", greatest))),
                }
            }
            pairs.bounds.insert(bytes.into(), ("Max", least));
        }
        pairs
    }
}

/// Between which the numbers of a tensor lie, where the layers before it tell.
fn range(graph: &Graph<'_>, tensor: &str) -> Option<[f32; 2]> {
    let mut at = tensor;
    for _ in 0..MAX_STEPS {
        let maker = &graph.nodes[graph.maker(at)?];
        match maker.op_type.as_str() {
            "DequantizeLinear" => return graph.bytes_of(at).map(|(_, grid)| grid.ends()),
            "Sigmoid" | "Softmax" => return Some([0.0, 1.0]),
            kind if MOVING_OPS.contains(&kind) => at = maker.input.first()?,
            _ => return None,
        }
    }
    None
}

/// Has the readers of what `wires` names read what goes into it.
fn wire(graph: &mut GraphProto, wires: &HashMap<String, String>) {
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        // A pair may follow another one; no chain is longer than the graph.
        for _ in 0..=wires.len() {
            let Some(source) = wires.get(input.as_str()) else { break };
            input.clone_from(source);
        }
    }
    graph.node.retain(|node| !node.output.iter().any(|output| wires.contains_key(output)));
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
    use tract_onnx::pb::{NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
    use tract_onnx::prelude::*;

    use super::*;

    fn node(kind: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            name: output.into(),
            op_type: kind.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn rounding(input: &str, scale: &str, zero: &str, output: &str) -> [NodeProto; 2] {
        let bytes = format!("{output}.bytes");
        [
            node("QuantizeLinear", &[input, scale, zero], &bytes),
            node("DequantizeLinear", &[&bytes, scale, zero], output),
        ]
    }

    fn model(nodes: Vec<NodeProto>) -> ModelProto {
        let float = |name: &str, number: f32| {
            let raw_data = number.to_le_bytes().to_vec();
            TensorProto { name: name.into(), data_type: FLOAT, raw_data, ..TensorProto::default() }
        };
        // A scale of one, one of two, an unsigned zero of 0 and a signed one of -28.
        let byte = |name: &str, data_type, byte| TensorProto {
            name: name.into(),
            data_type,
            raw_data: vec![byte],
            ..TensorProto::default()
        };
        let initializer = vec![float("one", 1.0), float("two", 2.0), byte("z", 2, 0), byte("z28", 3, -28i8 as u8)];
        let graph = GraphProto { node: nodes, initializer, ..GraphProto::default() };
        let opset_import = vec![OperatorSetIdProto { version: 13, ..OperatorSetIdProto::default() }];
        ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() }
    }

    fn kinds(model: &ModelProto) -> Vec<&str> {
        model.graph.as_ref().unwrap().node.iter().map(|node| node.op_type.as_str()).collect()
    }

    /// What tract makes of the numbers `x` without the roundings.
    fn run(mut model: ModelProto, x: &[f32], output: &str) -> Vec<f32> {
        let side = dimension::Value::DimValue(x.len() as i64);
        let dim = vec![Dimension { value: Some(side), ..Dimension::default() }];
        let of = type_proto::Tensor { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
        let of = TypeProto { value: Some(type_proto::Value::TensorType(of)), ..TypeProto::default() };
        let graph = model.graph.as_mut().unwrap();
        graph.input = vec![ValueInfoProto { name: "x".into(), r#type: Some(of), ..ValueInfoProto::default() }];
        graph.output = vec![ValueInfoProto { name: output.into(), ..ValueInfoProto::default() }];
        pass_over_rounding(&mut model);
        let plan = tract_onnx::onnx().model_for_proto_model(&model).unwrap().into_optimized().unwrap();
        let outputs = plan.into_runnable().unwrap().run(tvec!(tensor1(x).into())).unwrap();
        outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn a_pair_saturates_and_does_not_round() {
        let x = [-1e6, -5.0, 0.25, 7.0, 1e6];
        let [forth, back] = rounding("x", "one", "z", "y");
        let end = node("Add", &["y", "one"], "end");
        assert_eq!(run(model(vec![forth, back.clone(), end]), &x, "end"), [1.0, 1.0, 1.25, 8.0, 256.0]);
        let [forth, back] = rounding("x", "two", "z28", "y");
        assert_eq!(run(model(vec![forth, back]), &x, "y"), [-200.0, -5.0, 0.25, 7.0, 310.0]);
    }

    #[test]
    fn what_cannot_be_beyond_the_bytes_is_wired_past_and_weights_stay() {
        let first = rounding("pixels", "one", "z", "a");
        let moved = [node("MaxPool", &["a"], "b")];
        let wider = rounding("b", "two", "z28", "c");
        let narrower = rounding("c", "one", "z", "d");
        let last = [node("DequantizeLinear", &["w8", "ws"], "w"), node("Conv", &["d", "w"], "y")];
        let mut model = model([&first[..], &moved, &wider, &narrower, &last].concat());
        pass_over_rounding(&mut model);
        let nodes = &model.graph.as_ref().unwrap().node;
        assert_eq!(kinds(&model), ["Max", "Min", "MaxPool", "Max", "Max", "Min", "DequantizeLinear", "Conv"]);
        // Past the wider pair, whose first half nobody reads any more; within the narrower one's bounds, which are no
        // wider.
        assert_eq!((nodes[4].input[0].as_str(), nodes[7].input[0].as_str()), ("b", "d"));
    }

    #[test]
    fn what_comes_back_on_another_scale_or_a_scale_of_each_channel_is_no_pair() {
        let other =
            [node("QuantizeLinear", &["pixels", "one", "z"], "q"), node("DequantizeLinear", &["q", "two", "z"], "x")];
        for nodes in [other, rounding("pixels", "unknown", "z", "x")] {
            let before = model(nodes.to_vec());
            let mut after = before.clone();
            pass_over_rounding(&mut after);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn a_ring_of_pairs_ends() {
        let [forth, back] = rounding("x", "one", "z", "x");
        let mut ring = model(vec![forth, back, node("Conv", &["x", "w"], "y")]);
        pass_over_rounding(&mut ring);
        assert!(kinds(&ring).contains(&"Conv"));
    }
}
