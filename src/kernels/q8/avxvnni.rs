//! AVX-VNNI: eight sums of four products of bytes in one instruction (`vpdpbusd`), which neither saturates nor rounds.

use std::arch::x86_64::*;

use super::pack::Packed;
use super::ymm::{self, Band, Products, Sink};
use super::{Addend, Dense, Depthwise, Rows, Target};

/// # Safety
/// The CPU has AVX2 and AVX-VNNI; what [`Dense::run`] checks holds.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn dense(layer: &Dense, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>) {
    // SAFETY: the caller's promise; every place has room for the outputs.
    unsafe { bands::<Vex>(layer, rows, &ymm::Bytes::new(&layer.requantise, addend, target)) }
}

/// # Safety
/// As [`dense`], and `out` has room for all sums.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32]) {
    // SAFETY: as above; `out` was seen to have rows x outputs sums.
    unsafe { bands::<Vex>(layer, rows, &ymm::Sums { target: out.as_mut_ptr(), outputs: layer.outputs }) }
}

/// # Safety
/// The CPU has AVX2 and AVX-VNNI; what [`Depthwise::run`] checks holds.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn depthwise(layer: &Depthwise, image: &[u8], addend: Option<Addend<'_>>, target: Target<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        let out = ymm::Bytes::new(layer.ordered(), addend, target);
        ymm::depthwise::<Vex>(layer, weights_of(&layer.packed).0, image, &out);
    }
}

/// # Safety
/// As [`depthwise`], and `out` has room for all sums.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn depthwise_sums(layer: &Depthwise, image: &[u8], out: &mut [i32]) {
    let out = ymm::Sums { target: out.as_mut_ptr(), outputs: layer.channels };
    // SAFETY: the caller's promise.
    unsafe { ymm::depthwise::<Vex>(layer, weights_of(&layer.packed).0, image, &out) }
}

/// And how many steps there are.
fn weights_of(packed: &Packed) -> (&[u8], usize) {
    let Packed::Quads { blocks, depth } = packed else { unreachable!("packed by the same instruction set") };
    // SAFETY: signed bytes are bytes.
    (unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast::<u8>(), size_of_val(&blocks[..])) }, *depth)
}

/// # Safety
/// As [`dense`], and the CPU has what `P` needs.
#[inline(always)]
unsafe fn bands<P: Products>(layer: &Dense, rows: Rows<'_>, out: &impl Sink) {
    let (weights, steps) = weights_of(&layer.packed);
    let most = ymm::rows_in_band(layer.depth);
    for first in (0..rows.count).step_by(most) {
        let band = Band {
            layer,
            bytes: rows.bytes[first * rows.stride..].as_ptr(),
            stride: rows.stride,
            first,
            count: most.min(rows.count - first),
            weights: weights.as_ptr(),
            steps,
        };
        // SAFETY: the caller's promise; every row has four bytes for each step within its slack.
        unsafe { band.run::<P>(out) }
    }
}

/// What the forms of the instruction have in common: VEX is AVX-VNNI's, EVEX AVX-512's.
macro_rules! products {
    ($name:ident, $add:ident) => {
        enum $name {}

        impl Products for $name {
            type Quads = __m256i;

            #[inline(always)]
            unsafe fn add(sums: __m256i, row: __m256i, weights: __m256i) -> __m256i {
                // SAFETY: the caller's promise.
                unsafe { $add(sums, row, weights) }
            }

            #[inline(always)]
            unsafe fn quads(bytes: __m256i) -> __m256i {
                bytes
            }

            #[inline(always)]
            unsafe fn weights(at: *const u8, n: usize) -> __m256i {
                // SAFETY: the caller's promise.
                unsafe { _mm256_load_si256(at.add(n * 32).cast()) }
            }

            #[inline(always)]
            unsafe fn later(weights: __m256i) -> __m256i {
                // SAFETY: the caller's promise.
                unsafe { _mm256_slli_epi32::<8>(weights) }
            }

            #[inline(always)]
            unsafe fn add_quads(sums: __m256i, quads: __m256i, weights: __m256i) -> __m256i {
                // SAFETY: the caller's promise.
                unsafe { $add(sums, quads, weights) }
            }
        }
    };
}

products!(Vex, _mm256_dpbusd_avx_epi32);

/// The same kernels with the instruction as AVX-512 encodes it: more machines have that one.
#[cfg(test)]
pub(super) mod evex {
    use super::*;

    products!(Evex, _mm256_dpbusd_epi32);

    pub fn is_available() -> bool {
        std::arch::is_x86_feature_detected!("avx512vnni") && std::arch::is_x86_feature_detected!("avx512vl")
    }

    /// # Safety
    /// The CPU has AVX2, AVX-512 VL and VNNI; what [`Dense::run`] checks holds.
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    pub unsafe fn dense(layer: &Dense, rows: Rows<'_>, addend: Option<Addend<'_>>, target: Target<'_>) {
        // SAFETY: the caller's promise.
        unsafe { bands::<Evex>(layer, rows, &ymm::Bytes::new(&layer.requantise, addend, target)) }
    }

    /// # Safety
    /// As [`dense`], and `out` has room for all sums.
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    pub unsafe fn sums(layer: &Dense, rows: Rows<'_>, out: &mut [i32]) {
        // SAFETY: the caller's promise.
        unsafe { bands::<Evex>(layer, rows, &ymm::Sums { target: out.as_mut_ptr(), outputs: layer.outputs }) }
    }

    /// # Safety
    /// The CPU has AVX2, AVX-512 VL and VNNI; what [`Depthwise::run`] checks holds.
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    pub unsafe fn depthwise(layer: &Depthwise, image: &[u8], addend: Option<Addend<'_>>, target: Target<'_>) {
        // SAFETY: the caller's promise.
        unsafe {
            let out = ymm::Bytes::new(layer.ordered(), addend, target);
            ymm::depthwise::<Evex>(layer, weights_of(&layer.packed).0, image, &out);
        }
    }

    /// # Safety
    /// As [`depthwise`], and `out` has room for all sums.
    #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
    pub unsafe fn depthwise_sums(layer: &Depthwise, image: &[u8], out: &mut [i32]) {
        let out = ymm::Sums { target: out.as_mut_ptr(), outputs: layer.channels };
        // SAFETY: the caller's promise.
        unsafe { ymm::depthwise::<Evex>(layer, weights_of(&layer.packed).0, image, &out) }
    }
}
