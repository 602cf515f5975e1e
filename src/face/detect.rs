//! Finding faces: the detector's network, what it is shown, and where in the picture its faces are.

use super::decode;
use super::geometry::{Landmarks, Rect, Sampler};
use crate::frame::RgbImage;
use crate::infer::network::Layer;
use crate::infer::{Decode, InferError, ModelFile, ModelSpec, Outputs, PictureNetwork};
use crate::kernels::warp::Affine;

/// The most faces that are told of one picture.
pub const MAX_FACES: usize = 32;
/// The least certain face that is told of at all; [`super::quality`] then asks for more.
pub const MIN_SCORE: f32 = 0.5;
/// What overlaps a face so much is taken for this face: half of each, as detections are usually matched (PASCAL VOC).
const MIN_NEAR_IOU: f32 = 0.5;
/// Small pictures are enlarged at most so much: more shows no more.
const MAX_ENLARGEMENT: f32 = 2.0;

/// A face that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    pub bbox: Rect,
    pub landmarks: Landmarks,
    /// The detector's certainty, from [`MIN_SCORE`] to 1.
    pub score: f32,
}

/// The faces of one picture, the most certain first.
pub type Detections = heapless::Vec<Detection, MAX_FACES>;

/// The face that a portrait is of: large and near the middle, area − 2 · distance² (InsightFace's rule).
///
/// `None` where there is none. At the door another rule holds: who stands near it is not always in the middle.
pub fn principal(faces: &[Detection], width: usize, height: usize) -> Option<&Detection> {
    let prominence = |face: &Detection| {
        let [x, y] = face.bbox.centre();
        let (dx, dy) = (x - width as f32 / 2.0, y - height as f32 / 2.0);
        face.bbox.area() - 2.0 * (dx * dx + dy * dy)
    };
    faces.iter().max_by(|a, b| prominence(a).total_cmp(&prominence(b)))
}

/// The longest side of a [`Canvas`], in pixels: beyond it a frame takes longer than a visit.
pub const MAX_CANVAS: usize = 2048;

/// The size in pixels of what a detector is shown; multiples of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
}

impl Canvas {
    /// What photos of any shape are shown in: a face from about a twentieth of the longer side is found.
    pub const PHOTO: Self = Self { width: 320, height: 320 };

    /// The smallest canvas whose longer side is `longer` (at most [`MAX_CANVAS`]) and that holds pictures of this
    /// shape.
    pub fn for_pictures(width: usize, height: usize, longer: usize) -> Self {
        let longer = longer.clamp(32, MAX_CANVAS);
        let (w, h) = (width.max(1), height.max(1));
        let side = |side: usize| (longer * side).div_ceil(w.max(h)).next_multiple_of(32).clamp(32, MAX_CANVAS);
        Self { width: side(w), height: side(h) }
    }

    pub fn square(side: usize) -> Self {
        Self::for_pictures(1, 1, side)
    }

    pub fn width(self) -> usize {
        self.width
    }
    pub fn height(self) -> usize {
        self.height
    }
}

/// A detector, ready for a canvas of one size.
pub struct Detector {
    spec: ModelSpec,
    network: PictureNetwork,
    shown: RgbImage,
    sampler: Sampler,
    candidates: Vec<Detection>,
}

impl Detector {
    /// # Errors
    /// The file is no detector, is malformed, or has other outputs than its manifest entry promises.
    pub fn load(file: &ModelFile, canvas: Canvas) -> Result<Self, InferError> {
        let spec = file.spec.clone();
        let Canvas { width, height } = match spec.input.resizable {
            true => canvas,
            false => Canvas { width: spec.input.width, height: spec.input.height },
        };
        let network = match spec.decode {
            Decode::Yunet => PictureNetwork::load(file, width, height, &decode::yunet_outputs(width, height)),
            Decode::Scrfd => PictureNetwork::load(file, width, height, &decode::scrfd_outputs(width, height)),
            _ => {
                let reason = format!("it is a network for {}, not for finding faces", spec.kind());
                Err(InferError::Malformed { model: spec.name.clone(), reason })
            }
        }?;
        let shown = RgbImage::new(width, height);
        // Every anchor of every map might be a candidate; more there can't be.
        let candidates = Vec::with_capacity(2 * 21 * width * height / 1024);
        Ok(Self { spec, network, shown, sampler: Sampler::default(), candidates })
    }

    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The network's layers in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        self.network.layers()
    }

    /// What the network is shown; a network that isn't resizable has its own.
    pub fn canvas(&self) -> Canvas {
        Canvas { width: self.shown.width(), height: self.shown.height() }
    }

    /// The faces in a picture of any size: it is fitted into the canvas, its shape kept.
    ///
    /// # Errors
    /// The network failed or gave something that isn't a number.
    pub fn detect(&mut self, image: &RgbImage) -> Result<Detections, InferError> {
        self.detect_through(image, &self.fit(image))
    }

    /// The faces in what `to_source` shows of a picture, in the picture's own coordinates.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn detect_through(&mut self, image: &RgbImage, to_source: &Affine) -> Result<Detections, InferError> {
        self.find_candidates(image, to_source, MIN_SCORE)?;
        let mut faces = decode::merge(&mut self.candidates);
        faces.iter_mut().for_each(|face| *face = carry_back(face, to_source));
        Ok(faces)
    }

    /// The highest score, 0 to 1, of all that might be the face at `near`: what overlaps it enough. 0 where nothing
    /// does.
    ///
    /// Unlike [`Detector::detect`] it tells of faces below [`MIN_SCORE`] too.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn score_near(&mut self, image: &RgbImage, near: &Rect) -> Result<f32, InferError> {
        let to_source = self.fit(image);
        self.find_candidates(image, &to_source, 0.0)?;
        let same = self.candidates.iter().map(|face| carry_back(face, &to_source));
        let best = same.filter(|face| face.bbox.iou(near) >= MIN_NEAR_IOU).fold(0.0, |best, face| face.score.max(best));
        self.candidates.clear();
        Ok(best)
    }

    /// Fills the candidates with all whose score reaches `min_score`.
    fn find_candidates(&mut self, image: &RgbImage, to_source: &Affine, min_score: f32) -> Result<(), InferError> {
        let maps = self.show(image, to_source)?;
        match self.spec.decode {
            Decode::Scrfd => decode::scrfd(&maps, self.shown.width(), min_score, &mut self.candidates),
            _ => decode::yunet(&maps, self.shown.width(), min_score, &mut self.candidates),
        }
        Ok(())
    }

    /// What the network is shown of a picture, and its raw answer: to compare with another runtime.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn maps(&mut self, image: &RgbImage) -> Result<(&RgbImage, Outputs), InferError> {
        let maps = self.show(image, &self.fit(image))?;
        Ok((&self.shown, maps))
    }

    fn show(&mut self, image: &RgbImage, to_source: &Affine) -> Result<Outputs, InferError> {
        self.sampler.sample(image, to_source, &mut self.shown);
        self.network.run(&self.shown)
    }

    /// The whole picture in the canvas, its shape kept, at the top left.
    fn fit(&self, image: &RgbImage) -> Affine {
        let step = |source: usize, shown: usize| source as f32 / shown as f32;
        let step = step(image.width(), self.shown.width()).max(step(image.height(), self.shown.height()));
        let step = step.max(1.0 / MAX_ENLARGEMENT);
        let middle = (step - 1.0) / 2.0;
        Affine::new([step, 0.0, middle, 0.0, step, middle]).expect("sides are at most MAX_SIDE")
    }
}

/// From the canvas to the picture. A mirrored view swaps the sides of a face.
fn carry_back(face: &Detection, to_source: &Affine) -> Detection {
    let Rect { left, top, width, height } = face.bbox;
    let [[ax, ay], [bx, by]] = [[left, top], [left + width, top + height]].map(|corner| to_source.apply(corner));
    let bbox = Rect { left: ax.min(bx), top: ay.min(by), width: (bx - ax).abs(), height: (by - ay).abs() };
    let landmarks = face.landmarks.map(|point| to_source.apply(point));
    let landmarks = if to_source.coefficients()[0] < 0.0 { landmarks.swap_sides() } else { landmarks };
    Detection { bbox, landmarks, score: face.score }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::geometry::square;

    fn face(left: f32, top: f32, side: f32) -> Detection {
        let bbox = Rect { left, top, width: side, height: side };
        Detection { bbox, landmarks: Landmarks::default(), score: 1.0 }
    }

    #[test]
    fn the_principal_face_is_large_or_near_the_middle() {
        let (middle, corner, giant) = (face(45.0, 45.0, 10.0), face(0.0, 0.0, 20.0), face(0.0, 0.0, 70.0));
        assert_eq!(principal(&[corner, middle], 100, 100), Some(&middle));
        assert_eq!(principal(&[giant, middle], 100, 100), Some(&giant));
        assert_eq!(principal(&[], 100, 100), None);
    }

    #[test]
    fn a_canvas_has_the_shape_of_the_pictures_on_the_grid_of_the_network() {
        let canvas = |w, h| (Canvas::for_pictures(w, h, 320).width(), Canvas::for_pictures(w, h, 320).height());
        assert_eq!(canvas(640, 480), (320, 256));
        assert_eq!(canvas(1280, 720), (320, 192));
        assert_eq!(canvas(250, 250), (320, 320));
        assert_eq!(canvas(8192, 1), (320, 32));
        assert_eq!(canvas(0, 0), (320, 320));
    }

    #[test]
    fn a_face_in_a_mirrored_view_comes_back_with_its_sides_swapped() {
        let mut seen = face(2.0, 3.0, 4.0);
        seen.landmarks.0[0] = [3.0, 4.0];
        let there = carry_back(&seen, &square([7.5, 7.5], 16.0, 16, true).unwrap());
        assert_eq!(there.bbox, Rect { left: 9.0, top: 3.0, width: 4.0, height: 4.0 });
        assert_eq!(there.landmarks.0[1], [12.0, 4.0]);
    }
}
