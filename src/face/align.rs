//! Alignment: the similarity that brings five points onto ArcFace's template, and the 112 x 112 picture it shows.

use super::geometry::{Landmarks, Sampler};
use crate::frame::RgbImage;
use crate::kernels::warp::Affine;

/// The side of an aligned face, in pixels.
pub const SIDE: usize = 112;

/// Where the five points lie in an aligned face (Deng et al.: ArcFace, 2019; InsightFace's `arcface_dst`).
pub const TEMPLATE_112: Landmarks =
    Landmarks([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]);

/// Points that lie closer together than this, in pixels, have no direction to align by.
const MIN_SPREAD: f32 = 1.0;

/// A face of [`SIDE`] x [`SIDE`] pixels whose points lie where [`TEMPLATE_112`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignedFace(RgbImage);

impl Default for AlignedFace {
    /// A black one, to be aligned into.
    fn default() -> Self {
        Self(RgbImage::new(SIDE, SIDE))
    }
}

impl AlignedFace {
    /// From a picture that is aligned already; `None` where it isn't 112 x 112.
    pub fn from_aligned(image: RgbImage) -> Option<Self> {
        ((image.width(), image.height()) == (SIDE, SIDE)).then_some(Self(image))
    }

    pub fn image(&self) -> &RgbImage {
        &self.0
    }

    /// Its mirror image: left and right change places.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let mut mirrored = self.0.clone();
        for row in mirrored.data_mut().as_chunks_mut::<{ SIDE * 3 }>().0 {
            row.as_chunks_mut::<3>().0.reverse();
        }
        Self(mirrored)
    }

    /// Fills itself with the face at `landmarks`; `false`, and unchanged, where those aren't the points of any face.
    #[must_use]
    pub fn align(&mut self, image: &RgbImage, landmarks: &Landmarks, sampler: &mut Sampler) -> bool {
        let map = to_source(landmarks);
        map.iter().for_each(|map| sampler.sample(image, map, &mut self.0));
        map.is_some()
    }
}

/// The similarity from the template to the picture, which a warp asks for. `None` for points that are not finite or all
/// but one point.
///
/// Umeyama (1991) for two dimensions and without reflection: with the points as complex numbers around their means, the
/// least squares solution of s·p ≈ t is s = Σ conj(p)·t / Σ |p|²; here from template to picture by inverting it.
pub fn to_source(landmarks: &Landmarks) -> Option<Affine> {
    let (points, template) = (&landmarks.0, &TEMPLATE_112.0);
    let mean = |of: &[[f32; 2]; 5], axis: usize| of.iter().map(|p| p[axis]).sum::<f32>() / 5.0;
    let (px, py, tx, ty) = (mean(points, 0), mean(points, 1), mean(template, 0), mean(template, 1));
    let (mut re, mut im, mut norm) = (0.0, 0.0, 0.0);
    for ([x, y], [u, v]) in points.iter().zip(template) {
        let (x, y, u, v) = (x - px, y - py, u - tx, v - ty);
        re += x * u + y * v;
        im += x * v - y * u;
        norm += x * x + y * y;
    }
    let scale = re.hypot(im);
    if !(norm.is_finite() && norm > MIN_SPREAD && scale.is_finite() && scale > MIN_SPREAD) {
        return None;
    }
    // 1 / s = conj(s) / |s|² with s = (re + i·im) / norm.
    let (a, b) = (re * norm / (scale * scale), im * norm / (scale * scale));
    Affine::new([a, b, px - a * tx - b * ty, -b, a, py + b * tx - a * ty])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_the_template_turned_and_scaled_map_back_exactly() {
        let (sin, cos) = 0.4f32.sin_cos();
        let turned = TEMPLATE_112.map(|[x, y]| [2.5 * (x * cos - y * sin) + 31.0, 2.5 * (x * sin + y * cos) - 7.0]);
        let map = to_source(&turned).unwrap();
        for (from, to) in TEMPLATE_112.0.iter().zip(turned.0) {
            let got = map.apply(*from);
            assert!((got[0] - to[0]).abs() < 1e-3 && (got[1] - to[1]).abs() < 1e-3, "{got:?} {to:?}");
        }
    }

    #[test]
    fn a_noisy_point_is_shared_among_all_and_the_solution_is_the_least_squares_one() {
        let mut points = TEMPLATE_112;
        points.0[2][0] += 10.0;
        let map = to_source(&points).unwrap();
        // The inverse of numpy's least squares solution of the same ten equations.
        let [dx, dy] = map.apply(TEMPLATE_112.0[2]);
        assert!((dx - 58.03).abs() < 0.2 && (dy - 71.7).abs() < 0.3, "{dx} {dy}");
    }

    #[test]
    fn a_mirror_image_has_left_and_right_changed_and_twice_it_is_the_face_itself() {
        let bytes = (0..SIDE * SIDE * 3).map(|at| (at * 7 % 251) as u8).collect();
        let face = AlignedFace::from_aligned(RgbImage::from_rgb8(SIDE, SIDE, bytes).unwrap()).unwrap();
        let mirrored = face.mirrored();
        for (x, y) in [(0, 0), (1, 5), (55, 60), (111, 111)] {
            assert_eq!(mirrored.image().pixel(x, y), face.image().pixel(SIDE - 1 - x, y));
        }
        assert_eq!(mirrored.mirrored(), face);
    }

    #[test]
    fn points_that_coincide_or_are_not_numbers_align_nothing() {
        assert!(to_source(&Landmarks([[5.0, 5.0]; 5])).is_none());
        let mut points = TEMPLATE_112;
        points.0[0][0] = f32::NAN;
        assert!(to_source(&points).is_none());
        points.0[0][0] = 1e30;
        assert!(to_source(&points).is_none());
        let mut face = AlignedFace::default();
        assert!(!face.align(&RgbImage::new(10, 10), &points, &mut Sampler::default()));
        assert_eq!(face, AlignedFace::default());
    }
}
