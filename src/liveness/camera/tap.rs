//! Between the recogniser and whoever keeps the series: what every frame shows is told, whether its face is good enough
//! to be recognised or not.

use super::{FaceFrame, FaceSample, FaceTracker, TrackUpdate};
use crate::liveness::antispoof::Antispoof;
use crate::liveness::{Channel, Sample};
use crate::time::{Duration, Instant};

/// Told of every frame, on the thread that looks at pictures: it must not wait.
pub type Tell = Box<dyn FnMut(&TrackUpdate) + Send>;

/// Single frames are judged so often: their networks cost more than all else, and the channel is held for longer.
const ANTISPOOF_EVERY: Duration = Duration::from_millis(200);

/// A tracker, networks for single frames, and who is told.
pub struct CameraTap {
    tracker: FaceTracker,
    antispoof: Option<Antispoof>,
    judged_at: Option<Instant>,
    has_failed: bool,
    tell: Tell,
}

impl CameraTap {
    pub fn new(antispoof: Option<Antispoof>, tell: Tell) -> Self {
        Self { tracker: FaceTracker::default(), antispoof, judged_at: None, has_failed: false, tell }
    }

    /// A frame without a face that can be aligned.
    pub fn nobody(&mut self, at: Instant) {
        let update = self.tracker.nobody(at);
        (self.tell)(&update);
    }

    /// A frame with one.
    pub fn update(&mut self, frame: &FaceFrame) {
        let mut update = self.tracker.update(frame);
        match &mut update {
            TrackUpdate::Another(face) => {
                self.judged_at = None;
                self.judge(frame, face);
            }
            TrackUpdate::Same(face) => self.judge(frame, face),
            TrackUpdate::Missing | TrackUpdate::Gone => {}
        }
        (self.tell)(&update);
    }

    /// A network that fails gives no sample, so that its channel becomes invalid; that is told once.
    fn judge(&mut self, frame: &FaceFrame, face: &mut FaceSample) {
        let Some(antispoof) = &mut self.antispoof else { return };
        let is_due = |last| frame.at.checked_since(last).is_none_or(|since| since >= ANTISPOOF_EVERY);
        if !self.judged_at.is_none_or(is_due) {
            return;
        }
        self.judged_at = Some(frame.at);
        match antispoof.judge(frame.image, frame.found) {
            Ok(Some(value)) => {
                self.has_failed = false;
                // There is room for it beside the camera's channels.
                let _fits = face.samples.push(Sample { at: frame.at, channel: Channel::Antispoof, value });
            }
            Ok(None) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    log::error!("liveness has no antispoof channel: {error}");
                }
            }
        }
    }
}
