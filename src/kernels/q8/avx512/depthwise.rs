//! Depthwise layers: the bytes of four taps side by side, 64 channels at a time.
//!
//! Where the stride is one, the four columns of a window's row serve two neighbouring outputs.

use std::arch::x86_64::*;

use super::super::walk::Walk;
use super::super::{Depthwise, Target};
use super::{Ends, Quad, REGISTERS, WIDE, mask64, quads_of, store};

/// # Safety
/// The CPU has AVX-512 F, BW, VL and VNNI; what [`Depthwise::run`] checks holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn depthwise(layer: &Depthwise, image: &[u8], target: Target<'_>) {
    let (blocks, quads) = quads_of(&layer.packed);
    let (window, channels, out) = (layer.window, layer.channels, target.bytes.as_mut_ptr());
    let (walk, ends) = (Walk::new(window, channels, 64), Ends::new(&layer.finish));
    for (pair, places) in target.places.chunks(if walk.is_tall { 2 } else { 1 } * window.out[1]).enumerate() {
        let row = if walk.is_tall { 2 * pair } else { pair };
        let (upper, lower) = places.split_at(window.out[1]);
        for first in (0..channels).step_by(64) {
            let filter = Filter {
                layer,
                ends,
                weights: blocks[first / 64 * quads * REGISTERS..].as_ptr(),
                first,
                walk,
                mask: mask64(channels - first),
            };
            let pixel = image.as_ptr().wrapping_add(row * window.stride[0] * window.width * channels + first);
            // SAFETY: the window at each output lies in the image, whose slack takes what is read beyond its last channel;
            // each place has room for its channels.
            unsafe {
                let out = out.add(first);
                if walk.pixels > 1 {
                    filter.rows::<true>(pixel, [upper, lower], out);
                } else {
                    filter.rows::<false>(pixel, [upper, lower], out);
                }
            }
        }
    }
}

/// The weights of 64 channels, or of as many pixels as have so many.
struct Filter<'a> {
    layer: &'a Depthwise,
    ends: Ends,
    weights: *const Quad,
    first: usize,
    /// Of channels.
    mask: u64,
    walk: Walk,
}

impl Filter<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn bias(&self) -> [__m512i; REGISTERS] {
        let bias = &self.layer.finish.bias[self.first..][..64];
        // SAFETY: sixteen numbers from each multiple of sixteen on are there.
        std::array::from_fn(|n| unsafe { _mm512_loadu_si512(bias.as_ptr().add(n * WIDE).cast()) })
    }

    /// A row of outputs, and the one below it where the walk is tall; `MANY`: whether a block has several pixels.
    ///
    /// # Safety
    /// The CPU has the instructions; windows from `pixel` on lie in the image, and `out` has room at each place.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<const MANY: bool>(&self, mut pixel: *const u8, [upper, lower]: [&[u32]; 2], out: *mut u8) {
        let pixels = if MANY { self.walk.pixels } else { 1 };
        let a_step = pixels * self.layer.window.stride[1] * self.layer.channels;
        // SAFETY: the caller's promise.
        unsafe {
            if lower.is_empty() {
                for places in upper.chunks(pixels) {
                    self.store::<MANY>(self.single(pixel), out, places);
                    pixel = pixel.wrapping_add(a_step);
                }
            }
            for (upper, lower) in upper.chunks(pixels).zip(lower.chunks(pixels)) {
                let sums = self.pair(pixel);
                self.store::<MANY>(sums[0], out, upper);
                self.store::<MANY>(sums[1], out, lower);
                pixel = pixel.wrapping_add(a_step);
            }
        }
    }

    /// The sums of one output.
    ///
    /// # Safety
    /// The CPU has the instructions; the window from `pixel` on lies in the image.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn single(&self, pixel: *const u8) -> [__m512i; REGISTERS] {
        let walk = self.walk;
        // SAFETY: the caller's promise.
        unsafe {
            let (mut sums, mut line, mut weights) = (self.bias(), pixel, self.weights);
            for _ in 0..walk.lines {
                let mut quad = line;
                for _ in 1..walk.quads() {
                    accumulate(&mut sums, quads(quad, walk.taps), weights);
                    (quad, weights) = (quad.add(walk.a_quad), weights.add(REGISTERS));
                }
                accumulate(&mut sums, quads(quad, walk.last), weights);
                (line, weights) = (line.wrapping_add(walk.a_line), weights.add(REGISTERS));
            }
            sums
        }
    }

    /// The sums of an output and of the one below it.
    ///
    /// # Safety
    /// As [`Filter::single`] for both; the walk is tall.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn pair(&self, pixel: *const u8) -> [[__m512i; REGISTERS]; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut sums, mut line, mut weights) = ([self.bias(); 2], pixel, self.weights);
            for _ in 0..self.walk.lines {
                for (n, taps) in quads(line, self.walk.taps).into_iter().enumerate() {
                    let four = _mm512_load_si512(weights.add(n).cast());
                    sums[0][n] = _mm512_dpbusd_epi32(sums[0][n], taps, four);
                    // The fourth weight is zero, and moves to the first place.
                    sums[1][n] = _mm512_dpbusd_epi32(sums[1][n], taps, _mm512_slli_epi32(four, 8));
                }
                (line, weights) = (line.wrapping_add(self.walk.a_line), weights.add(REGISTERS));
            }
            sums
        }
    }

    /// # Safety
    /// The CPU has the instructions; `out` has room at each place for the channels of the mask.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn store<const MANY: bool>(&self, sums: [__m512i; REGISTERS], out: *mut u8, places: &[u32]) {
        // SAFETY: scales are filled up to 64; the mask keeps the store within its room.
        unsafe {
            let reals = self.ends.reals([0, 1, 2, 3].map(|n| self.first + n * WIDE), sums);
            let bytes = self.ends.bytes(reals);
            let to = |k: usize| out.add(*places.get_unchecked(k) as usize);
            match if MANY { self.walk.pixels } else { 1 } {
                1 => store(to(0), self.mask, bytes),
                2 => {
                    _mm256_storeu_si256(to(0).cast(), _mm512_castsi512_si256(bytes));
                    if places.len() > 1 {
                        _mm256_storeu_si256(to(1).cast(), _mm512_extracti64x4_epi64::<1>(bytes));
                    }
                }
                _ => {
                    _mm_storeu_si128(to(0).cast(), _mm512_castsi512_si128(bytes));
                    if places.len() > 1 {
                        _mm_storeu_si128(to(1).cast(), _mm512_extracti32x4_epi32::<1>(bytes));
                    }
                    if places.len() > 2 {
                        _mm_storeu_si128(to(2).cast(), _mm512_extracti32x4_epi32::<2>(bytes));
                    }
                    if places.len() > 3 {
                        _mm_storeu_si128(to(3).cast(), _mm512_extracti32x4_epi32::<3>(bytes));
                    }
                }
            }
        }
    }
}

/// # Safety
/// The CPU has the instructions; four blocks are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn accumulate(sums: &mut [__m512i; REGISTERS], taps: [__m512i; REGISTERS], weights: *const Quad) {
    for (n, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise; blocks are aligned by type.
        *sums = unsafe { _mm512_dpbusd_epi32(*sums, taps[n], _mm512_load_si512(weights.add(n).cast())) };
    }
}

/// Four bytes for each channel, in the order of [`Finish::interleaved`](crate::kernels::q8::Finish).
///
/// # Safety
/// The CPU has the instructions; 64 bytes are at each tap.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn quads(pixel: *const u8, taps: [usize; 4]) -> [__m512i; REGISTERS] {
    // SAFETY: the caller's promise.
    let [a, b, c, d] = taps.map(|tap| unsafe { _mm512_loadu_si512(pixel.add(tap).cast()) });
    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab_low, cd_low),
        _mm512_unpackhi_epi16(ab_low, cd_low),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}
