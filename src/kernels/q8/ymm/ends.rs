//! From sums to bytes.

use std::arch::x86_64::*;

use super::super::requantise::Requantise;

/// What [`Requantise`] says, in registers: kernels write bytes, which might be those of anything that they read
/// elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    positive: *const f32,
    negative: *const f32,
    has_slope: bool,
    zero: __m256i,
    low: __m256i,
    high: __m256i,
}

impl Ends {
    /// # Safety
    /// The CPU has AVX2, as for all that follows.
    #[inline(always)]
    pub unsafe fn new(requantise: &Requantise) -> Self {
        let range = requantise.range;
        // SAFETY: the caller's promise.
        let [low, high] = [range.low, range.high].map(|byte| unsafe { _mm256_set1_epi8(byte as i8) });
        // SAFETY: as above.
        let zero = unsafe { _mm256_set1_epi16(range.zero.into()) };
        let [positive, negative] = [&requantise.positive, &requantise.negative].map(|scales| scales.as_ptr());
        Self { positive, negative, has_slope: requantise.has_slope, zero, low, high }
    }

    /// What the sums of eight channels each from these on stand for.
    ///
    /// # Safety
    /// Scales of these channels are there.
    #[inline(always)]
    pub unsafe fn reals<const N: usize>(&self, channels: [usize; N], sums: [__m256i; N]) -> [__m256; N] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut reals = [_mm256_setzero_ps(); N];
            if self.has_slope {
                for k in 0..N {
                    let scale = _mm256_loadu_ps(self.positive.add(channels[k]));
                    let below = _mm256_loadu_ps(self.negative.add(channels[k]));
                    // The sign of a sum is the bit that chooses.
                    let scale = _mm256_blendv_ps(scale, below, _mm256_castsi256_ps(sums[k]));
                    reals[k] = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[k]), scale);
                }
            } else {
                for k in 0..N {
                    let scale = _mm256_loadu_ps(self.positive.add(channels[k]));
                    reals[k] = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[k]), scale);
                }
            }
            reals
        }
    }

    /// Bytes of four registers, lane by lane. Saturating on the way changes nothing: zero is at most 255,
    /// and what is beyond 16 bits is beyond a byte after it was added, too.
    ///
    /// # Safety
    /// As [`Ends::new`].
    #[inline(always)]
    pub unsafe fn bytes(&self, reals: [__m256; 4]) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_packs_epi32(_mm256_cvtps_epi32(reals[0]), _mm256_cvtps_epi32(reals[1]));
            let high = _mm256_packs_epi32(_mm256_cvtps_epi32(reals[2]), _mm256_cvtps_epi32(reals[3]));
            let (low, high) = (_mm256_adds_epi16(low, self.zero), _mm256_adds_epi16(high, self.zero));
            let bytes = _mm256_packus_epi16(low, high);
            _mm256_min_epu8(_mm256_max_epu8(bytes, self.low), self.high)
        }
    }
}

/// Less than sixteen bytes, and zeros.
///
/// # Safety
/// The CPU has SSE2; `count` bytes are there.
#[inline(always)]
pub(super) unsafe fn load_some(from: *const u8, count: usize) -> __m128i {
    let mut bytes = [0u8; 16];
    // SAFETY: the caller's promise, and the array has room for what is less than sixteen.
    unsafe {
        bytes.as_mut_ptr().copy_from_nonoverlapping(from, count.min(16));
        _mm_loadu_si128(bytes.as_ptr().cast())
    }
}

/// The first `count` bytes, less than sixteen.
///
/// # Safety
/// The CPU has SSE2; `to` has room for them.
#[inline(always)]
pub(super) unsafe fn store_some(mut to: *mut u8, count: usize, mut bytes: __m128i) {
    // SAFETY: the stores are of eight, four, two and one byte, as the bits of `count` say.
    unsafe {
        if count & 8 != 0 {
            _mm_storel_epi64(to.cast(), bytes);
            (to, bytes) = (to.add(8), _mm_bsrli_si128::<8>(bytes));
        }
        let mut rest = _mm_cvtsi128_si64(bytes) as u64;
        if count & 4 != 0 {
            to.cast::<u32>().write_unaligned(rest as u32);
            (to, rest) = (to.add(4), rest >> 32);
        }
        if count & 2 != 0 {
            to.cast::<u16>().write_unaligned(rest as u16);
            (to, rest) = (to.add(2), rest >> 16);
        }
        if count & 1 != 0 {
            to.write(rest as u8);
        }
    }
}
