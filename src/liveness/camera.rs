//! What liveness takes from the camera: of each frame with a face the channels of the table, and where the face is.
//!
//! ```text
//! frame, points, aligned face ─▶ FaceTracker ─▶ TrackUpdate: the same face with its samples, another one, or nobody
//! ```
//!
//! The time series of one face must never be continued by another. A face that is lost, jumps, changes its size at once
//! or encodes as somebody else is [`TrackUpdate::Another`], and whoever keeps the series forgets them.

mod moire;
mod motion;
mod patches;
mod shape;
mod tap;

use super::{Channel, Place, Sample};
use crate::face::{AlignedFace, Detection, Encoding, Landmarks, Quality};
use crate::frame::RgbImage;
use crate::time::{Duration, Instant};
use moire::Moire;
use motion::Motion;
use patches::Patches;
use shape::parallax;
pub use tap::{CameraTap, Tell};

/// The channels that a frame gives at most: those of the camera, and of a network for single frames.
pub const MAX_SAMPLES: usize = 18;
/// A face that isn't seen for so long has gone.
pub const LOST_AFTER: Duration = Duration::from_millis(400);
/// The middle of the eyes moves at most so many eye distances at once, for the points' own noise, and so many a second.
const MAX_JUMP: f32 = 0.5;
const MAX_SPEED: f32 = 6.0;
/// The eyes' distance grows or shrinks at most by e to the power of so much at once, and a second: who walks up at 1.5
/// m/s from a metre is within it.
const MAX_ZOOM: f32 = 0.2;
const MAX_ZOOM_SPEED: f32 = 1.5;
/// Two frames of one face are more alike than this. Of two strangers one pair in six thousand is
/// (models/calibration/encoder.toml).
const MIN_SIMILARITY: f32 = 0.4;

/// A frame with a face, and what the recogniser made of it.
#[derive(Debug, Clone, Copy)]
pub struct FaceFrame<'a> {
    /// When the driver filled the buffer.
    pub at: Instant,
    pub image: &'a RgbImage,
    pub found: &'a Detection,
    /// The points that it was aligned by.
    pub landmarks: &'a Landmarks,
    pub aligned: &'a AlignedFace,
    pub quality: &'a Quality,
    /// `None` of a face that was too poor to be encoded.
    pub encoding: Option<&'a Encoding>,
}

/// What one frame tells of one face.
#[derive(Debug, Clone, PartialEq)]
pub struct FaceSample {
    pub place: Place,
    /// The distance between the eyes, in pixels.
    pub size_px: f32,
    /// In the order of the table. A channel that this frame can't tell (motion in the first, moiré of a small face,
    /// skin in a grey one) has none.
    pub samples: heapless::Vec<Sample, MAX_SAMPLES>,
}

/// What a frame shows.
#[derive(Debug, Clone, PartialEq)]
pub enum TrackUpdate {
    /// No face in this frame, but one a moment ago: nothing is over yet.
    Missing,
    /// Nobody is there, or no longer: the series must forget. It is told again with each such frame.
    Gone,
    /// A face that doesn't continue the last one: the series must forget, and begin with this.
    Another(FaceSample),
    /// The face of the frame before.
    Same(FaceSample),
}

impl TrackUpdate {
    pub fn face(&self) -> Option<&FaceSample> {
        match self {
            Self::Missing | Self::Gone => None,
            Self::Another(face) | Self::Same(face) => Some(face),
        }
    }

    /// Whether what is known of the face before must be forgotten.
    pub const fn forgets(&self) -> bool {
        matches!(self, Self::Gone | Self::Another(_))
    }
}

/// Where a face's eyes are in a frame, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    pub at: Instant,
    pub middle: [f32; 2],
    pub eye_gap: f32,
}

impl Spot {
    pub fn of(at: Instant, landmarks: &Landmarks) -> Self {
        let [left, right, ..] = landmarks.0;
        let middle = [(left[0] + right[0]) / 2.0, (left[1] + right[1]) / 2.0];
        Self { at, middle, eye_gap: landmarks.eye_distance() }
    }

    /// Whether a face that is here can be there next. NaN can't.
    pub fn reaches(&self, next: &Self) -> bool {
        let Some(gap) = next.at.checked_since(self.at).filter(|gap| *gap <= LOST_AFTER) else { return false };
        let (gap, smaller) = (gap.as_secs_f32(), self.eye_gap.min(next.eye_gap));
        let zoomed = (next.eye_gap / self.eye_gap).ln().abs();
        self.moved(next) / smaller <= MAX_JUMP + MAX_SPEED * gap && zoomed <= MAX_ZOOM + MAX_ZOOM_SPEED * gap
    }

    /// Pixels from here to there.
    pub fn moved(&self, next: &Self) -> f32 {
        (next.middle[0] - self.middle[0]).hypot(next.middle[1] - self.middle[1])
    }
}

/// The last face that was seen.
struct Last {
    spot: Spot,
    /// Of the last frame that was encoded.
    encoding: Option<Encoding>,
}

/// Follows one face. Its memory is taken once; a frame allocates nothing.
#[derive(Default)]
pub struct FaceTracker {
    last: Option<Last>,
    patches: Box<Patches>,
    motion: Box<Motion>,
    moire: Box<Moire>,
}

impl FaceTracker {
    /// A frame without a face, or with one whose points are those of no face.
    pub fn nobody(&mut self, at: Instant) -> TrackUpdate {
        self.motion.forget();
        self.patches.forget();
        let is_recent = |last: &Last| at.checked_since(last.spot.at).is_some_and(|gap| gap <= LOST_AFTER);
        if self.last.as_ref().is_some_and(is_recent) {
            return TrackUpdate::Missing;
        }
        self.last = None;
        TrackUpdate::Gone
    }

    /// A frame with a face.
    pub fn update(&mut self, frame: &FaceFrame) -> TrackUpdate {
        let spot = Spot::of(frame.at, frame.landmarks);
        let is_same = self.last.as_ref().is_some_and(|last| last.continues(frame, &spot));
        let since = self.last.as_ref().and_then(|last| frame.at.checked_since(last.spot.at));
        if !is_same {
            self.motion.forget();
            self.patches.forget();
        }
        let kept = self.last.take().and_then(|last| last.encoding).filter(|_| is_same);
        let encoding = frame.encoding.cloned().or(kept);
        self.last = Some(Last { spot, encoding });
        let place = place(frame, &spot);
        let samples = self.measure(frame, &place, since.filter(|_| is_same));
        let face = FaceSample { place, size_px: frame.quality.size_px, samples };
        if is_same { TrackUpdate::Same(face) } else { TrackUpdate::Another(face) }
    }

    fn measure(
        &mut self,
        frame: &FaceFrame,
        place: &Place,
        since: Option<Duration>,
    ) -> heapless::Vec<Sample, MAX_SAMPLES> {
        use Channel as C;
        let Quality { yaw, pitch, roll, sharpness, luminance, .. } = *frame.quality;
        let [parallax_x, parallax_y] = parallax(frame.landmarks).map_or([None; 2], |nose| nose.map(Some));
        let [r, g, b] = patches::skin(frame.aligned).map_or([None; 3], |skin| skin.map(Some));
        self.patches.update(frame.aligned);
        let background = self.motion.update(frame.image, &frame.found.bbox);
        let is_next = since.is_some_and(|since| since <= motion::MAX_INTERVAL);
        let told = [
            (C::FaceSize, Some(place.eye_gap)),
            (C::FaceX, Some(place.x)),
            (C::FaceY, Some(place.y)),
            (C::Yaw, Some(yaw)),
            (C::Pitch, Some(pitch)),
            (C::RollDeg, Some(roll)),
            (C::ParallaxX, parallax_x),
            (C::ParallaxY, parallax_y),
            (C::EyeOpenness, self.patches.eye_openness()),
            (C::SkinR, r),
            (C::SkinG, g),
            (C::SkinB, b),
            (C::FaceMotion, self.patches.motion().filter(|_| is_next)),
            (C::BackgroundMotion, background.filter(|_| is_next)),
            (C::Sharpness, Some(sharpness)),
            (C::MoireDb, self.moire.measure(frame.image, frame.landmarks)),
            (C::Luminance, Some(luminance)),
        ];
        let samples =
            told.into_iter().filter_map(|(channel, value)| Some(Sample { at: frame.at, channel, value: value? }));
        samples.collect()
    }
}

impl Last {
    /// Whether a face goes on from here.
    fn continues(&self, frame: &FaceFrame, spot: &Spot) -> bool {
        let is_alike = match (&self.encoding, frame.encoding) {
            (Some(before), Some(now)) => before.similarity(now).is_some_and(|s| s.get() >= MIN_SIMILARITY),
            _ => true,
        };
        self.spot.reaches(spot) && is_alike
    }
}

/// In shares of the frame's width from its middle, which lies between pixels where sides are even.
fn place(frame: &FaceFrame, &Spot { at, middle: [x, y], eye_gap }: &Spot) -> Place {
    let (width, height) = (frame.image.width() as f32, frame.image.height() as f32);
    let from_middle = |at: f32, side: f32| (at - (side - 1.0) / 2.0) / width;
    Place { at, x: from_middle(x, width), y: from_middle(y, height), eye_gap: eye_gap / width }
}

#[cfg(test)]
mod tests;
