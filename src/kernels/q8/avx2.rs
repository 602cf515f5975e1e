//! AVX2: eight sums of two products in one instruction (`vpmaddwd`), of activations and weights in 16 bits.
//!
//! The products of bytes (`vpmaddubsw`) add pairs in 16 bits and saturate, so rows are widened, a band of them at a
//! time: every activation meets sixteen outputs at once and all of them in turn, which makes that cheap.

use std::arch::x86_64::*;

use super::pack::Packed;
use super::ymm::{self, Band, Products, Sink};
use super::{Addend, Dense, Depthwise, Rows, Target};

/// # Safety
/// The CPU has AVX2; what [`Dense::run`] checks holds.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dense(
    layer: &Dense,
    rows: Rows<'_>,
    addend: Option<Addend<'_>>,
    target: Target<'_>,
    wide: &mut [i16],
) {
    // SAFETY: the caller's promise; every place has room for the outputs.
    unsafe { bands(layer, rows, &ymm::Bytes::new(&layer.requantise, addend, target), wide) }
}

/// # Safety
/// As [`dense`], and `out` has room for all sums.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32], wide: &mut [i16]) {
    // SAFETY: as above; `out` was seen to have rows x outputs sums.
    unsafe { bands(layer, rows, &ymm::Sums { target: out.as_mut_ptr(), outputs: layer.outputs }, wide) }
}

/// # Safety
/// The CPU has AVX2; what [`Depthwise::run`] checks holds.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn depthwise(layer: &Depthwise, image: &[u8], addend: Option<Addend<'_>>, target: Target<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        let out = ymm::Bytes::new(layer.ordered(), addend, target);
        ymm::depthwise::<Pairs>(layer, weights_of(layer), image, &out);
    }
}

/// # Safety
/// As [`depthwise`], and `out` has room for all sums.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn depthwise_sums(layer: &Depthwise, image: &[u8], out: &mut [i32]) {
    let out = ymm::Sums { target: out.as_mut_ptr(), outputs: layer.channels };
    // SAFETY: the caller's promise.
    unsafe { ymm::depthwise::<Pairs>(layer, weights_of(layer), image, &out) }
}

fn weights_of(layer: &Depthwise) -> &[u8] {
    let Packed::Pairs { blocks, .. } = &layer.packed else { unreachable!("packed by the same instruction set") };
    // SAFETY: numbers are bytes.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast::<u8>(), size_of_val(&blocks[..])) }
}

/// Numbers from widened row to widened row: whole registers, and a cache line more, as rows that are a power of two
/// apart would share few lines of the first cache.
fn wide_stride(depth: usize) -> usize {
    depth.next_multiple_of(16) + 32
}

/// How many widened numbers a layer needs room for.
pub(super) fn room(depth: usize) -> usize {
    let stride = wide_stride(depth);
    ymm::rows_in_band(2 * stride) * stride
}

/// # Safety
/// As [`dense`].
#[inline(always)]
unsafe fn bands(layer: &Dense, rows: Rows<'_>, out: &impl Sink, wide: &mut [i16]) {
    let Packed::Pairs { blocks, depth: steps } = &layer.packed else {
        unreachable!("packed by the same instruction set")
    };
    let stride = wide_stride(layer.depth);
    let most = ymm::rows_in_band(2 * stride);
    assert!(wide.len() >= most * stride, "no room was reserved for this layer");
    for first in (0..rows.count).step_by(most) {
        let count = most.min(rows.count - first);
        for row in 0..count {
            let from = &rows.bytes[(first + row) * rows.stride..];
            let to = &mut wide[row * stride..][..stride];
            // SAFETY: sixteen bytes at every multiple of sixteen below the depth are within the slack, and as many
            // numbers within the stride.
            unsafe {
                for k in (0..layer.depth).step_by(16) {
                    let words = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.as_ptr().add(k).cast()));
                    _mm256_storeu_si256(to.as_mut_ptr().add(k).cast(), words);
                }
            }
        }
        let band = Band {
            layer,
            bytes: wide.as_ptr().cast(),
            stride: 2 * stride,
            first,
            count,
            weights: blocks.as_ptr().cast(),
            steps: *steps,
        };
        // SAFETY: the caller's promise; rows have pairs of numbers for all steps.
        unsafe { band.run::<Pairs>(out) }
    }
}

enum Pairs {}

impl Products for Pairs {
    /// The first and third of four, and the second and fourth.
    type Quads = [__m256i; 2];

    #[inline(always)]
    unsafe fn add(sums: __m256i, row: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(row, weights)) }
    }

    #[inline(always)]
    unsafe fn quads(bytes: __m256i) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes)] }
    }

    #[inline(always)]
    unsafe fn weights(at: *const u8, n: usize) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let at = at.add(n * 64).cast();
            [_mm256_load_si256(at), _mm256_load_si256(at.add(1))]
        }
    }

    #[inline(always)]
    unsafe fn later([even, odd]: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_slli_epi32::<16>(odd), even] }
    }

    #[inline(always)]
    unsafe fn add_quads(sums: __m256i, quads: [__m256i; 2], weights: [__m256i; 2]) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { Self::add(Self::add(sums, quads[0], weights[0]), quads[1], weights[1]) }
    }
}
