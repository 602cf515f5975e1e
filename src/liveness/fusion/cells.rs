//! A grid's cells about a face: where each looks, which are the face's, and order statistics of what they saw.

use heapless::Vec;

use crate::liveness::Place;
use crate::ports::{Grid, MAX_CELLS};

/// The face about the middle of the eyes, in distances between the eyes: centre below it, half axes across and down (a
/// head is about 2.1 such distances wide, and 2.9 from the brow's hair to the chin).
pub(super) const CENTRE: f32 = 0.35;
const ACROSS: f32 = 1.05;
const DOWN: f32 = 1.45;
/// Where the face certainly ends: its ellipse so many times.
const CLEAR_OF: f32 = 1.5;

pub(super) type Cells = Vec<Cell, MAX_CELLS>;

/// What a cell of a grid saw, and where it looks: from the middle of the eyes, in distances between the eyes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    pub x: f32,
    pub y: f32,
    pub value: f32,
}

impl Cell {
    /// 0 in the middle of the face's ellipse, 1 at its rim.
    pub fn radius(&self) -> f32 {
        (self.x / ACROSS).hypot((self.y - CENTRE) / DOWN)
    }

    fn from(&self, x: f32, y: f32) -> f32 {
        (self.x - x).hypot(self.y - y)
    }
}

/// A part of the face, or of what is about it: so far left and right, from and to so far below the middle of the eyes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub across: f32,
    pub from: f32,
    pub to: f32,
}

impl Part {
    pub fn has(&self, cell: &Cell) -> bool {
        cell.x.abs() <= self.across && self.from <= cell.y && cell.y <= self.to
    }

    /// The mean of what the cells saw that look at it; of none that does the one that looks nearest to its middle.
    /// `None` if that saw nothing.
    pub fn mean(&self, cells: &[Cell]) -> Option<f32> {
        let middle = |cell: &&Cell| cell.from(0.0, (self.from + self.to) / 2.0);
        let mut inside = cells.iter().filter(|cell| self.has(cell)).peekable();
        if inside.peek().is_none() {
            let nearest = cells.iter().min_by(|a, b| middle(a).total_cmp(&middle(b)))?;
            return nearest.value.is_finite().then_some(nearest.value);
        }
        let seen = inside.filter(|cell| cell.value.is_finite());
        let (sum, n) = seen.fold((0.0, 0.0), |(sum, n), cell| (sum + cell.value, n + 1.0));
        (n > 0.0).then(|| sum / n)
    }
}

/// Every cell of a grid, whether it saw something or not. `width_at_1`: the frame's width at distance 1.
pub(super) fn about(grid: &Grid<'_>, place: Place, width_at_1: f32) -> Cells {
    let at = |i: usize, n: usize, view: f32| {
        let angle = ((i as f32 + 0.5) / n as f32 - 0.5) * view;
        angle.to_radians().tan() / width_at_1
    };
    let cells = grid.cells.iter().take(MAX_CELLS.min(grid.columns * grid.rows)).enumerate();
    cells
        .map(|(i, &value)| Cell {
            x: (at(i % grid.columns, grid.columns, grid.view[0]) - place.x) / place.eye_gap,
            y: (at(i / grid.columns, grid.rows, grid.view[1]) - place.y) / place.eye_gap,
            value,
        })
        .collect()
}

/// The cells that saw something: those under the face, and those clear of it.
#[derive(Default)]
pub(super) struct Sorted {
    pub face: Cells,
    pub around: Cells,
    /// How many are under the face, whether they saw something or not.
    pub under: usize,
}

/// Which cells are under the face is a matter of where they look, whether they saw something or not; where it covers
/// fewer than `least`, those count that look nearest to its middle. Changes the order of `all`.
pub(super) fn sort(all: &mut Cells, least: usize) -> Sorted {
    let covered = all.iter().filter(|cell| cell.radius() <= 1.0).count();
    let is_small = covered < least;
    if is_small {
        all.sort_unstable_by(|a, b| a.from(0.0, CENTRE).total_cmp(&b.from(0.0, CENTRE)));
    }
    let mut sorted = Sorted { under: covered.max(least), ..Sorted::default() };
    for (n, &cell) in all.iter().enumerate().filter(|(_, cell)| cell.value.is_finite()) {
        // Of a small face the nearest cells, which count as its own, may lie clear of it as well.
        if if is_small { n < least } else { cell.radius() <= 1.0 } {
            let _there_is_room = sorted.face.push(cell);
        }
        if cell.radius() > CLEAR_OF {
            let _there_is_room = sorted.around.push(cell);
        }
    }
    sorted
}

/// Of what finite cells saw, between order statistics in a straight line: at place (n − 1) q of n in order. `None` of
/// none.
pub(super) fn quantile<'c>(cells: impl Iterator<Item = &'c Cell>, q: f32) -> Option<f32> {
    let mut values: Vec<f32, MAX_CELLS> = cells.map(|cell| cell.value).filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f32::total_cmp);
    (!values.is_empty()).then(|| between(&values, q))
}

/// The middle value; the mean of the two middle ones of an even number.
pub(super) fn median<'c>(cells: impl Iterator<Item = &'c Cell>) -> Option<f32> {
    quantile(cells, 0.5)
}

/// [`quantile`] of values in order, at least one.
pub(super) fn between(sorted: &[f32], q: f32) -> f32 {
    let place = (sorted.len() - 1) as f32 * q;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
