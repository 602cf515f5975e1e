//! Exact dot products of one int8 vector with very many, laid out for reading at the speed of memory.
//!
//! Rows stand in panels of [`ROWS`]. A panel holds four dimensions of all its rows, then the next four: the kernels
//! load straight on, each four of the query serve 32 rows, and no sum crosses lanes. It is also the layout that ARM's
//! `sdot` and x86's `vpdpbusd` take.
//!
//! Sums stay in registers and are compared there with what the search asks for, panel by panel. A search that has found
//! something near asks for little more, so that it costs what reading the rows does.

use super::{Isa, active};

/// The longest vector, ArcFace's. A sum is at most 2²³, 256 times that of half the dimensions, which AVX2 takes, 2³⁰,
/// and a sum of rows moved up to 0 to 255, as x86's byte products take them, 2²⁴: all fit an `i32`.
pub const MAX_DIMS: usize = 512;
/// Rows in a panel.
pub const ROWS: usize = 32;
/// Queries with no number beyond this, either way, are searched faster by CPUs without a dot product of bytes: two
/// products with a row moved up to 0 to 255, or four with one as it is, then fit 16 bits.
pub const NARROW: i8 = 63;

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

/// What is looked for in [`Panels`].
pub trait Search {
    /// Of the rows `panel` x [`ROWS`] and following, those that score more than this are to be shown.
    fn floor(&self, panel: usize) -> i32;

    /// Such a row. Rows come in rising order, and each panel's floor is asked for once, before its first row.
    fn found(&mut self, row: usize, score: i32);
}

/// What a kernel takes.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    /// All panels.
    pub quads: &'a [Quad],
    /// A quad each of a panel's; what lies beyond the dimensions is zero.
    pub query: &'a [[i8; 4]],
    /// The first panel to look at.
    pub first: usize,
    /// Rows in all panels.
    pub len: usize,
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

    /// Appends a row; its index is how many there were.
    ///
    /// # Panics
    /// If `row` does not have `dims` elements.
    pub fn push(&mut self, row: &[i8]) {
        assert_eq!(row.len(), self.dims, "a row of another length");
        let (panel, place) = (self.len / ROWS, self.len % ROWS);
        let first = panel * self.quads_a_panel();
        if place == 0 {
            self.quads.resize(first + self.quads_a_panel(), Quad([[0; 4]; ROWS]));
        }
        for (quad, four) in self.quads[first..].iter_mut().zip(row.chunks(4)) {
            quad.0[place][..four.len()].copy_from_slice(four);
        }
        self.len += 1;
    }

    /// Shows `search` the exact dot products with `query` that it asks for, from panel `first` on. There may be no such
    /// panel.
    ///
    /// # Panics
    /// If `query` does not have `dims` elements.
    pub fn search(&self, query: &[i8], first: usize, search: &mut impl Search) {
        self.search_on(active(), query, first, search);
    }

    pub(super) fn search_on(&self, isa: Isa, query: &[i8], first: usize, search: &mut impl Search) {
        assert_eq!(query.len(), self.dims, "a query of another length");
        let mut quads = [[0; 4]; MAX_DIMS / 4];
        quads.as_flattened_mut()[..self.dims].copy_from_slice(query);
        let task = Task { quads: &self.quads, query: &quads[..self.quads_a_panel()], first, len: self.len };
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni if isa.is_available() => {
                // SAFETY: the kernel is unsafe to call for nothing but needing AVX-VNNI, which the guard has seen.
                unsafe { super::avx2::panels::by_avx_vnni(task, search) }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni if isa.is_available() => {
                // SAFETY: the kernel is unsafe to call for nothing but needing AVX-512 VNNI, which the guard has seen.
                unsafe { super::avx2::panels::by_avx512_vnni(task, search) }
            }
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod | Isa::NeonI8mm if isa.is_available() => {
                // SAFETY: the kernel is unsafe to call for nothing but needing dot products, which the guard has seen.
                unsafe { super::neon::panels::by_sdot(task, search) }
            }
            _ => dispatch!(isa, panels::search(task, search)),
        }
    }

    fn quads_a_panel(&self) -> usize {
        self.dims.div_ceil(4)
    }
}

impl Task<'_> {
    /// Whether no number of the query is beyond [`NARROW`].
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(dead_code, reason = "for kernels"))]
    pub fn is_narrow(&self) -> bool {
        self.query.as_flattened().iter().all(|x| (-NARROW..=NARROW).contains(x))
    }

    /// Shows what is found. `score` returns a panel's sums where one of them is above the floor. Inlined, so that it
    /// becomes part of a kernel and may use its instruction set.
    #[inline(always)]
    pub fn each_panel(self, search: &mut impl Search, mut score: impl FnMut(&[Quad], i32) -> Option<[i32; ROWS]>) {
        for (panel, quads) in self.quads.chunks_exact(self.query.len()).enumerate().skip(self.first) {
            let floor = search.floor(panel);
            if let Some(sums) = score(quads, floor) {
                self.show(search, panel, floor, &sums);
            }
        }
    }

    /// Apart, so that registers are the loop's alone.
    #[inline(never)]
    fn show(self, search: &mut impl Search, panel: usize, floor: i32, sums: &[i32; ROWS]) {
        for (row, &sum) in (panel * ROWS..self.len).zip(sums) {
            if sum > floor {
                search.found(row, sum);
            }
        }
    }
}

/// The definition.
mod scalar {
    use super::{ROWS, Search, Task};

    pub fn search(task: Task<'_>, search: &mut impl Search) {
        task.each_panel(search, |panel, floor| {
            let mut sums = [0i32; ROWS];
            for (quad, query) in panel.iter().zip(task.query) {
                for (row, sum) in quad.0.iter().zip(&mut sums) {
                    for (&a, &b) in row.iter().zip(query) {
                        // It never wraps; a check would only keep the loop from being vectorised.
                        *sum = sum.wrapping_add(i32::from(a) * i32::from(b));
                    }
                }
            }
            sums.iter().any(|sum| *sum > floor).then_some(sums)
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Keeps the rows whose scores are above a floor, which may differ from panel to panel.
    pub struct Above<F>(pub F, pub Vec<(usize, i32)>);

    impl<F: Fn(usize) -> i32> Search for Above<F> {
        fn floor(&self, panel: usize) -> i32 {
            self.0(panel)
        }

        fn found(&mut self, row: usize, score: i32) {
            self.1.push((row, score));
        }
    }

    fn all(panels: &Panels, query: &[i8]) -> Vec<(usize, i32)> {
        let mut all = Above(|_| i32::MIN, Vec::new());
        panels.search(query, 0, &mut all);
        all.1
    }

    #[test]
    fn a_row_stands_where_it_was_pushed_and_leaves_its_neighbours_alone() {
        let mut panels = Panels::new(5);
        for k in 0..40 {
            panels.push(&if k == 33 { [i8::MIN; 5] } else { [k, 1, 0, 0, -k] });
        }
        let scores = all(&panels, &[1, 0, 0, 0, i8::MIN]);
        let expected = (0..40).map(|k| if k == 33 { -128 + 128 * 128 } else { k + 128 * k });
        assert!(scores.iter().copied().eq((0..).zip(expected)), "{scores:?}");
    }

    #[test]
    fn an_empty_gallery_is_searched_and_has_no_scores() {
        assert_eq!(all(&Panels::new(128), &[1; 128]), []);
    }

    #[test]
    #[should_panic(expected = "another length")]
    fn a_query_of_another_model_is_refused() {
        all(&Panels::new(128), &[1; 512]);
    }
}
