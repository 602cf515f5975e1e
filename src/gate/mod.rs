//! The one place that decides. A pure state machine: it is told what happened and when, and answers with what to do.
//!
//! ```text
//! step(now, Event) -> Actions        poll_at() -> Option<Instant>
//! ```
//!
//! It knows names, scores and wires, never pixels, files or clocks. It admits only where every condition holds, each
//! written positively, so that NaN, absence and error deny:
//!
//! * the same person matched in `agree` of the last `of` good frames, each of them fresh;
//! * similarity at or above the threshold of the target false match rate, ahead of the runner-up by `margin`;
//! * liveness says live, of evidence gathered since this person came into sight and mostly while their face was
//!   recognised, wherever the policy requires it;
//! * the person is enrolled, not expired, and inside their schedule; no lockout and no fault stands;
//! * the ledger has confirmed the grant, in time.
//!
//! The strike is released for no longer than [`MAX_PULSE`], and its end is a deadline of the gate's own, which neither
//! camera nor network nor ledger can delay. The exit button depends on none of them.

#![forbid(unsafe_code)]

mod attempt;
mod door;
mod lockout;
mod machine;
pub mod policy;
pub mod record;
mod retry_pause;
mod roster;
pub mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use attempt::{Candidate, Face, Finding, Seen, Sighting};
pub use machine::{Gate, MAX_SHARING, Status};
pub use policy::{LivenessPolicy, MAX_OF, MAX_PULSE, Mode, Policy, PolicyError};
pub use record::{Fault, MAX_REASONS, Outcome, PoorMeasure, Reason, Reasons, Record};
pub use roster::{Member, Roster};
pub use schedule::{Schedule, ScheduleError};

use crate::person::PersonId;
use crate::time::Instant;

/// What can happen to a door.
#[derive(Debug, Clone)]
pub enum Event {
    /// A frame was looked at.
    Sighting(Sighting),
    /// Liveness judged a window of evidence.
    Liveness(LivenessReport),
    /// Something stopped working, or was found not to work.
    Fault(Fault),
    /// It works again.
    Cleared(Fault),
    /// Somebody claims to be this person, by card, PIN or the control socket.
    Claim(PersonId),
    /// Pressed or let go.
    ExitButton { pressed: bool },
    /// Open or closed.
    DoorContact { open: bool },
    /// An operator asks for a release; the kernel vouches for the uid.
    ManualRelease { uid: u32 },
    /// People or thresholds have changed.
    Roster(Arc<Roster>),
    /// The ledger's answer to an [`Action::Record`] with a ticket.
    Recorded { ticket: Ticket, written: bool },
    /// Nothing but the time.
    Tick,
}

/// What the gate wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "at most sixteen live on the stack for one step; the core has no heap")]
pub enum Action {
    /// Write into the ledger; with a ticket, answer with [`Event::Recorded`].
    Record { record: Record, ticket: Option<Ticket> },
    /// Let the door open.
    Release,
    /// Lock it.
    Secure,
    /// From now on, score this person in each frame (1:1), or nobody in particular.
    Expect(Option<PersonId>),
    /// Sound or silence the door's alarm.
    Alarm(Alarm),
}

named! {
    /// What the alarm says, as the socket and the journal call it; each state replaces the one before.
    Alarm {
        Silent = "silent",
        /// The door has stood open for long and will raise the alarm.
        HeldOpenSoon = "held_open_soon",
        HeldOpen = "held_open",
        /// Opened without a release.
        Forced = "forced",
    }
}

/// Names one record that the gate waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(u32);

/// The most that one step can ask for: every deadline due at once, and an event on top.
pub const MAX_ACTIONS: usize = 16;
pub type Actions = heapless::Vec<Action, MAX_ACTIONS>;

/// Liveness' judgement of the evidence between two instants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LivenessReport {
    pub from: Instant,
    pub until: Instant,
    pub verdict: Verdict,
    /// Why, for the ledger, the most telling first.
    pub evidence: Evidence,
}

/// The most reasons that liveness gives: what it looks like, and three channels.
pub const MAX_EVIDENCE: usize = 4;
/// Reasons from the first place on.
pub type Evidence = [Option<Reason>; MAX_EVIDENCE];

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Live,
    Spoof,
    /// Required evidence is missing; never called a spoof.
    Inconclusive,
}
