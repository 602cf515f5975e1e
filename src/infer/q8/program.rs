//! A recipe for one size of input: layers with their weights packed, every tensor at its place in one piece of memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::graph::Grid;
use super::pixels::{NotFinite, dequantise, max_pool, quantise, spread};
use super::unroll::Unroll;
use crate::infer::cores::{self, MAX_CORES};
use crate::kernels::q8::{Addend, Dense, Depthwise, Places, Rows, SLACK, Scratch, Sum, Target};

/// Where tensors begin: on a cache line.
pub(super) const ALIGNMENT: usize = 64;
/// Rooms that are kept for the next run; a network is rarely run by more threads.
const MOST_ROOMS: usize = 4;

/// Where a value lies: an image of rows of pixels, with a border that stands for zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Rows, columns and channels without the border.
    pub sides: [usize; 3],
    /// Top, left, bottom, right.
    pub border: [usize; 4],
    /// The byte that stands for zero.
    pub zero: u8,
    /// In the room's bytes; known when the memory is planned.
    pub offset: usize,
}

impl Layout {
    pub fn pixels(&self) -> usize {
        self.sides[0] * self.sides[1]
    }

    /// Columns with the border.
    pub fn width(&self) -> usize {
        self.sides[1] + self.border[1] + self.border[3]
    }

    pub fn bytes(&self) -> usize {
        (self.sides[0] + self.border[0] + self.border[2]) * self.width() * self.sides[2] + SLACK
    }

    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes()
    }

    /// Of a pixel, from the layout's own offset on.
    pub fn place(&self, row: usize, column: usize) -> usize {
        ((row + self.border[0]) * self.width() + column + self.border[1]) * self.sides[2]
    }

    /// Of every pixel in order, `channel` bytes into it.
    pub fn places(&self, channel: usize) -> Places {
        let rows = 0..self.sides[0];
        let places = rows.flat_map(|row| (0..self.sides[1]).map(move |column| self.place(row, column) + channel));
        places.map(|place| place as u32).collect::<Vec<_>>().into()
    }

    fn fill_border(&self, bytes: &mut [u8]) {
        let (row_bytes, [top, left, bottom, right]) = (self.width() * self.sides[2], self.border);
        if self.border == [0; 4] {
            return;
        }
        bytes[..top * row_bytes].fill(self.zero);
        let inner = (top + self.sides[0]) * row_bytes;
        bytes[inner..inner + bottom * row_bytes].fill(self.zero);
        for row in bytes[top * row_bytes..inner].chunks_exact_mut(row_bytes) {
            row[..left * self.sides[2]].fill(self.zero);
            row[row_bytes - right * self.sides[2]..].fill(self.zero);
        }
    }
}

/// One layer, ready to run.
pub(super) enum Step {
    /// An input's floats, planes of rows and columns, to bytes.
    Quantise {
        input: usize,
        grid: Grid,
        out: usize,
        places: Places,
    },
    /// An input's pixels, which are bytes already.
    Pixels {
        input: usize,
        out: usize,
    },
    /// A layer that reads a value as it lies: one share of it for each core that is used.
    Whole {
        shares: Vec<Share>,
        x: usize,
        addend: Option<usize>,
        out: usize,
    },
    /// One that ends in floats, from this plane of the output on.
    Real {
        layer: Whole,
        x: usize,
        output: usize,
        plane: usize,
    },
    /// Windows that are made rows, some at a time; a layer for each group of channels.
    Unrolled {
        layers: Vec<Dense>,
        x: usize,
        unroll: Unroll,
        addend: Option<(usize, Vec<Places>)>,
        ends: Vec<End>,
    },
    Sum {
        sum: Sum,
        parts: [(usize, Places); 2],
        out: usize,
        places: Places,
    },
    MaxPool {
        x: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        pads: [usize; 4],
        out: usize,
    },
    Repeat {
        x: usize,
        factors: [usize; 2],
        out: usize,
    },
    /// Each part's channels, from their first on.
    Concat {
        parts: Vec<(usize, usize)>,
        out: usize,
    },
    /// The same pixels in another layout.
    Copy {
        x: usize,
        out: usize,
    },
    /// A value as floats, planes of rows and columns.
    Dequantise {
        x: usize,
        grid: Grid,
        output: usize,
    },
}

pub(super) enum Whole {
    /// Of pixels, which are its rows. Shares have the same weights.
    Dense(Arc<Dense>),
    Depthwise(Box<Depthwise>),
}

impl Whole {
    /// Pixels of the result, and channels.
    pub fn sides(&self, x: &Layout) -> [usize; 2] {
        match self {
            Self::Dense(layer) => [x.pixels(), layer.outputs()],
            Self::Depthwise(layer) => [layer.outputs(), layer.channels()],
        }
    }

    fn sums(&self, x: &Layout, image: &[u8], out: &mut [i32], scratch: &mut Scratch) {
        match self {
            Self::Dense(layer) => {
                layer.sums(Rows { bytes: image, stride: x.sides[2], count: x.pixels() }, out, scratch);
            }
            Self::Depthwise(layer) => layer.sums(image, out),
        }
    }

    fn real(&self, channel: usize, sum: i32) -> f32 {
        match self {
            Self::Dense(layer) => layer.real(channel, sum),
            Self::Depthwise(layer) => layer.real(channel, sum),
        }
    }
}

/// Some rows of a layer's result. Shares of a layer write to different bytes, one behind the other.
pub(super) struct Share {
    pub layer: Whole,
    /// Where what it reads begins in the image.
    pub from: usize,
    /// Where what it writes begins in the result.
    pub to: usize,
    /// Counted from there.
    pub places: Places,
    /// Counted from the addend's first byte.
    pub added: Option<Places>,
}

impl Share {
    /// `stride`: bytes of a pixel of the image; `bytes`: those from `to` on.
    fn run(&self, image: &[u8], stride: usize, added: Option<&[u8]>, bytes: &mut [u8], scratch: &mut Scratch) {
        let image = &image[self.from..];
        let addend = added.zip(self.added.as_ref()).map(|(bytes, places)| Addend { bytes, places: places.all() });
        let target = Target { bytes, places: self.places.all() };
        match &self.layer {
            Whole::Dense(layer) => {
                layer.run(Rows { bytes: image, stride, count: self.places.len() }, addend, target, scratch);
            }
            Whole::Depthwise(layer) => layer.run(image, addend, target),
        }
    }
}

/// Where a layer's results go.
pub(super) enum End {
    Bytes {
        out: usize,
        places: Places,
    },
    /// Floats, from this plane of the output on.
    Real {
        output: usize,
        plane: usize,
    },
}

/// An input of a run.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// Planes of rows and columns.
    Reals(&'a [f32]),
    /// Rows of pixels, their channels side by side.
    Pixels(&'a [u8]),
}

/// Bytes from a cache line's start on: kernels load whole lines.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT];
        // The address is only looked at; a vector that doesn't grow stays where it is.
        let start = bytes.as_ptr().addr().next_multiple_of(ALIGNMENT) - bytes.as_ptr().addr();
        Self { bytes, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

/// What a run needs besides the weights.
pub(super) struct Room {
    bytes: Aligned,
    rows: Vec<u8>,
    sums: Vec<i32>,
    /// One for each core that is used.
    scratch: [Scratch; MAX_CORES],
}

pub(super) struct Program {
    pub layouts: Vec<Layout>,
    pub steps: Vec<Step>,
    pub bytes: usize,
    pub rows: usize,
    pub sums: usize,
    /// Whether some layers have a share for a second core.
    pub is_shared: bool,
    pub rooms: Mutex<Vec<Room>>,
}

impl Program {
    /// A room of the size that this program needs.
    pub fn room(&self) -> Room {
        let mut scratch = <[Scratch; MAX_CORES]>::default();
        let reserve = |scratch: &mut Scratch, layer: &Whole| {
            if let Whole::Dense(layer) = layer {
                scratch.reserve_for(layer);
            }
        };
        for step in &self.steps {
            match step {
                Step::Whole { shares, .. } => {
                    scratch.iter_mut().zip(shares).for_each(|(scratch, share)| reserve(scratch, &share.layer));
                }
                Step::Real { layer, .. } => reserve(&mut scratch[0], layer),
                Step::Unrolled { layers, .. } => layers.iter().for_each(|layer| scratch[0].reserve_for(layer)),
                _ => {}
            }
        }
        Room { bytes: Aligned::new(self.bytes), rows: vec![0; self.rows], sums: vec![0; self.sums], scratch }
    }

    /// `outputs` as planes. `Err` names an input that holds what isn't a finite number, or comes in another form than
    /// it was compiled for.
    pub fn run(&self, inputs: &[Given<'_>], outputs: &mut [&mut [f32]]) -> Result<(), usize> {
        let kept = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut room = kept.unwrap_or_else(|| self.room());
        let pool = self.is_shared.then(cores::pool).flatten();
        let mut run = || self.steps.iter().try_for_each(|step| self.step(step, &mut room, inputs, outputs));
        let result = match pool {
            Some(pool) => pool.install(run),
            None => run(),
        };
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < MOST_ROOMS {
            rooms.push(room);
        }
        result
    }

    fn step(
        &self,
        step: &Step,
        room: &mut Room,
        inputs: &[Given<'_>],
        outputs: &mut [&mut [f32]],
    ) -> Result<(), usize> {
        match step {
            Step::Quantise { input, grid, out, places } => {
                let [bytes] = self.views(&mut room.bytes, [*out]);
                self.layouts[*out].fill_border(bytes);
                let channels = self.layouts[*out].sides[2];
                let Given::Reals(planes) = inputs[*input] else { return Err(*input) };
                return quantise(planes, *grid, channels, places, bytes).map_err(|NotFinite| *input);
            }
            Step::Pixels { input, out } => {
                let Given::Pixels(pixels) = inputs[*input] else { return Err(*input) };
                let [bytes] = self.views(&mut room.bytes, [*out]);
                let layout = &self.layouts[*out];
                layout.fill_border(bytes);
                let line = layout.sides[1] * layout.sides[2];
                for (row, pixels) in pixels.chunks_exact(line).enumerate().take(layout.sides[0]) {
                    bytes[layout.place(row, 0)..][..line].copy_from_slice(pixels);
                }
            }
            Step::Whole { shares, x, addend, out } => self.whole(shares, *x, *addend, *out, room),
            Step::Real { layer, x, output, plane } => {
                let [image] = self.views(&mut room.bytes, [*x]);
                let [count, channels] = layer.sides(&self.layouts[*x]);
                let sums = &mut room.sums[..count * channels];
                layer.sums(&self.layouts[*x], image, sums, &mut room.scratch[0]);
                let planes = &mut outputs[*output][plane * count..];
                spread(|channel, sum| layer.real(channel, sum), channels, sums, [0, count], planes);
            }
            Step::Unrolled { layers, x, unroll, addend, ends } => {
                for (group, (layer, end)) in layers.iter().zip(ends).enumerate() {
                    let addend = addend.as_ref().map(|(addend, places)| (*addend, &places[group]));
                    self.unrolled(layer, *x, unroll, group, addend, end, room, outputs);
                }
            }
            Step::Sum { sum, parts: [(a, of_a), (b, of_b)], out, places } => {
                let [a, b, bytes] = self.views(&mut room.bytes, [*a, *b, *out]);
                self.layouts[*out].fill_border(bytes);
                let [a, b] = [(a, of_a), (b, of_b)].map(|(bytes, places)| Addend { bytes, places: places.all() });
                sum.run([a, b], Target { bytes, places: places.all() });
            }
            Step::MaxPool { x, kernel, stride, pads, out } => {
                let [image, bytes] = self.views(&mut room.bytes, [*x, *out]);
                self.layouts[*out].fill_border(bytes);
                max_pool(image, &self.layouts[*x], *kernel, *stride, *pads, bytes, &self.layouts[*out]);
            }
            Step::Repeat { x, factors, out } => self.moved(room, *x, *out, 0, *factors),
            Step::Copy { x, out } => self.moved(room, *x, *out, 0, [1, 1]),
            Step::Concat { parts, out } => {
                for (x, first) in parts {
                    self.moved(room, *x, *out, *first, [1, 1]);
                }
            }
            Step::Dequantise { x, grid, output } => {
                let [bytes] = self.views(&mut room.bytes, [*x]);
                dequantise(bytes, &self.layouts[*x], *grid, outputs[*output]);
            }
        }
        Ok(())
    }

    /// The memory of different values, which the plan has kept apart.
    fn views<'r, const N: usize>(&self, room: &'r mut Aligned, values: [usize; N]) -> [&'r mut [u8]; N] {
        let ranges = values.map(|value| self.layouts[value].range());
        room.bytes()
            .get_disjoint_mut(ranges)
            .expect("values of one step lie apart: the plan was checked when it was made")
    }

    fn whole(&self, shares: &[Share], x: usize, addend: Option<usize>, out: usize, room: &mut Room) {
        let (image, added, bytes) = match addend {
            None => {
                let [image, bytes] = self.views(&mut room.bytes, [x, out]);
                (&*image, None, bytes)
            }
            Some(addend) => {
                let [image, added, bytes] = self.views(&mut room.bytes, [x, addend, out]);
                (&*image, Some(&*added), bytes)
            }
        };
        self.layouts[out].fill_border(bytes);
        let stride = self.layouts[x].sides[2];
        let [one, other] = &mut room.scratch;
        match shares {
            [first, second] => {
                let (low, high) = bytes.split_at_mut(second.to);
                rayon::join(
                    || first.run(image, stride, added, low, one),
                    || second.run(image, stride, added, high, other),
                );
            }
            _ => shares.iter().for_each(|share| share.run(image, stride, added, bytes, one)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a layer, what it reads, where it writes, and the room for it")]
    fn unrolled(
        &self,
        layer: &Dense,
        x: usize,
        unroll: &Unroll,
        group: usize,
        addend: Option<(usize, &Places)>,
        end: &End,
        room: &mut Room,
        outputs: &mut [&mut [f32]],
    ) {
        let count = unroll.out[0] * unroll.out[1];
        if let (End::Bytes { out, .. }, 0) = (end, group) {
            let [bytes] = self.views(&mut room.bytes, [*out]);
            self.layouts[*out].fill_border(bytes);
        }
        for first in (0..count).step_by(unroll.chunk) {
            let windows = first..count.min(first + unroll.chunk);
            let [image] = self.views(&mut room.bytes, [x]);
            let buffer = &mut room.rows[..windows.len() * unroll.depth() + SLACK];
            unroll.rows(image, &self.layouts[x], group * unroll.channels, windows.clone(), buffer);
            let rows = Rows { bytes: buffer, stride: unroll.depth(), count: windows.len() };
            match (end, addend) {
                (End::Bytes { out, places }, None) => {
                    let [bytes] = self.views(&mut room.bytes, [*out]);
                    let target = Target { bytes, places: places.some(windows) };
                    layer.run(rows, None, target, &mut room.scratch[0]);
                }
                (End::Bytes { out, places }, Some((addend, addend_places))) => {
                    let [added, bytes] = self.views(&mut room.bytes, [addend, *out]);
                    let addend = Addend { bytes: added, places: addend_places.some(windows.clone()) };
                    let target = Target { bytes, places: places.some(windows) };
                    layer.run(rows, Some(addend), target, &mut room.scratch[0]);
                }
                (End::Real { output, plane }, _) => {
                    let sums = &mut room.sums[..windows.len() * layer.outputs()];
                    layer.sums(rows, sums, &mut room.scratch[0]);
                    let planes = &mut outputs[*output][plane * count..];
                    let real = |channel, sum| layer.real(channel, sum);
                    spread(real, layer.outputs(), sums, [windows.start, count], planes);
                }
            }
        }
    }

    /// Copies an image into the channels from `first` on, each pixel `factors` times in rows and columns.
    fn moved(&self, room: &mut Room, x: usize, out: usize, first: usize, factors: [usize; 2]) {
        let [image, bytes] = self.views(&mut room.bytes, [x, out]);
        let (from, to) = (&self.layouts[x], &self.layouts[out]);
        if first == 0 {
            to.fill_border(bytes);
        }
        for row in 0..to.sides[0] {
            for column in 0..to.sides[1] {
                let pixel = &image[from.place(row / factors[0], column / factors[1])..][..from.sides[2]];
                bytes[to.place(row, column) + first..][..from.sides[2]].copy_from_slice(pixel);
            }
        }
    }
}
