//! Exact dot products of one int8 vector with very many, laid out for reading at the speed of memory.
//!
//! Rows stand in panels of [`ROWS`]. A panel holds four dimensions of all its rows, then the next four: the kernels load
//! straight on, each four of the query serve 32 rows, and no sum crosses lanes. It is also the layout that ARM's `sdot`
//! and x86's `vpdpbusd` take.

use super::{Isa, active};

/// The longest vector. A sum is at most 2²³, and 256 times that of half the dimensions, which AVX2 takes, 2³⁰: both fit an
/// `i32`.
pub const MAX_DIMS: usize = 512;
/// Rows in a panel.
pub(super) const ROWS: usize = 32;

/// Four dimensions of a panel's rows: two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Quad(pub [[i8; 4]; ROWS]);

/// Rows of int8 vectors to search in. Any value is allowed, -128 too.
#[derive(Debug, Clone)]
pub struct Panels {
    dims: usize,
    len: usize,
    quads: Vec<Quad>,
}

impl Panels {
    /// No rows yet, each of `dims` elements.
    ///
    /// # Panics
    /// Unless `dims` is 1 to [`MAX_DIMS`].
    pub fn new(dims: usize) -> Self {
        assert!((1..=MAX_DIMS).contains(&dims), "vectors of {dims} elements: 1 to {MAX_DIMS} are possible");
        Self { dims, len: 0, quads: Vec::new() }
    }

    /// Elements of a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a row; its index is what [`Panels::len`] was.
    ///
    /// # Panics
    /// If `row` does not have `dims` elements.
    pub fn push(&mut self, row: &[i8]) {
        if self.len.is_multiple_of(ROWS) {
            self.quads.resize(self.quads.len() + self.quads_a_panel(), Quad([[0; 4]; ROWS]));
        }
        self.len += 1;
        self.replace(self.len - 1, row);
    }

    /// Puts another row in the place of one.
    ///
    /// # Panics
    /// If there is no such row, or `row` does not have `dims` elements.
    pub fn replace(&mut self, index: usize, row: &[i8]) {
        assert!(index < self.len, "row {index} of {}", self.len);
        assert_eq!(row.len(), self.dims, "a row of another length");
        let first = index / ROWS * self.quads_a_panel();
        for (quad, four) in self.quads[first..].iter_mut().zip(row.chunks(4)) {
            quad.0[index % ROWS][..four.len()].copy_from_slice(four);
        }
    }

    /// The dot product of each row with `query`, exact.
    ///
    /// # Panics
    /// If `query` does not have `dims` elements, or `out` not one for each row.
    pub fn scores(&self, query: &[i8], out: &mut [i32]) {
        self.scores_on(active(), query, out);
    }

    pub(super) fn scores_on(&self, isa: Isa, query: &[i8], out: &mut [i32]) {
        assert_eq!(query.len(), self.dims, "a query of another length");
        assert_eq!(out.len(), self.len, "one score a row");
        let mut quads = [[0; 4]; MAX_DIMS / 4];
        quads.as_flattened_mut()[..self.dims].copy_from_slice(query);
        dispatch!(isa, panels::scores(&self.quads, &quads[..self.quads_a_panel()], out));
    }

    fn quads_a_panel(&self) -> usize {
        self.dims.div_ceil(4)
    }
}

/// Calls `score` for each panel of `quads_a_panel` that `out` has rows for. Inlined, so that it becomes part of a kernel and
/// may use its instruction set.
#[inline(always)]
pub(super) fn each_panel(
    quads: &[Quad],
    quads_a_panel: usize,
    out: &mut [i32],
    mut score: impl FnMut(&[Quad], &mut [i32; ROWS]),
) {
    let mut panels = quads.chunks_exact(quads_a_panel);
    let (full, rest) = out.as_chunks_mut();
    for (out, panel) in full.iter_mut().zip(&mut panels) {
        score(panel, out);
    }
    if let Some(panel) = panels.next() {
        let mut scores = [0; ROWS];
        score(panel, &mut scores);
        rest.copy_from_slice(&scores[..rest.len()]);
    }
}

/// The definition.
mod scalar {
    use super::{Quad, each_panel};

    pub fn scores(quads: &[Quad], query: &[[i8; 4]], out: &mut [i32]) {
        each_panel(quads, query.len(), out, |panel, out| {
            out.fill(0);
            for (quad, query) in panel.iter().zip(query) {
                for (row, out) in quad.0.iter().zip(&mut *out) {
                    for (&a, &b) in row.iter().zip(query) {
                        // It never wraps; a check would only keep the loop from being vectorised.
                        *out = out.wrapping_add(i32::from(a) * i32::from(b));
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_replaced_leaves_its_neighbours_alone() {
        let mut panels = Panels::new(5);
        for k in 0..40 {
            panels.push(&[k, 1, 0, 0, -k]);
        }
        panels.replace(33, &[i8::MIN; 5]);
        let mut scores = [0; 40];
        panels.scores(&[1, 0, 0, 0, i8::MIN], &mut scores);
        let expected = (0..40).map(|k| if k == 33 { -128 + 128 * 128 } else { k + 128 * k });
        assert!(scores.into_iter().eq(expected), "{scores:?}");
    }

    #[test]
    fn an_empty_gallery_is_searched_and_has_no_scores() {
        Panels::new(128).scores(&[1; 128], &mut []);
    }

    #[test]
    #[should_panic(expected = "another length")]
    fn a_query_of_another_model_is_refused() {
        Panels::new(128).scores(&[1; 512], &mut []);
    }
}
