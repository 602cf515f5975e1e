//! Finds the layers of a graph that can run at eight bits, and puts operators in the place of them.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto};

use super::attributes::{factors, strides, two, window};
use super::chain::{Chain, ChainEnd, Slope, follow};
use super::graph::{Graph, Grid, attribute_or, sides};
use super::recipe::{Convolution, Layer, OPERATOR, Output, Recipe, Value, WHICH, Work};
use crate::kernels::q8::{MAX_DEPTH, OutputRange};

/// Takes out what can run at eight bits and leaves an operator for each part.
pub(crate) fn rewrite(proto: &mut ModelProto) -> Vec<Recipe> {
    let Some(graph) = &mut proto.graph else { return Vec::new() };
    let (recipes, taken) = Search::of(&Graph::of(graph)).finish();
    if recipes.is_empty() {
        return recipes;
    }
    let mut at = 0;
    graph.node.retain(|_| {
        at += 1;
        !taken.contains(&(at - 1))
    });
    graph.node.extend(recipes.iter().enumerate().map(|(which, recipe)| operator(which, recipe)));
    drop_unread(graph);
    recipes
}

/// Has the one part that reads the graph's input take it as a picture's bytes, where that can be.
pub(crate) fn take_pixels(proto: &ModelProto, recipes: &mut [Recipe]) -> bool {
    let Some(graph) = &proto.graph else { return false };
    let [input] = &graph.input[..] else { return false };
    let input = &input.name;
    let mut readers = graph.node.iter().filter(|node| node.input.contains(input));
    let (Some(reader), None) = (readers.next(), readers.next()) else { return false };
    let recipe = (reader.op_type == OPERATOR).then(|| reader.attribute.iter().find(|a| a.name == WHICH)).flatten();
    let recipe = recipe.and_then(|which| recipes.get_mut(usize::try_from(which.i).ok()?));
    recipe.is_some_and(|recipe| recipe.takes_pixels(input))
}

fn operator(which: usize, recipe: &Recipe) -> NodeProto {
    let attribute = AttributeProto { name: WHICH.into(), i: which as i64, ..AttributeProto::default() };
    NodeProto {
        name: format!("{OPERATOR}.{which}"),
        op_type: OPERATOR.into(),
        input: recipe.inputs.iter().map(|(name, _)| name.clone()).collect(),
        output: recipe.outputs.iter().map(|(name, _)| name.clone()).collect(),
        attribute: vec![attribute],
        ..NodeProto::default()
    }
}

/// Constants that nobody reads any more would still be parsed; and where an old file lists them among its inputs, they
/// would become some.
fn drop_unread(graph: &mut GraphProto) {
    let constants: HashSet<&String> = graph.initializer.iter().map(|tensor| &tensor.name).collect();
    graph.input.retain(|input| !constants.contains(&input.name));
    let read: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    let outputs: HashSet<&String> = graph.output.iter().map(|output| &output.name).collect();
    let is_read = |name: &String| read.contains(name) || outputs.contains(name);
    let keep: Vec<bool> = graph.initializer.iter().map(|tensor| is_read(&tensor.name)).collect();
    let mut keep = keep.into_iter();
    graph.initializer.retain(|_| keep.next().unwrap_or(true));
}

/// A layer that was found: its parts by the names of the bytes.
struct Found<'a> {
    name: &'a str,
    work: Work,
    inputs: Vec<(&'a str, Grid)>,
    end: ChainEnd<'a>,
    nodes: Vec<usize>,
    /// On how many layers that are tract's its inputs wait, one after the other.
    depth: usize,
}

struct Search<'a, 'b> {
    graph: &'b Graph<'a>,
    found: Vec<Found<'a>>,
    taken: HashSet<usize>,
    /// Bytes that a layer that was found makes, and its depth.
    made: HashMap<&'a str, usize>,
    /// The depth of float tensors.
    depths: HashMap<&'a str, usize>,
}

impl<'a, 'b> Search<'a, 'b> {
    fn of(graph: &'b Graph<'a>) -> Self {
        let mut search =
            Self { graph, found: Vec::new(), taken: HashSet::new(), made: HashMap::new(), depths: HashMap::new() };
        for node in 0..graph.nodes.len() {
            if search.taken.contains(&node) {
                continue;
            }
            match search.layer(node) {
                Some(found) => search.take(found),
                None => search.pass(node),
            }
        }
        search
    }

    /// A node that stays tract's: what it makes lies one deeper than any bytes of ours that it reads.
    fn pass(&mut self, node: usize) {
        let node = &self.graph.nodes[node];
        let depth = node.input.iter().map(|input| {
            let bytes = self.graph.bytes_of(input).map_or(input.as_str(), |(bytes, _)| bytes);
            let of_floats = || self.depths.get(input.as_str()).copied().unwrap_or(0);
            self.made.get(bytes).map_or_else(of_floats, |depth| depth + 1)
        });
        let depth = depth.max().unwrap_or(0);
        self.depths.extend(node.output.iter().map(|output| (output.as_str(), depth)));
    }

    fn take(&mut self, mut found: Found<'a>) {
        let depth = found.inputs.iter().map(|(bytes, _)| match self.made.get(bytes) {
            Some(&depth) => depth,
            None => {
                let source = self.graph.maker(bytes).and_then(|maker| self.graph.nodes[maker].input.first());
                source.and_then(|source| self.depths.get(source.as_str())).copied().unwrap_or(0)
            }
        });
        found.depth = depth.max().unwrap_or(0);
        match found.end {
            ChainEnd::Bytes { name, .. } => drop(self.made.insert(name, found.depth)),
            ChainEnd::Real(name) => drop(self.depths.insert(name, found.depth + 1)),
        }
        self.taken.extend(&found.nodes);
        self.found.push(found);
    }

    fn layer(&self, node: usize) -> Option<Found<'a>> {
        let kind = self.graph.nodes[node].op_type.as_str();
        match kind {
            "Conv" | "Gemm" => self.convolution(node),
            "Add" => self.sum(node),
            "MaxPool" | "GlobalAveragePool" | "Resize" | "Concat" => self.mover(node),
            _ => None,
        }
    }

    fn convolution(&self, node: usize) -> Option<Found<'a>> {
        let graph = self.graph;
        let proto = &graph.nodes[node];
        let (bytes, input) = graph.bytes_of(proto.input.first()?)?;
        let weights = graph.weights(proto.input.get(1)?, 0)?;
        let outputs = weights.dims[0];
        // A layer that no kernel takes would leave its whole part to tract.
        if weights.numbers.len() / outputs > MAX_DEPTH {
            return None;
        }
        let steps: Vec<f64> = (0..outputs).map(|c| f64::from(input.scale) * f64::from(weights.scale(c))).collect();
        let bias = match proto.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => graph.bias(name, &steps)?,
            None => vec![0; outputs],
        };
        let (kernel, stride, dilation, pads, groups) = window(proto, &weights.dims)?;
        let chain = follow(graph, node, |bytes| self.exists(bytes))?;
        let slopes = slopes(chain.slope.as_ref(), outputs)?;
        let (range, bounds) = (output_range(&chain), chain.bounds);
        let convolution = Convolution { weights, kernel, stride, dilation, pads, groups, bias, slopes, bounds, range };
        let inputs = [(bytes, input)].into_iter().chain(chain.addend).collect();
        Some(self.found(node, Work::Convolution(convolution), inputs, chain.end, chain.nodes))
    }

    fn sum(&self, node: usize) -> Option<Found<'a>> {
        let [a, b] = self.graph.nodes[node].input.as_slice() else { return None };
        let inputs = vec![self.graph.bytes_of(a)?, self.graph.bytes_of(b)?];
        let chain = follow(self.graph, node, |_| false)?;
        // A slope of zero after the sum is a bound; another is tract's.
        let is_relu = match &chain.slope {
            None => false,
            Some(slope) if slope.0 == [0.0] => true,
            Some(_) => return None,
        };
        let ChainEnd::Bytes { grid, .. } = chain.end else { return None };
        let mut range = output_range(&chain);
        range.low = if is_relu { range.low.max(grid.zero) } else { range.low };
        Some(self.found(node, Work::Sum(range), inputs, chain.end, chain.nodes))
    }

    /// Layers that move bytes and leave their grid as it is.
    fn mover(&self, node: usize) -> Option<Found<'a>> {
        let graph = self.graph;
        let proto = &graph.nodes[node];
        let reader = graph.only_reader(proto.output.first()?)?;
        let (name, grid) = graph.rounded(&graph.nodes[reader])?;
        let end = ChainEnd::Bytes { name, grid };
        let of = |input: &String| graph.bytes_of(input).filter(|(_, other)| *other == grid);
        let first = proto.input.first()?;
        let (work, inputs) = match proto.op_type.as_str() {
            "MaxPool" if attribute_or(proto, "ceil_mode", 0) == 0 && proto.output.len() == 1 => {
                let kernel = two(sides(proto, "kernel_shape").filter(|kernel| !kernel.is_empty())?, 1)?;
                let (stride, dilation, pads) = strides(proto)?;
                (dilation == [1, 1]).then_some((Work::MaxPool { kernel, stride, pads }, vec![of(first)?]))?
            }
            "GlobalAveragePool" => (Work::GlobalAverage, vec![graph.bytes_of(first)?]),
            "Resize" => (Work::Repeat(factors(graph, proto)?), vec![of(first)?]),
            "Concat" if attribute_or(proto, "axis", 0) == 1 => {
                (Work::Concat, proto.input.iter().map(of).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(self.found(node, work, inputs, end, vec![node, reader]))
    }

    fn found(
        &self,
        node: usize,
        work: Work,
        inputs: Vec<(&'a str, Grid)>,
        end: ChainEnd<'a>,
        nodes: Vec<usize>,
    ) -> Found<'a> {
        let proto = &self.graph.nodes[node];
        let name = if proto.name.is_empty() { &proto.output[0] } else { &proto.name };
        Found { name, work, inputs, end, nodes, depth: 0 }
    }

    /// Whether these bytes are made by now, or aren't a layer's at all.
    fn exists(&self, bytes: &str) -> bool {
        self.made.contains_key(bytes) || self.is_float_by_now(bytes)
    }

    fn is_float_by_now(&self, bytes: &str) -> bool {
        let source = self.graph.maker(bytes).and_then(|maker| self.graph.nodes[maker].input.first());
        source.is_some_and(|source| self.graph.maker(source).is_none() || self.depths.contains_key(source.as_str()))
    }

    /// Recipes, one for each depth, and the nodes that they stand for.
    fn finish(mut self) -> (Vec<Recipe>, HashSet<usize>) {
        let mut drafts: Vec<Draft<'a>> = Vec::new();
        for found in std::mem::take(&mut self.found) {
            let index = drafts.iter().position(|draft| draft.depth == found.depth).unwrap_or_else(|| {
                drafts.push(Draft::new(found.depth));
                drafts.len() - 1
            });
            drafts[index].add(found);
        }
        // Bytes that something else reads, too, leave as floats under the name that it knows.
        let inner: Vec<HashSet<&str>> = drafts.iter().map(|draft| draft.values.keys().copied().collect()).collect();
        for (draft, inner) in drafts.iter_mut().zip(&inner) {
            for &bytes in inner.iter().filter(|bytes| draft.made.contains(*bytes)) {
                for &back in self.graph.readers(bytes) {
                    let Some(real) = self.graph.nodes[back].output.first() else { continue };
                    let is_taken = |reader: &usize| self.taken.contains(reader);
                    if self.graph.is_output(real) || !self.graph.readers(real).iter().all(is_taken) {
                        let value = draft.values[bytes];
                        draft.recipe.outputs.push((real.clone(), Output::Of(value)));
                    }
                    self.taken.insert(back);
                }
            }
        }
        exchange(self.graph, &mut drafts);
        // A rounding whose bytes nobody reads but a recipe that rounds by itself.
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let is_rounding = ["QuantizeLinear", "DequantizeLinear"].contains(&node.op_type.as_str());
            let unread = |name: &String| {
                let readers = self.graph.readers(name).iter();
                !self.graph.is_output(name) && readers.clone().all(|reader| self.is_done_with(*reader))
            };
            if is_rounding && node.output.iter().all(unread) {
                self.taken.insert(index);
            }
        }
        (drafts.into_iter().map(|draft| draft.recipe).collect(), self.taken)
    }

    /// Whether a node is taken, or reads back for nobody but what is taken.
    fn is_done_with(&self, node: usize) -> bool {
        let proto = &self.graph.nodes[node];
        let only_taken = |name: &String| {
            !self.graph.is_output(name) && self.graph.readers(name).iter().all(|reader| self.taken.contains(reader))
        };
        self.taken.contains(&node) || (proto.op_type == "DequantizeLinear" && proto.output.iter().all(only_taken))
    }
}

/// A recipe in the making.
struct Draft<'a> {
    depth: usize,
    recipe: Recipe,
    values: HashMap<&'a str, Value>,
    /// Bytes that its own layers make.
    made: HashSet<&'a str>,
}

impl<'a> Draft<'a> {
    fn new(depth: usize) -> Self {
        Self { depth, recipe: Recipe::default(), values: HashMap::new(), made: HashSet::new() }
    }

    fn value(&mut self, bytes: &'a str, grid: Grid) -> Value {
        let next = self.recipe.grids.len();
        *self.values.entry(bytes).or_insert_with(|| {
            self.recipe.grids.push(grid);
            next
        })
    }

    fn add(&mut self, found: Found<'a>) {
        let inputs = found.inputs.into_iter().map(|(bytes, grid)| self.value(bytes, grid)).collect();
        let layer = self.recipe.layers.len();
        let out = match found.end {
            ChainEnd::Bytes { name, grid } => {
                self.made.insert(name);
                Some(self.value(name, grid))
            }
            ChainEnd::Real(name) => {
                self.recipe.outputs.push((name.into(), Output::From(layer)));
                None
            }
        };
        self.recipe.layers.push(Layer { name: found.name.into(), work: found.work, inputs, out });
    }
}

/// What a recipe reads and doesn't make comes in as floats: from the graph, or from another recipe that made the bytes.
fn exchange(graph: &Graph<'_>, drafts: &mut [Draft<'_>]) {
    for index in 0..drafts.len() {
        let missing: Vec<(&str, Value)> = drafts[index]
            .values
            .iter()
            .filter(|(bytes, _)| !drafts[index].made.contains(*bytes))
            .map(|(bytes, value)| (*bytes, *value))
            .collect();
        for (bytes, value) in missing {
            let other = drafts.iter().position(|draft| draft.made.contains(bytes));
            let name = match other {
                Some(other) => {
                    let made = drafts[other].values[bytes];
                    let outputs = &mut drafts[other].recipe.outputs;
                    match outputs.iter().find(|(_, output)| *output == Output::Of(made)) {
                        Some((name, _)) => name.clone(),
                        None => {
                            let name = format!("{bytes}.{OPERATOR}");
                            outputs.push((name.clone(), Output::Of(made)));
                            name
                        }
                    }
                }
                None => graph.maker(bytes).and_then(|q| graph.nodes[q].input.first()).cloned().unwrap_or_default(),
            };
            drafts[index].recipe.inputs.push((name, value));
        }
        drafts[index].recipe.inputs.sort_by_key(|(_, value)| *value);
    }
    // The order must not depend on that of a hash.
    drafts.iter_mut().for_each(|draft| draft.recipe.outputs.sort_by(|(a, _), (b, _)| a.cmp(b)));
}

fn slopes(slope: Option<&Slope>, outputs: usize) -> Option<Option<Vec<f32>>> {
    match slope {
        None => Some(None),
        Some(Slope(one)) if one.len() == 1 => Some(Some(vec![one[0]; outputs])),
        Some(Slope(each)) => (each.len() == outputs).then(|| Some(each.clone())),
    }
}

/// The bounds of the bytes at the end of a chain.
fn output_range(chain: &Chain<'_>) -> OutputRange {
    let ChainEnd::Bytes { grid, .. } = chain.end else { return OutputRange::linear(0) };
    let mut range = OutputRange::linear(grid.zero);
    // What is added to is bounded before the addition.
    if let (Some(bounds), None) = (chain.bounds, chain.addend) {
        [range.low, range.high] = bounds.map(|bound| grid.byte(bound));
    }
    if chain.is_clamped {
        range.low = grid.zero;
    }
    if let Some(ceiling) = chain.ceiling {
        range.high = range.high.min(grid.byte(ceiling));
    }
    range
}
