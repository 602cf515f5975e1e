//! AVX-512 with VNNI: sixteen sums of four products in one instruction (`vpdpbusd`), which neither saturates nor
//! rounds.
//!
//! A dense layer keeps a tile of rows x outputs in registers: six rows by four registers of sixteen outputs are 24
//! sums, four weights and one activation, which leaves three of 32 registers free. Panels of weights are the outer
//! loop, so that they stay in the first cache while rows stream past.
//!
//! Sums go from registers to bytes in fours: a row's, or those of several rows.

mod depthwise;
mod ends;

use std::arch::x86_64::*;

use super::pack::{Block, Packed, WIDE};
use super::{Addend, Dense, Requantise, Residual, Rows, Target};
pub(super) use depthwise::{depthwise, depthwise_sums};
use ends::{Ends, load_some, mask64, store, store_half, store_some};

type Quad = Block<i8, 64>;

/// What becomes of sums, four registers at a time.
const REGISTERS: usize = 4;
/// The order that makes the first quarters of four lanes of 128 bits the first lane, and so on.
const TRANSPOSED: [i32; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// # Safety
/// The CPU has AVX-512 F, BW, VL and VNNI; what [`Dense::run`] checks holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn dense(layer: &Dense, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>) {
    let (blocks, quads) = quads_of(&layer.packed);
    let out = Bytes::new(&layer.requantise, addend, target);
    // SAFETY: the caller's promise; every row has `quads` quads within its slack, every place room for the outputs.
    unsafe { panels(layer, rows, blocks, quads, &out) }
}

/// # Safety
/// As [`dense`], and `out` has room for all sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32]) {
    let (blocks, quads) = quads_of(&layer.packed);
    let out = Sums { target: out.as_mut_ptr(), outputs: layer.outputs };
    // SAFETY: as above; `out` was seen to have rows x outputs sums.
    unsafe { panels(layer, rows, blocks, quads, &out) }
}

fn quads_of(packed: &Packed) -> (&[Quad], usize) {
    let Packed::Quads { blocks, depth } = packed else { unreachable!("packed by the same instruction set") };
    (blocks, *depth)
}

/// Where a tile's sums go.
trait Sink {
    /// # Safety
    /// Rows from `row` to `row` + M and the `outputs` from `first` on are of the layer.
    unsafe fn put<const M: usize, const N: usize>(
        &self,
        row: usize,
        first: usize,
        outputs: usize,
        sums: &[[__m512i; N]; M],
    );
}

/// # Safety
/// As [`dense`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn panels(layer: &Dense, rows: Rows<'_>, blocks: &[Quad], quads: usize, out: &impl Sink) {
    let panels = layer.outputs.div_ceil(WIDE);
    let mut panel = 0;
    while panel < panels {
        // SAFETY: the caller's promise; panels from `panel` on are there.
        unsafe {
            let tile = Tile { layer, rows, blocks: blocks.as_ptr().add(panel * quads), quads, first: panel * WIDE };
            panel += match panels - panel {
                1 => tile.run::<12, 1>(out),
                2 => tile.run::<12, 2>(out),
                3 => tile.run::<6, 3>(out),
                _ => tile.run::<6, 4>(out),
            };
        }
    }
}

/// N panels of weights and all rows.
struct Tile<'a> {
    layer: &'a Dense,
    rows: Rows<'a>,
    blocks: *const Quad,
    quads: usize,
    /// Output of the first panel.
    first: usize,
}

impl Tile<'_> {
    /// # Safety
    /// As [`dense`]; N panels are there.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const M: usize, const N: usize>(&self, out: &impl Sink) -> usize {
        let mut row = 0;
        // SAFETY: the caller's promise; rows from `row` to `row` + M are there.
        unsafe {
            while row + M <= self.rows.count {
                self.rows::<M, N>(row, out);
                row += M;
            }
            if M > 6 && row + 6 <= self.rows.count {
                self.rows::<6, N>(row, out);
                row += 6;
            }
            match self.rows.count - row {
                0 => {}
                1 => self.rows::<1, N>(row, out),
                2 => self.rows::<2, N>(row, out),
                3 => self.rows::<3, N>(row, out),
                4 => self.rows::<4, N>(row, out),
                _ => self.rows::<5, N>(row, out),
            }
        }
        N
    }

    /// # Safety
    /// As [`dense`]; N panels are there, and M rows from `row` on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<const M: usize, const N: usize>(&self, row: usize, out: &impl Sink) {
        // SAFETY: the caller's promise; biases are filled up to whole registers.
        unsafe {
            let bias = self.layer.requantise.bias.as_ptr().add(self.first);
            let mut sums: [[__m512i; N]; M] =
                [std::array::from_fn(|n| _mm512_loadu_si512(bias.add(n * WIDE).cast())); M];
            let mut bytes = self.rows.bytes.as_ptr().add(row * self.rows.stride);
            let mut block = self.blocks;
            // Out of the loop, for the sake of the checks in it.
            let of_rows: [usize; M] = std::array::from_fn(|m| m * self.rows.stride);
            let of_panels: [usize; N] = std::array::from_fn(|n| n * self.quads);
            for _ in 0..self.quads {
                let weights: [__m512i; N] = std::array::from_fn(|n| _mm512_load_si512(block.add(of_panels[n]).cast()));
                for (sums, at) in sums.iter_mut().zip(of_rows) {
                    let four = _mm512_set1_epi32(bytes.add(at).cast::<i32>().read_unaligned());
                    for n in 0..N {
                        sums[n] = _mm512_dpbusd_epi32(sums[n], four, weights[n]);
                    }
                }
                (bytes, block) = (bytes.add(4), block.add(1));
            }
            let outputs = (self.layer.outputs - self.first).min(N * WIDE);
            out.put(row, self.first, outputs, &sums);
        }
    }
}

struct Sums {
    target: *mut i32,
    outputs: usize,
}

impl Sink for Sums {
    #[inline(always)]
    unsafe fn put<const M: usize, const N: usize>(
        &self,
        row: usize,
        first: usize,
        outputs: usize,
        sums: &[[__m512i; N]; M],
    ) {
        for (m, sums) in sums.iter().enumerate() {
            for (n, &sums) in sums.iter().enumerate() {
                let left = outputs.saturating_sub(n * WIDE).min(WIDE);
                // SAFETY: the mask keeps the store within the row's sums.
                unsafe {
                    let to = self.target.add((row + m) * self.outputs + first + n * WIDE);
                    _mm512_mask_storeu_epi32(to, (1u32 << left).wrapping_sub(1) as u16, sums);
                }
            }
        }
    }
}

/// What the sixteen bytes of an addend stand for, added to what is kept within bounds.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn added(real: __m512, bytes: __m128i, zero: __m512i, scale: __m512, [low, high]: [__m512; 2]) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let steps = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), zero));
        let real = _mm512_min_ps(_mm512_max_ps(real, low), high);
        _mm512_add_ps(real, _mm512_mul_ps(steps, scale))
    }
}

struct Bytes<'a> {
    ends: Ends,
    /// With its zero and scale, and the bounds of what it's added to.
    addend: Option<(Addend<'a>, __m512i, __m512, [__m512; 2])>,
    target: *mut u8,
    places: &'a [u32],
}

impl<'a> Bytes<'a> {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(requantise: &Requantise, addend: Option<Addend<'a>>, target: Target<'a>) -> Self {
        let with = |(addend, Residual { zero, scale, bounds: [low, high] })| {
            let bounds = [_mm512_set1_ps(low), _mm512_set1_ps(high)];
            (addend, _mm512_set1_epi32(zero.into()), _mm512_set1_ps(scale), bounds)
        };
        let addend = addend.zip(requantise.residual).map(with);
        Self { ends: Ends::new(requantise), addend, target: target.bytes.as_mut_ptr(), places: target.places.at }
    }

    /// Four registers' sums from `m` on, if there are such: of so many rows that it takes.
    ///
    /// # Safety
    /// As [`Sink::put`].
    #[inline(always)]
    unsafe fn four<const M: usize, const N: usize>(
        &self,
        row: usize,
        m: usize,
        first: usize,
        mask: u64,
        sums: &[[__m512i; N]; M],
    ) {
        if m >= M {
            return;
        }
        // SAFETY: the caller's promise; masks keep loads and stores within the outputs.
        unsafe {
            let rows = (REGISTERS / N).min(M - m);
            let (mut four, mut channels) = ([_mm512_setzero_si512(); REGISTERS], [first; REGISTERS]);
            for k in 0..rows * N {
                (four[k], channels[k]) = (sums[m + k / N][k % N], first + k % N * WIDE);
            }
            let mut reals = self.ends.reals(channels, four);
            if let Some((addend, zero, scale, bounds)) = self.addend {
                for k in 0..rows * N {
                    let from = addend.bytes.as_ptr().add(*addend.places.at.get_unchecked(row + m + k / N) as usize);
                    let bytes = load_some(from.add(channels[k]), (mask >> (k % N * WIDE)) as u16);
                    reals[k] = added(reals[k], bytes, zero, scale, bounds);
                }
            }
            // Packing works in lanes of 128 bits: each has four outputs of each register.
            let order = _mm512_loadu_si512(TRANSPOSED.as_ptr().cast());
            let bytes = _mm512_permutexvar_epi32(order, self.ends.bytes(reals));
            let to = |k: usize| self.target.add(*self.places.get_unchecked(row + m + k) as usize).add(first);
            if N == 1 {
                store_some(to(0), mask as u16, _mm512_castsi512_si128(bytes));
                if rows > 1 {
                    store_some(to(1), mask as u16, _mm512_extracti32x4_epi32::<1>(bytes));
                }
                if rows > 2 {
                    store_some(to(2), mask as u16, _mm512_extracti32x4_epi32::<2>(bytes));
                }
                if rows > 3 {
                    store_some(to(3), mask as u16, _mm512_extracti32x4_epi32::<3>(bytes));
                }
            } else if N == 2 {
                store_half(to(0), mask as u32, _mm512_castsi512_si256(bytes));
                if rows > 1 {
                    store_half(to(1), mask as u32, _mm512_extracti64x4_epi64::<1>(bytes));
                }
            } else {
                store(to(0), mask, bytes);
            }
        }
    }
}

impl Sink for Bytes<'_> {
    #[inline(always)]
    unsafe fn put<const M: usize, const N: usize>(
        &self,
        row: usize,
        first: usize,
        outputs: usize,
        sums: &[[__m512i; N]; M],
    ) {
        let (mask, rows) = (mask64(outputs), REGISTERS / N);
        // Not in a loop, which would have the sums go through memory.
        // SAFETY: the caller's promise; there are at most six fours.
        unsafe {
            self.four(row, 0, first, mask, sums);
            self.four(row, rows, first, mask, sums);
            self.four(row, 2 * rows, first, mask, sums);
            self.four(row, 3 * rows, first, mask, sums);
            self.four(row, 4 * rows, first, mask, sums);
            self.four(row, 5 * rows, first, mask, sums);
        }
    }
}
