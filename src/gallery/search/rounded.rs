//! Rounded numbers: what they prove about the exact ones, and which rows of a search they leave.

use std::ops::Range;

use super::Index;
use crate::face::encoding::MAX_DIMS;
use crate::kernels::panels::{NARROW, ROWS, Search};

/// A template's largest rounded number; −128 stays unused so that the range is symmetric.
pub const MAX_ROUNDED: i8 = 127;
/// A query's.
const MAX_QUERY: i8 = NARROW;
/// An encoding is of unit length to within 1e-5; what is measured in double precision and kept in single is off by
/// less.
const MAX_LENGTH: f32 = 1.0 + 2e-5;
/// Numbers that are rounded at once.
const LANES: usize = 8;
/// Added to a small number it leaves no bits for less than a whole one, and those in the lowest bits of the sum (1.5 ·
/// 2²³).
const WHOLE: f32 = 12_582_912.0;
/// Half a unit in the last place of a single-precision number near 1.
const HALF_ULP: f32 = 1.0 / (1 << 24) as f32;

/// How rounding changed the numbers of a panel, whose rows share a step: then a score alone says how near a row can be.
#[derive(Debug, Clone, Copy)]
pub struct Rounding {
    /// What one step of the rounded numbers is worth.
    step: f32,
    /// No less than the length of what rounding took from any row.
    error: f32,
}

/// A query, rounded, with its share of the bound.
pub struct Query {
    step: f32,
    /// ‖q̂‖ at most.
    length: f32,
    /// What the bound holds whatever the row: ‖e‖‖t‖ and the rounding of the sums themselves.
    margin: f32,
}

/// A row that could be first or second when it was seen.
#[derive(Debug, Clone, Copy)]
pub struct Near {
    pub row: u32,
    /// No less than its cosine.
    pub most: f32,
}

impl Rounding {
    /// Rounds rows of `dims` numbers to whole numbers up to `most`, either way. `push` takes them one by one.
    pub fn of(rows: &[f32], dims: usize, most: i8, mut push: impl FnMut(&[i8])) -> Self {
        let largest = largest(rows);
        // An encoding has a number other than zero, its length being 1.
        let (step, steps) = (largest / f32::from(most), f32::from(most) / largest);
        // Whole vectors: what lies beyond the dimensions stays zero and loses nothing.
        let (mut exact, mut rounded) = ([0f32; MAX_DIMS], [0i8; MAX_DIMS]);
        let vectors = dims.div_ceil(LANES);
        let mut error = 0f64;
        for row in rows.chunks_exact(dims) {
            exact[..dims].copy_from_slice(row);
            let mut squares = [0f64; LANES];
            let (exact, _) = exact.as_chunks::<LANES>();
            let (rounded_vectors, _) = rounded.as_chunks_mut::<LANES>();
            for (exact, rounded) in exact.iter().zip(rounded_vectors).take(vectors) {
                for k in 0..LANES {
                    // No more than `most`: the product is off by too little to be rounded to more.
                    let shifted = exact[k] * steps + WHOLE;
                    rounded[k] = shifted.to_bits() as i8;
                    let lost = f64::from(exact[k]) - f64::from(step) * f64::from(shifted - WHOLE);
                    squares[k] += lost * lost;
                }
            }
            push(&rounded[..dims]);
            error = error.max(squares.iter().sum());
        }
        // Rounded to single precision and then up.
        Self { step, error: error.sqrt() as f32 * (1.0 + 4.0 * HALF_ULP) }
    }
}

fn largest(numbers: &[f32]) -> f32 {
    let mut largest = [0f32; LANES];
    let (vectors, rest) = numbers.as_chunks::<LANES>();
    for vector in vectors {
        for k in 0..LANES {
            largest[k] = largest[k].max(vector[k].abs());
        }
    }
    rest.iter().chain(&largest).fold(0f32, |max, x| max.max(x.abs()))
}

impl Query {
    /// Rounds `exact` to what [`Panels::search`](crate::kernels::panels::Panels::search) takes.
    pub fn new(exact: &[f32], rounded: &mut Vec<i8>) -> Self {
        rounded.clear();
        let Rounding { step, error } =
            Rounding::of(exact, exact.len(), MAX_QUERY, |numbers| rounded.extend_from_slice(numbers));
        // A sum of n products of unit vectors is off by at most n + 1 half units in the last place (Higham, Accuracy
        // and Stability of Numerical Algorithms, 3.1), scaling a score and adding the bound to it by a few more.
        let summing = (exact.len() + 16) as f32 * HALF_ULP;
        Self { step, length: MAX_LENGTH + error, margin: error * MAX_LENGTH + summing }
    }

    /// What the cosine of a row of such a panel, as `dot_f32` computes it, lies between.
    #[inline]
    pub fn bounds(&self, rounding: Rounding, score: i32) -> Range<f32> {
        // Exact in f32: a score is at most 512 · 127 · 63, which is less than 2²⁴.
        let middle = score as f32 * (rounding.step * self.step);
        let reach = self.reach(rounding);
        middle - reach..middle + reach
    }

    /// A score with which no row of such a panel reaches `cut`, nor with a lower one.
    #[inline]
    pub fn floor(&self, rounding: Rounding, cut: f32) -> i32 {
        let room = cut - self.reach(rounding);
        // The four roundings here are among the few for which the margin has room.
        (room / (rounding.step * self.step)).floor() as i32
    }

    #[inline]
    fn reach(&self, rounding: Rounding) -> f32 {
        self.length * rounding.error + self.margin
    }
}

/// Keeps the rows that can still be first or second, by what others reach for certain.
pub struct Sieve<'a> {
    index: &'a Index,
    query: Query,
    near: &'a mut Vec<Near>,
    first: f32,
    first_owner: u32,
    second: f32,
    /// What the second-nearest person so far reaches for certain; whatever can't reach it is neither first nor second.
    /// With one person alone, what the nearest template reaches.
    cut: f32,
}

impl<'a> Sieve<'a> {
    pub fn new(index: &'a Index, query: Query, near: &'a mut Vec<Near>) -> Self {
        let nothing = f32::NEG_INFINITY;
        Self { index, query, near, first: nothing, first_owner: u32::MAX, second: nothing, cut: nothing }
    }

    pub fn cut(&self) -> f32 {
        self.cut
    }
}

impl Search for Sieve<'_> {
    #[inline]
    fn floor(&self, panel: usize) -> i32 {
        self.query.floor(self.index.rounding[panel], self.cut)
    }

    fn found(&mut self, row: usize, score: i32) {
        let Range { start: certain, end: most } = self.query.bounds(self.index.rounding[row / ROWS], score);
        if most < self.cut {
            return;
        }
        self.near.push(Near { row: row as u32, most });
        let owner = self.index.owner[row];
        if owner == self.first_owner {
            self.first = self.first.max(certain);
        } else if certain > self.first {
            (self.second, self.first, self.first_owner) = (self.first, certain, owner);
        } else {
            self.second = self.second.max(certain);
        }
        self.cut = if self.index.people.len() > 1 { self.second } else { self.first };
    }
}

/// Visits the rows from the first on that may reach a threshold.
pub struct Alike<'a, F> {
    pub index: &'a Index,
    pub query: Query,
    pub first: usize,
    pub threshold: f32,
    pub visit: F,
}

impl<F: FnMut(usize)> Search for Alike<'_, F> {
    #[inline]
    fn floor(&self, panel: usize) -> i32 {
        self.query.floor(self.index.rounding[panel], self.threshold)
    }

    fn found(&mut self, row: usize, score: i32) {
        if row >= self.first && self.query.bounds(self.index.rounding[row / ROWS], score).end >= self.threshold {
            (self.visit)(row);
        }
    }
}
