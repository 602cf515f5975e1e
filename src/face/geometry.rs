//! Boxes, the five points of a face, and sampling a picture along a similarity without aliasing.
//!
//! Coordinates are pixels of the picture that was given, the centre of the first pixel at (0, 0), y downwards.

use crate::frame::{MAX_SIDE, RgbImage};
use crate::kernels::scale;
use crate::kernels::warp::{self, Affine};

/// An upright rectangle. Its sides may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Rect {
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    pub fn centre(&self) -> [f32; 2] {
        [self.left + self.width / 2.0, self.top + self.height / 2.0]
    }

    /// Intersection over union, in [0, 1]; 0 where either is empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let overlap = |a: f32, a_len: f32, b: f32, b_len: f32| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let both = overlap(self.left, self.width, other.left, other.width)
            * overlap(self.top, self.height, other.top, other.height);
        let union = self.area() + other.area() - both;
        if union > 0.0 { both / union } else { 0.0 }
    }
}

/// The five points of a face: the eye on the picture's left, the eye on its right, the tip of the nose, the corner of
/// the mouth on the left, the one on the right. ArcFace's order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Landmarks(pub [[f32; 2]; 5]);

impl Landmarks {
    pub fn is_finite(&self) -> bool {
        self.0.iter().flatten().all(|x| x.is_finite())
    }

    /// Point by point, `other` weighing `share` of the whole.
    #[must_use]
    pub fn blend(&self, other: &Self, share: f32) -> Self {
        let mut points = self.0;
        for (point, other) in points.iter_mut().zip(&other.0) {
            point.iter_mut().zip(other).for_each(|(a, b)| *a += (b - *a) * share);
        }
        Self(points)
    }

    /// Each point moved by `map`.
    #[must_use]
    pub fn map(&self, map: impl Fn([f32; 2]) -> [f32; 2]) -> Self {
        Self(self.0.map(map))
    }

    /// What was left is right: the names after the picture was mirrored.
    #[must_use]
    pub fn swap_sides(&self) -> Self {
        let [left_eye, right_eye, nose, left_mouth, right_mouth] = self.0;
        Self([right_eye, left_eye, nose, right_mouth, left_mouth])
    }

    /// The distance between the eyes, in pixels.
    pub fn eye_distance(&self) -> f32 {
        let [[ax, ay], [bx, by], ..] = self.0;
        (bx - ax).hypot(by - ay)
    }
}

/// The map that shows the square of `side` pixels around `centre` in a picture of `size` pixels a side, mirrored or
/// not. `None` where the square is too far away or too large for any picture.
pub fn square(centre: [f32; 2], side: f32, size: usize, mirror: bool) -> Option<Affine> {
    let step = side / size as f32;
    let half = (size as f32 - 1.0) / 2.0;
    let across = if mirror { -step } else { step };
    Affine::new([across, 0.0, centre[0] - across * half, 0.0, step, centre[1] - step * half])
}

/// From so many source pixels a pixel on, bilinear sampling alone would skip some of them.
const SUPERSAMPLE_FROM: f32 = 1.5;
/// Sampling is refined by at most 2³ a side, and to [`MAX_SIDE`], which bounds the scratch picture; beyond that detail
/// is lost to aliasing.
const MAX_HALVINGS: u32 = 3;

/// Samples pictures along similarities; its scratch pictures are reused.
#[derive(Debug, Default)]
pub struct Sampler {
    fine: RgbImage,
    half: RgbImage,
}

impl Sampler {
    /// Fills `out`, of the size it has, with what `to_source` shows of `source`; black outside of it.
    ///
    /// Where the source is much finer than `out`, it is sampled more densely first and then halved (2 x 2 means).
    pub fn sample(&mut self, source: &RgbImage, to_source: &Affine, out: &mut RgbImage) {
        let [a, b, c, d, e, f] = to_source.coefficients();
        let step = (a * e - b * d).abs().sqrt();
        let longer = out.width().max(out.height());
        let may_halve = |k| step / (1 << k) as f32 > SUPERSAMPLE_FROM && longer << (k + 1) <= MAX_SIDE as usize;
        let halvings = (0..MAX_HALVINGS).take_while(|&k| may_halve(k)).count();
        // Pixel x of `out` covers the pixels n·x to n·x + n − 1 of the finer picture.
        let n = (1 << halvings) as f32;
        let shift = (1.0 - n) / (2.0 * n);
        let finer = Affine::new([a / n, b / n, c + (a + b) * shift, d / n, e / n, f + (d + e) * shift]);
        let Some(finer) = finer.filter(|_| halvings > 0) else { return warp::warp(source, to_source, out) };
        let (columns, rows) = (out.width(), out.height());
        let (width, height) = (columns << halvings, rows << halvings);
        // As a camera's picture is shown to the detector: at the top of the canvas, and black below.
        let is_source = finer == Affine::IDENTITY && source.width() == width && source.height() <= height;
        if is_source && source.height().is_multiple_of(1 << halvings) {
            scale::halve(source, if halvings == 1 { &mut *out } else { &mut self.half });
        } else {
            self.fine.resize(width, height);
            warp::warp(source, &finer, &mut self.fine);
            scale::halve(&self.fine, if halvings == 1 { &mut *out } else { &mut self.half });
        }
        for left in (0..halvings - 1).rev() {
            std::mem::swap(&mut self.fine, &mut self.half);
            scale::halve(&self.fine, if left == 0 { &mut *out } else { &mut self.half });
        }
        let shown = out.data().len();
        out.resize(columns, rows);
        out.data_mut()[shown..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> RgbImage {
        let mut image = RgbImage::new(width, height);
        for (i, pixel) in image.data_mut().chunks_exact_mut(3).enumerate() {
            pixel.copy_from_slice(&[(i % width) as u8, (i / width) as u8, 0]);
        }
        image
    }

    #[test]
    fn boxes_that_do_not_touch_have_nothing_in_common() {
        let a = Rect { left: 0.0, top: 0.0, width: 10.0, height: 10.0 };
        let b = Rect { left: 5.0, ..a };
        assert_eq!(a.iou(&a), 1.0);
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&Rect { left: 10.0, ..a }), 0.0);
        assert_eq!(Rect::default().iou(&Rect::default()), 0.0);
    }

    #[test]
    fn a_square_maps_its_middle_to_its_centre_and_mirrors_left_and_right() {
        let plain = square([50.0, 60.0], 32.0, 16, false).unwrap();
        let mirrored = square([50.0, 60.0], 32.0, 16, true).unwrap();
        assert_eq!(plain.apply([7.5, 7.5]), [50.0, 60.0]);
        assert_eq!(plain.apply([0.0, 0.0]), [35.0, 45.0]);
        assert_eq!(mirrored.apply([15.0, 0.0]), [35.0, 45.0]);
    }

    #[test]
    fn a_canvas_that_eight_times_as_wide_would_be_too_wide_is_refined_less() {
        let step = 6.4;
        let mut out = RgbImage::new(1280, 32);
        let map = Affine::new([step, 0.0, 0.0, 0.0, step, 0.0]).unwrap();
        Sampler::default().sample(&ramp(MAX_SIDE as usize, 16), &map, &mut out);
        assert_eq!((out.width(), out.height()), (1280, 32));
        assert!(out.pixel(1279, 0)[0] > 0 && out.pixel(0, 31) == [0; 3]);
    }

    #[test]
    fn a_reduction_by_two_four_and_eight_keeps_a_ramp() {
        for n in [2, 4, 8] {
            let source = ramp(128, 64);
            let mut out = RgbImage::new(128 / n, 64 / n);
            let middle = (n as f32 - 1.0) / 2.0;
            let map = Affine::new([n as f32, 0.0, middle, 0.0, n as f32, middle]).unwrap();
            Sampler::default().sample(&source, &map, &mut out);
            for (x, y) in [(0, 0), (3, 5), (128 / n - 1, 64 / n - 1)] {
                let [r, g, _] = out.pixel(x, y);
                let expected = [x as f32 * n as f32 + middle, y as f32 * n as f32 + middle];
                assert!((f32::from(r) - expected[0]).abs() <= 1.0 && (f32::from(g) - expected[1]).abs() <= 1.0, "{n}");
            }
        }
    }

    #[test]
    fn below_a_picture_that_is_halved_as_it_is_lies_black() {
        for n in [2, 4] {
            let (source, mut black_below) = (ramp(64, 48), RgbImage::new(64, 64));
            black_below.data_mut().fill(0);
            black_below.data_mut()[..64 * 48 * 3].copy_from_slice(source.data());
            let middle = (n as f32 - 1.0) / 2.0;
            let map = Affine::new([n as f32, 0.0, middle, 0.0, n as f32, middle]).unwrap();
            let sampled = |source: &RgbImage| {
                let mut out = RgbImage::new(64 / n, 64 / n);
                out.data_mut().fill(99);
                Sampler::default().sample(source, &map, &mut out);
                out
            };
            assert_eq!(sampled(&source), sampled(&black_below), "{n}");
        }
    }

    #[test]
    fn a_reduction_that_is_no_whole_multiple_means_over_what_it_skips() {
        let mut stripes = RgbImage::new(90, 90);
        for (i, pixel) in stripes.data_mut().chunks_exact_mut(3).enumerate() {
            pixel.fill(if i % 90 % 3 == 1 { 240 } else { 0 });
        }
        let mut out = RgbImage::new(30, 30);
        Sampler::default().sample(&stripes, &square([44.5, 44.5], 90.0, 30, false).unwrap(), &mut out);
        // Skipping two of three columns would show 240 or 0.
        let [middle, ..] = out.pixel(15, 15);
        assert!((50..=190).contains(&middle), "{middle}");
    }
}
