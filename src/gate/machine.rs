//! The machine itself: its states, its one `step`, and its deadlines.

use std::sync::Arc;

use super::attempt::{Assessment, Attempt, Candidate, Criteria, Face, Sighting, is_fresh};
use super::door::{Leaf, Strike};
use super::lockout::Lockout;
use super::policy::{Mode, Policy};
use super::record::{Fault, Outcome, Reason, Record};
use super::retry_pause::RetryPause;
use super::{Action, Actions, Alarm, Event, Roster, Ticket};
use crate::person::PersonId;
use crate::time::{Instant, Now};

/// What the gate is busy with. The strike's release runs beside it, because people leave while others come.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one gate, and an attempt must not cost an allocation")]
enum State {
    Idle,
    /// Somebody stands there; evidence gathers.
    Observing(Attempt),
    /// Admitted, and the ledger is writing it down.
    Recording {
        began: Instant,
        found: Candidate,
        ticket: Ticket,
        deadline: Instant,
    },
    LockedOut {
        until: Instant,
    },
    /// Something doesn't work; nobody is admitted by face.
    Faulted,
}

/// A manual release that the ledger is writing down.
#[derive(Debug)]
struct Manual {
    ticket: Ticket,
    deadline: Instant,
    /// Who has asked for one meanwhile: it is theirs too, and they are written down once it has come to pass.
    sharing: heapless::Vec<u32, MAX_SHARING>,
}

/// How many share a manual release with the first who asked, at most: the control socket serves eight at a time.
pub const MAX_SHARING: usize = 7;

/// What a person wants to know of the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `idle`, `observing`, `recording`, `unlocked`, `locked_out` or `faulted`.
    pub state: &'static str,
    pub since: Instant,
    pub door: &'static str,
    pub alarm: Alarm,
    pub faults: heapless::Vec<Fault, { Fault::ALL.len() }>,
    pub roster: Arc<Roster>,
}

/// The decision about one door.
#[derive(Debug)]
pub struct Gate {
    criteria: Criteria,
    state: State,
    strike: Strike,
    leaf: Leaf,
    lockout: Lockout,
    manual: Option<Manual>,
    faults: heapless::Vec<Fault, { Fault::ALL.len() }>,
    /// A lockout goes on behind a fault.
    locked_out_until: Option<Instant>,
    retry_pause: RetryPause,
    /// The exit button's part in this release is in the ledger: a bouncing contact is one exit.
    is_exit_noted: bool,
    last_frame: Option<(Instant, u32)>,
    next_ticket: u32,
    /// Time never runs backwards, whatever the gate is told.
    latest: Instant,
    state_since: Instant,
}

impl Gate {
    /// A locked door, with the actions that make it one.
    pub fn new(policy: Policy, now: Now) -> (Self, Actions) {
        let gate = Self {
            criteria: Criteria { policy, roster: Arc::default(), liveness: None },
            state: State::Idle,
            strike: Strike::Secured { since: None },
            leaf: Leaf::Unknown,
            lockout: Lockout::default(),
            manual: None,
            faults: heapless::Vec::new(),
            locked_out_until: None,
            retry_pause: RetryPause::default(),
            is_exit_noted: false,
            last_frame: None,
            next_ticket: 0,
            latest: now.mono,
            state_since: now.mono,
        };
        let mut out = Actions::new();
        push(&mut out, Action::Secure);
        record(&mut out, Record::new(now.wall, Outcome::Started));
        (gate, out)
    }

    /// Takes in what happened by `now`: first whatever was due before, then the event.
    #[must_use]
    pub fn step(&mut self, now: Now, event: Event) -> Actions {
        let now = Now { mono: now.mono.max(self.latest), ..now };
        self.latest = now.mono;
        let before = self.state_name();
        let mut out = Actions::new();
        self.meet_deadlines(now, &mut out);
        self.handle(now, event, &mut out);
        if self.state_name() != before {
            self.state_since = now.mono;
        }
        out
    }

    /// When [`Gate::step`] must be called at the latest, with [`Event::Tick`] where nothing else happens.
    pub fn poll_at(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Idle | State::Faulted => None,
            State::Observing(attempt) => Some(attempt.ends(&self.criteria.policy)),
            State::Recording { deadline, .. } => Some(*deadline),
            State::LockedOut { until } => Some(*until),
        };
        let manual = self.manual.as_ref().map(|manual| manual.deadline);
        [self.strike.until(), self.leaf.due(&self.criteria.policy), state, manual].into_iter().flatten().min()
    }

    /// The last actions: a locked door and a record that the daemon has gone.
    #[must_use]
    pub fn stop(&mut self, now: Now) -> Actions {
        let mut out = Actions::new();
        self.secure(now, &mut out);
        if self.manual.take().is_some() {
            record(&mut out, Record::new(now.wall, Outcome::Fault).because(Reason::Stopping));
        }
        if self.is_attempt() {
            self.end_attempt(
                now,
                self.of_whom(Record::new(now.wall, Outcome::Fault).because(Reason::Stopping)),
                &mut out,
            );
        }
        self.state = State::Faulted;
        record(&mut out, Record::new(now.wall, Outcome::Stopped));
        out
    }

    /// Judges by another policy from now on; what is in progress goes on under it, but for an attempt without a claim
    /// where one is needed now.
    #[must_use]
    pub fn set_policy(&mut self, now: Now, policy: Policy) -> Actions {
        self.criteria.policy = policy;
        self.step(now, Event::Tick)
    }

    pub fn policy(&self) -> &Policy {
        &self.criteria.policy
    }

    pub fn status(&self) -> Status {
        Status {
            state: self.state_name(),
            since: self.state_since,
            door: self.leaf.as_str(),
            alarm: self.leaf.alarm(),
            faults: self.faults.clone(),
            roster: Arc::clone(&self.criteria.roster),
        }
    }

    fn state_name(&self) -> &'static str {
        if self.strike.is_released() {
            return "unlocked";
        }
        match self.state {
            State::Idle => "idle",
            State::Observing(_) => "observing",
            State::Recording { .. } => "recording",
            State::LockedOut { .. } => "locked_out",
            State::Faulted => "faulted",
        }
    }

    fn meet_deadlines(&mut self, now: Now, out: &mut Actions) {
        if self.strike.until().is_some_and(|until| now.mono >= until) {
            self.secure(now, out);
        }
        if let Some(outcome) = self.leaf.tick(now.mono, &self.criteria.policy) {
            record(out, Record::new(now.wall, outcome));
            push(out, Action::Alarm(self.leaf.alarm()));
        }
        if self.manual.take_if(|manual| now.mono >= manual.deadline).is_some() {
            record(out, Record::new(now.wall, Outcome::Fault).because(Reason::LedgerLate));
        }
        match &self.state {
            State::Observing(attempt) if now.mono >= attempt.ends(&self.criteria.policy) => {
                let denial = attempt.conclude(now, &self.criteria);
                self.end_attempt(now, denial, out);
            }
            State::Observing(attempt)
                if attempt.claimed.is_none() && self.criteria.policy.mode == Mode::Verification =>
            {
                // Nobody guessed: it is the policy that has changed, so it doesn't count towards a lockout.
                let unclaimed = Record::new(now.wall, Outcome::NotRecognised).because(Reason::ClaimNotConfirmed);
                self.end_attempt(now, unclaimed.because(Reason::TooFewFrames), out);
            }
            State::Recording { found, deadline, .. } if now.mono >= *deadline => {
                let late = Record::new(now.wall, Outcome::Fault).person(found.person).because(Reason::LedgerLate);
                self.end_attempt(now, late, out);
            }
            State::LockedOut { until } if now.mono >= *until => {
                self.locked_out_until = None;
                self.state = State::Idle;
            }
            _ => {}
        }
    }

    fn handle(&mut self, now: Now, event: Event, out: &mut Actions) {
        match event {
            Event::Sighting(sighting) => self.see(now, &sighting, out),
            Event::Liveness(report) => {
                self.criteria.liveness = Some(report);
                self.take_back(now, out);
                self.assess(now, out);
            }
            Event::Roster(roster) => {
                self.criteria.roster = roster;
                if let State::Observing(attempt) = &mut self.state {
                    attempt.start_anew(now.mono);
                }
            }
            Event::Fault(fault) => self.fail(now, fault, out),
            Event::Cleared(fault) => self.clear(now, fault, out),
            Event::Claim(person) => self.claim(now, person, out),
            Event::ExitButton { pressed: true } => {
                // Whoever wants out is let out first and written down afterwards.
                self.release(now, out);
                if !std::mem::replace(&mut self.is_exit_noted, true) {
                    record(out, Record::new(now.wall, Outcome::Exit));
                }
            }
            Event::ExitButton { pressed: false } | Event::Tick => {}
            Event::DoorContact { open } => self.contact(now, open, out),
            Event::ManualRelease { uid } => self.ask_manual(now, uid, out),
            Event::Recorded { ticket, written } => self.recorded(now, ticket, written, out),
        }
    }

    fn see(&mut self, now: Now, sighting: &Sighting, out: &mut Actions) {
        let is_next = self.last_frame.is_none_or(|(at, seq)| sighting.captured_at > at && sighting.sequence != seq);
        if !(is_next && is_fresh(sighting.captured_at, now.mono, &self.criteria.policy)) {
            return;
        }
        self.last_frame = Some((sighting.captured_at, sighting.sequence));
        let known = self.criteria.known(&sighting.face);
        let is_over = sighting.face != Face::Absent && self.retry_pause.is_over(now.mono, known, &self.criteria.policy);
        let may_begin = self.criteria.policy.mode == Mode::Recognition && !self.strike.is_released() && is_over;
        if may_begin && matches!(self.state, State::Idle) {
            let deadline = now.mono + self.criteria.policy.attempt_timeout;
            self.state = State::Observing(Attempt::begin(sighting.captured_at, None, deadline));
        }
        if let State::Observing(attempt) = &mut self.state {
            attempt.update(now.mono, sighting, &self.criteria);
            self.assess(now, out);
        }
    }

    /// Decides, where there is enough to decide by.
    fn assess(&mut self, now: Now, out: &mut Actions) {
        let State::Observing(attempt) = &mut self.state else { return };
        match attempt.assess(now, &self.criteria) {
            Assessment::Wait => {}
            Assessment::Deny(denial) => self.end_attempt(now, denial, out),
            Assessment::Admit(found, granted) => {
                let began = attempt.began;
                self.stop_expecting(out);
                let ticket = self.ticket();
                push(out, Action::Record { record: granted, ticket: Some(ticket) });
                let deadline = now.mono + self.criteria.policy.ledger_timeout;
                self.state = State::Recording { began, found, ticket, deadline };
            }
        }
    }

    /// An attack that is noticed while the ledger writes the grant spoils that, too.
    fn take_back(&mut self, now: Now, out: &mut Actions) {
        if let State::Recording { began, found, .. } = self.state
            && let Some(report) = self.criteria.attack(began, now)
        {
            let spoof = Record::new(now.wall, Outcome::Spoof).like(found).because(Reason::LivenessSpoof);
            self.end_attempt(now, spoof.because_of(report.evidence), out);
        }
    }

    fn recorded(&mut self, now: Now, ticket: Ticket, written: bool, out: &mut Actions) {
        if let Some(manual) = self.manual.take_if(|manual| manual.ticket == ticket) {
            if written && now.mono < manual.deadline {
                self.release(now, out);
                manual.sharing.into_iter().for_each(|uid| record(out, manual_release(now, uid)));
            } else {
                record(out, Record::new(now.wall, Outcome::Fault).because(Reason::Fault(Fault::Store)));
            }
            return;
        }
        let State::Recording { found, ticket: awaited, deadline, .. } = self.state else { return };
        if ticket != awaited {
            return;
        }
        // Asked again, because the person may have been erased while the ledger wrote.
        let permitted = match self.criteria.roster.get(found.person) {
            Some(member) => member.permits(now),
            None => Err((Outcome::NotRecognised, Reason::NoLongerEnrolled)),
        };
        match permitted {
            Ok(()) if written && now.mono < deadline && self.faults.is_empty() => {
                self.lockout.forgive();
                self.retry_pause.forgive();
                self.state = State::Idle;
                self.release(now, out);
            }
            Ok(()) => {
                let unwritten = Record::new(now.wall, Outcome::Fault).person(found.person);
                self.end_attempt(now, unwritten.because(Reason::Fault(Fault::Store)), out);
            }
            Err((outcome, reason)) => {
                let revoked = Record::new(now.wall, outcome).person(found.person).because(reason);
                self.end_attempt(now, revoked, out);
            }
        }
    }

    fn claim(&mut self, now: Now, person: PersonId, out: &mut Actions) {
        let refused = |outcome, reason| Record::new(now.wall, outcome).person(person).because(reason);
        match &mut self.state {
            State::Faulted => {
                let fault = self.faults.first().map_or(Reason::ClaimNotConfirmed, |fault| Reason::Fault(*fault));
                record(out, refused(Outcome::Fault, fault));
            }
            State::LockedOut { .. } => {
                record(out, refused(Outcome::LockedOut, Reason::TooManyDenials(self.criteria.policy.lockout_after)));
            }
            // A card that was read twice: how that attempt ends is the answer to both.
            State::Recording { found, .. } if found.person == person => {}
            State::Observing(attempt) if attempt.claimed == Some(person) => {}
            State::Recording { .. } => record(out, refused(Outcome::NotRecognised, Reason::ClaimNotConfirmed)),
            State::Observing(attempt) if attempt.claimed.is_some() => {
                record(out, refused(Outcome::NotRecognised, Reason::ClaimNotConfirmed));
            }
            // A face without a claim turns into one with a claim: still one attempt, judged by what follows.
            State::Idle | State::Observing(_) => {
                let deadline = now.mono + self.criteria.policy.claim_timeout;
                self.state = State::Observing(Attempt::begin(now.mono, Some(person), deadline));
                push(out, Action::Expect(Some(person)));
            }
        }
    }

    fn fail(&mut self, now: Now, fault: Fault, out: &mut Actions) {
        if let (Fault::Strike, Strike::Released { since, .. }) = (fault, self.strike) {
            // What it refused has opened nothing, unless it went on with a release that it had obeyed to.
            self.strike = Strike::Secured { since: (since < now.mono).then_some(now.mono) };
            self.retry_pause.begin(now.mono);
            self.is_exit_noted = false;
        }
        if self.faults.contains(&fault) {
            return;
        }
        let _each_fits_once = self.faults.push(fault);
        let failed = self.of_whom(Record::new(now.wall, Outcome::Fault).because(Reason::Fault(fault)));
        if self.is_attempt() {
            self.end_attempt(now, failed, out);
        } else {
            record(out, failed);
        }
        self.state = State::Faulted;
    }

    fn clear(&mut self, now: Now, fault: Fault, out: &mut Actions) {
        let Some(at) = self.faults.iter().position(|standing| *standing == fault) else { return };
        self.faults.swap_remove(at);
        record(out, Record::new(now.wall, Outcome::FaultCleared).because(Reason::Fault(fault)));
        if self.faults.is_empty() {
            self.state = match self.locked_out_until {
                Some(until) if now.mono < until => State::LockedOut { until },
                _ => State::Idle,
            };
        }
    }

    fn contact(&mut self, now: Now, open: bool, out: &mut Actions) {
        let before = self.leaf.alarm();
        let opened = self.leaf.told(now.mono, open, self.strike);
        if opened == Some(Alarm::Forced) {
            record(out, Record::new(now.wall, Outcome::DoorForced));
        }
        if self.leaf.alarm() != before {
            push(out, Action::Alarm(self.leaf.alarm()));
        }
        // A contact that flaps, or whose wire is read anew, must not cut short the release of somebody who wants out.
        if opened.is_some() && self.criteria.policy.relock_on_open && self.strike.is_released() {
            self.secure(now, out);
        }
    }

    fn ask_manual(&mut self, now: Now, uid: u32, out: &mut Actions) {
        if let Some(pending) = &mut self.manual {
            // Whoever finds no place is promised nothing: no record of the release bears their number.
            let _more_than_the_socket_serves = pending.sharing.push(uid);
            return;
        }
        let ticket = self.ticket();
        push(out, Action::Record { record: manual_release(now, uid), ticket: Some(ticket) });
        let deadline = now.mono + self.criteria.policy.ledger_timeout;
        self.manual = Some(Manual { ticket, deadline, sharing: heapless::Vec::new() });
    }

    /// Names whom the attempt is of, where that is known: a grant that is taken back, and a claim that has waited in
    /// vain.
    fn of_whom(&self, record: Record) -> Record {
        record.person(match &self.state {
            State::Recording { found, .. } => Some(found.person),
            State::Observing(attempt) => attempt.claimed,
            State::Idle | State::LockedOut { .. } | State::Faulted => None,
        })
    }

    fn is_attempt(&self) -> bool {
        matches!(self.state, State::Observing(_) | State::Recording { .. })
    }

    /// Writes down how the attempt ended, counts it against strangers, and makes room for the next.
    fn end_attempt(&mut self, now: Now, denial: Record, out: &mut Actions) {
        let is_stranger = match denial.outcome {
            Outcome::NotRecognised | Outcome::Ambiguous | Outcome::Spoof => {
                ![Reason::TooFewFrames, Reason::NoLongerEnrolled].iter().any(|no| denial.reasons.contains(no))
            }
            // Else whoever steps back before enough windows make an attack could try all night.
            Outcome::LivenessInconclusive => matches!(&self.state, State::Observing(attempt) if attempt.is_doubted()),
            _ => false,
        };
        match denial.outcome {
            Outcome::Fault => self.retry_pause.begin(now.mono),
            _ => self.retry_pause.denied(now.mono, denial.person),
        }
        record(out, denial);
        self.stop_expecting(out);
        self.state = State::Idle;
        let Policy { lockout_after, lockout_window, lockout_for, .. } = self.criteria.policy;
        if is_stranger && self.lockout.trips(now.mono, lockout_after, lockout_window) {
            let until = now.mono + lockout_for;
            self.locked_out_until = Some(until);
            self.state = State::LockedOut { until };
            record(out, Record::new(now.wall, Outcome::LockedOut).because(Reason::TooManyDenials(lockout_after)));
        }
    }

    fn stop_expecting(&self, out: &mut Actions) {
        if matches!(&self.state, State::Observing(attempt) if attempt.claimed.is_some()) {
            push(out, Action::Expect(None));
        }
    }

    fn release(&mut self, now: Now, out: &mut Actions) {
        self.strike = self.strike.released(now.mono, self.criteria.policy.pulse);
        push(out, Action::Release);
    }

    fn secure(&mut self, now: Now, out: &mut Actions) {
        self.strike = Strike::Secured { since: Some(now.mono) };
        self.retry_pause.begin(now.mono);
        self.is_exit_noted = false;
        push(out, Action::Secure);
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        Ticket(self.next_ticket)
    }
}

fn manual_release(now: Now, uid: u32) -> Record {
    Record::new(now.wall, Outcome::ManualRelease).because(Reason::ByUid(uid))
}

fn record(out: &mut Actions, record: Record) {
    push(out, Action::Record { record, ticket: None });
}

fn push(out: &mut Actions, action: Action) {
    // A lost `Secure` could leave the door released, so an overflow panics: unwinding drops the strike's guard, which
    // locks.
    out.push(action).expect("MAX_ACTIONS holds every deadline and one event");
}
