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

/// The view of one second look: the side of its canvas, and how many times the face's longer side that shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    pub side: usize,
    pub zoom: f32,
}

/// The detector once more, on crops around the face and on their mirror images, and the mean of what it says.
pub struct SecondLook {
    views: Vec<(Detector, f32)>,
}

/// A second look that doesn't overlap this much with the first saw somebody else.
const SAME_FACE: f32 = 0.3;

impl SecondLook {
    /// The views of the default, measured on LFW against YuNet in one look (docs/faces.md).
    pub const VIEWS: [View; 2] = [View { side: 128, zoom: 1.6 }, View { side: 160, zoom: 2.0 }];

    /// # Errors
    /// As [`Detector::load`].
    pub fn load(file: &ModelFile, views: &[View]) -> Result<Self, InferError> {
        let load = |view: &View| Ok((Detector::load(file, Canvas::square(view.side))?, view.zoom));
        Ok(Self { views: views.iter().map(load).collect::<Result<_, InferError>>()? })
    }
}

impl Refine for SecondLook {
    fn refine(&mut self, image: &RgbImage, face: &Detection) -> Result<Option<Landmarks>, InferError> {
        let longer = face.bbox.width.max(face.bbox.height);
        let mut mean: Option<Landmarks> = None;
        let mut seen = 0.0;
        for (detector, zoom) in &mut self.views {
            for mirror in [false, true] {
                let side = detector.canvas().width();
                let Some(view) = square(face.bbox.centre(), longer * *zoom, side, mirror) else { continue };
                let faces = detector.detect_through(image, &view)?;
                let overlap = |d: &&Detection| d.bbox.iou(&face.bbox);
                let same = faces.iter().max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
                if let Some(same) = same.filter(|d| overlap(d) >= SAME_FACE) {
                    seen += 1.0;
                    mean = Some(mean.map_or(same.landmarks, |m| m.blend(&same.landmarks, 1.0 / seen)));
                }
            }
        }
        Ok(mean)
    }
}
