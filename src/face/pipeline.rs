//! The whole chain from a picture to encodings, with everything it reuses.

use super::align::AlignedFace;
use super::detect::{Canvas, Detection, Detector, principal};
use super::encode::Encoder;
use super::encoding::Encoding;
use super::geometry::{Landmarks, Sampler};
use super::landmarks::Refiner;
use super::quality::Quality;
use crate::frame::RgbImage;
use crate::infer::network::Layer;
use crate::infer::{InferError, ModelFile};

/// Which networks, and how much care.
#[derive(Debug, Clone)]
pub struct ModelChoice {
    pub detector: ModelFile,
    pub encoder: ModelFile,
    /// What the detector is shown: [`Canvas::PHOTO`], or one of the camera's shape.
    pub canvas: Canvas,
    pub landmarks: Placing,
}

/// What places the points that a face is aligned by, after the detector has.
#[derive(Debug, Clone)]
pub enum Placing {
    /// Nothing: the detector's points have to do.
    Detector,
    /// The detector once more, closer.
    SecondLook,
    /// A network made for it.
    Network(Box<ModelFile>),
}

/// A face with all that is known of it.
#[derive(Debug, Clone)]
pub struct Portrait {
    pub found: Detection,
    /// The points it was aligned by.
    pub landmarks: Landmarks,
    pub quality: Quality,
    pub encoding: Encoding,
}

/// What a face is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One that comes to the door.
    Probe,
    /// One that the gallery keeps: the mean of its encoding and its mirror image's.
    ///
    /// Both are of one person, so that what differs between the two is the network's error, and the mean has less of
    /// it. It takes a second run of the network, for which enrolment has the time and a door hasn't.
    Template,
}

/// Detector, second stage and encoder, and their scratch.
pub struct Faces {
    pub detector: Detector,
    refiner: Refiner,
    /// Encodings come from it, and templates name it.
    pub encoder: Encoder,
    sampler: Sampler,
    aligned: AlignedFace,
}

impl Faces {
    /// # Errors
    /// Whichever network isn't what the choice says, or can't run.
    pub fn load(choice: &ModelChoice) -> Result<Self, InferError> {
        Ok(Self {
            refiner: Refiner::load(&choice.landmarks, &choice.detector)?,
            detector: Detector::load(&choice.detector, choice.canvas)?,
            encoder: Encoder::load(&choice.encoder)?,
            sampler: Sampler::default(),
            aligned: AlignedFace::default(),
        })
    }

    /// The detector's layers, those of what places the points, if a network does, and the encoder's.
    pub fn layers(&self) -> [Vec<Layer>; 3] {
        [self.detector.layers(), self.refiner.layers(), self.encoder.layers()]
    }

    /// The points to align by: the second stage's where there is one and it sees the face, the detector's otherwise.
    ///
    /// # Errors
    /// The network failed; see [`InferError`].
    pub fn refine(&mut self, image: &RgbImage, face: &Detection) -> Result<Landmarks, InferError> {
        Ok(self.refiner.refine(image, face)?.unwrap_or(face.landmarks))
    }

    /// Aligns a face; `None` where its points are those of no face.
    pub fn align(&mut self, image: &RgbImage, landmarks: &Landmarks) -> Option<&AlignedFace> {
        self.aligned.align(image, landmarks, &mut self.sampler).then_some(&self.aligned)
    }

    /// The face that [`Faces::align`] aligned last; black before the first.
    pub fn aligned(&self) -> &AlignedFace {
        &self.aligned
    }

    /// The quality of the face that was aligned last.
    pub fn quality(&self, found: &Detection, landmarks: &Landmarks) -> Quality {
        Quality::measure(found, landmarks, &self.aligned)
    }

    /// Encodes the face that was aligned last.
    ///
    /// # Errors
    /// The network failed; see [`InferError`].
    pub fn encode(&mut self) -> Result<Encoding, InferError> {
        self.encoder.encode(&self.aligned)
    }

    /// Encodes the face that was aligned last, as what it is to be.
    ///
    /// # Errors
    /// The network failed, or what it says of a face and of its mirror image cancels out.
    pub fn encode_as(&mut self, role: Role) -> Result<Encoding, InferError> {
        let encoding = self.encode()?;
        if role == Role::Probe {
            return Ok(encoding);
        }
        let mirrored = self.encoder.encode(&self.aligned.mirrored())?;
        Encoding::mean(&[encoding, mirrored]).ok_or_else(|| InferError::Failed {
            model: self.encoder.spec().name.clone(),
            reason: "its encodings of a face and of the mirror image point opposite ways".into(),
        })
    }

    /// All of it for one face of a picture; `None` where the points are those of no face.
    ///
    /// # Errors
    /// A network failed; see [`InferError`].
    pub fn portray(&mut self, image: &RgbImage, found: &Detection, role: Role) -> Result<Option<Portrait>, InferError> {
        let landmarks = self.refine(image, found)?;
        if self.align(image, &landmarks).is_none() {
            return Ok(None);
        }
        let quality = self.quality(found, &landmarks);
        Ok(Some(Portrait { found: *found, landmarks, quality, encoding: self.encode_as(role)? }))
    }

    /// The face that a photo is of (see [`principal`]); `None` where there is none.
    ///
    /// # Errors
    /// A network failed; see [`InferError`].
    pub fn portray_principal(&mut self, image: &RgbImage, role: Role) -> Result<Option<Portrait>, InferError> {
        let faces = self.detector.detect(image)?;
        match principal(&faces, image.width(), image.height()) {
            Some(face) => self.portray(image, face, role),
            None => Ok(None),
        }
    }
}
