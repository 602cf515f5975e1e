//! Whether a face is good enough to be judged by: a poor one is an outcome of its own, never a quiet non-match.

use super::align::AlignedFace;
use super::detect::Detection;
use super::geometry::Landmarks;
use crate::gate::record::PoorMeasure;
use crate::kernels::colour;

/// The part of an aligned face that holds no background: columns, and rows from the brows to the mouth.
pub const INNER_COLUMNS: std::ops::Range<usize> = 24..88;
pub const INNER_ROWS: std::ops::Range<usize> = 36..104;

/// Of the way from the eyes to the mouth, the nose of the template has gone so much.
const LEVEL_NOSE: f32 = 0.495;

/// What was measured of one face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// The distance between the eyes in the picture, in pixels; ISO/IEC 19794-5 asks for 90 in a passport.
    pub size_px: f32,
    /// Root mean square of the Laplacian over the inner face, relative to its contrast; 0 is flat, a sharp face above
    /// .2.
    pub sharpness: f32,
    /// Mean luma of the inner face, 0 to 255.
    pub luminance: f32,
    /// Turned to the side: 0 looks ahead, ±1 has the nose over an eye; about 1.4 times the sine of the angle.
    pub yaw: f32,
    /// Up or down: 0 looks ahead, ±1 has the nose at the eyes or the mouth.
    pub pitch: f32,
    /// In the plane of the picture, in degrees, clockwise positive.
    pub roll: f32,
    /// The detector's certainty, 0 to 1.
    pub detector: f32,
}

/// The poorest face that is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub min_size_px: f32,
    pub min_sharpness: f32,
    pub luminance: [f32; 2],
    pub max_yaw: f32,
    pub max_pitch: f32,
    pub max_roll: f32,
    pub min_detector: f32,
}

impl Default for Limits {
    /// What 99 in 100 pictures of LFW pass in each measure (docs/measurements.md).
    fn default() -> Self {
        Self {
            min_size_px: 18.0,
            min_sharpness: 0.05,
            luminance: [30.0, 225.0],
            max_yaw: 0.9,
            max_pitch: 0.6,
            max_roll: 40.0,
            min_detector: 0.7,
        }
    }
}

impl Quality {
    /// Measures a face that was found at `found`, with points `landmarks`, and aligned.
    pub fn measure(found: &Detection, landmarks: &Landmarks, face: &AlignedFace) -> Self {
        let [yaw, pitch, roll] = pose(landmarks);
        let [luminance, sharpness] = texture(face);
        Self { size_px: landmarks.eye_distance(), sharpness, luminance, yaw, pitch, roll, detector: found.score }
    }

    /// One number to choose between pictures of one person, 0 to 1: the product of how near each measure comes to good.
    pub fn score(&self) -> f32 {
        // clamp() keeps a NaN, which min() and max() would turn into a good measure.
        let size = (self.size_px / 60.0).clamp(0.0, 1.0);
        let sharpness = (self.sharpness / 0.2).clamp(0.0, 1.0);
        let exposure = 1.0 - ((self.luminance - 128.0) / 128.0).powi(2);
        let frontal = (1.0 - self.yaw.abs()).clamp(0.0, 1.0) * (1.0 - self.pitch.abs()).clamp(0.0, 1.0);
        let score = size * sharpness * exposure * frontal * self.detector;
        if score.is_finite() { score.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Whether every measure is within its limit; NaN is within none.
///
/// # Errors
/// The first measure that isn't, in the order in which a person would be told.
pub fn check(quality: &Quality, limits: &Limits) -> Result<(), PoorMeasure> {
    let [darkest, brightest] = limits.luminance;
    let passed = [
        (quality.size_px >= limits.min_size_px, PoorMeasure::Size),
        (quality.detector >= limits.min_detector, PoorMeasure::DetectorScore),
        (quality.yaw.abs() <= limits.max_yaw, PoorMeasure::Pose),
        (quality.pitch.abs() <= limits.max_pitch, PoorMeasure::Pose),
        (quality.roll.abs() <= limits.max_roll, PoorMeasure::Pose),
        (quality.luminance >= darkest, PoorMeasure::TooDark),
        (quality.luminance <= brightest, PoorMeasure::TooBright),
        (quality.sharpness >= limits.min_sharpness, PoorMeasure::Sharpness),
    ];
    passed.iter().find(|(good, _)| !good).map_or(Ok(()), |(_, poor)| Err(*poor))
}

/// Yaw, pitch and roll from the five points, in the face's own frame.
fn pose(Landmarks([a, b, nose, c, d]): &Landmarks) -> [f32; 3] {
    let middle = |p: &[f32; 2], q: &[f32; 2]| [(p[0] + q[0]) / 2.0, (p[1] + q[1]) / 2.0];
    let (across, eyes, mouth) = ([b[0] - a[0], b[1] - a[1]], middle(a, b), middle(c, d));
    let width = across[0].hypot(across[1]);
    let (right, down) = ([across[0] / width, across[1] / width], [-across[1] / width, across[0] / width]);
    let along =
        |from: [f32; 2], to: &[f32; 2], axis: [f32; 2]| (to[0] - from[0]) * axis[0] + (to[1] - from[1]) * axis[1];
    // The nose against the axis from the eyes to the mouth, so that a slanted mouth is not a turned head.
    let fallen = along(eyes, nose, down) / along(eyes, &mouth, down);
    let axis_at_nose = along(eyes, &mouth, right) * fallen;
    let yaw = (along(eyes, nose, right) - axis_at_nose) / (width / 2.0);
    [yaw, 2.0 * (fallen - LEVEL_NOSE), across[1].atan2(across[0]).to_degrees()]
}

/// Mean luma, and the Laplacian's root mean square over luma's standard deviation, of the inner face.
fn texture(face: &AlignedFace) -> [f32; 2] {
    let luma = |x: usize, y: usize| i64::from(colour::luma(face.image().pixel(x, y)));
    let (mut sum, mut squares, mut laplacian) = (0, 0, 0);
    for y in INNER_ROWS {
        for x in INNER_COLUMNS {
            let at = luma(x, y);
            let bend = 4 * at - luma(x - 1, y) - luma(x + 1, y) - luma(x, y - 1) - luma(x, y + 1);
            sum += at;
            squares += at * at;
            laplacian += bend * bend;
        }
    }
    let n = (INNER_ROWS.len() * INNER_COLUMNS.len()) as f32;
    let mean = sum as f32 / n;
    let deviation = (squares as f32 / n - mean * mean).max(1.0).sqrt();
    [mean, (laplacian as f32 / n).sqrt() / deviation]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::align::{SIDE, TEMPLATE_112};
    use crate::face::geometry::Rect;
    use crate::frame::RgbImage;

    fn good() -> Quality {
        Quality { size_px: 60.0, sharpness: 0.3, luminance: 128.0, yaw: 0.0, pitch: 0.0, roll: 0.0, detector: 0.9 }
    }

    fn painted(pixel: impl Fn(usize, usize) -> u8) -> AlignedFace {
        let mut image = RgbImage::new(SIDE, SIDE);
        for (i, p) in image.data_mut().chunks_exact_mut(3).enumerate() {
            p.fill(pixel(i % SIDE, i / SIDE));
        }
        AlignedFace::from_aligned(image).unwrap()
    }

    #[test]
    fn a_good_face_passes_and_each_poor_one_is_refused_with_its_measure() {
        let limits = Limits::default();
        assert_eq!(check(&good(), &limits), Ok(()));
        let poor = [
            (Quality { size_px: 3.0, ..good() }, PoorMeasure::Size),
            (Quality { sharpness: 0.0, ..good() }, PoorMeasure::Sharpness),
            (Quality { luminance: 5.0, ..good() }, PoorMeasure::TooDark),
            (Quality { luminance: 250.0, ..good() }, PoorMeasure::TooBright),
            (Quality { yaw: -1.0, ..good() }, PoorMeasure::Pose),
            (Quality { roll: 90.0, ..good() }, PoorMeasure::Pose),
            (Quality { detector: 0.5, ..good() }, PoorMeasure::DetectorScore),
            (Quality { sharpness: f32::NAN, ..good() }, PoorMeasure::Sharpness),
            (Quality { yaw: f32::NAN, ..good() }, PoorMeasure::Pose),
        ];
        for (quality, measure) in poor {
            assert_eq!(check(&quality, &limits), Err(measure), "{quality:?}");
            let (poor, good) = (quality.score(), good().score());
            assert!(poor < good || measure == PoorMeasure::Pose && poor <= good, "{poor} {good}");
        }
    }

    #[test]
    fn the_template_looks_ahead_and_a_nose_to_the_side_is_a_turned_head() {
        let [yaw, pitch, roll] = pose(&TEMPLATE_112);
        assert!(yaw.abs() < 0.03 && pitch.abs() < 0.02 && roll.abs() < 0.5, "{yaw} {pitch} {roll}");
        let mut turned = TEMPLATE_112;
        turned.0[2][0] += 17.5;
        assert!((pose(&turned)[0] - 1.0).abs() < 0.05);
        let tilted = TEMPLATE_112.map(|[x, y]| [x * 0.6 - y * 0.8, x * 0.8 + y * 0.6]);
        let [yaw, _, roll] = pose(&tilted);
        assert!(yaw.abs() < 0.03 && (roll - 53.13).abs() < 0.5);
    }

    #[test]
    fn a_flat_face_is_blurred_and_a_checked_one_is_sharp() {
        let found = Detection { bbox: Rect::default(), landmarks: TEMPLATE_112, score: 0.9 };
        let flat = Quality::measure(&found, &TEMPLATE_112, &painted(|_, _| 100));
        assert_eq!((flat.sharpness, flat.luminance), (0.0, 100.0));
        let ramp = Quality::measure(&found, &TEMPLATE_112, &painted(|x, _| 2 * x as u8));
        let checks = Quality::measure(&found, &TEMPLATE_112, &painted(|x, y| 200 * ((x + y) % 2) as u8));
        assert!(ramp.sharpness < 0.05 && checks.sharpness > 1.0);
    }
}
