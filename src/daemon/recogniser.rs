//! Perception with networks: the frame's nearest face, aligned, encoded, and searched for.

use crate::face::convert::to_rgb;
use crate::face::detect::principal;
use crate::face::jpeg::MjpegDecoder;
use crate::face::pipeline::Faces;
use crate::face::quality::{Limits, check};
use crate::frame::{Frame, RgbImage};
use crate::gallery::{Index, Scratch};
use crate::gate::{Candidate, Face, PoorMeasure, Seen};
use crate::infer::InferError;
use crate::person::PersonId;
use crate::ports::{Perception, PerceptionError};

/// Everything that one frame needs, reused for the next: once warm, nothing here allocates.
pub struct Recogniser {
    faces: Faces,
    limits: Limits,
    jpeg: MjpegDecoder,
    image: RgbImage,
    scratch: Scratch,
}

impl Recogniser {
    pub fn new(faces: Faces, limits: Limits) -> Self {
        let (jpeg, image, scratch) = Default::default();
        Self { faces, limits, jpeg, image, scratch }
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
        to_rgb(frame, &mut self.image, &mut self.jpeg).map_err(|error| PerceptionError::Frame(error.to_string()))?;
        let found = self.faces.detect(&self.image).map_err(network)?;
        let Some(nearest) = principal(&found, self.image.width(), self.image.height()) else {
            return Ok(Face::Absent);
        };
        let landmarks = self.faces.refine(&self.image, nearest).map_err(network)?;
        if self.faces.align(&self.image, &landmarks).is_none() {
            return Ok(Face::Poor(PoorMeasure::Pose));
        }
        if let Err(measure) = check(&self.faces.quality(nearest, &landmarks), &self.limits) {
            return Ok(Face::Poor(measure));
        }
        let encoding = self.faces.embed().map_err(network)?;
        let ranked = gallery.search(&encoding, &mut self.scratch);
        Ok(Face::Seen(Seen {
            best: ranked.best.map(Candidate::from),
            runner_up: ranked.runner_up.map(Candidate::from),
            claimed: expected.and_then(|person| {
                gallery.verify(person, &encoding).map(|similarity| Candidate { person, similarity })
            }),
        }))
    }
}
