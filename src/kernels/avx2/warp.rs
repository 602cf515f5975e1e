//! Eight pixels at a time. Neighbours are fetched by ordinary loads, which are faster than gathers; pixels k and k + 4
//! then share a vector, so that every shuffle stays within its half.

use std::arch::x86_64::*;

use super::{both_halves, store_i32, store12_twice};
use crate::frame::RgbImage;
use crate::kernels::warp::{HALF, Line, ONE, SUM_SHIFT, WEIGHT_BITS, WEIGHT_SHIFT, scalar};

#[target_feature(enable = "avx2")]
pub fn inner(src: &RgbImage, line: Line, out: &mut [u8]) {
    let pixels = out.len() / 3;
    line.assert_inner(src, pixels);
    let stride = 3 * src.width();
    let (blocks, rest) = out.as_chunks_mut::<24>();
    // Inside of the source coordinates fit an i32, and so do steps, of which the progression makes seven or more.
    let (mut x, step_x) = progression(line.x as i32, line.dx as i32);
    let (mut y, step_y) = progression(line.y as i32, line.dy as i32);
    for block in blocks {
        let row = _mm256_mullo_epi32(_mm256_srai_epi32(y, 16), _mm256_set1_epi32(stride as i32));
        let column = _mm256_srai_epi32(x, 16);
        let mut at = [0; 8];
        store_i32(&mut at, _mm256_add_epi32(row, _mm256_add_epi32(column, _mm256_add_epi32(column, column))));
        // SAFETY: `assert_inner` has seen all pixels of the line, and these are among them.
        let around = |k: usize| unsafe { neighbours(src.data(), at[k] as usize, stride) };
        let weights = Weights::new(x, y);
        let blended = [
            weights.blend::<0x00>(around(0), around(4)),
            weights.blend::<0x55>(around(1), around(5)),
            weights.blend::<0xaa>(around(2), around(6)),
            weights.blend::<0xff>(around(3), around(7)),
        ];
        let words = [0, 2].map(|k| _mm256_packs_epi32(blended[k], blended[k + 1]));
        let bytes = _mm256_packus_epi16(words[0], words[1]);
        let without_fourth = both_halves([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1]);
        store12_twice(block, _mm256_shuffle_epi8(bytes, without_fourth));
        (x, y) = (_mm256_add_epi32(x, step_x), _mm256_add_epi32(y, step_y));
    }
    scalar::inner(src, line.skip(pixels - rest.len() / 3), rest);
}

/// The first eight of a progression, and the step to the next eight.
#[inline]
#[target_feature(enable = "avx2")]
fn progression(start: i32, step: i32) -> (__m256i, __m256i) {
    let steps = _mm256_mullo_epi32(_mm256_set1_epi32(step), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    (_mm256_add_epi32(_mm256_set1_epi32(start), steps), _mm256_slli_epi32(_mm256_set1_epi32(step), 3))
}

/// Eight bytes from `at` on, two pixels and a bit, and the eight below.
///
/// # Safety
/// `at + stride + 8` is at most the length of `src`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn neighbours(src: &[u8], at: usize, stride: usize) -> __m128i {
    debug_assert!(at + stride + 8 <= src.len());
    // SAFETY: the caller's promise; the loads need no alignment.
    unsafe {
        let above = src.as_ptr().add(at);
        let (above, below) = (_mm_loadl_epi64(above.cast()), _mm_loadl_epi64(above.add(stride).cast()));
        _mm_unpacklo_epi64(above, below)
    }
}

/// The weights of eight pixels.
struct Weights {
    /// Above and below, as bytes, twice a pixel.
    vertical: __m256i,
    /// Left and right, as words.
    horizontal: __m256i,
}

impl Weights {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(x: __m256i, y: __m256i) -> Self {
        let weight = |at| _mm256_and_si256(_mm256_srli_epi32(at, WEIGHT_SHIFT as i32), _mm256_set1_epi32(ONE - 1));
        let other = |weight| _mm256_sub_epi32(_mm256_set1_epi32(ONE), weight);
        let (x, y) = (weight(x), weight(y));
        let vertical = _mm256_or_si256(other(y), _mm256_slli_epi32(y, 8));
        Self {
            vertical: _mm256_or_si256(vertical, _mm256_slli_epi32(vertical, 16)),
            horizontal: _mm256_or_si256(other(x), _mm256_slli_epi32(x, 16)),
        }
    }

    /// Red, green, blue and zero of two pixels, as 32-bit numbers: those whose weights `_mm256_shuffle_epi32` finds by
    /// `PAIR`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn blend<const PAIR: i32>(&self, low: __m128i, high: __m128i) -> __m256i {
        // By channel: above left, below left, above right, below right.
        let by_channel = both_halves([0, 8, 3, 11, 1, 9, 4, 12, 2, 10, 5, 13, -1, -1, -1, -1]);
        let taps = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), by_channel);
        // vpmaddubsw multiplies unsigned by signed bytes, and a weight of 128 only fits the former: samples are made
        // signed by taking 128 from each, which both weightings carry on as a constant.
        let taps = _mm256_xor_si256(taps, _mm256_set1_epi8(i8::MIN));
        const BIAS: i32 = 128 << (2 * WEIGHT_BITS);
        let columns = _mm256_maddubs_epi16(_mm256_shuffle_epi32(self.vertical, PAIR), taps);
        let sums = _mm256_madd_epi16(columns, _mm256_shuffle_epi32(self.horizontal, PAIR));
        _mm256_srai_epi32(_mm256_add_epi32(sums, _mm256_set1_epi32(HALF + BIAS)), SUM_SHIFT as i32)
    }
}
