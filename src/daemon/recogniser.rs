//! Perception with networks: the nearest face, kept from frame to frame, aligned, encoded, and searched for.

use crate::face::convert::to_rgb;
use crate::face::detect::Detection;
use crate::face::jpeg::MjpegDecoder;
use crate::face::pipeline::Faces;
use crate::face::quality::{Limits, check};
use crate::frame::{Frame, RgbImage};
use crate::gallery::{Index, Scratch};
use crate::gate::{Face, PoorMeasure};
use crate::infer::InferError;
use crate::liveness::camera::{self, CameraTap, Spot};
use crate::person::PersonId;
use crate::ports::{Perception, PerceptionError};
use crate::time::Instant;

/// Another face must be so many times as large as the one that was looked at: two people side by side would else take
/// turns, and neither be there for long enough to be called alive.
const NEARER: f32 = 1.5;

/// Everything that one frame needs, reused for the next: once warm, nothing here allocates.
pub struct Recogniser {
    faces: Faces,
    limits: Limits,
    jpeg: MjpegDecoder,
    image: RgbImage,
    scratch: Scratch,
    /// What liveness takes from each frame.
    tap: Option<CameraTap>,
    /// The face that was looked at last.
    last: Option<Spot>,
}

impl Recogniser {
    pub fn new(faces: Faces, limits: Limits) -> Self {
        let (jpeg, image, scratch) = Default::default();
        Self { faces, limits, jpeg, image, scratch, tap: None, last: None }
    }

    /// Tells liveness what every frame shows, also of a face that is too poor to be recognised.
    #[must_use]
    pub fn tapped_by(self, tap: CameraTap) -> Self {
        Self { tap: Some(tap), ..self }
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
        let Some(nearest) = nearest(&found, at, self.last.as_ref()) else {
            self.tap.iter_mut().for_each(|tap| tap.nobody(at));
            return Ok(Face::Absent);
        };
        self.last = Some(Spot::of(at, &nearest.landmarks));
        let landmarks = self.faces.refine(&self.image, nearest).map_err(network)?;
        if self.faces.align(&self.image, &landmarks).is_none() {
            self.tap.iter_mut().for_each(|tap| tap.nobody(at));
            return Ok(Face::Poor(PoorMeasure::Pose));
        }
        let quality = self.faces.quality(nearest, &landmarks);
        let encoding = match check(&quality, &self.limits) {
            Ok(()) => Ok(self.faces.encode().map_err(network)?),
            Err(measure) => Err(measure),
        };
        if let Some(tap) = &mut self.tap {
            tap.update(&camera::FaceFrame {
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

/// The face that is looked at: the largest, which stands before the door wherever in the picture that is. The one that
/// was looked at last stays it as long as it is there and none is [`NEARER`].
fn nearest<'a>(found: &'a [Detection], at: Instant, last: Option<&Spot>) -> Option<&'a Detection> {
    let area = |face: &Detection| face.bbox.area();
    let largest = found.iter().max_by(|a, b| area(a).total_cmp(&area(b)))?;
    let spot = |face: &Detection| Spot::of(at, &face.landmarks);
    let same = last.and_then(|last| {
        let moved = |face: &Detection| last.moved(&spot(face));
        found.iter().filter(|face| last.reaches(&spot(face))).min_by(|a, b| moved(a).total_cmp(&moved(b)))
    });
    same.filter(|same| area(largest) < NEARER * area(same)).or(Some(largest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::{Landmarks, Rect};

    /// Of this size about a middle, its eyes where they usually are in a box.
    fn face([width, height]: [f32; 2], [x, y]: [f32; 2]) -> Detection {
        let bbox = Rect { left: x - width / 2.0, top: y - height / 2.0, width, height };
        let (eyes, half) = (y - height * 0.1, width * 0.24);
        let points = [[x - half, eyes], [x + half, eyes], [x, y], [x - half, y + half], [x + half, y + half]];
        Detection { bbox, landmarks: Landmarks(points), score: 0.9 }
    }

    /// Where the middle lies of the face that is looked at in each of these frames, 30 a second.
    fn looked_at(frames: &[&[Detection]]) -> Vec<f32> {
        let mut last = None;
        let looks = (0..).zip(frames).filter_map(|(i, found)| {
            let at = Instant::from_millis(1000 + 33 * i);
            let face = nearest(found, at, last.as_ref())?;
            last = Some(Spot::of(at, &face.landmarks));
            Some(face.bbox.centre()[0])
        });
        looks.collect()
    }

    #[test]
    fn a_near_face_beside_the_middle_goes_before_a_far_one_in_it() {
        let (near, far) = (face([92.0, 119.0], [450.0, 150.0]), face([52.0, 68.0], [320.0, 240.0]));
        assert_eq!(looked_at(&[&[near, far], &[far, near]]), [450.0; 2]);
        assert_eq!(looked_at(&[&[]]), [0.0; 0]);
    }

    #[test]
    fn of_two_people_side_by_side_one_stays_whoever_looks_larger_in_a_frame() {
        let left = |size: f32| face([90.0 * size, 115.0 * size], [200.0, 240.0]);
        let right = |size: f32| face([90.0 * size, 115.0 * size], [440.0, 240.0]);
        let frames =
            [[left(1.01), right(1.0)], [right(1.01), left(1.0)], [left(1.0), right(1.01)], [left(1.01), right(1.0)]];
        let frames: Vec<_> = frames.iter().map(|frame| &frame[..]).collect();
        assert_eq!(looked_at(&frames), [200.0; 4]);
        // 1.22 of each side are 1.49 of the area.
        assert_eq!(looked_at(&[&[left(1.0)], &[left(1.0), right(1.22)]]), [200.0; 2]);
        assert_eq!(looked_at(&[&[left(1.0)], &[left(1.0), right(1.23)]]), [200.0, 440.0]);
    }

    #[test]
    fn a_face_that_went_is_not_clung_to() {
        let (left, right) = (face([90.0, 115.0], [200.0, 240.0]), face([80.0, 102.0], [440.0, 240.0]));
        assert_eq!(looked_at(&[&[left, right], &[right], &[left, right]]), [200.0, 440.0, 440.0]);
        let (one, both) = ([right], [left, right]);
        let mut frames = vec![&[][..]; 15];
        (frames[0], frames[14]) = (&one, &both);
        assert_eq!(looked_at(&frames), [440.0, 200.0], "who comes back after 0.4 s is no longer the one");
    }
}
