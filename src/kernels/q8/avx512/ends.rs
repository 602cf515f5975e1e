//! From sums to bytes.

use std::arch::x86_64::*;

use super::super::requantise::Requantise;
use super::REGISTERS;

/// What [`Requantise`] says, in registers: kernels write bytes, which might be those of anything that they read
/// elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    positive: *const f32,
    negative: *const f32,
    has_slope: bool,
    zero: __m512i,
    low: __m512i,
    high: __m512i,
}

impl Ends {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn new(requantise: &Requantise) -> Self {
        let range = requantise.range;
        Self {
            positive: requantise.positive.as_ptr(),
            negative: requantise.negative.as_ptr(),
            has_slope: requantise.has_slope,
            zero: _mm512_set1_epi16(range.zero.into()),
            low: _mm512_set1_epi8(range.low as i8),
            high: _mm512_set1_epi8(range.high as i8),
        }
    }

    /// What the sums of sixteen channels each from these on stand for.
    ///
    /// # Safety
    /// The CPU has AVX-512 F; scales of these channels are there.
    #[inline(always)]
    pub unsafe fn reals(&self, channels: [usize; REGISTERS], sums: [__m512i; REGISTERS]) -> [__m512; REGISTERS] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut reals = [_mm512_setzero_ps(); REGISTERS];
            if self.has_slope {
                for k in 0..REGISTERS {
                    let scale = _mm512_loadu_ps(self.positive.add(channels[k]));
                    let below = _mm512_cmplt_epi32_mask(sums[k], _mm512_setzero_si512());
                    let scale = _mm512_mask_loadu_ps(scale, below, self.negative.add(channels[k]));
                    reals[k] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[k]), scale);
                }
            } else {
                for k in 0..REGISTERS {
                    let scale = _mm512_loadu_ps(self.positive.add(channels[k]));
                    reals[k] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[k]), scale);
                }
            }
            reals
        }
    }

    /// Bytes of four registers, lane by lane. Saturating on the way changes nothing: zero is at most 255, and what is
    /// beyond 16 bits is beyond a byte after it was added, too.
    ///
    /// # Safety
    /// The CPU has AVX-512 F and BW.
    #[inline(always)]
    pub unsafe fn bytes(&self, reals: [__m512; REGISTERS]) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm512_packs_epi32(_mm512_cvtps_epi32(reals[0]), _mm512_cvtps_epi32(reals[1]));
            let high = _mm512_packs_epi32(_mm512_cvtps_epi32(reals[2]), _mm512_cvtps_epi32(reals[3]));
            let (low, high) = (_mm512_adds_epi16(low, self.zero), _mm512_adds_epi16(high, self.zero));
            _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), self.low), self.high)
        }
    }
}

/// The first `outputs` bits.
#[inline]
pub(super) fn mask64(outputs: usize) -> u64 {
    u64::MAX >> (64 - outputs.clamp(1, 64))
}

/// Stores with a mask are slow (on Zen 4 by far), and most have all bits.
///
/// # Safety
/// The CPU has AVX-512 F and BW; the bytes of the mask are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn store(to: *mut u8, mask: u64, bytes: __m512i) {
    // SAFETY: the caller's promise.
    unsafe {
        if mask == u64::MAX {
            _mm512_storeu_si512(to.cast(), bytes);
        } else {
            _mm512_mask_storeu_epi8(to.cast(), mask, bytes);
        }
    }
}

/// As [`store`], of 32.
///
/// # Safety
/// The CPU has AVX-512 BW and VL; the bytes of the mask are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn store_half(to: *mut u8, mask: u32, bytes: __m256i) {
    // SAFETY: the caller's promise.
    unsafe {
        if mask == u32::MAX {
            _mm256_storeu_si256(to.cast(), bytes);
        } else {
            _mm256_mask_storeu_epi8(to.cast(), mask, bytes);
        }
    }
}

/// As [`store`], of sixteen.
///
/// # Safety
/// The CPU has AVX-512 BW and VL; the bytes of the mask are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn store_some(to: *mut u8, mask: u16, bytes: __m128i) {
    // SAFETY: the caller's promise.
    unsafe {
        if mask == u16::MAX {
            _mm_storeu_si128(to.cast(), bytes);
        } else {
            _mm_mask_storeu_epi8(to.cast(), mask, bytes);
        }
    }
}

/// # Safety
/// As [`store_some`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn load_some(from: *const u8, mask: u16) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe { if mask == u16::MAX { _mm_loadu_si128(from.cast()) } else { _mm_maskz_loadu_epi8(mask, from.cast()) } }
}
