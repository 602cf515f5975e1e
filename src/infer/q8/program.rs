//! A recipe for one size of input: layers with their weights packed, every tensor at its place in one piece of memory.

#![forbid(unsafe_code)]

use std::iter::StepBy;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::graph::Grid;
use crate::kernels::q8::{Act, Addend, Dense, Depthwise, Rows, SLACK, Scratch, Target};

/// Added to a number within 2²², this leaves its nearest integer, ties to even, in the low bits (IEEE 754). Written so, the
/// compiler makes vectors of it; rounding and conversion would be a call for each number.
const ROUNDS: f32 = 1.5 * (1 << 23) as f32;
/// Numbers that are made bytes at a time.
const STRIP: usize = 64;
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
    pub fn places(&self, channel: usize) -> Vec<u32> {
        let rows = 0..self.sides[0];
        let places = rows.flat_map(|row| (0..self.sides[1]).map(move |column| self.place(row, column) + channel));
        places.map(|place| place as u32).collect()
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
        places: Vec<u32>,
    },
    /// Rows that lie side by side already.
    Dense {
        layer: Dense,
        x: usize,
        addend: Option<(usize, Vec<u32>)>,
        end: End,
    },
    /// Windows that are made rows, some at a time; a layer for each group of channels.
    Unrolled {
        layers: Vec<Dense>,
        x: usize,
        unroll: Unroll,
        addend: Option<(usize, Vec<Vec<u32>>)>,
        ends: Vec<End>,
    },
    Depthwise {
        layer: Depthwise,
        x: usize,
        out: usize,
        places: Vec<u32>,
    },
    Sum {
        parts: [(usize, f32, Vec<u32>); 2],
        act: Act,
        out: usize,
        places: Vec<u32>,
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

/// Where a layer's results go.
pub(super) enum End {
    Bytes {
        out: usize,
        places: Vec<u32>,
    },
    /// Floats, from this plane of the output on.
    Real {
        output: usize,
        plane: usize,
    },
}

/// How windows become rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unroll {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows and columns of the output.
    pub out: [usize; 2],
    /// Channels of a group.
    pub channels: usize,
    /// Windows at a time.
    pub chunk: usize,
}

impl Unroll {
    pub fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    /// Writes the windows `windows` of an image with its border, whose channels begin at `first`, as rows of
    /// [`Self::depth`] bytes.
    fn rows(&self, image: &[u8], layout: &Layout, first: usize, windows: Range<usize>, rows: &mut [u8]) {
        let channels = layout.sides[2];
        // Taps that lie side by side are copied together; nine bytes are those of a first layer, three pixels of three colours.
        let is_whole = self.channels == channels && self.dilation[1] == 1;
        match (is_whole, self.kernel[1] * channels) {
            (true, 9) => self.copy(image, layout, windows, rows, |top, column, row| {
                for (top, to) in top.zip(row.as_chunks_mut::<9>().0) {
                    *to = *image[top + column..].first_chunk().expect("a window lies in its image");
                }
            }),
            (true, span) => self.copy(image, layout, windows, rows, |top, column, row| {
                for (top, to) in top.zip(row.chunks_exact_mut(span)) {
                    to.copy_from_slice(&image[top + column..][..span]);
                }
            }),
            (false, _) => self.copy(image, layout, windows, rows, |top, column, row| {
                for (top, row) in top.zip(row.chunks_exact_mut(self.kernel[1] * self.channels)) {
                    for (tap, to) in row.chunks_exact_mut(self.channels).enumerate() {
                        let from = top + column + tap * self.dilation[1] * channels + first;
                        to.copy_from_slice(&image[from..][..self.channels]);
                    }
                }
            }),
        }
    }

    /// Calls `fill` with where the kernel's rows begin, where the window's column begins in them, and the bytes to fill.
    fn copy(
        &self,
        image: &[u8],
        layout: &Layout,
        windows: Range<usize>,
        rows: &mut [u8],
        fill: impl Fn(StepBy<Range<usize>>, usize, &mut [u8]),
    ) {
        let (pixel, line) = (layout.sides[2], layout.width() * layout.sides[2]);
        let mut rows = rows.chunks_exact_mut(self.depth());
        let (first, column) = (windows.start / self.out[1], windows.start % self.out[1]);
        let mut left = windows.len();
        for row in first..self.out[0] {
            let columns = if row == first { column..self.out[1] } else { 0..self.out[1] };
            let top = row * self.stride[0] * line;
            let apart = self.dilation[0] * line;
            let tops = (top..top + (self.kernel[0] - 1) * apart + 1).step_by(apart);
            debug_assert!(tops.clone().all(|top| top < image.len()));
            for (column, row) in columns.take(left).zip(&mut rows) {
                fill(tops.clone(), column * self.stride[1] * pixel, row);
                left -= 1;
            }
            if left == 0 {
                return;
            }
        }
    }
}

/// What a run needs besides the weights.
pub(super) struct Room {
    bytes: Vec<u8>,
    rows: Vec<u8>,
    sums: Vec<i32>,
    scratch: Scratch,
}

pub(super) struct Program {
    pub layouts: Vec<Layout>,
    pub steps: Vec<Step>,
    pub bytes: usize,
    pub rows: usize,
    pub sums: usize,
    pub rooms: Mutex<Vec<Room>>,
}

impl Program {
    /// A room of the size that this program needs.
    pub fn room(&self) -> Room {
        let mut scratch = Scratch::default();
        for step in &self.steps {
            match step {
                Step::Dense { layer, .. } => scratch.reserve_for(layer),
                Step::Unrolled { layers, .. } => layers.iter().for_each(|layer| scratch.reserve_for(layer)),
                _ => {}
            }
        }
        Room { bytes: vec![0; self.bytes], rows: vec![0; self.rows], sums: vec![0; self.sums], scratch }
    }

    /// `inputs` as planes, `outputs` too; `Err` names an input that holds what isn't a finite number.
    pub fn run(&self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), usize> {
        let kept = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut room = kept.unwrap_or_else(|| self.room());
        let result = self.steps.iter().try_for_each(|step| self.step(step, &mut room, inputs, outputs));
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < MOST_ROOMS {
            rooms.push(room);
        }
        result
    }

    fn step(&self, step: &Step, room: &mut Room, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), usize> {
        match step {
            Step::Quantise { input, grid, out, places } => {
                let [bytes] = self.views(&mut room.bytes, [*out]);
                self.layouts[*out].fill_border(bytes);
                let channels = self.layouts[*out].sides[2];
                return quantise(inputs[*input], *grid, channels, places, bytes).map_err(|NotFinite| *input);
            }
            Step::Dense { layer, x, addend, end } => self.dense(layer, *x, addend.as_ref(), end, room, outputs),
            Step::Unrolled { layers, x, unroll, addend, ends } => {
                for (group, (layer, end)) in layers.iter().zip(ends).enumerate() {
                    let addend = addend.as_ref().map(|(addend, places)| (*addend, places[group].as_slice()));
                    self.unrolled(layer, *x, unroll, group, addend, end, room, outputs);
                }
            }
            Step::Depthwise { layer, x, out, places } => {
                let [image, bytes] = self.views(&mut room.bytes, [*x, *out]);
                self.layouts[*out].fill_border(bytes);
                layer.run(image, Target { bytes, places });
            }
            Step::Sum { parts: [a, b], act, out, places } => {
                let [first, second, bytes] = self.views(&mut room.bytes, [a.0, b.0, *out]);
                let layout = self.layouts[*out];
                layout.fill_border(bytes);
                let zeros = [self.layouts[a.0].zero, self.layouts[b.0].zero];
                for ((&to, &from), &other) in places.iter().zip(&a.2).zip(&b.2) {
                    let of = |bytes: &[u8], place: u32| -> Range<usize> {
                        debug_assert!(bytes.len() >= place as usize + layout.sides[2]);
                        place as usize..place as usize + layout.sides[2]
                    };
                    let (from, other, to) = (of(first, from), of(second, other), of(bytes, to));
                    sum([&first[from], &second[other]], zeros, [a.1, b.1], *act, &mut bytes[to]);
                }
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
    fn views<'r, const N: usize>(&self, room: &'r mut [u8], values: [usize; N]) -> [&'r mut [u8]; N] {
        let ranges = values.map(|value| self.layouts[value].range());
        room.get_disjoint_mut(ranges).expect("values of one step lie apart: the plan was checked when it was made")
    }

    fn dense(
        &self,
        layer: &Dense,
        x: usize,
        addend: Option<&(usize, Vec<u32>)>,
        end: &End,
        room: &mut Room,
        outputs: &mut [&mut [f32]],
    ) {
        let count = self.layouts[x].pixels();
        let rows = |bytes| Rows { bytes, stride: self.layouts[x].sides[2], count };
        match (end, addend) {
            (End::Bytes { out, places }, None) => {
                let [image, bytes] = self.views(&mut room.bytes, [x, *out]);
                self.layouts[*out].fill_border(bytes);
                layer.run(rows(image), None, Target { bytes, places }, &mut room.scratch);
            }
            (End::Bytes { out, places }, Some((addend, addend_places))) => {
                let [image, added, bytes] = self.views(&mut room.bytes, [x, *addend, *out]);
                self.layouts[*out].fill_border(bytes);
                let addend = Addend { bytes: added, places: addend_places };
                layer.run(rows(image), Some(addend), Target { bytes, places }, &mut room.scratch);
            }
            (End::Real { output, plane }, _) => {
                let [image] = self.views(&mut room.bytes, [x]);
                let sums = &mut room.sums[..count * layer.outputs()];
                layer.sums(rows(image), sums, &mut room.scratch);
                spread(layer, sums, 0, count, &mut outputs[*output][plane * count..]);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a layer, what it reads, where it writes, and the room for it")]
    fn unrolled(
        &self,
        layer: &Dense,
        x: usize,
        unroll: &Unroll,
        group: usize,
        addend: Option<(usize, &[u32])>,
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
                    let target = Target { bytes, places: &places[windows] };
                    layer.run(rows, None, target, &mut room.scratch);
                }
                (End::Bytes { out, places }, Some((addend, addend_places))) => {
                    let [added, bytes] = self.views(&mut room.bytes, [addend, *out]);
                    let addend = Addend { bytes: added, places: &addend_places[windows.clone()] };
                    let target = Target { bytes, places: &places[windows] };
                    layer.run(rows, Some(addend), target, &mut room.scratch);
                }
                (End::Real { output, plane }, _) => {
                    let sums = &mut room.sums[..windows.len() * layer.outputs()];
                    layer.sums(rows, sums, &mut room.scratch);
                    spread(layer, sums, windows.start, count, &mut outputs[*output][plane * count..]);
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

struct NotFinite;

fn quantise(planes: &[f32], grid: Grid, channels: usize, places: &[u32], bytes: &mut [u8]) -> Result<(), NotFinite> {
    const EXPONENT: u32 = f32::INFINITY.to_bits();
    let zero = f32::from(grid.zero);
    let mut overflow = 0;
    for (channel, plane) in planes.chunks_exact(places.len()).enumerate().take(channels) {
        for (reals, places) in plane.chunks(STRIP).zip(places.chunks(STRIP)) {
            let mut strip = [0; STRIP];
            for (byte, &real) in strip.iter_mut().zip(reals) {
                // An exponent of all ones, and no other, runs over into the sign.
                overflow |= (real.to_bits() & EXPONENT).wrapping_add(1 << 23);
                let steps = (real / grid.scale).clamp(-zero, 255.0 - zero);
                *byte = (steps + ROUNDS).to_bits().wrapping_add(u32::from(grid.zero)) as u8;
            }
            for (&byte, &place) in strip.iter().zip(places) {
                bytes[place as usize + channel] = byte;
            }
        }
    }
    if overflow >> 31 == 0 { Ok(()) } else { Err(NotFinite) }
}

fn dequantise(bytes: &[u8], layout: &Layout, grid: Grid, planes: &mut [f32]) {
    let pixels = layout.pixels();
    for row in 0..layout.sides[0] {
        for column in 0..layout.sides[1] {
            let pixel = &bytes[layout.place(row, column)..][..layout.sides[2]];
            for (channel, &byte) in pixel.iter().enumerate() {
                let steps = i32::from(byte) - i32::from(grid.zero);
                planes[channel * pixels + row * layout.sides[1] + column] = steps as f32 * grid.scale;
            }
        }
    }
}

/// Sums of windows from `first` on, each of `count` in its channel's plane.
fn spread(layer: &Dense, sums: &[i32], first: usize, count: usize, planes: &mut [f32]) {
    for (window, sums) in sums.chunks_exact(layer.outputs()).enumerate() {
        for (channel, &sum) in sums.iter().enumerate() {
            planes[channel * count + first + window] = layer.real(channel, sum);
        }
    }
}

fn sum(parts: [&[u8]; 2], zeros: [u8; 2], scales: [f32; 2], act: Act, out: &mut [u8]) {
    let zeros = zeros.map(f32::from);
    let [low, high] = [act.low, act.high].map(|bound| f32::from(bound) - f32::from(act.zero));
    for ((&a, &b), out) in parts[0].iter().zip(parts[1]).zip(out) {
        let real = (f32::from(a) - zeros[0]) * scales[0] + (f32::from(b) - zeros[1]) * scales[1];
        *out = (real.clamp(low, high) + ROUNDS).to_bits().wrapping_add(u32::from(act.zero)) as u8;
    }
}

fn max_pool(
    image: &[u8],
    from: &Layout,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    bytes: &mut [u8],
    to: &Layout,
) {
    let channels = from.sides[2];
    // What the border holds is left out, as it is less than any number.
    let inside = |at: usize, k: usize| {
        let end = (at * stride[k] + kernel[k]).saturating_sub(pads[k]).min(from.sides[k]);
        (at * stride[k]).saturating_sub(pads[k])..end
    };
    for row in 0..to.sides[0] {
        for column in 0..to.sides[1] {
            let out = &mut bytes[to.place(row, column)..][..channels];
            out.fill(0);
            for y in inside(row, 0) {
                for x in inside(column, 1) {
                    greatest(out, &image[from.place(y, x)..][..channels]);
                }
            }
        }
    }
}

/// Sixteen at a time: a vector, whatever the compiler knows of `channels`.
fn greatest(out: &mut [u8], bytes: &[u8]) {
    let (outs, out_rest) = out.as_chunks_mut::<16>();
    let (chunks, rest) = bytes.as_chunks::<16>();
    for (out, chunk) in outs.iter_mut().zip(chunks) {
        *out = std::array::from_fn(|k| out[k].max(chunk[k]));
    }
    out_rest.iter_mut().zip(rest).for_each(|(out, &byte)| *out = (*out).max(byte));
}
