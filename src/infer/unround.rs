//! What doesn't run at eight bits, at the speed of a float network.
//!
//! Between its layers an int8 network rounds what it passes on (`QuantizeLinear`, then `DequantizeLinear` of the same scale and
//! zero point). Where `q8` doesn't take such a pair, tract takes it literally and spends more time on it than on the layers:
//! the encoder needed 24 ms in place of 11. Leaving these pairs out changes the result by no more than the rounding, and the
//! weights stay int8 in the file.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

/// Wires past each pair that rounds; weights, whose `DequantizeLinear` stands alone, stay as they are.
pub(super) fn pass_over_rounding(proto: &mut ModelProto) {
    let Some(graph) = &mut proto.graph else { return };
    let passed = passed_over(graph);
    let outputs: Vec<_> = graph.output.iter().map(|output| output.name.clone()).collect();
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        // A pair may follow another one; no chain is longer than the graph.
        for _ in 0..=passed.len() {
            let Some(source) = passed.get(input.as_str()) else { break };
            input.clone_from(source);
        }
    }
    graph.node.retain(|node| !node.output.iter().any(|o| passed.contains_key(o) && !outputs.contains(o)));
}

/// What each pair gives, and what goes into it.
fn passed_over(graph: &GraphProto) -> HashMap<String, String> {
    let rounding: HashMap<_, _> = of_kind(graph, "QuantizeLinear").collect();
    let pairs = of_kind(graph, "DequantizeLinear").filter_map(|(output, back)| {
        let forth = rounding.get(back.input.first()?.as_str())?;
        // Scale and zero point, by their names: a quantiser shares them.
        let is_pair = forth.input.len() == 3 && forth.input[1..] == back.input[1..];
        is_pair.then(|| Some((output.to_owned(), forth.input.first()?.clone())))?
    });
    pairs.collect()
}

fn of_kind<'a>(graph: &'a GraphProto, kind: &'static str) -> impl Iterator<Item = (&'a str, &'a NodeProto)> {
    let nodes = graph.node.iter().filter(move |node| node.op_type == kind);
    nodes.filter_map(|node| Some((node.output.first()?.as_str(), node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: kind.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn model(nodes: Vec<NodeProto>) -> ModelProto {
        let graph = GraphProto { node: nodes, ..GraphProto::default() };
        ModelProto { graph: Some(graph), ..ModelProto::default() }
    }

    fn kinds(model: &ModelProto) -> Vec<&str> {
        model.graph.as_ref().unwrap().node.iter().map(|node| node.op_type.as_str()).collect()
    }

    #[test]
    fn a_pair_is_wired_past_and_weights_stay() {
        let mut model = model(vec![
            node("QuantizeLinear", &["pixels", "s", "z"], "q"),
            node("DequantizeLinear", &["q", "s", "z"], "x"),
            node("QuantizeLinear", &["x", "s2", "z"], "q2"),
            node("DequantizeLinear", &["q2", "s2", "z"], "x2"),
            node("DequantizeLinear", &["w8", "ws"], "w"),
            node("Conv", &["x2", "w"], "y"),
        ]);
        pass_over_rounding(&mut model);
        let nodes = &model.graph.as_ref().unwrap().node;
        assert_eq!(nodes.last().unwrap().input, ["pixels", "w"]);
        assert!(kinds(&model).contains(&"DequantizeLinear"), "the weights'");
    }

    #[test]
    fn what_comes_back_on_another_scale_is_no_pair() {
        let nodes = || {
            vec![
                node("QuantizeLinear", &["pixels", "s", "z"], "q"),
                node("DequantizeLinear", &["q", "s2", "z"], "x"),
                node("Conv", &["x", "w"], "y"),
            ]
        };
        let mut other = model(nodes());
        pass_over_rounding(&mut other);
        assert_eq!(other, model(nodes()));
    }

    #[test]
    fn a_ring_of_pairs_ends() {
        let mut ring = model(vec![
            node("QuantizeLinear", &["x", "s", "z"], "q"),
            node("DequantizeLinear", &["q", "s", "z"], "x"),
            node("Conv", &["x", "w"], "y"),
        ]);
        pass_over_rounding(&mut ring);
        assert!(kinds(&ring).contains(&"Conv"));
    }
}
