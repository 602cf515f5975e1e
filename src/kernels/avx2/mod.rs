//! The kernels in AVX2. What doesn't fill a vector is left to the scalar form, on the rest of the same slices.
//!
//! Every function is safe but for needing AVX2. Bytes move through the helpers below, whose bounds the compiler checks.

use std::arch::x86_64::*;

pub(super) mod colour;
pub(super) mod dot;
pub(super) mod panels;
pub(super) mod scale;
pub(super) mod tensor;
pub(super) mod warp;

/// Sixteen bytes from `AT` on.
#[inline]
#[target_feature(enable = "avx2")]
fn load16<const AT: usize, const N: usize>(from: &[u8; N]) -> __m128i {
    const { assert!(AT + 16 <= N) };
    // SAFETY: the assertion keeps the load inside the array; it needs no alignment.
    unsafe { _mm_loadu_si128(from.as_ptr().add(AT).cast()) }
}

/// Sixteen bytes from `LOW` on, and sixteen from `HIGH` on.
#[inline]
#[target_feature(enable = "avx2")]
fn load16_twice<const LOW: usize, const HIGH: usize, const N: usize>(from: &[u8; N]) -> __m256i {
    _mm256_set_m128i(load16::<HIGH, N>(from), load16::<LOW, N>(from))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load32(from: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_i8(from: &[i8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(from: &[f32; 8]) -> __m256 {
    // SAFETY: eight numbers are there; the load needs no alignment.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

/// All sixteen bytes, from `AT` on.
#[inline]
#[target_feature(enable = "avx2")]
fn store16<const AT: usize, const N: usize>(to: &mut [u8; N], bytes: __m128i) {
    const { assert!(AT + 16 <= N) };
    // SAFETY: the assertion keeps the store inside the array; it needs no alignment.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().add(AT).cast(), bytes) }
}

/// The low eight bytes, from `AT` on.
#[inline]
#[target_feature(enable = "avx2")]
fn store8<const AT: usize, const N: usize>(to: &mut [u8; N], bytes: __m128i) {
    const { assert!(AT + 8 <= N) };
    // SAFETY: the assertion keeps the store inside the array; it needs no alignment.
    unsafe { _mm_storel_epi64(to.as_mut_ptr().add(AT).cast(), bytes) }
}

/// The low twelve bytes of each half.
#[inline]
#[target_feature(enable = "avx2")]
fn store12_twice(to: &mut [u8; 24], bytes: __m256i) {
    let together = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
    store16::<0, 24>(to, _mm256_castsi256_si128(together));
    store8::<16, 24>(to, _mm256_extracti128_si256(together, 1));
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_i32(to: &mut [i32; 8], numbers: __m256i) {
    // SAFETY: there is room for eight numbers; the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), numbers) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_f32(to: &mut [f32; 8], numbers: __m256) {
    // SAFETY: there is room for eight numbers; the store needs no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), numbers) }
}

/// The same sixteen bytes in both halves; a shuffle by them takes bytes from its own half, and zero for -1.
#[inline]
#[target_feature(enable = "avx2")]
fn both_halves(bytes: [i8; 16]) -> __m256i {
    load32(&std::array::from_fn(|at| bytes[at % 16] as u8))
}
