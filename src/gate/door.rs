//! The door's mechanics: how long the strike is released, and what the contact says about the leaf.

use super::policy::{MAX_PULSE, Policy};
use super::{Alarm, record::Outcome};
use crate::time::{Duration, Instant};

/// A leaf may report its opening this long after the strike was secured again: it was already being pulled.
const OPENING_GRACE: Duration = Duration::from_secs(2);

/// A leaf that opens again so soon after it closed never closed: it fell back from the frame, or its contact bounces.
const REBOUND: Duration = Duration::from_secs(1);

/// Whether the strike lets the door open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// Locked, since the given instant; `None`: since the start.
    Secured { since: Option<Instant> },
    /// `until` is at most [`MAX_PULSE`] after `since`.
    Released { since: Instant, until: Instant },
}

impl Strike {
    /// The release that begins, or goes on, at `now`. A release that goes on still ends [`MAX_PULSE`] after it began.
    pub(super) fn released(self, now: Instant, pulse: Duration) -> Self {
        let since = match self {
            Self::Released { since, .. } => since,
            Self::Secured { .. } => now,
        };
        Self::Released { since, until: (now + pulse).min(since + MAX_PULSE) }
    }

    pub(super) fn is_released(self) -> bool {
        matches!(self, Self::Released { .. })
    }

    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Released { until, .. } => Some(until),
            Self::Secured { .. } => None,
        }
    }

    /// Whether a door that opens at `now` was allowed to.
    fn allows_opening(self, now: Instant) -> bool {
        match self {
            Self::Released { .. } => true,
            Self::Secured { since: Some(since) } => now.checked_since(since).is_some_and(|age| age < OPENING_GRACE),
            Self::Secured { since: None } => false,
        }
    }
}

/// What the contact last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    /// No contact is wired, or it has not spoken yet.
    Unknown,
    /// Since when, and how it stood open before, until an alarm of that is over.
    Closed {
        since: Instant,
        before: Option<Opening>,
    },
    Open(Opening),
}

/// A leaf that stands open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    since: Instant,
    alarm: Alarm,
}

impl Leaf {
    /// The contact says `open` at `now`. With which alarm a new opening begins; `None` where none does, because the
    /// level is the one that was, the leaf closes, or it only rebounds.
    pub(super) fn told(&mut self, now: Instant, open: bool, strike: Strike) -> Option<Alarm> {
        let alarm = match (*self, open) {
            (Self::Open(_), true) | (Self::Closed { .. }, false) => return None,
            (Self::Unknown, false) => {
                *self = Self::Closed { since: now, before: None };
                return None;
            }
            (Self::Open(opening), false) => {
                *self = Self::Closed { since: now, before: Some(opening) };
                return None;
            }
            (Self::Closed { since, before: Some(before) }, true) if now.since(since) < REBOUND => {
                *self = Self::Open(before);
                return None;
            }
            // At the start a door may stand open: it is not forced, but it is not to stay so either.
            (Self::Unknown, true) => Alarm::Silent,
            (Self::Closed { .. }, true) if strike.allows_opening(now) => Alarm::Silent,
            (Self::Closed { .. }, true) => Alarm::Forced,
        };
        *self = Self::Open(Opening { since: now, alarm });
        Some(alarm)
    }

    /// Raises or silences what is due at `now`; at most one alarm a call, the gravest.
    pub(super) fn tick(&mut self, now: Instant, policy: &Policy) -> Option<Outcome> {
        if self.due(policy).is_none_or(|due| now < due) {
            return None;
        }
        match self {
            Self::Unknown => None,
            Self::Closed { before, .. } => {
                *before = None;
                Some(Outcome::DoorClosed)
            }
            Self::Open(Opening { since, alarm }) => {
                let held = now >= *since + policy.held_open_after;
                *alarm = if held { Alarm::HeldOpen } else { Alarm::HeldOpenSoon };
                Some(if held { Outcome::DoorHeldOpen } else { Outcome::DoorHeldOpenSoon })
            }
        }
    }

    /// When the next alarm is due, or the end of one.
    pub(super) fn due(self, policy: &Policy) -> Option<Instant> {
        let Opening { since, alarm } = match self {
            Self::Unknown => return None,
            // Not at once: a loose contact would end the alarm, and be written down, with every flap.
            Self::Closed { since, .. } => return (self.alarm() != Alarm::Silent).then(|| since + REBOUND),
            Self::Open(opening) => opening,
        };
        let held = since + policy.held_open_after;
        match alarm {
            Alarm::Silent => Some(since + (policy.held_open_after.saturating_sub(policy.held_open_prealert))),
            Alarm::HeldOpenSoon => Some(held),
            // A forced door needs no further alarm for standing open.
            Alarm::HeldOpen | Alarm::Forced => None,
        }
    }

    pub(super) fn alarm(self) -> Alarm {
        match self {
            Self::Open(opening) | Self::Closed { before: Some(opening), .. } => opening.alarm,
            Self::Unknown | Self::Closed { before: None, .. } => Alarm::Silent,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Closed { .. } => "closed",
            Self::Open(_) => "open",
        }
    }
}
