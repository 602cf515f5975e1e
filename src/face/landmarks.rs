//! The second stage: better landmarks from a closer look at one face.
//!
//! Alignment is worth as much as the encoder. A detector that has found a face in the whole picture places its points
//! coarsely; a crop in which the face has the size that the network places points best at costs a fraction of the first
//! look. [`LandmarkNetwork`] is a network made for this; [`Refiner::SecondLook`] does it with a detector once more.

use super::align::{self, to_source};
use super::detect::{Canvas, Detection, Detector};
use super::geometry::{Landmarks, Sampler, square};
use super::pipeline::Placing;
use crate::frame::RgbImage;
use crate::infer::network::{Layer, OutputSpec};
use crate::infer::{Decode, InferError, ModelFile, PictureNetwork};
use crate::kernels::warp::Affine;

/// The side of the second look's canvas, in pixels.
pub const SIDE: usize = 128;
/// How many times the face's longer side it shows: YuNet then sees a face of 80 pixels.
const ZOOM: f32 = 1.6;
/// A face that doesn't overlap so much with the one that was found is somebody else's.
const MIN_SECOND_LOOK_IOU: f32 = 0.3;

/// What places a face's points better than the detector did.
#[expect(clippy::large_enum_variant, reason = "there is one beside each detector, and it stays where it is")]
pub enum Refiner {
    /// Nothing does.
    None,
    /// The detector once more, on a crop around the face and on its mirror image.
    ///
    /// On LFW the mean with what was seen first is 6.6 % of the distance between the eyes away from SCRFD's points, one
    /// look of YuNet 7.8 %; it costs a third of the first look (docs/measurements.md).
    SecondLook(Detector),
    Network(LandmarkNetwork),
}

impl Refiner {
    /// # Errors
    /// As [`Detector::load`] and [`LandmarkNetwork::load`].
    pub fn load(placing: &Placing, detector: &ModelFile) -> Result<Self, InferError> {
        Ok(match placing {
            Placing::Detector => Self::None,
            Placing::SecondLook => Self::SecondLook(Detector::load(detector, Canvas::square(SIDE))?),
            Placing::Network(file) => Self::Network(LandmarkNetwork::load(file)?),
        })
    }

    /// The points of `face`, in the picture's coordinates; `None` where nothing better is known than what `face` says.
    ///
    /// # Errors
    /// A network failed.
    pub fn refine(&mut self, image: &RgbImage, face: &Detection) -> Result<Option<Landmarks>, InferError> {
        match self {
            Self::None => Ok(None),
            Self::SecondLook(detector) => second_look(detector, image, face),
            Self::Network(network) => network.refine(image, face),
        }
    }

    /// The layers of the network that looks, in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        match self {
            Self::None => Vec::new(),
            Self::SecondLook(detector) => detector.layers(),
            Self::Network(network) => network.network.layers(),
        }
    }
}

fn second_look(detector: &mut Detector, image: &RgbImage, face: &Detection) -> Result<Option<Landmarks>, InferError> {
    let (mut mean, mut votes) = (face.landmarks, 1.0);
    let shown = ZOOM * face.bbox.width.max(face.bbox.height);
    for mirror in [false, true] {
        let Some(view) = square(face.bbox.centre(), shown, detector.canvas().width(), mirror) else { continue };
        let seen = detector.detect_through(image, &view)?;
        let overlap = |other: &&Detection| other.bbox.iou(&face.bbox);
        let same = seen.iter().max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
        if let Some(same) = same.filter(|other| overlap(other) >= MIN_SECOND_LOOK_IOU) {
            votes += 1.0;
            mean = mean.blend(&same.landmarks, 1.0 / votes);
        }
    }
    Ok((votes > 1.0).then_some(mean))
}

/// x and y of five points.
pub const OUTPUTS: usize = 10;
/// How often the face is aligned by what was found and looked at again: a detector's points may be so far off that the
/// network sees the face askew at first.
pub const PASSES: usize = 2;
/// A point may lie so far outside of what the network was shown, as a share of an aligned face's side.
const BEYOND: f32 = 0.25;

/// A network that sees the face as the coarse points align it, and says where the points are.
pub struct LandmarkNetwork {
    network: PictureNetwork,
    /// Pixels of an aligned face that are shown on each side of it.
    margin: f32,
    view: RgbImage,
    sampler: Sampler,
}

impl LandmarkNetwork {
    /// # Errors
    /// The file is no landmark network of five points, is malformed, or has another output than its entry promises.
    pub fn load(file: &ModelFile) -> Result<Self, InferError> {
        let spec = &file.spec;
        let Decode::Points { margin } = spec.decode else {
            let reason = format!("it is a network for {}, not for the five points of a face", spec.kind());
            return Err(InferError::Malformed { model: spec.name.clone(), reason });
        };
        let side = spec.input.width;
        let network = PictureNetwork::load(file, side, side, &[OutputSpec { name: "", len: OUTPUTS, each: 1 }])?;
        Ok(Self { network, margin: margin as f32, view: RgbImage::new(side, side), sampler: Sampler::default() })
    }

    fn refine(&mut self, image: &RgbImage, face: &Detection) -> Result<Option<Landmarks>, InferError> {
        let mut best = None;
        for _ in 0..PASSES {
            let Some(to_picture) = to_source(best.as_ref().unwrap_or(&face.landmarks)) else { break };
            let Some(seen) = self.run(image, &to_picture)? else { break };
            best = Some(seen.map(|point| to_picture.apply(point)));
        }
        Ok(best)
    }

    /// The points, in pixels of the aligned face that `to_picture` leads from; `None` where the network sees no face.
    fn run(&mut self, image: &RgbImage, to_picture: &Affine) -> Result<Option<Landmarks>, InferError> {
        let Some(shown) = self.shown(to_picture) else { return Ok(None) };
        self.sampler.sample(image, &shown, &mut self.view);
        let output = self.network.run(&self.view)?;
        let mut points = Landmarks::default();
        points.0.iter_mut().flatten().zip(output.get(0)).for_each(|(to, from)| *to = *from);
        let near = -BEYOND * align::SIDE as f32..(1.0 + BEYOND) * align::SIDE as f32;
        let is_a_face = points.0.iter().flatten().all(|x| near.contains(x));
        Ok(is_a_face.then_some(points))
    }

    /// From pixels of the network's input to the picture.
    fn shown(&self, to_picture: &Affine) -> Option<Affine> {
        let [a, b, _, d, e, _] = to_picture.coefficients();
        let step = (align::SIDE as f32 + 2.0 * self.margin) / self.view.width() as f32;
        // Where the first pixel's centre lies in the aligned face, whose own first centre is at 0.
        let first = step / 2.0 - 0.5 - self.margin;
        let [x, y] = to_picture.apply([first; 2]);
        Affine::new([a * step, b * step, x, d * step, e * step, y])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::align::TEMPLATE_112;
    use crate::face::geometry::Rect;
    use crate::infer::tiny;

    const MARGIN: usize = 8;

    /// A network that answers with the template moved by so many pixels a unit of red.
    fn moving(by: f32) -> LandmarkNetwork {
        let green = TEMPLATE_112.0.into_iter().flatten();
        let weights: Vec<f32> = std::iter::repeat_n(by, 10).chain(green).chain([0.0; 10]).collect();
        let mut file = tiny::model(tiny::onnx(&weights), 10);
        file.spec.decode = Decode::Points { margin: MARGIN };
        LandmarkNetwork::load(&file).unwrap()
    }

    /// A picture of one colour, and a face in it that is tilted.
    fn scene(red: u8) -> (RgbImage, Detection) {
        let pixels = std::iter::repeat_n([red, 1, 0], 400 * 400).flatten().collect();
        let (sin, cos) = 0.3f32.sin_cos();
        let landmarks =
            TEMPLATE_112.map(|[x, y]| [1.5 * (x * cos - y * sin) + 110.0, 1.5 * (x * sin + y * cos) + 80.0]);
        let bbox = Rect { left: 100.0, top: 90.0, width: 160.0, height: 180.0 };
        (RgbImage::from_rgb8(400, 400, pixels).unwrap(), Detection { bbox, landmarks, score: 0.9 })
    }

    #[test]
    fn points_that_lie_well_stay_and_others_move_once_a_pass_along_the_faces_own_axes() {
        let (image, face) = scene(0);
        let to_picture = to_source(&face.landmarks).unwrap();
        for (red, by) in [(0, 0.0), (1, 2.0)] {
            let (image, _) = if red == 0 { (image.clone(), face) } else { scene(red) };
            let points = moving(2.0).refine(&image, &face).unwrap().unwrap();
            let moved = by * PASSES as f32;
            for ([x, y], [u, v]) in points.0.into_iter().zip(TEMPLATE_112.0) {
                let [wanted_x, wanted_y] = to_picture.apply([u + moved, v + moved]);
                assert!(
                    (x - wanted_x).abs() < 0.05 && (y - wanted_y).abs() < 0.05,
                    "{x} {y}, not {wanted_x} {wanted_y}"
                );
            }
        }
    }

    #[test]
    fn the_network_is_shown_the_aligned_face_and_its_margin() {
        let (_, face) = scene(0);
        let (network, to_picture) = (moving(0.0), to_source(&face.landmarks).unwrap());
        let shown = network.shown(&to_picture).unwrap();
        // 112 pixels of input show 128 of the aligned face: the input's outer edges are 8 pixels outside of the face's.
        for (edge, aligned) in [(-0.5, -8.5), (55.5, 55.5), (111.5, 119.5)] {
            let ([x, y], [u, v]) = (shown.apply([edge; 2]), to_picture.apply([aligned; 2]));
            assert!((x - u).abs() < 1e-3 && (y - v).abs() < 1e-3, "{edge}: {x} {y}, not {u} {v}");
        }
    }

    #[test]
    fn points_far_outside_of_the_view_are_no_face_and_the_detectors_stay() {
        let (image, face) = scene(200);
        assert_eq!(moving(1.0).refine(&image, &face).unwrap(), None);
        let nowhere = Detection { landmarks: Landmarks([[5.0; 2]; 5]), ..face };
        assert_eq!(moving(0.0).refine(&image, &nowhere).unwrap(), None);
    }

    #[test]
    fn a_network_for_something_else_is_refused() {
        let encoder = tiny::model(tiny::onnx(&[1.0; 30]), 10);
        assert!(matches!(LandmarkNetwork::load(&encoder), Err(InferError::Malformed { .. })));
    }
}
