//! Depthwise layers: the bytes of four taps side by side, 64 channels at a time.
//!
//! Where windows are three high and their stride and dilation downwards are one, four rows of a column serve an output
//! and the one below it.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::walk::Walk;
use super::super::{Addend, Depthwise, Target};
use super::{Bytes, Quad, REGISTERS, Sums, TRANSPOSED, WIDE, added, mask64, quads_of, store};

/// # Safety
/// The CPU has AVX-512 F, BW, VL and VNNI; what [`Depthwise::run`] checks holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn depthwise(
    layer: &Depthwise,
    image: &[u8],
    addend: Option<Addend<'_>>,
    target: Target<'_>,
) {
    let out = Bytes::new(layer.ordered(), addend, target);
    // SAFETY: the caller's promise; each place has room for its channels.
    unsafe { blocks(layer, image, &out) }
}

/// # Safety
/// As [`depthwise`], and `out` has room for all sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) unsafe fn depthwise_sums(layer: &Depthwise, image: &[u8], out: &mut [i32]) {
    let out = Sums { target: out.as_mut_ptr(), outputs: layer.channels };
    // SAFETY: as above; `out` was seen to have a sum for each output and channel.
    unsafe { blocks(layer, image, &out) }
}

/// Where a block's sums go.
trait Sink {
    /// Of the output `at`, or of `count` from it on if a block has several; `MANY`: whether it has.
    ///
    /// # Safety
    /// The CPU has the instructions; the outputs are the layer's.
    unsafe fn put<const MANY: bool>(&self, filter: &Filter<'_>, at: usize, count: usize, sums: [__m512i; REGISTERS]);
}

/// # Safety
/// As [`depthwise`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn blocks(layer: &Depthwise, image: &[u8], out: &impl Sink) {
    let (blocks, quads) = quads_of(&layer.packed);
    let (window, channels) = (layer.window, layer.channels);
    let walk = Walk::new(window, channels, 64);
    let [rows, columns] = window.out;
    for row in (0..rows).step_by(if walk.is_tall { 2 } else { 1 }) {
        let upper = row * columns..(row + 1) * columns;
        let lower = (walk.is_tall && row + 1 < rows).then_some(upper.end);
        for first in (0..channels).step_by(64) {
            let filter = Filter {
                layer,
                bias: layer.ordered().bias[first..][..64].as_ptr(),
                weights: blocks[first / 64 * quads * REGISTERS..].as_ptr(),
                first,
                walk,
                mask: mask64(channels - first),
            };
            let pixel = image.as_ptr().wrapping_add(row * window.stride[0] * window.width * channels + first);
            // SAFETY: the window at each output lies in the image, whose slack takes what is read beyond its last
            // channel.
            unsafe {
                if walk.pixels > 1 {
                    filter.rows::<true>(pixel, upper.clone(), lower, out);
                } else {
                    filter.rows::<false>(pixel, upper.clone(), lower, out);
                }
            }
        }
    }
}

/// The weights of 64 channels, or of as many pixels as have so many.
struct Filter<'a> {
    layer: &'a Depthwise,
    bias: *const i32,
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
        // SAFETY: sixteen numbers from each multiple of sixteen on are there.
        std::array::from_fn(|n| unsafe { _mm512_loadu_si512(self.bias.add(n * WIDE).cast()) })
    }

    /// A row of outputs, and the one below it, from `lower` on, where the walk is tall; `MANY`: whether a block has
    /// several pixels.
    ///
    /// # Safety
    /// The CPU has the instructions; windows from `pixel` on lie in the image, and the outputs are the layer's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<const MANY: bool>(
        &self,
        mut pixel: *const u8,
        upper: Range<usize>,
        lower: Option<usize>,
        out: &impl Sink,
    ) {
        let pixels = if MANY { self.walk.pixels } else { 1 };
        let a_step = pixels * self.layer.window.stride[1] * self.layer.channels;
        for at in upper.clone().step_by(pixels) {
            let count = pixels.min(upper.end - at);
            // SAFETY: the caller's promise.
            unsafe {
                match lower {
                    None => out.put::<MANY>(self, at, count, self.single(pixel)),
                    Some(lower) => {
                        let sums = self.pair(pixel);
                        out.put::<MANY>(self, at, count, sums[0]);
                        out.put::<MANY>(self, lower + at - upper.start, count, sums[1]);
                    }
                }
            }
            pixel = pixel.wrapping_add(a_step);
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
}

impl Sink for Bytes<'_> {
    #[inline(always)]
    unsafe fn put<const MANY: bool>(&self, filter: &Filter<'_>, at: usize, count: usize, sums: [__m512i; REGISTERS]) {
        // SAFETY: scales are filled up to 64; the mask keeps loads and stores within their room.
        unsafe {
            let mut reals = self.ends.reals([0, 1, 2, 3].map(|n| filter.first + n * WIDE), sums);
            let pixels = if MANY { filter.walk.pixels } else { 1 };
            if let Some((addend, zero, scale, bounds)) = self.addend {
                let from = |k: usize| {
                    let place = *addend.places.at.get_unchecked(at + k.min(count - 1)) as usize;
                    addend.bytes.as_ptr().add(place + filter.first)
                };
                let bytes = match pixels {
                    1 => _mm512_maskz_loadu_epi8(filter.mask, from(0).cast()),
                    2 => {
                        let [a, b] = [from(0), from(1)].map(|from| _mm256_loadu_si256(from.cast()));
                        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b)
                    }
                    _ => {
                        let [a, b, c, d] = [0, 1, 2, 3].map(|k| _mm_loadu_si128(from(k).cast()));
                        let ab = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
                        _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(ab, c), d)
                    }
                };
                // Each lane of 128 bits then has what the sums of one register want.
                let bytes = _mm512_permutexvar_epi32(_mm512_loadu_si512(TRANSPOSED.as_ptr().cast()), bytes);
                let lanes = [
                    _mm512_castsi512_si128(bytes),
                    _mm512_extracti32x4_epi32::<1>(bytes),
                    _mm512_extracti32x4_epi32::<2>(bytes),
                    _mm512_extracti32x4_epi32::<3>(bytes),
                ];
                for (real, bytes) in reals.iter_mut().zip(lanes) {
                    *real = added(*real, bytes, zero, scale, bounds);
                }
            }
            let bytes = self.ends.bytes(reals);
            let to = |k: usize| self.target.add(*self.places.get_unchecked(at + k) as usize + filter.first);
            match pixels {
                1 => store(to(0), filter.mask, bytes),
                2 => {
                    _mm256_storeu_si256(to(0).cast(), _mm512_castsi512_si256(bytes));
                    if count > 1 {
                        _mm256_storeu_si256(to(1).cast(), _mm512_extracti64x4_epi64::<1>(bytes));
                    }
                }
                _ => {
                    _mm_storeu_si128(to(0).cast(), _mm512_castsi512_si128(bytes));
                    if count > 1 {
                        _mm_storeu_si128(to(1).cast(), _mm512_extracti32x4_epi32::<1>(bytes));
                    }
                    if count > 2 {
                        _mm_storeu_si128(to(2).cast(), _mm512_extracti32x4_epi32::<2>(bytes));
                    }
                    if count > 3 {
                        _mm_storeu_si128(to(3).cast(), _mm512_extracti32x4_epi32::<3>(bytes));
                    }
                }
            }
        }
    }
}

impl Sink for Sums {
    #[inline(always)]
    unsafe fn put<const MANY: bool>(&self, filter: &Filter<'_>, at: usize, count: usize, sums: [__m512i; REGISTERS]) {
        let mut numbers = [0; 4 * WIDE];
        // Lane l of register n has the channels 16·l + 4·n to 16·l + 4·n + 3.
        for (n, sums) in sums.into_iter().enumerate() {
            let start = numbers.as_mut_ptr();
            let to = |lane: usize| start.wrapping_add(16 * lane + 4 * n).cast();
            // SAFETY: the four stores lie in the array.
            unsafe {
                _mm_storeu_si128(to(0), _mm512_castsi512_si128(sums));
                _mm_storeu_si128(to(1), _mm512_extracti32x4_epi32::<1>(sums));
                _mm_storeu_si128(to(2), _mm512_extracti32x4_epi32::<2>(sums));
                _mm_storeu_si128(to(3), _mm512_extracti32x4_epi32::<3>(sums));
            }
        }
        let known = if MANY { count * self.outputs } else { (self.outputs - filter.first).min(4 * WIDE) };
        // SAFETY: the caller's promise; so many sums of this block are the layer's.
        unsafe {
            let to = self.target.add(at * self.outputs + filter.first);
            to.copy_from_nonoverlapping(numbers.as_ptr(), known);
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

/// Four bytes for each channel, in the order of [`Requantise::interleaved`](crate::kernels::q8::Requantise).
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
