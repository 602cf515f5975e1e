//! From a recipe and the sizes of its inputs to a program.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::extent;
use super::graph::Grid;
use super::program::{ALIGNMENT, End, Layout, Program, Share, Step, Whole};
use super::recipe::{Convolution, Layer, Output, Recipe, Value, Work};
use super::unroll::Unroll;
use crate::kernels::Isa;
use crate::kernels::q8::{Dense, Depthwise, OutputRange, Requantise, Residual, SLACK, Sum, Window};

/// Bytes of unrolled windows at a time: they stay in the second cache.
const UNROLLED: usize = 64 << 10;
/// From so many products on two cores share a layer: some 50 µs on the slowest board's core, far more than handing over
/// takes.
const SHARED: usize = 1 << 18;
/// The largest room, in bytes.
const MAX_ROOM: usize = 256 << 20;

/// Rows, columns and channels.
pub(super) type Sides = [usize; 3];

/// Why a recipe can't be computed at a size: the layer's name and what is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{layer}: {reason}")]
pub(super) struct Unfit {
    layer: String,
    reason: &'static str,
}

/// Sides of every value, and of what each layer gives.
pub(super) fn sides(recipe: &Recipe, inputs: &[Sides]) -> Result<(Vec<Sides>, Vec<Sides>), Unfit> {
    let mut values = vec![[0; 3]; recipe.grids.len()];
    for ((_, value), sides) in recipe.inputs.iter().zip(inputs) {
        values[*value] = *sides;
    }
    let mut results = Vec::with_capacity(recipe.layers.len());
    for layer in &recipe.layers {
        let of: Vec<Sides> = layer.inputs.iter().map(|&value| values[value]).collect();
        let sides = shape(&layer.work, &of).map_err(|reason| Unfit { layer: layer.name.clone(), reason })?;
        if let Some(out) = layer.out {
            values[out] = sides;
        }
        results.push(sides);
    }
    Ok((values, results))
}

fn shape(work: &Work, inputs: &[Sides]) -> Result<Sides, &'static str> {
    let first = *inputs.first().ok_or("no input")?;
    let windows = |kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2], pads: [usize; 4]| {
        let side = |k: usize| {
            let reach = (kernel[k].checked_sub(1)?).checked_mul(dilation[k])?.checked_add(1)?;
            let room = first[k].checked_add(pads[k])?.checked_add(pads[k + 2])?;
            Some(room.checked_sub(reach)? / stride[k] + 1)
        };
        Some([side(0)?, side(1)?])
    };
    let sides = match work {
        Work::Convolution(c) => {
            let [rows, columns] =
                windows(c.kernel, c.stride, c.dilation, c.pads).ok_or("the window is larger than its picture")?;
            let expected = c.weights.dims.get(1).copied().unwrap_or(0) * c.groups;
            if expected != first[2] {
                return Err("weights for another number of channels");
            }
            let sides = [rows, columns, c.weights.dims[0]];
            if inputs.get(1).is_some_and(|addend| *addend != sides) {
                return Err("an addend of another size");
            }
            sides
        }
        Work::Sum(_) if inputs.iter().all(|sides| *sides == first) => first,
        Work::Sum(_) => return Err("parts of different sizes"),
        Work::MaxPool { kernel, stride, pads } => {
            if (0..4).any(|k| pads[k] >= kernel[k % 2]) {
                return Err("a window that sees nothing");
            }
            let [rows, columns] =
                windows(*kernel, *stride, [1, 1], *pads).ok_or("the window is larger than its picture")?;
            [rows, columns, first[2]]
        }
        Work::GlobalAverage => [1, 1, first[2]],
        Work::Repeat(factors) => [first[0] * factors[0], first[1] * factors[1], first[2]],
        Work::Concat => {
            if inputs.iter().any(|sides| sides[..2] != first[..2]) {
                return Err("parts of different sizes");
            }
            [first[0], first[1], inputs.iter().map(|sides| sides[2]).sum()]
        }
    };
    let is_sane = sides.iter().all(|&side| side > 0) && sides.iter().product::<usize>() < MAX_ROOM;
    if is_sane { Ok(sides) } else { Err("an empty or enormous result") }
}

/// Packs the weights for `isa`, shares large layers among the cores (one or two), and plans the memory.
pub(super) fn compile(recipe: &Recipe, inputs: &[Sides], isa: Isa, cores: usize) -> Result<Program, Unfit> {
    let (values, results) = sides(recipe, inputs)?;
    extent::admit(recipe, &values, &results).map_err(|reason| Unfit { layer: "all".into(), reason })?;
    let mut draft = Draft { recipe, isa, cores, layouts: Vec::new(), steps: Vec::new(), rows: 0, sums: 0 };
    for (value, sides) in values.iter().enumerate() {
        let border = border(recipe, value);
        draft.layouts.push(Layout { sides: *sides, border, zero: recipe.grids[value].zero, offset: 0 });
    }
    for (input, (_, value)) in recipe.inputs.iter().enumerate() {
        let (grid, out) = (recipe.grids[*value], *value);
        draft.steps.push(match recipe.pixels == Some(input) {
            true => Step::Pixels { input, out },
            false => Step::Quantise { input, grid, out, places: draft.layouts[out].places(0) },
        });
    }
    for (index, layer) in recipe.layers.iter().enumerate() {
        draft.layer(index, layer, results[index]).map_err(|reason| Unfit { layer: layer.name.clone(), reason })?;
        for (output, (_, of)) in recipe.outputs.iter().enumerate() {
            if let (Some(x), Output::Of(value)) = (layer.out, *of)
                && x == value
            {
                draft.steps.push(Step::Dequantise { x, grid: recipe.grids[x], output });
            }
        }
    }
    let bytes = plan(&mut draft.layouts, &draft.steps);
    if bytes > MAX_ROOM {
        return Err(Unfit { layer: "all".into(), reason: "more memory than any network for a door needs" });
    }
    let Draft { layouts, steps, rows, sums, .. } = draft;
    if !steps.iter().all(|step| are_apart(step, &layouts)) {
        return Err(Unfit { layer: "all".into(), reason: "two values of one step share memory" });
    }
    let is_shared = steps.iter().any(|step| matches!(step, Step::Whole { shares, .. } if shares.len() > 1));
    let program = Program { layouts, steps, bytes, rows, sums, is_shared, rooms: Mutex::new(Vec::new()) };
    // One room is made ahead, so that no run has to.
    let room = program.room();
    program.rooms.lock().expect("nobody else knows it").push(room);
    Ok(program)
}

/// The border that those who read this value want, if they agree; others take any.
fn border(recipe: &Recipe, value: Value) -> [usize; 4] {
    let wanted = |layer: &Layer| match &layer.work {
        Work::Convolution(c) if layer.inputs[0] == value => Some(if is_pointwise(c) { [0; 4] } else { c.pads }),
        _ => None,
    };
    let mut wanted = recipe.layers.iter().filter_map(wanted);
    let first = wanted.next().unwrap_or([0; 4]);
    if wanted.all(|other| other == first) { first } else { [0; 4] }
}

fn is_pointwise(c: &Convolution) -> bool {
    c.kernel == [1, 1] && c.groups == 1 && c.stride == [1, 1] && c.pads == [0; 4]
}

pub(super) fn is_depthwise(c: &Convolution) -> bool {
    c.groups > 1 && c.weights.dims[0] == c.groups && c.weights.dims.get(1) == Some(&1)
}

struct Draft<'a> {
    recipe: &'a Recipe,
    isa: Isa,
    cores: usize,
    layouts: Vec<Layout>,
    steps: Vec<Step>,
    rows: usize,
    sums: usize,
}

impl Draft<'_> {
    fn layer(&mut self, index: usize, layer: &Layer, sides: Sides) -> Result<(), &'static str> {
        let x = layer.inputs[0];
        let grid = |value: Value| self.recipe.grids[value];
        let Some(out) = layer.out else {
            let Work::Convolution(convolution) = &layer.work else { return Err("floats from it") };
            return self.convolution(index, convolution, layer, sides);
        };
        let step = match &layer.work {
            Work::Convolution(convolution) => return self.convolution(index, convolution, layer, sides),
            Work::Sum(range) => {
                let second = self.other_than(x, layer.inputs[1]);
                let scale = |value: Value| (f64::from(grid(value).scale) / f64::from(grid(out).scale)) as f32;
                let zeros = [x, layer.inputs[1]].map(|value| grid(value).zero);
                let scales = [x, layer.inputs[1]].map(scale);
                let sum = Sum::new(self.isa, sides[2], zeros, scales, *range);
                let sum = sum.ok_or("a sum on a grid that is far too fine")?;
                let places = |value: Value| self.layouts[value].places(0);
                Step::Sum { sum, parts: [(x, places(x)), (second, places(second))], out, places: places(out) }
            }
            Work::MaxPool { kernel, stride, pads } => {
                Step::MaxPool { x, kernel: *kernel, stride: *stride, pads: *pads, out }
            }
            Work::GlobalAverage => self.average(x, out)?,
            Work::Repeat(factors) => Step::Repeat { x, factors: *factors, out },
            Work::Concat => {
                let mut first = 0;
                let parts = layer.inputs.iter().map(|&value| {
                    first += self.layouts[value].sides[2];
                    (value, first - self.layouts[value].sides[2])
                });
                Step::Concat { parts: parts.collect(), out }
            }
        };
        self.steps.push(step);
        Ok(())
    }

    /// A mean is a depthwise layer as large as the picture, all of whose weights are one.
    fn average(&mut self, x: Value, out: Value) -> Result<Step, &'static str> {
        let ([rows, columns, channels], pixels) = (self.layouts[x].sides, self.layouts[x].pixels());
        let (from, to) = (self.recipe.grids[x], self.recipe.grids[out]);
        let weights = vec![1i8; channels * pixels];
        let bias = vec![-(i32::from(from.zero) * pixels as i32); channels];
        let scale = (f64::from(from.scale) / f64::from(to.scale) / pixels as f64) as f32;
        let requantise = Requantise::new(
            &weights,
            pixels,
            bias,
            [vec![scale; channels], vec![scale; channels]],
            OutputRange::linear(to.zero),
            None,
        )
        .ok_or("a mean of too many pixels")?;
        let (kernel, ones) = ([rows, columns], [1, 1]);
        let window = Window { kernel, stride: ones, dilation: ones, width: columns, out: ones };
        let x = self.bordered(x, [0; 4]);
        let layer = Depthwise::new(self.isa, &weights, window, requantise);
        let places = self.layouts[out].places(0);
        let share = Share { layer: Whole::Depthwise(Box::new(layer)), from: 0, to: 0, places, added: None };
        Ok(Step::Whole { shares: vec![share], x, addend: None, out })
    }

    fn convolution(&mut self, index: usize, c: &Convolution, layer: &Layer, sides: Sides) -> Result<(), &'static str> {
        let x = layer.inputs[0];
        let taps = c.kernel[0] * c.kernel[1];
        let (kernel, stride, dilation) = (c.kernel, c.stride, c.dilation);
        if is_depthwise(c) {
            let requantise = self.requantise(c, layer, &c.weights.numbers, 0..c.groups)?;
            let x = self.bordered(x, c.pads);
            let width = self.layouts[x].width();
            let isa = self.isa;
            let filter = |rows: usize| {
                let window = Window { kernel, stride, dilation, width, out: [rows, sides[1]] };
                Whole::Depthwise(Box::new(Depthwise::new(isa, &c.weights.numbers, window, requantise.clone())))
            };
            let a_row = stride[0] * width * c.groups;
            return self.whole(index, layer, x, sides, taps, a_row, filter);
        }
        let (inner, outputs) = (c.weights.dims[1], sides[2] / c.groups);
        let depth = taps * inner;
        let x = self.bordered(x, c.pads);
        let (mut layers, mut ends) = (Vec::new(), Vec::new());
        for group in 0..c.groups {
            let channels = group * outputs..(group + 1) * outputs;
            let weights = pixel_by_pixel(&c.weights.numbers[channels.start * depth..channels.end * depth], taps, inner);
            let requantise = self.requantise(c, layer, &weights, channels.clone())?;
            layers.push(Dense::new(self.isa, &weights, depth, requantise));
            ends.push(self.end(index, layer, channels.start)?);
        }
        if is_pointwise(c) {
            let dense = Arc::new(layers.pop().ok_or("no outputs")?);
            let a_row = sides[1] * inner;
            return self.whole(index, layer, x, sides, depth, a_row, |_| Whole::Dense(Arc::clone(&dense)));
        }
        let out = [sides[0], sides[1]];
        let chunk = (UNROLLED / depth).next_multiple_of(12).min(sides[0] * sides[1]);
        let unroll = Unroll { kernel, stride, dilation, out, channels: inner, chunk };
        self.rows = self.rows.max(chunk * depth + SLACK);
        self.sums = self.sums.max(chunk * outputs);
        let places = |value: Value| (0..c.groups).map(|group| self.layouts[value].places(group * outputs)).collect();
        let addend = layer.inputs.get(1).map(|&value| (value, places(value)));
        self.steps.push(Step::Unrolled { layers, x, unroll, addend, ends });
        Ok(())
    }

    /// A layer that reads `x` as it lies, of `depth` products a result: `of` makes it for so many rows of its result,
    /// each of which begins `a_row` bytes later in `x`.
    #[expect(clippy::too_many_arguments, reason = "a layer, what it reads, and what its shares differ in")]
    fn whole(
        &mut self,
        index: usize,
        layer: &Layer,
        x: Value,
        sides: Sides,
        depth: usize,
        a_row: usize,
        of: impl Fn(usize) -> Whole,
    ) -> Result<(), &'static str> {
        let [rows, columns, channels] = sides;
        let (out, places) = match self.end(index, layer, 0)? {
            End::Bytes { out, places } => (out, places),
            End::Real { output, plane } => {
                let layer = of(rows);
                self.sums = self.sums.max(layer.sides(&self.layouts[x]).iter().product());
                self.steps.push(Step::Real { layer, x, output, plane });
                return Ok(());
            }
        };
        let addend = layer.inputs.get(1).map(|&value| self.other_than(x, value));
        let added = addend.map(|value| self.layouts[value].places(0));
        let is_worth_it = self.cores > 1 && rows > 1 && rows * columns * channels * depth >= SHARED;
        // Depthwise kernels take rows by twos.
        let middle = if is_worth_it { (rows / 2).next_multiple_of(2).min(rows - 1) } else { rows };
        let share = |rows: Range<usize>| {
            let outputs = rows.start * columns..rows.end * columns;
            let to = if rows.start == 0 { 0 } else { places[outputs.start] as usize };
            let added = added.as_ref().map(|places| places.rebased(outputs.clone(), 0));
            Share { layer: of(rows.len()), from: rows.start * a_row, to, places: places.rebased(outputs, to), added }
        };
        let shares = [0..middle, middle..rows].into_iter().filter(|rows| !rows.is_empty()).map(share).collect();
        self.steps.push(Step::Whole { shares, x, addend, out });
        Ok(())
    }

    /// Where the channels of the layer `index` from `channel` on go.
    fn end(&self, index: usize, layer: &Layer, channel: usize) -> Result<End, &'static str> {
        Ok(match layer.out {
            Some(out) => End::Bytes { out, places: self.layouts[out].places(channel) },
            None => {
                let output = self.recipe.outputs.iter().position(|(_, of)| *of == Output::From(index));
                End::Real { output: output.ok_or("floats that nobody reads")?, plane: channel }
            }
        })
    }

    /// From sums of these channels, whose weights are given, to what the layer gives.
    fn requantise(
        &self,
        c: &Convolution,
        layer: &Layer,
        weights: &[i8],
        channels: std::ops::Range<usize>,
    ) -> Result<Requantise, &'static str> {
        let Grid { scale, zero } = self.recipe.grids[layer.inputs[0]];
        let to = layer.out.map_or(1.0, |out| f64::from(self.recipe.grids[out].scale));
        let depth = weights.len() / channels.len();
        let shift = weights.chunks_exact(depth).map(|row| row.iter().map(|&w| i32::from(w)).sum::<i32>());
        let bias = shift.zip(&c.bias[channels.clone()]).map(|(sum, bias)| bias.checked_sub(sum * i32::from(zero)));
        let bias: Vec<i32> = bias.collect::<Option<_>>().ok_or("a bias beyond 32 bits")?;
        let step = |channel: usize| f64::from(scale) * f64::from(c.weights.scale(channel)) / to;
        let positive: Vec<f32> = channels.clone().map(|channel| step(channel) as f32).collect();
        // Nothing is added after a plain ReLU: then it's a bound, which costs less than a second scale.
        let is_bound =
            layer.inputs.len() == 1 && c.slopes.as_ref().is_some_and(|slopes| slopes.iter().all(|&s| s == 0.0));
        let range = OutputRange { low: if is_bound { c.range.low.max(c.range.zero) } else { c.range.low }, ..c.range };
        let slopes = c.slopes.as_ref().filter(|_| !is_bound || layer.out.is_none());
        let slope = |channel: usize| slopes.map_or(1.0, |slopes| f64::from(slopes[channel]));
        let negative = channels.map(|channel| (step(channel) * slope(channel)) as f32).collect();
        let residual = layer.inputs.get(1).map(|&addend| {
            let Grid { scale, zero } = self.recipe.grids[addend];
            let in_steps = |real: f32| (f64::from(real) / to) as f32;
            let bounds = c.bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
            Residual { zero, scale: in_steps(scale), bounds: bounds.map(in_steps) }
        });
        Requantise::new(weights, depth, bias, [positive, negative], range, residual).ok_or("sums beyond 32 bits")
    }

    /// `value`, or a copy of it if it's `x`: a step borrows each of its values once.
    fn other_than(&mut self, x: Value, value: Value) -> Value {
        if value == x { self.copied(value, self.layouts[value].border) } else { value }
    }

    /// The value with this border: itself, or a copy.
    fn bordered(&mut self, value: Value, border: [usize; 4]) -> Value {
        if self.layouts[value].border == border { value } else { self.copied(value, border) }
    }

    fn copied(&mut self, value: Value, border: [usize; 4]) -> Value {
        self.layouts.push(Layout { border, ..self.layouts[value] });
        let out = self.layouts.len() - 1;
        self.steps.push(Step::Copy { x: value, out });
        out
    }
}

/// Weights of outputs x channels x taps as outputs x taps x channels.
fn pixel_by_pixel(weights: &[i8], taps: usize, channels: usize) -> Vec<i8> {
    let mut out = Vec::with_capacity(weights.len());
    for output in weights.chunks_exact(taps * channels) {
        out.extend((0..taps * channels).map(|at| output[at % channels * taps + at / channels]));
    }
    out
}

/// Gives each value the lowest place that is free while it is needed; returns how much all of them take.
fn plan(layouts: &mut [Layout], steps: &[Step]) -> usize {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; layouts.len()];
    for (at, step) in steps.iter().enumerate() {
        for value in step.values() {
            let life = lives[value].get_or_insert((at, at));
            life.1 = at;
        }
    }
    let mut order: Vec<usize> = (0..layouts.len()).filter(|&value| lives[value].is_some()).collect();
    order.sort_by_key(|&value| lives[value]);
    let (mut placed, mut total): (Vec<usize>, usize) = (Vec::new(), 0);
    for value in order {
        let Some((born, _)) = lives[value] else { continue };
        let mut taken: Vec<_> = placed
            .iter()
            .filter(|&&other| lives[other].is_some_and(|(_, died)| died >= born))
            .map(|&other| layouts[other].range())
            .collect();
        taken.sort_by_key(|range| range.start);
        let mut offset = 0;
        for range in taken {
            if range.start >= offset + layouts[value].bytes() {
                break;
            }
            offset = offset.max(range.end.next_multiple_of(ALIGNMENT));
        }
        layouts[value].offset = offset;
        total = total.max(layouts[value].range().end);
        placed.push(value);
    }
    total
}

/// Whether a step may borrow all its values at once.
fn are_apart(step: &Step, layouts: &[Layout]) -> bool {
    let mut ranges: Vec<_> = step.values().into_iter().map(|value| layouts[value].range()).collect();
    ranges.sort_by_key(|range| range.start);
    // These borrow what they read one after the other, so that one may come twice.
    let reads_in_turn = matches!(step, Step::Concat { .. } | Step::Unrolled { .. });
    ranges.dedup_by(|a, b| reads_in_turn && a == b);
    ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

impl Step {
    /// What it reads and writes.
    fn values(&self) -> Vec<Value> {
        let of_end = |end: &End| match end {
            End::Bytes { out, .. } => Some(*out),
            End::Real { .. } => None,
        };
        match self {
            Self::Quantise { out, .. } | Self::Pixels { out, .. } => vec![*out],
            Self::Whole { x, addend, out, .. } => [*x].into_iter().chain(*addend).chain([*out]).collect(),
            Self::Real { x, .. } => vec![*x],
            Self::Unrolled { x, addend, ends, .. } => {
                let out = ends.first().and_then(of_end);
                [*x].into_iter().chain(addend.iter().map(|(value, _)| *value)).chain(out).collect()
            }
            Self::Sum { parts, out, .. } => vec![parts[0].0, parts[1].0, *out],
            Self::MaxPool { x, out, .. } | Self::Repeat { x, out, .. } | Self::Copy { x, out } => vec![*x, *out],
            Self::Concat { parts, out } => parts.iter().map(|(value, _)| *value).chain([*out]).collect(),
            Self::Dequantise { x, .. } => vec![*x],
        }
    }
}
