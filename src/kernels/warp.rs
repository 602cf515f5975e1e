//! Affine warp with bilinear interpolation in fixed point.
//!
//! Whole coordinates are the centres of pixels, as in OpenCV's `warpAffine`. Along a row of the destination the source
//! coordinates are an arithmetic progression in 16.16 fixed point, so which of its pixels lie inside the source is two
//! divisions, and the kernels run there without a test. Weights have seven bits; a step is off by at most 2⁻¹⁷
//! pixels, which a row of 1024 adds up to less than one unit of weight.

use std::ops::Range;

use super::{Isa, active};
use crate::frame::RgbImage;

/// Fractional bits of a coordinate.
const COORD_BITS: u32 = 16;
/// Bits of an interpolation weight: OpenCV has five; with seven, x86's `vpmaddubsw` is exact.
pub(super) const WEIGHT_BITS: u32 = 7;
/// The weight of a whole pixel.
pub(super) const ONE: i32 = 1 << WEIGHT_BITS;
/// From a coordinate to its weight.
pub(super) const WEIGHT_SHIFT: u32 = COORD_BITS - WEIGHT_BITS;
/// Half of the last unit of two weights' product: added before [`SUM_SHIFT`], it rounds.
pub(super) const HALF: i32 = 1 << (SUM_SHIFT - 1);
pub(super) const SUM_SHIFT: u32 = 2 * WEIGHT_BITS;
/// The largest coefficient: beyond 2²⁴ an `f32` no longer tells neighbouring pixels apart.
const MAX_COEFFICIENT: f32 = (1 << 24) as f32;

/// From a pixel of the destination to a place in the source: x' = a·x + b·y + c, y' = d·x + e·y + f.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine([f32; 6]);

impl Affine {
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// The coefficients a to f, the last column in pixels. `None` where one is NaN or exceeds ±2²⁴.
    pub fn new(coefficients: [f32; 6]) -> Option<Self> {
        coefficients.iter().all(|c| c.abs() <= MAX_COEFFICIENT).then_some(Self(coefficients))
    }

    pub fn coefficients(&self) -> [f32; 6] {
        self.0
    }

    /// Where a point of the destination lies in the source.
    pub fn apply(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d, e, f] = self.0;
        [a * x + b * y + c, d * x + e * y + f]
    }
}

/// Fills `dst`, whose size is kept, from the places that `dst_to_src` names. Outside of `src` is black, which pixels on
/// its border blend with. Shrinking by more than half skips pixels of the source: [halve](super::scale::halve) it
/// first.
pub fn warp(src: &RgbImage, dst_to_src: &Affine, dst: &mut RgbImage) {
    warp_on(active(), src, dst_to_src, dst);
}

pub(super) fn warp_on(isa: Isa, src: &RgbImage, dst_to_src: &Affine, dst: &mut RgbImage) {
    let matrix = dst_to_src.0.map(f64::from);
    let width = dst.width();
    if width == 0 {
        return;
    }
    for (y, row) in dst.data_mut().chunks_exact_mut(3 * width).enumerate() {
        let line = Line::new(matrix, y);
        let inner = line.inner(src, width);
        let (before, rest) = row.split_at_mut(3 * inner.start);
        let (within, after) = rest.split_at_mut(3 * inner.len());
        along_border(src, line, before);
        dispatch!(isa, warp::inner(src, line.skip(inner.start), within));
        along_border(src, line.skip(inner.end), after);
    }
}

/// The places in the source of a row's pixels, in 16.16: that of its first, and the step to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub x: i64,
    pub y: i64,
    pub dx: i64,
    pub dy: i64,
}

impl Line {
    fn new([a, b, c, d, e, f]: [f64; 6], row: usize) -> Self {
        let fixed = |x: f64| (x * f64::from(1 << COORD_BITS)).round() as i64;
        // Half a unit of weight, so that cutting off the bits below a weight rounds.
        let half = 1 << (WEIGHT_SHIFT - 1);
        let row = row as f64;
        Self { x: fixed(b * row + c) + half, y: fixed(e * row + f) + half, dx: fixed(a), dy: fixed(d) }
    }

    pub fn at(self, pixel: usize) -> [i64; 2] {
        // At most 2⁴⁰ a step, and 2¹³ steps.
        [self.x + self.dx * pixel as i64, self.y + self.dy * pixel as i64]
    }

    pub fn skip(self, pixels: usize) -> Self {
        let [x, y] = self.at(pixels);
        Self { x, y, ..self }
    }

    /// Which of the pixels 0 to `width` a kernel may read for.
    fn inner(self, src: &RgbImage, width: usize) -> Range<usize> {
        let [right, bottom] = inner_limit(src);
        let (x, y) = (span(self.x, self.dx, right, width), span(self.y, self.dy, bottom, width));
        let start = x.start.max(y.start);
        start..x.end.min(y.end).max(start)
    }

    /// # Panics
    /// Unless the first `pixels` are such that [`Line::inner`] tells.
    pub fn assert_inner(self, src: &RgbImage, pixels: usize) {
        let limit = inner_limit(src);
        // The progressions are monotonic: what holds for both ends holds between them.
        for end in [0, pixels.saturating_sub(1)] {
            let inside = self.at(end).iter().zip(limit).all(|(at, limit)| (0..limit).contains(at));
            assert!(pixels == 0 || inside, "{pixels} pixels along {self:?} leave the source");
        }
    }
}

/// The coordinates from which on a kernel may not read. It reads the pixel below and the one to the right, and two
/// bytes of the one after that: a load of eight bytes takes two pixels of three.
fn inner_limit(src: &RgbImage) -> [i64; 2] {
    [src.width() as i64 - 2, src.height() as i64 - 1].map(|limit| limit.max(0) << COORD_BITS)
}

/// The i in 0..n with 0 ≤ start + i·step < limit.
fn span(start: i64, step: i64, limit: i64, n: usize) -> Range<usize> {
    let ceil_div = |a: i64, b: i64| -(-a).div_euclid(b);
    let (first, end) = match step {
        0 if (0..limit).contains(&start) => (0, n as i64),
        0 => (0, 0),
        1.. => (ceil_div(-start, step), ceil_div(limit - start, step)),
        // From the other end: i = -j.
        _ => (1 - ceil_div(limit - start, -step), 1 - ceil_div(-start, -step)),
    };
    let [first, end] = [first, end].map(|i| i.clamp(0, n as i64) as usize);
    first..end.max(first)
}

/// Pixels of which some of the four neighbours lie outside.
fn along_border(src: &RgbImage, line: Line, out: &mut [u8]) {
    let (width, height) = (src.width() as i64, src.height() as i64);
    let tap = |x: i64, y: i64| match (0..width).contains(&x) && (0..height).contains(&y) {
        true => src.pixel(x as usize, y as usize),
        false => [0; 3],
    };
    for (i, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let place = line.at(i);
        let [x, y] = place.map(|at| at >> COORD_BITS);
        let rows = [y, y + 1].map(|y| [tap(x, y), tap(x + 1, y)]);
        *pixel = scalar::blend(rows, place);
    }
}

/// The definition.
pub(super) mod scalar {
    use super::{COORD_BITS, HALF, Line, ONE, RgbImage, SUM_SHIFT, WEIGHT_SHIFT};

    /// Pixels whose neighbours all lie in the source.
    pub fn inner(src: &RgbImage, line: Line, out: &mut [u8]) {
        for (i, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let place = line.at(i);
            let (x, y) = ((place[0] >> COORD_BITS) as usize, (place[1] >> COORD_BITS) as usize);
            let row = |y: usize| {
                let [r, g, b, r1, g1, b1] = *src.data()[3 * (y * src.width() + x)..].first_chunk().expect("is inside");
                [[r, g, b], [r1, g1, b1]]
            };
            *pixel = blend([row(y), row(y + 1)], place);
        }
    }

    /// The pixels left and right, of the row above and that below, by the fractions of a place.
    #[inline]
    pub fn blend([above, below]: [[[u8; 3]; 2]; 2], [x, y]: [i64; 2]) -> [u8; 3] {
        let weight = |at: i64| (at >> WEIGHT_SHIFT) as i32 & (ONE - 1);
        let (wx, wy) = (weight(x), weight(y));
        let mut pixel = [0; 3];
        for (c, sample) in pixel.iter_mut().enumerate() {
            let left = i32::from(above[0][c]) * (ONE - wy) + i32::from(below[0][c]) * wy;
            let right = i32::from(above[1][c]) * (ONE - wy) + i32::from(below[1][c]) * wy;
            *sample = ((left * (ONE - wx) + right * wx + HALF) >> SUM_SHIFT) as u8;
        }
        pixel
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One pixel, with no thought of speed: the four neighbours looked up one by one.
    pub fn by_definition(src: &RgbImage, affine: &Affine, x: usize, y: usize) -> [u8; 3] {
        let mut out = [0; 3];
        along_border(src, Line::new(affine.0.map(f64::from), y).skip(x), &mut out);
        out
    }

    fn gradient(width: usize, height: usize) -> RgbImage {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [3 * x as u8, 5 * y as u8, (x + y) as u8]));
        RgbImage::from_rgb8(width, height, pixels.collect()).expect("as many bytes as pixels take")
    }

    #[test]
    fn the_identity_copies_every_pixel() {
        let src = gradient(37, 21);
        let mut dst = RgbImage::new(37, 21);
        warp(&src, &Affine::IDENTITY, &mut dst);
        assert_eq!(dst, src);
    }

    #[test]
    fn half_a_pixel_to_the_right_is_the_mean_of_neighbours_and_fades_to_black() {
        let src = RgbImage::from_rgb8(2, 1, vec![100, 0, 50, 200, 101, 50]).expect("two pixels");
        let mut dst = RgbImage::new(4, 1);
        warp(&src, &Affine::new([1.0, 0.0, -0.5, 0.0, 1.0, 0.0]).expect("finite"), &mut dst);
        assert_eq!(dst.data(), [50, 0, 25, 150, 51, 50, 100, 51, 25, 0, 0, 0]);
    }

    #[test]
    fn a_turned_and_scaled_picture_is_within_two_levels_of_real_arithmetic() {
        let src = gradient(60, 50);
        let affine = Affine::new([0.8, -0.3, 12.3, 0.35, 0.75, 3.7]).expect("finite");
        let mut dst = RgbImage::new(30, 30);
        warp(&src, &affine, &mut dst);
        for (y, x) in (0..30).flat_map(|y| (0..30).map(move |x| (y, x))) {
            let [sx, sy] = affine.apply([x as f32, y as f32]);
            let real = [3.0 * sx, 5.0 * sy, sx + sy];
            for (got, real) in dst.pixel(x, y).into_iter().zip(real) {
                assert!((f32::from(got) - real).abs() < 1.0, "pixel {x} {y}: {got} for {real}");
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_finite_or_beyond_reason_is_refused() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e7, f32::MAX] {
            for at in 0..6 {
                let mut coefficients = [1.0; 6];
                coefficients[at] = wrong;
                assert_eq!(Affine::new(coefficients), None);
            }
        }
    }

    #[test]
    fn a_span_is_what_testing_every_element_finds() {
        for (start, step, limit) in
            (-9..=9).flat_map(|a| (-4..=4).flat_map(move |b| (0..=7).map(move |limit| (a, b, limit))))
        {
            let inside: Vec<_> = (0..12usize).filter(|&i| (0..limit).contains(&(start + i as i64 * step))).collect();
            let span = span(start, step, limit, 12);
            assert_eq!(span.collect::<Vec<_>>(), inside, "{start} + i·{step} below {limit}");
        }
    }

    #[test]
    fn the_largest_picture_and_the_largest_matrix_overflow_nothing() {
        let src = RgbImage::new(8192, 2);
        let mut dst = RgbImage::new(8192, 1);
        for c in [MAX_COEFFICIENT, -MAX_COEFFICIENT] {
            warp(&src, &Affine::new([c; 6]).expect("the limit itself"), &mut dst);
            assert!(dst.data().iter().all(|&byte| byte == 0));
        }
    }
}
