//! What the gate says: one outcome an attempt, the reasons behind it, and the record that goes into the ledger.

use std::fmt;

use super::Candidate;
use crate::person::PersonId;
use crate::time::Wall;
use crate::units::Similarity;

named! {
    /// How an attempt, or anything else worth keeping, ended. The names are the ledger's and `--json`'s.
    Outcome {
        // An attempt ends in exactly one of these.
        Granted = "granted",
        NotRecognised = "not_recognised",
        Ambiguous = "ambiguous",
        Spoof = "spoof",
        LivenessInconclusive = "liveness_inconclusive",
        PoorQuality = "poor_quality",
        Expired = "expired",
        OutOfSchedule = "out_of_schedule",
        LockedOut = "locked_out",
        Fault = "fault",
        // The door's own events.
        Exit = "exit",
        ManualRelease = "manual_release",
        DoorForced = "door_forced",
        DoorHeldOpenSoon = "door_held_open_soon",
        DoorHeldOpen = "door_held_open",
        DoorClosed = "door_closed",
        FaultCleared = "fault_cleared",
        Started = "started",
        Stopped = "stopped",
        // What people did to the gallery.
        Enrolled = "enrolled",
        Renamed = "renamed",
        ExpiryChanged = "expiry_changed",
        ScheduleChanged = "schedule_changed",
        Erased = "erased",
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

named! {
    /// Which measure of a face was too poor to judge it by.
    PoorMeasure {
        Size = "too_small",
        Sharpness = "blurred",
        TooDark = "too_dark",
        TooBright = "too_bright",
        Pose = "turned_away",
        DetectorScore = "unclear",
    }
}

named! {
    /// Which part of the door does not work. While one stands, nobody is admitted by face.
    Fault {
        /// No camera, or it gives no frames.
        CameraLost = "camera_lost",
        /// The camera repeats one picture.
        CameraFrozen = "camera_frozen",
        /// A network failed: NaN, a wrong shape, a missing file.
        Network = "network",
        /// The ledger or gallery can't be written or read.
        Store = "store",
        /// The strike's line can't be driven.
        Strike = "strike",
        /// Exit button or door contact can't be read.
        Inputs = "inputs",
        /// A sensor that liveness requires does not answer.
        Sensor = "sensor",
        /// The housing is being moved, or was and is not back yet.
        Tamper = "tamper",
    }
}

/// Most reasons that one record carries.
pub const MAX_REASONS: usize = 8;
/// At most [`MAX_REASONS`]; a further one is dropped by whoever pushes it, the first are the most telling.
pub type Reasons = heapless::Vec<Reason, MAX_REASONS>;

/// One reason behind an outcome, with the numbers that a person needs to understand it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// So many of the last frames agreed on the person; so many were needed.
    FramesAgreed {
        agreed: u8,
        needed: u8,
    },
    /// The best similarity, and the one that was needed.
    BelowThreshold {
        best: Similarity,
        threshold: Similarity,
    },
    /// No table reaches the rate that the configuration asks for among so many people.
    NoThreshold,
    /// The runner-up person is this close behind.
    TooCloseToRunnerUp {
        runner_up: PersonId,
        margin: f32,
        needed: f32,
    },
    /// Nobody is enrolled, or nobody of the current model.
    EmptyGallery,
    Poor(PoorMeasure),
    /// Liveness judged an attack.
    LivenessSpoof,
    /// Required evidence was missing or too old.
    LivenessMissing,
    /// Liveness said live, but most of the faces that it judged by could not be recognised as this person's.
    FewRecognised,
    /// What a window of evidence looks like most, its score, and the one that is asked for: log odds of life, in nats.
    LooksLike {
        what: &'static str,
        score: f32,
        needed: f32,
    },
    /// So much of the score, in nats, is this channel's: what it falls by without it.
    Channel {
        name: &'static str,
        weight: f32,
    },
    /// What the door requires of liveness and did not get, and why.
    SensorMissing {
        sensor: &'static str,
        why: &'static str,
    },
    /// The configuration asks for no liveness, and says so.
    LivenessNotRequired,
    ExpiredAt(Wall),
    OutsideSchedule,
    /// The clock was never set, so no schedule or expiry can be judged.
    ClockNotSet,
    /// So many denials within the policy's window.
    TooManyDenials(u8),
    Fault(Fault),
    /// The ledger did not confirm in time.
    LedgerLate,
    /// The claimed person is not the one at the door, or nobody came.
    ClaimNotConfirmed,
    /// Fewer good frames than must agree: the person walked away, or nobody came. Or enough agreed that were
    /// judged too slowly to be fresh together.
    TooFewFrames,
    /// The person was erased while their grant was being written down.
    NoLongerEnrolled,
    /// The daemon is being stopped.
    Stopping,
    /// Who asked, as the kernel vouches: the uid of the control socket's peer.
    ByUid(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FramesAgreed { agreed, needed } => write!(f, "frames_agreed {agreed}, needed {needed}"),
            Self::BelowThreshold { best, threshold } => write!(f, "similarity {best} below {threshold}"),
            Self::NoThreshold => f.write_str("no_threshold"),
            Self::TooCloseToRunnerUp { runner_up, margin, needed } => {
                write!(f, "runner_up {runner_up} only {margin:.3} behind, {needed:.3} needed")
            }
            Self::EmptyGallery => f.write_str("nobody_enrolled"),
            Self::Poor(measure) => f.write_str(measure.as_str()),
            Self::LivenessSpoof => f.write_str("liveness_spoof"),
            Self::LivenessMissing => f.write_str("liveness_missing"),
            Self::FewRecognised => f.write_str("few_recognised"),
            Self::LooksLike { what, score, needed } => {
                write!(f, "looks_like {what}, log odds {score:.2}, needed {needed:.2}")
            }
            Self::Channel { name, weight } => write!(f, "channel {name} {weight:+.2}"),
            Self::SensorMissing { sensor, why } => write!(f, "sensor_missing {sensor}, {why}"),
            Self::LivenessNotRequired => f.write_str("liveness_not_required"),
            Self::ExpiredAt(at) => write!(f, "expired_at {}", at.unix_millis()),
            Self::OutsideSchedule => f.write_str("outside_schedule"),
            Self::ClockNotSet => f.write_str("clock_not_set"),
            Self::TooManyDenials(n) => write!(f, "denials {n}"),
            Self::Fault(fault) => write!(f, "fault {}", fault.as_str()),
            Self::LedgerLate => f.write_str("ledger_late"),
            Self::ClaimNotConfirmed => f.write_str("claim_not_confirmed"),
            Self::TooFewFrames => f.write_str("too_few_frames"),
            Self::NoLongerEnrolled => f.write_str("no_longer_enrolled"),
            Self::Stopping => f.write_str("stopping"),
            Self::ByUid(uid) => write!(f, "by_uid {uid}"),
        }
    }
}

/// One line of the ledger, before the ledger numbers and chains it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub at: Wall,
    pub outcome: Outcome,
    pub person: Option<PersonId>,
    pub similarity: Option<Similarity>,
    pub reasons: Reasons,
}

impl Record {
    pub fn new(at: Wall, outcome: Outcome) -> Self {
        Self { at, outcome, person: None, similarity: None, reasons: Reasons::new() }
    }

    /// Names whom it is of, where that is known.
    #[must_use]
    pub fn person(mut self, person: impl Into<Option<PersonId>>) -> Self {
        self.person = person.into();
        self
    }

    /// Names a person, and how alike the face is to them.
    #[must_use]
    pub fn like(self, found: Candidate) -> Self {
        self.person(found.person).similarity(Some(found.similarity))
    }

    #[must_use]
    pub fn similarity(mut self, similarity: Option<Similarity>) -> Self {
        self.similarity = similarity;
        self
    }

    /// Adds what there is of several reasons.
    #[must_use]
    pub fn because_of(self, reasons: impl IntoIterator<Item = Option<Reason>>) -> Self {
        reasons.into_iter().flatten().fold(self, Self::because)
    }

    /// Adds a reason; beyond [`MAX_REASONS`] it is dropped.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        let _full = self.reasons.push(reason);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_reads_back_from_its_name() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        assert_eq!(Outcome::parse("opened"), None);
    }
}
