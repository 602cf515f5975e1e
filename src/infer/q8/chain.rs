//! What follows a convolution or an addition up to where its result becomes bytes, or stays a float.

use tract_onnx::pb::NodeProto;

use super::graph::{Graph, Grid, float_or};

/// Where a layer ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ChainEnd<'a> {
    /// As the bytes that a `QuantizeLinear` makes.
    Bytes { name: &'a str, grid: Grid },
    /// As the float tensor of this name.
    Real(&'a str),
}

/// A factor for what is below zero: of each channel, or one for all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slope(pub Vec<f32>);

/// A layer's way to its end.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    pub slope: Option<Slope>,
    /// Between which a rounding in the middle kept what it rounded: after the slope, and before the addition.
    pub bounds: Option<[f32; 2]>,
    /// Bytes that are added.
    pub addend: Option<(&'a str, Grid)>,
    /// Whether what is below zero after the addition becomes zero.
    pub is_clamped: bool,
    /// What is above becomes this.
    pub ceiling: Option<f32>,
    /// Nodes that are done with it.
    pub nodes: Vec<usize>,
    pub end: ChainEnd<'a>,
}

impl<'a> Chain<'a> {
    fn new(node: usize, end: ChainEnd<'a>) -> Self {
        let nodes = vec![node];
        Self { slope: None, bounds: None, addend: None, is_clamped: false, ceiling: None, nodes, end }
    }

    /// Takes an activation; `None` where bounds before it are none after it, which takes one slope for all that doesn't
    /// fall.
    fn bend(&mut self, slopes: Vec<f32>) -> Option<()> {
        if let Some([low, high]) = self.bounds {
            let first = *slopes.first()?;
            if !(0.0..=f32::MAX).contains(&first) || slopes.iter().any(|slope| *slope != first) {
                return None;
            }
            self.bounds = Some([low * first, high]);
        }
        self.slope = Some(Slope(slopes));
        Some(())
    }
}

/// Follows the result of `node`. `is_ready` says whether such bytes exist by now, so that they can be added.
pub(super) fn follow<'a>(graph: &Graph<'a>, node: usize, is_ready: impl Fn(&str) -> bool) -> Option<Chain<'a>> {
    let mut at = graph.nodes[node].output.first()?.as_str();
    let end = ChainEnd::Real(at);
    let mut chain = Chain::new(node, end);
    // The last place at which the layer may end; what comes after an addition counts only when it ends as bytes.
    let mut best = chain.clone();
    while let Some(next) = graph.only_reader(at) {
        let follower = &graph.nodes[next];
        match follower.op_type.as_str() {
            "QuantizeLinear" => {
                let Some((name, grid)) = graph.rounded(follower) else { break };
                chain.nodes.push(next);
                chain.end = ChainEnd::Bytes { name, grid };
                best = chain.clone();
                let Some(beyond) = beyond(graph, &mut chain, name, grid) else { break };
                at = beyond;
                continue;
            }
            "Add" if chain.addend.is_none() && !chain.is_clamped && chain.ceiling.is_none() => {
                let Some(other) = follower.input.iter().find(|name| *name != at) else { break };
                let Some(addend) = graph.bytes_of(other).filter(|(name, _)| is_ready(name)) else { break };
                chain.addend = Some(addend);
            }
            _ if chain.is_clamped || chain.ceiling.is_some() => break,
            "Relu" if chain.addend.is_some() => chain.is_clamped = true,
            "Relu" | "LeakyRelu" | "PRelu" if chain.slope.is_none() && chain.addend.is_none() => {
                let Some(()) = slopes(graph, follower).and_then(|slopes| chain.bend(slopes)) else { break };
            }
            "Clip" => {
                let bound = |k: usize| {
                    let name = follower.input.get(k).filter(|name| !name.is_empty())?;
                    graph.floats(name).and_then(|bound| bound.first().copied())
                };
                let Some(high) = bound(2).filter(|high| *high > 0.0 && bound(1) == Some(0.0)) else { break };
                (chain.is_clamped, chain.ceiling) = (true, Some(high));
            }
            _ => break,
        }
        chain.nodes.push(next);
        at = follower.output.first()?.as_str();
        if chain.addend.is_none() && !chain.is_clamped && chain.bounds.is_none() {
            chain.end = ChainEnd::Real(at);
            best = chain.clone();
        }
    }
    Some(best)
}

/// The factors of an activation for what is below zero: of each channel, or one for all. `None` where one isn't finite.
fn slopes(graph: &Graph<'_>, activation: &NodeProto) -> Option<Vec<f32>> {
    match activation.op_type.as_str() {
        "PRelu" => graph.floats(activation.input.get(1)?),
        "LeakyRelu" => Some(vec![float_or(activation, "alpha", 0.01)]).filter(|slopes| slopes[0].is_finite()),
        _ => Some(vec![0.0]),
    }
}

/// Past a rounding in the middle of a layer, to what reads it: an activation or an addition. Nothing is rounded, but
/// what is beyond the bytes saturates as it would: a quantiser leaves a ReLU to that alone.
fn beyond<'a>(graph: &Graph<'a>, chain: &mut Chain<'a>, bytes: &str, grid: Grid) -> Option<&'a str> {
    if chain.addend.is_some() || chain.is_clamped || chain.ceiling.is_some() {
        return None;
    }
    let back = graph.only_reader(bytes)?;
    let real = graph.nodes[back].output.first()?.as_str();
    let next = graph.only_reader(real)?;
    if !["Add", "Relu", "PRelu", "LeakyRelu"].contains(&graph.nodes[next].op_type.as_str()) {
        return None;
    }
    let [low, high] = grid.ends();
    chain.bounds = Some(chain.bounds.map_or([low, high], |bounds| [bounds[0].max(low), bounds[1].min(high)]));
    chain.nodes.push(back);
    Some(real)
}
