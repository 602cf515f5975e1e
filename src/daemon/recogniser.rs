//! Perception with networks: the frame's nearest face, aligned, encoded, and searched for.

use crate::face::convert::to_rgb;
use crate::face::detect::principal;
use crate::face::jpeg::MjpegDecoder;
use crate::face::pipeline::Faces;
use crate::face::quality::{Limits, check};
use crate::frame::{Frame, RgbImage};
use crate::gallery::{Index, Scratch};
use crate::gate::{Face, PoorMeasure};
use crate::infer::InferError;
use crate::liveness::camera::{self, Eyes};
use crate::person::PersonId;
use crate::ports::{Perception, PerceptionError};

/// Everything that one frame needs, reused for the next: once warm, nothing here allocates.
pub struct Recogniser {
    faces: Faces,
    limits: Limits,
    jpeg: MjpegDecoder,
    image: RgbImage,
    scratch: Scratch,
    /// What liveness takes from each frame.
    eyes: Option<Eyes>,
}

impl Recogniser {
    pub fn new(faces: Faces, limits: Limits) -> Self {
        let (jpeg, image, scratch) = Default::default();
        Self { faces, limits, jpeg, image, scratch, eyes: None }
    }

    /// Tells liveness what every frame shows, also of a face that is too poor to be recognised.
    #[must_use]
    pub fn watched_by(self, eyes: Eyes) -> Self {
        Self { eyes: Some(eyes), ..self }
    }
}

impl Perception for Recogniser {
    fn perceive(
        &mut self,
        frame: &Frame<'_>,
        gallery: &Index,
        expected: Option<PersonId>,
    ) -> Result<Face, PerceptionError> {
        let network = |error: InferError| PerceptionError::Network(error.to_string());
        let at = frame.captured_at();
        to_rgb(frame, &mut self.image, &mut self.jpeg).map_err(|error| PerceptionError::Frame(error.to_string()))?;
        let found = self.faces.detector.detect(&self.image).map_err(network)?;
        let Some(nearest) = principal(&found, self.image.width(), self.image.height()) else {
            self.eyes.iter_mut().for_each(|eyes| eyes.nobody(at));
            return Ok(Face::Absent);
        };
        let landmarks = self.faces.refine(&self.image, nearest).map_err(network)?;
        if self.faces.align(&self.image, &landmarks).is_none() {
            self.eyes.iter_mut().for_each(|eyes| eyes.nobody(at));
            return Ok(Face::Poor(PoorMeasure::Pose));
        }
        let quality = self.faces.quality(nearest, &landmarks);
        let encoding = match check(&quality, &self.limits) {
            Ok(()) => Ok(self.faces.embed().map_err(network)?),
            Err(measure) => Err(measure),
        };
        if let Some(eyes) = &mut self.eyes {
            eyes.look(&camera::Seen {
                at,
                image: &self.image,
                found: nearest,
                landmarks: &landmarks,
                aligned: self.faces.aligned(),
                quality: &quality,
                encoding: encoding.as_ref().ok(),
            });
        }
        Ok(match encoding {
            Ok(encoding) => Face::Seen(gallery.seen(&encoding, expected, &mut self.scratch)),
            Err(measure) => Face::Poor(measure),
        })
    }
}
