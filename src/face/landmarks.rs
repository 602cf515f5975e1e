//! The second stage: better landmarks from a closer look at one face.
//!
//! Alignment is worth as much as the embedder. A detector that has found a face in the whole picture places its points
//! coarsely; a crop in which the face has the size that the network places points best at costs a fraction of the first
//! look. [`SecondLook`] does this with the detector itself. A landmark network of its own is another [`Refine`].

#![forbid(unsafe_code)]

use super::detect::{Canvas, Detection, Detector};
use super::geometry::{Landmarks, square};
use crate::frame::RgbImage;
use crate::infer::{InferError, ModelFile};

/// Something that places a face's points better than the detector did.
pub trait Refine: Send {
    /// The points of `face`, in the picture's coordinates; `None` where nothing better is known than what `face` says.
    ///
    /// # Errors
    /// A network failed.
    fn refine(&mut self, image: &RgbImage, face: &Detection) -> Result<Option<Landmarks>, InferError>;
}

/// The side of the second look's canvas, in pixels.
pub const SIDE: usize = 128;
/// How many times the face's longer side it shows: YuNet then sees a face of 80 pixels.
const ZOOM: f32 = 1.6;
/// A face that doesn't overlap so much with the one that was found is somebody else's.
const SAME_FACE: f32 = 0.3;

/// The detector once more, on a crop around the face and on its mirror image.
///
/// On LFW the mean with what was seen first is 6.6 % of the distance between the eyes away from SCRFD's points, one look of
/// YuNet 7.8 %; it costs a third of the first look (docs/measurements.md).
pub struct SecondLook(Detector);

impl SecondLook {
    /// # Errors
    /// As [`Detector::load`].
    pub fn load(file: &ModelFile) -> Result<Self, InferError> {
        Detector::load(file, Canvas::square(SIDE)).map(Self)
    }
}

impl Refine for SecondLook {
    fn refine(&mut self, image: &RgbImage, face: &Detection) -> Result<Option<Landmarks>, InferError> {
        let Self(detector) = self;
        let (mut mean, mut votes) = (face.landmarks, 1.0);
        let shown = ZOOM * face.bbox.width.max(face.bbox.height);
        for mirror in [false, true] {
            let Some(view) = square(face.bbox.centre(), shown, detector.canvas().width(), mirror) else { continue };
            let seen = detector.detect_through(image, &view)?;
            let overlap = |other: &&Detection| other.bbox.iou(&face.bbox);
            let same = seen.iter().max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
            if let Some(same) = same.filter(|other| overlap(other) >= SAME_FACE) {
                votes += 1.0;
                mean = mean.blend(&same.landmarks, 1.0 / votes);
            }
        }
        Ok((votes > 1.0).then_some(mean))
    }
}
