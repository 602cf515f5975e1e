//! What AVX2 and AVX-VNNI share: sixteen registers of 256 bits, and kernels that leave to each how products are summed.
//!
//! A dense layer keeps a tile of six rows by sixteen outputs in registers: twelve sums, two weights, one activation,
//! and one for a product. Rows come in bands that stay in the first cache while panels of weights stream past.
//!
//! A depthwise layer interleaves the bytes of four taps, 32 channels at a time. Where windows are three high and their
//! stride and dilation downwards are one, four rows of a column serve an output and the one below it.
//!
//! Nothing here enables an instruction set: all of it is inlined into the functions of [`super::avx2`] and
//! [`super::avxvnni`] that do.

mod depthwise;
mod ends;

use std::arch::x86_64::*;

pub(super) use depthwise::depthwise;
use ends::{Ends, load_some, store_some};

use super::pack::WIDE;
use super::{Addend, Dense, Requantise, Residual, Target};

/// Sums in a register.
const LANES: usize = 8;
/// Rows of a tile.
pub(super) const ROWS: usize = 6;
/// What the rows of a band take at most, if six of them don't take more: half of a usual first cache.
const BAND_BYTES: usize = 16 << 10;

/// Rows of `bytes` each that make a band: whole tiles.
pub(super) fn rows_in_band(bytes: usize) -> usize {
    (BAND_BYTES / bytes / ROWS).max(1) * ROWS
}

/// How products are summed.
pub(super) trait Products {
    /// Bytes of four taps, or their weights, eight channels of them.
    type Quads: Copy;

    /// Adds to each sum the products of what a row (four bytes of it, repeated) and the outputs have in a step.
    ///
    /// # Safety
    /// The CPU has the instructions, as for all of these.
    unsafe fn add(sums: __m256i, row: __m256i, weights: __m256i) -> __m256i;

    /// # Safety
    /// As above.
    unsafe fn quads(bytes: __m256i) -> Self::Quads;

    /// The `n`th weights from `at` on.
    ///
    /// # Safety
    /// They are there.
    unsafe fn weights(at: *const u8, n: usize) -> Self::Quads;

    /// The same weights one tap later; the fourth, which moves to the first place, is zero.
    ///
    /// # Safety
    /// As above.
    unsafe fn later(weights: Self::Quads) -> Self::Quads;

    /// # Safety
    /// As above.
    unsafe fn add_quads(sums: __m256i, quads: Self::Quads, weights: Self::Quads) -> __m256i;
}

/// Where a tile's sums go.
pub(super) trait Sink {
    /// # Safety
    /// The CPU has AVX2; rows from `row` to `row` + M and the `outputs`, at most sixteen, from `first` on are of the
    /// layer.
    unsafe fn put<const M: usize>(&self, row: usize, first: usize, outputs: usize, sums: [[__m256i; 2]; M]);
}

/// Rows of activations, and all the weights that they meet.
pub(super) struct Band<'a> {
    pub layer: &'a Dense,
    /// The first row, in the form that the products take.
    pub bytes: *const u8,
    /// Bytes from row to row.
    pub stride: usize,
    /// Index of the first row.
    pub first: usize,
    pub count: usize,
    /// [outputs / 16][steps][64].
    pub weights: *const u8,
    pub steps: usize,
}

impl Band<'_> {
    /// # Safety
    /// The CPU has what `P` needs; rows hold four bytes for each step, and there are weights and biases for all
    /// outputs.
    #[inline(always)]
    pub unsafe fn run<P: Products>(&self, out: &impl Sink) {
        let panels = self.layer.outputs.div_ceil(WIDE);
        let full = self.count / ROWS * ROWS;
        // SAFETY: the caller's promise; tiles are of rows below `count` and panels below `panels`.
        unsafe {
            for panel in 0..panels {
                for row in (0..full).step_by(ROWS) {
                    self.tile::<P, ROWS, 1>(row, panel, out);
                }
            }
            match self.count - full {
                0 => {}
                1 => self.rest::<P, 1, 4>(full, panels, out),
                2 => self.rest::<P, 2, 2>(full, panels, out),
                3 => self.rest::<P, 3, 1>(full, panels, out),
                4 => self.rest::<P, 4, 1>(full, panels, out),
                _ => self.rest::<P, 5, 1>(full, panels, out),
            }
        }
    }

    /// M rows, N panels at a time as long as there are so many: fewer sums than these would wait for each other.
    ///
    /// # Safety
    /// As [`Band::run`]; rows from `row` to `row` + M are there.
    #[inline(always)]
    unsafe fn rest<P: Products, const M: usize, const N: usize>(&self, row: usize, panels: usize, out: &impl Sink) {
        let mut panel = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while panel + N <= panels {
                self.tile::<P, M, N>(row, panel, out);
                panel += N;
            }
            while panel < panels {
                self.tile::<P, M, 1>(row, panel, out);
                panel += 1;
            }
        }
    }

    /// # Safety
    /// As [`Band::run`]; M rows from `row` on and N panels from `panel` on are there.
    #[inline(always)]
    unsafe fn tile<P: Products, const M: usize, const N: usize>(&self, row: usize, panel: usize, out: &impl Sink) {
        // SAFETY: the caller's promise; biases are filled up to whole panels.
        unsafe {
            let mut sums = [[[_mm256_setzero_si256(); 2]; N]; M];
            for n in 0..N {
                let bias = self.layer.requantise.bias.as_ptr().add((panel + n) * WIDE);
                let bias = [load(bias.cast()), load(bias.add(LANES).cast())];
                for sums in &mut sums {
                    sums[n] = bias;
                }
            }
            let mut bytes = self.bytes.add(row * self.stride);
            let mut weights = self.weights.add(panel * self.steps * 64);
            // Out of the loop, for the sake of the checks in it.
            let (mut of_rows, mut of_panels) = ([0; M], [0; N]);
            (0..M).for_each(|m| of_rows[m] = m * self.stride);
            (0..N).for_each(|n| of_panels[n] = n * self.steps * 64);
            for _ in 0..self.steps {
                let mut registers = [[_mm256_setzero_si256(); 2]; N];
                for (registers, at) in registers.iter_mut().zip(of_panels) {
                    let at = weights.add(at);
                    *registers = [load(at), load(at.add(32))];
                }
                for (sums, at) in sums.iter_mut().zip(of_rows) {
                    let four = _mm256_set1_epi32(bytes.add(at).cast::<i32>().read_unaligned());
                    for (sums, weights) in sums.iter_mut().zip(registers) {
                        *sums = [P::add(sums[0], four, weights[0]), P::add(sums[1], four, weights[1])];
                    }
                }
                (bytes, weights) = (bytes.add(4), weights.add(64));
            }
            for n in 0..N {
                let first = (panel + n) * WIDE;
                let mut of_panel = [[_mm256_setzero_si256(); 2]; M];
                for (of_panel, sums) in of_panel.iter_mut().zip(&sums) {
                    *of_panel = sums[n];
                }
                out.put(self.first + row, first, (self.layer.outputs - first).min(WIDE), of_panel);
            }
        }
    }
}

/// # Safety
/// The CPU has AVX; 32 bytes are there.
#[inline(always)]
unsafe fn load(at: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// The sums themselves.
pub(super) struct Sums {
    pub target: *mut i32,
    pub outputs: usize,
}

impl Sink for Sums {
    #[inline(always)]
    unsafe fn put<const M: usize>(&self, row: usize, first: usize, outputs: usize, sums: [[__m256i; 2]; M]) {
        for (m, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller's promise; what is copied is within the row's sums, and within the array.
            unsafe {
                let to = self.target.add((row + m) * self.outputs + first);
                let mut numbers = [0; WIDE];
                _mm256_storeu_si256(numbers.as_mut_ptr().cast(), sums[0]);
                _mm256_storeu_si256(numbers.as_mut_ptr().add(LANES).cast(), sums[1]);
                to.copy_from_nonoverlapping(numbers.as_ptr(), outputs);
            }
        }
    }
}

/// What the first eight bytes of an addend stand for, added to what is kept within bounds.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn added(real: __m256, bytes: __m128i, zero: __m256i, scale: __m256, [low, high]: [__m256; 2]) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let steps = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), zero));
        let real = _mm256_min_ps(_mm256_max_ps(real, low), high);
        _mm256_add_ps(real, _mm256_mul_ps(steps, scale))
    }
}

/// Bytes, each row at its place.
pub(super) struct Bytes<'a> {
    ends: Ends,
    /// With its zero and scale, and the bounds of what it's added to.
    addend: Option<(Addend<'a>, __m256i, __m256, [__m256; 2])>,
    target: *mut u8,
    places: &'a [u32],
}

impl<'a> Bytes<'a> {
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    pub unsafe fn new(requantise: &Requantise, addend: Option<Addend<'a>>, target: Target<'a>) -> Self {
        let addend = addend.zip(requantise.residual);
        // SAFETY: the caller's promise.
        unsafe {
            let all = |number| _mm256_set1_ps(number);
            let with = |(addend, Residual { zero, scale, bounds })| {
                (addend, _mm256_set1_epi32(i32::from(zero)), all(scale), [all(bounds[0]), all(bounds[1])])
            };
            let addend = addend.map(with);
            let ends = Ends::new(requantise);
            Self { ends, addend, target: target.bytes.as_mut_ptr(), places: target.places.at }
        }
    }

    /// # Safety
    /// As [`Sink::put`].
    #[inline(always)]
    unsafe fn add(&self, row: usize, first: usize, outputs: usize, reals: &mut [__m256]) {
        let Some((addend, zero, scale, bounds)) = self.addend else { return };
        // SAFETY: the caller's promise.
        unsafe {
            let from = addend.bytes.as_ptr().add(*addend.places.at.get_unchecked(row) as usize).add(first);
            let bytes = if outputs == WIDE { _mm_loadu_si128(from.cast()) } else { load_some(from, outputs) };
            for (real, bytes) in reals.iter_mut().zip([bytes, _mm_unpackhi_epi64(bytes, bytes)]) {
                *real = added(*real, bytes, zero, scale, bounds);
            }
        }
    }

    /// # Safety
    /// As [`Sink::put`].
    #[inline(always)]
    unsafe fn store(&self, row: usize, first: usize, outputs: usize, bytes: __m128i) {
        // SAFETY: the caller's promise.
        unsafe {
            let to = self.target.add(*self.places.get_unchecked(row) as usize).add(first);
            if outputs == WIDE { _mm_storeu_si128(to.cast(), bytes) } else { store_some(to, outputs, bytes) }
        }
    }
}

impl Sink for Bytes<'_> {
    #[inline(always)]
    unsafe fn put<const M: usize>(&self, row: usize, first: usize, outputs: usize, sums: [[__m256i; 2]; M]) {
        // SAFETY: the caller's promise; no more than `outputs` bytes are written at a place.
        unsafe {
            // Packing works in lanes of 128 bits: each has four outputs of each register of both rows.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let channels = [first, first + LANES, first, first + LANES];
            for m in (0..M).step_by(2) {
                // The last one may be alone.
                let below = if m + 1 < M { m + 1 } else { m };
                let four = [sums[m][0], sums[m][1], sums[below][0], sums[below][1]];
                let mut reals = self.ends.reals(channels, four);
                self.add(row + m, first, outputs, &mut reals[..2]);
                self.add(row + below, first, outputs, &mut reals[2..]);
                let bytes = _mm256_permutevar8x32_epi32(self.ends.bytes(reals), order);
                self.store(row + m, first, outputs, _mm256_castsi256_si128(bytes));
                if below > m {
                    self.store(row + below, first, outputs, _mm256_extracti128_si256::<1>(bytes));
                }
            }
        }
    }
}
