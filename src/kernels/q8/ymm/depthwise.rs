//! Depthwise layers: the bytes of four taps side by side, 32 channels at a time.

use std::arch::x86_64::*;

use super::super::walk::Walk;
use super::super::{Depthwise, Target};
use super::{Ends, LANES, Products, load, store_some};

/// Registers of a block: 32 channels.
const REGISTERS: usize = 4;

/// `weights`: for each 32 channels those of a window.
///
/// # Safety
/// The CPU has what `P` needs; what [`Depthwise::run`] checks holds.
#[inline(always)]
pub(in super::super) unsafe fn depthwise<P: Products>(
    layer: &Depthwise,
    weights: &[u8],
    image: &[u8],
    target: Target<'_>,
) {
    let (window, channels, out) = (layer.window, layer.channels, target.bytes.as_mut_ptr());
    let (a_block, walk) = (weights.len() / channels.div_ceil(32), Walk::new(window, channels, 32));
    // SAFETY: the caller's promise.
    let ends = unsafe { Ends::new(&layer.finish) };
    for (pair, places) in target.places.chunks(if walk.is_tall { 2 } else { 1 } * window.out[1]).enumerate() {
        let row = if walk.is_tall { 2 * pair } else { pair };
        let (upper, lower) = places.split_at(window.out[1]);
        for first in (0..channels).step_by(32) {
            let filter = Filter { layer, ends, weights: weights[first / 32 * a_block..].as_ptr(), first, walk };
            let pixel = image.as_ptr().wrapping_add(row * window.stride[0] * window.width * channels + first);
            // SAFETY: the window at each output lies in the image, whose slack takes what is read beyond its last channel;
            // each place has room for its channels.
            unsafe {
                let out = out.add(first);
                if walk.pixels > 1 {
                    filter.rows::<P, true>(pixel, [upper, lower], out);
                } else {
                    filter.rows::<P, false>(pixel, [upper, lower], out);
                }
            }
        }
    }
}

/// The weights of 32 channels, or of as many pixels as have so many.
struct Filter<'a> {
    layer: &'a Depthwise,
    ends: Ends,
    weights: *const u8,
    first: usize,
    walk: Walk,
}

impl Filter<'_> {
    /// # Safety
    /// The CPU has AVX.
    #[inline(always)]
    unsafe fn bias(&self) -> [__m256i; REGISTERS] {
        // SAFETY: biases are filled up to 64.
        unsafe {
            let bias = self.layer.finish.bias.as_ptr().add(self.first).cast::<u8>();
            [load(bias), load(bias.add(32)), load(bias.add(64)), load(bias.add(96))]
        }
    }

    /// A row of outputs, and the one below it where the walk is tall; `MANY`: whether a block has several pixels.
    ///
    /// # Safety
    /// The CPU has the instructions; windows from `pixel` on lie in the image, and `out` has room at each place.
    #[inline(always)]
    unsafe fn rows<P: Products, const MANY: bool>(
        &self,
        mut pixel: *const u8,
        [upper, lower]: [&[u32]; 2],
        out: *mut u8,
    ) {
        let pixels = if MANY { self.walk.pixels } else { 1 };
        let a_step = pixels * self.layer.window.stride[1] * self.layer.channels;
        // SAFETY: the caller's promise.
        unsafe {
            if lower.is_empty() {
                for places in upper.chunks(pixels) {
                    self.store::<MANY>(self.single::<P>(pixel), out, places);
                    pixel = pixel.wrapping_add(a_step);
                }
            }
            for (upper, lower) in upper.chunks(pixels).zip(lower.chunks(pixels)) {
                let sums = self.pair::<P>(pixel);
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

    /// # Safety
    /// The CPU has AVX2; `out` has room at each place for the channels from `first` on, if they are less than 32.
    #[inline(always)]
    unsafe fn store<const MANY: bool>(&self, sums: [__m256i; REGISTERS], out: *mut u8, places: &[u32]) {
        // SAFETY: scales are filled up to 64; the caller's promise.
        unsafe {
            let reals = self.ends.reals([0, 1, 2, 3].map(|n| self.first + n * LANES), sums);
            let bytes = self.ends.bytes(reals);
            let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            let to = |k: usize| out.add(*places.get_unchecked(k) as usize);
            match self.layer.channels - self.first {
                32.. => _mm256_storeu_si256(to(0).cast(), bytes),
                // Two pixels, or one.
                16 => {
                    _mm_storeu_si128(to(0).cast(), low);
                    if MANY && places.len() > 1 {
                        _mm_storeu_si128(to(1).cast(), high);
                    }
                }
                channels @ 16.. => {
                    _mm_storeu_si128(to(0).cast(), low);
                    store_some(to(0).add(16), channels - 16, high);
                }
                channels => store_some(to(0), channels, low),
            }
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

/// Four bytes for each channel, in the order of [`Finish::interleaved`](crate::kernels::q8::Finish).
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
