//! Depthwise layers: the bytes of four taps side by side, 32 channels at a time.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::Depthwise;
use super::super::walk::Walk;
use super::{Bytes, LANES, Products, Sums, added, load, load_some, store_some};

/// Registers of a block: 32 channels.
const REGISTERS: usize = 4;

/// Where a block's sums go.
pub(in super::super) trait BlockSink {
    /// `at`: an output and how many from it on, which is one unless a block has several (`MANY`). `channels`: the first
    /// of the block and how many the layer has from it on.
    ///
    /// # Safety
    /// The CPU has AVX2; outputs and channels are the layer's.
    unsafe fn put<const MANY: bool>(&self, at: [usize; 2], channels: [usize; 2], sums: [__m256i; REGISTERS]);
}

/// `weights`: for each 32 channels those of a window.
///
/// # Safety
/// The CPU has what `P` needs; what [`Depthwise::run`] checks holds, and `out` has room for all that comes out.
#[inline(always)]
pub(in super::super) unsafe fn depthwise<P: Products>(
    layer: &Depthwise,
    weights: &[u8],
    image: &[u8],
    out: &impl BlockSink,
) {
    let (window, channels) = (layer.window, layer.channels);
    let (a_block, walk) = (weights.len() / channels.div_ceil(32), Walk::new(window, channels, 32));
    let [rows, columns] = window.out;
    for row in (0..rows).step_by(if walk.is_tall { 2 } else { 1 }) {
        let upper = row * columns..(row + 1) * columns;
        let lower = (walk.is_tall && row + 1 < rows).then_some(upper.end);
        for first in (0..channels).step_by(32) {
            let bias = layer.ordered().bias[first..][..32].as_ptr();
            let filter = Filter { layer, bias, weights: weights[first / 32 * a_block..].as_ptr(), first, walk };
            let pixel = image.as_ptr().wrapping_add(row * window.stride[0] * window.width * channels + first);
            // SAFETY: the window at each output lies in the image, whose slack takes what is read beyond its last
            // channel.
            unsafe {
                if walk.pixels > 1 {
                    filter.rows::<P, true>(pixel, upper.clone(), lower, out);
                } else {
                    filter.rows::<P, false>(pixel, upper.clone(), lower, out);
                }
            }
        }
    }
}

/// The weights of 32 channels, or of as many pixels as have so many.
struct Filter<'a> {
    layer: &'a Depthwise,
    bias: *const i32,
    weights: *const u8,
    first: usize,
    walk: Walk,
}

impl Filter<'_> {
    /// # Safety
    /// The CPU has AVX.
    #[inline(always)]
    unsafe fn bias(&self) -> [__m256i; REGISTERS] {
        let bias = self.bias.cast::<u8>();
        // SAFETY: 32 of them are there.
        unsafe { [load(bias), load(bias.add(32)), load(bias.add(64)), load(bias.add(96))] }
    }

    /// A row of outputs, and the one below it, from `lower` on, where the walk is tall; `MANY`: whether a block has
    /// several pixels.
    ///
    /// # Safety
    /// The CPU has the instructions; windows from `pixel` on lie in the image, and the outputs are the layer's.
    #[inline(always)]
    unsafe fn rows<P: Products, const MANY: bool>(
        &self,
        mut pixel: *const u8,
        upper: Range<usize>,
        lower: Option<usize>,
        out: &impl BlockSink,
    ) {
        let pixels = if MANY { self.walk.pixels } else { 1 };
        let a_step = pixels * self.layer.window.stride[1] * self.layer.channels;
        let channels = [self.first, self.layer.channels - self.first];
        for at in upper.clone().step_by(pixels) {
            let count = pixels.min(upper.end - at);
            // SAFETY: the caller's promise.
            unsafe {
                match lower {
                    None => out.put::<MANY>([at, count], channels, self.single::<P>(pixel)),
                    Some(lower) => {
                        let sums = self.pair::<P>(pixel);
                        out.put::<MANY>([at, count], channels, sums[0]);
                        out.put::<MANY>([lower + at - upper.start, count], channels, sums[1]);
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
    #[inline(always)]
    unsafe fn single<P: Products>(&self, pixel: *const u8) -> [__m256i; REGISTERS] {
        let walk = self.walk;
        // SAFETY: the caller's promise.
        unsafe {
            let (mut sums, mut line, mut weights) = (self.bias(), pixel, self.weights);
            for _ in 0..walk.lines {
                let mut quad = line;
                for _ in 1..walk.quads() {
                    weights = add_quads::<P>(&mut sums, quad, walk.taps, weights);
                    quad = quad.add(walk.a_quad);
                }
                weights = add_quads::<P>(&mut sums, quad, walk.last, weights);
                line = line.wrapping_add(walk.a_line);
            }
            sums
        }
    }

    /// The sums of an output and of the one below it.
    ///
    /// # Safety
    /// As [`Filter::single`] for both; the walk is tall.
    #[inline(always)]
    unsafe fn pair<P: Products>(&self, pixel: *const u8) -> [[__m256i; REGISTERS]; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut sums, mut line, mut weights) = ([self.bias(); 2], pixel, self.weights);
            for _ in 0..self.walk.lines {
                for (n, taps) in quads(line, self.walk.taps).into_iter().enumerate() {
                    let (taps, four) = (P::quads(taps), P::weights(weights, n));
                    sums[0][n] = P::add_quads(sums[0][n], taps, four);
                    sums[1][n] = P::add_quads(sums[1][n], taps, P::later(four));
                }
                line = line.wrapping_add(self.walk.a_line);
                weights = weights.add(REGISTERS * size_of::<P::Quads>());
            }
            sums
        }
    }
}

impl BlockSink for Bytes<'_> {
    #[inline(always)]
    unsafe fn put<const MANY: bool>(
        &self,
        [at, count]: [usize; 2],
        [first, channels]: [usize; 2],
        sums: [__m256i; REGISTERS],
    ) {
        // SAFETY: scales are filled up to 64; the caller's promise.
        unsafe {
            let mut reals = self.ends.reals([0, 1, 2, 3].map(|n| first + n * LANES), sums);
            if let Some((addend, zero, scale, bounds)) = self.addend {
                let from = |k: usize| {
                    let place = *addend.places.at.get_unchecked(at + k.min(count - 1)) as usize;
                    addend.bytes.as_ptr().add(place + first)
                };
                let some = |from: *const u8, channels: usize| match channels {
                    16.. => _mm_loadu_si128(from.cast()),
                    _ => load_some(from, channels),
                };
                let second = match channels {
                    16 if MANY => _mm_loadu_si128(from(1).cast()),
                    17.. => some(from(0).add(16), channels - 16),
                    _ => _mm_setzero_si128(),
                };
                let bytes = [some(from(0), channels), second];
                // Register n has the channels 4·n to 4·n + 3 of both sixteens.
                let shuffled = [_mm_unpacklo_epi32(bytes[0], bytes[1]), _mm_unpackhi_epi32(bytes[0], bytes[1])];
                let eights = [
                    shuffled[0],
                    _mm_unpackhi_epi64(shuffled[0], shuffled[0]),
                    shuffled[1],
                    _mm_unpackhi_epi64(shuffled[1], shuffled[1]),
                ];
                for (real, eight) in reals.iter_mut().zip(eights) {
                    *real = added(*real, eight, zero, scale, bounds);
                }
            }
            let bytes = self.ends.bytes(reals);
            let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            let to = |k: usize| self.target.add(*self.places.get_unchecked(at + k) as usize + first);
            match channels {
                32.. => _mm256_storeu_si256(to(0).cast(), bytes),
                // Two pixels, or one.
                16 => {
                    _mm_storeu_si128(to(0).cast(), low);
                    if MANY && count > 1 {
                        _mm_storeu_si128(to(1).cast(), high);
                    }
                }
                17.. => {
                    _mm_storeu_si128(to(0).cast(), low);
                    store_some(to(0).add(16), channels - 16, high);
                }
                _ => store_some(to(0), channels, low),
            }
        }
    }
}

impl BlockSink for Sums {
    #[inline(always)]
    unsafe fn put<const MANY: bool>(
        &self,
        [at, count]: [usize; 2],
        [first, channels]: [usize; 2],
        sums: [__m256i; REGISTERS],
    ) {
        let mut numbers = [0; 4 * LANES];
        let start = numbers.as_mut_ptr();
        // Register n has the channels 4·n to 4·n + 3 of both sixteens.
        for (n, sums) in sums.into_iter().enumerate() {
            // SAFETY: the stores lie in the array.
            unsafe {
                _mm_storeu_si128(start.add(4 * n).cast(), _mm256_castsi256_si128(sums));
                _mm_storeu_si128(start.add(16 + 4 * n).cast(), _mm256_extracti128_si256::<1>(sums));
            }
        }
        let known = if MANY { count * self.outputs } else { channels.min(4 * LANES) };
        // SAFETY: the caller's promise; so many sums of this block are the layer's.
        unsafe {
            let to = self.target.add(at * self.outputs + first);
            to.copy_from_nonoverlapping(numbers.as_ptr(), known);
        }
    }
}

/// Adds what four taps and the next weights have, and says where those after them are.
///
/// # Safety
/// As [`Filter::single`].
#[inline(always)]
unsafe fn add_quads<P: Products>(
    sums: &mut [__m256i; REGISTERS],
    pixel: *const u8,
    taps: [usize; 4],
    weights: *const u8,
) -> *const u8 {
    // SAFETY: the caller's promise.
    unsafe {
        for (n, (sums, taps)) in sums.iter_mut().zip(quads(pixel, taps)).enumerate() {
            *sums = P::add_quads(*sums, P::quads(taps), P::weights(weights, n));
        }
        weights.add(REGISTERS * size_of::<P::Quads>())
    }
}

/// Four bytes for each channel, in the order of [`Requantise::interleaved`](crate::kernels::q8::Requantise).
///
/// # Safety
/// The CPU has AVX2; 32 bytes are at each tap.
#[inline(always)]
unsafe fn quads(pixel: *const u8, taps: [usize; 4]) -> [__m256i; REGISTERS] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, b, c, d] = taps;
        let (a, b, c, d) = (load(pixel.add(a)), load(pixel.add(b)), load(pixel.add(c)), load(pixel.add(d)));
        let (ab_low, ab_high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
        let (cd_low, cd_high) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
        [
            _mm256_unpacklo_epi16(ab_low, cd_low),
            _mm256_unpackhi_epi16(ab_low, cd_low),
            _mm256_unpacklo_epi16(ab_high, cd_high),
            _mm256_unpackhi_epi16(ab_high, cd_high),
        ]
    }
}
