//! An oracle that knows nothing of the gate's insides: it hears every event, sees every action, and objects.
//!
//! It keeps its own books on evidence, faults, lockout, tickets, the strike and the door, and holds the gate to them in
//! both directions: nothing that should not be, and nobody kept out who met every condition.

mod denials;

use std::rc::Rc;

use facelatch::gate::{
    Action, Event, Face, Fault, LivenessPolicy, LivenessReport, MAX_PULSE, MAX_SHARING, Mode, Outcome, Policy, Reason,
    Record, Ticket, Verdict,
};
use facelatch::person::PersonId;
use facelatch::time::Now;

use super::evidence::{Ms, Told, agreement, counts, is_about, is_low, is_mostly, is_of, millis, ms, shows};
use super::leaf::Leaf;
use super::world::People;

/// What the judge knows of an attempt.
#[derive(Debug)]
struct Open {
    claimed: Option<PersonId>,
    /// When it began, by the first frame's stamp or the claim.
    began: Ms,
    /// Index of its first frame.
    first: usize,
    /// Index of its first frame that was compared with the gallery in force.
    compared: usize,
    /// When it must have ended at the latest.
    deadline: Ms,
    /// Of a claim, from its own face on.
    last_face: Option<Ms>,
    /// A window of evidence scored too little.
    is_doubted: bool,
}

/// Something that the ledger is to answer.
#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    until: Ms,
    person: Option<PersonId>,
}

#[derive(Debug)]
struct Released {
    since: Ms,
    until: Ms,
    exit_noted: bool,
}

/// How often what happened, so that a test can't pass by nothing happening.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub grants: u64,
    pub exits: u64,
    pub manual: u64,
    pub attempts: u64,
    /// By the outcome's place in [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
}

pub struct Judge {
    policy: Policy,
    people: Rc<People>,
    /// In force once the gate has heard of it.
    next_people: Option<Rc<People>>,
    frames: Vec<Told>,
    report: Option<LivenessReport>,
    faults: Vec<Fault>,
    open: Option<Open>,
    grant: Option<Pending>,
    manual: Option<Pending>,
    /// Who has asked for a manual release while one was being written.
    sharing: usize,
    expecting: Option<PersonId>,
    denials: Vec<Ms>,
    locked_until: Ms,
    lockout_owed: bool,
    released: Option<Released>,
    secured_at: Option<Ms>,
    leaf: Leaf,
    pub tally: Tally,
}

/// What one step was, for the checks.
struct Step<'a> {
    now: Ms,
    wall: i64,
    event: &'a Event,
    /// The frame of this step, if it counts.
    is_new_frame: bool,
}

/// Nothing, or the objection.
pub type Verdicts = Result<(), String>;

impl Judge {
    pub fn new(policy: Policy, people: Rc<People>) -> Self {
        Self {
            policy,
            people,
            next_people: None,
            frames: Vec::new(),
            report: None,
            faults: Vec::new(),
            open: None,
            grant: None,
            manual: None,
            sharing: 0,
            expecting: None,
            denials: Vec::new(),
            locked_until: 0,
            lockout_owed: false,
            released: None,
            secured_at: None,
            leaf: Leaf::new(),
            tally: Tally::default(),
        }
    }

    /// A gallery comes into force with the next event.
    pub fn enrol(&mut self, people: Rc<People>) {
        self.next_people = Some(people);
    }

    /// One step of the gate, its answer, and what it shows of itself afterwards.
    pub fn hear(&mut self, now: Now, event: &Event, actions: &[Action], state: &str, poll_at: Option<Ms>) -> Verdicts {
        let (now, wall) = (ms(now.mono), now.wall.unix_millis());
        let is_new_frame = self.learn(now, event);
        self.leaf.learn(now, event, self.released.is_some(), self.secured_at);
        let step = Step { now, wall, event, is_new_frame };
        let asked_before = self.manual.as_ref().map(|manual| manual.ticket);
        for (i, action) in actions.iter().enumerate() {
            match action {
                Action::Record { record, ticket } => self.record(&step, record, *ticket)?,
                Action::Release => self.release(&step, &actions[i + 1..])?,
                Action::Secure => self.secure(&step)?,
                Action::Expect(person) => self.expect(&step, *person)?,
                Action::Alarm(alarm) => self.leaf.sound(*alarm)?,
            }
            must!(!self.lockout_owed || i + 1 < actions.len(), "a lockout is due");
        }
        self.share(event, asked_before)?;
        let is_owed = match event {
            Event::ExitButton { pressed } => *pressed,
            Event::Recorded { ticket, written: true } => {
                self.manual.as_ref().is_some_and(|manual| manual.ticket == *ticket && now < manual.until)
            }
            _ => false,
        };
        must!(!is_owed || actions.contains(&Action::Release), "a release is due by {event:?}");
        if let Some(people) = self.next_people.take() {
            self.people = people;
            if let Some(open) = &mut self.open {
                open.compared = self.frames.len();
            }
        }
        let is_to_lock = self.leaf.opens_anew() && self.policy.relock_on_open;
        must!(!is_to_lock || self.released.is_none(), "it has opened and is still unlocked");
        self.leaf.settle(now, event, &self.policy)?;
        self.check_shown(&step, state, poll_at)?;
        self.doubt(&step);
        self.nobody_is_kept_waiting(&step)
    }

    /// Nothing may be left over once no deadline stands and no frame comes.
    pub fn rest(&self) -> Verdicts {
        must!(self.open.is_none(), "an attempt without an outcome: {:?}", self.open);
        must!(self.released.is_none(), "a door left unlocked: {:?}", self.released);
        must!(self.manual.is_none() && self.grant.is_none(), "a ticket that is waited for for ever");
        must!(self.expecting.is_none(), "vision still expects {:?}", self.expecting);
        Ok(())
    }

    fn learn(&mut self, now: Ms, event: &Event) -> bool {
        match event {
            Event::Sighting(sighting) => {
                let (captured, sequence) = (ms(sighting.captured_at), sighting.sequence);
                if !counts(captured, sequence, now, &self.policy, self.frames.last()) {
                    return false;
                }
                self.frames.push(Told { captured, told: now, sequence, face: sighting.face });
                if sighting.face != Face::Absent
                    && let Some(open) = &mut self.open
                    && (open.last_face.is_some()
                        || shows(&sighting.face, open.claimed, &self.people, &self.policy).is_some())
                    && now < millis(self.policy.absent_after) + open.last_face.unwrap_or(now)
                {
                    open.last_face = Some(now);
                }
                return true;
            }
            Event::Liveness(report) => self.report = Some(*report),
            Event::Fault(fault) => {
                if !self.faults.contains(fault) {
                    self.faults.push(*fault);
                }
                // What is due was locked before.
                if *fault == Fault::Strike
                    && let Some(refused) = self.released.take_if(|released| now < released.until)
                {
                    self.secured_at = (refused.since < now).then_some(now);
                }
            }
            Event::Cleared(fault) => self.faults.retain(|other| other != fault),
            _ => {}
        }
        false
    }

    fn record(&mut self, step: &Step<'_>, record: &Record, ticket: Option<Ticket>) -> Verdicts {
        use Outcome as O;
        must!(record.at.unix_millis() == step.wall, "a record with another time");
        self.tally.outcomes[O::ALL.iter().position(|outcome| *outcome == record.outcome).unwrap()] += 1;
        must!(ticket.is_none() || matches!(record.outcome, O::Granted | O::ManualRelease), "a ticket for {record:?}");
        match record.outcome {
            O::Granted => self.granted(step, record, ticket),
            O::ManualRelease => self.manual_release(step, ticket),
            O::Exit => {
                must!(matches!(step.event, Event::ExitButton { pressed: true }), "no exit");
                let released = self.released.as_mut().ok_or("an exit without release")?;
                must!(!std::mem::replace(&mut released.exit_noted, true), "an exit counted twice");
                Ok(())
            }
            O::FaultCleared => {
                must!(matches!(step.event, Event::Cleared(_)), "nothing cleared");
                Ok(())
            }
            O::DoorForced | O::DoorHeldOpenSoon | O::DoorHeldOpen | O::DoorClosed => {
                self.leaf.record(step.now, record.outcome, &self.policy)
            }
            O::LockedOut if record.person.is_none() => {
                must!(std::mem::take(&mut self.lockout_owed), "a lockout that nobody earned");
                self.locked_until = step.now + millis(self.policy.lockout_for);
                Ok(())
            }
            _ => {
                must!(!record.reasons.is_empty(), "{} without a reason", record.outcome);
                self.denied(step, record)
            }
        }
    }

    /// The first who asks is written down before the strike moves, and whoever shares that release once it has come to
    /// pass.
    fn manual_release(&mut self, step: &Step<'_>, ticket: Option<Ticket>) -> Verdicts {
        match (step.event, ticket) {
            (Event::ManualRelease { .. }, Some(ticket)) => {
                must!(self.manual.is_none(), "one manual release at a time");
                self.manual = Some(Pending { ticket, until: self.ledger_deadline(step), person: None });
                self.sharing = 0;
            }
            (Event::Recorded { written: true, .. }, None) => {
                must!(self.manual.is_none() && self.released.is_some(), "written down before it came to pass");
                self.sharing = self.sharing.checked_sub(1).ok_or("nobody else asked")?;
            }
            _ => return Err("nobody asked".into()),
        }
        Ok(())
    }

    /// Counts who asked for what somebody else waits for, and sees to it that nobody is left out.
    fn share(&mut self, event: &Event, asked_before: Option<Ticket>) -> Verdicts {
        let pending = self.manual.as_ref().map(|manual| manual.ticket);
        if matches!(event, Event::ManualRelease { .. }) {
            must!(pending.is_some(), "somebody who asked was not heard");
            if pending == asked_before {
                self.sharing = (self.sharing + 1).min(MAX_SHARING);
            }
        }
        must!(pending.is_some() || self.sharing == 0, "{} who shared a release are not written down", self.sharing);
        Ok(())
    }

    fn granted(&mut self, step: &Step<'_>, record: &Record, ticket: Option<Ticket>) -> Verdicts {
        self.begin_unseen(step)?;
        must!(self.grant.is_none(), "a grant while another is being written");
        let ticket = ticket.ok_or("a grant that the ledger need not confirm")?;
        let person = record.person.ok_or("a grant to nobody")?;
        let (agreed, similarity) = self.may_enter(step, person)?;
        must!(record.similarity.is_some_and(|s| s.get() == similarity), "another similarity: {:?}", record.similarity);
        let frames = Reason::FramesAgreed { agreed, needed: self.policy.agree };
        must!(record.reasons.contains(&frames), "{frames:?} is not among the reasons {:?}", record.reasons);
        self.grant = Some(Pending { ticket, until: self.ledger_deadline(step), person: Some(person) });
        Ok(())
    }

    /// Every condition of a grant, or the one that does not hold.
    fn may_enter(&self, step: &Step<'_>, person: PersonId) -> Result<(u8, f32), String> {
        let open = self.open.as_ref().ok_or("there is no attempt")?;
        let policy = &self.policy;
        must!(self.faults.is_empty(), "faults stand: {:?}", self.faults);
        must!(step.now >= self.locked_until, "locked out until {}", self.locked_until);
        must!(open.claimed.is_some() || policy.mode == Mode::Recognition, "nobody claimed anything");
        must!(open.claimed.is_none_or(|claimed| claimed == person), "somebody else was claimed");
        must!(step.now < self.attempt_end(open), "the attempt is over");
        must!(self.people.permits(person, step.wall), "{person} may not come in now");
        let frames = &self.frames[open.compared..];
        let (who, agreed, similarity) =
            agreement(frames, open.claimed, &self.people, policy, step.now).ok_or("no fresh frame shows anybody")?;
        must!(who == person, "the newest frame shows {who}");
        must!(agreed >= policy.agree.into(), "{agreed} frames agree");
        if policy.liveness == LivenessPolicy::Required {
            let report = self.report.as_ref().ok_or("no liveness")?;
            must!(report.verdict == Verdict::Live, "liveness says {:?}", report.verdict);
            must!(is_about(report, open.began, step.now, policy), "liveness of another time");
            must!(
                is_of(person, ms(report.from), frames, open.claimed, &self.people, policy),
                "perhaps somebody else's life"
            );
            must!(is_mostly(person, report, frames, open.claimed, &self.people, policy), "mostly somebody else's life");
        }
        Ok((u8::try_from(agreed).unwrap(), similarity))
    }

    /// The converse, whenever there was new evidence: an attack has been answered, and so has whoever meets every
    /// condition.
    fn nobody_is_kept_waiting(&self, step: &Step<'_>) -> Verdicts {
        let is_asked = step.is_new_frame || matches!(step.event, Event::Liveness(_));
        let Some(open) = self.open.as_ref().filter(|_| is_asked) else { return Ok(()) };
        let is_spoof = self.report.is_some_and(|report| {
            report.verdict == Verdict::Spoof && is_about(&report, open.began, step.now, &self.policy)
        });
        // What the ledger is writing down is spoilt by what liveness says now, and by nothing that it said before.
        must!(!is_spoof || self.grant.is_some() && step.is_new_frame, "an attack goes on");
        if self.grant.is_some() {
            return Ok(());
        }
        let frames = &self.frames[open.compared..];
        let found = agreement(frames, open.claimed, &self.people, &self.policy, step.now);
        let Some((person, agreed, _)) = found else { return Ok(()) };
        must!(self.may_enter(step, person).is_err(), "{person} meets every condition, in {agreed} frames");
        let is_refused = agreed >= self.policy.agree.into() && !self.people.permits(person, step.wall);
        must!(!is_refused, "{person} may not come in and is not told so");
        Ok(())
    }

    fn release(&mut self, step: &Step<'_>, rest: &[Action]) -> Verdicts {
        let now = step.now;
        let exit_noted = self.released.as_ref().is_some_and(|released| released.exit_noted);
        match step.event {
            Event::ExitButton { pressed: true } => {
                self.tally.exits += 1;
                let is_exit =
                    |a: &Action| matches!(a, Action::Record { record, .. } if record.outcome == Outcome::Exit);
                must!(exit_noted || rest.iter().any(is_exit), "an exit that nobody wrote down");
            }
            Event::Recorded { ticket, written: true } => {
                if self.manual.as_ref().is_some_and(|manual| manual.ticket == *ticket && now < manual.until) {
                    self.manual = None;
                    self.tally.manual += 1;
                } else {
                    let grant = self.grant.take().ok_or("a release that nobody waits for")?;
                    must!(grant.ticket == *ticket, "the answer to another question");
                    must!(now < grant.until, "the ledger was late");
                    must!(self.faults.is_empty(), "faults stand: {:?}", self.faults);
                    let person = grant.person.ok_or("nobody")?;
                    must!(self.people.permits(person, step.wall), "{person} may not come in any more");
                    self.open = None;
                    self.denials.clear();
                    self.tally.grants += 1;
                    self.tally.attempts += 1;
                }
            }
            other => return Err(format!("a release by {other:?}")),
        }
        let since = self.released.as_ref().map_or(now, |released| released.since);
        let until = (now + millis(self.policy.pulse)).min(since + millis(MAX_PULSE));
        self.released = Some(Released { since, until, exit_noted });
        Ok(())
    }

    fn secure(&mut self, step: &Step<'_>) -> Verdicts {
        let released = self.released.take().ok_or("locked twice")?;
        let opened = self.leaf.opens_anew() && self.policy.relock_on_open;
        must!(step.now >= released.until || opened, "locked {} ms too early", released.until - step.now);
        self.secured_at = Some(step.now);
        Ok(())
    }

    fn expect(&mut self, step: &Step<'_>, person: Option<PersonId>) -> Verdicts {
        let Some(person) = person else {
            must!(self.expecting.take().is_some(), "nobody was expected");
            return Ok(());
        };
        must!(matches!(step.event, Event::Claim(claimed) if *claimed == person), "nobody claimed to be {person}");
        must!(self.expecting.is_none(), "two people expected");
        must!(self.grant.is_none() && self.faults.is_empty() && step.now >= self.locked_until, "a claim at a bad time");
        self.expecting = Some(person);
        self.open = Some(Open {
            claimed: Some(person),
            began: step.now,
            first: self.frames.len(),
            compared: self.frames.len(),
            deadline: step.now + millis(self.policy.claim_timeout),
            last_face: None,
            is_doubted: false,
        });
        Ok(())
    }

    /// An attempt that began and was decided by the same frame.
    fn begin_unseen(&mut self, step: &Step<'_>) -> Verdicts {
        if self.open.is_none() && step.is_new_frame {
            self.begin(step)?;
        }
        Ok(())
    }

    fn begin(&mut self, step: &Step<'_>) -> Verdicts {
        must!(step.is_new_frame, "an attempt out of nothing");
        must!(self.policy.mode == Mode::Recognition, "an attempt without a claim");
        must!(self.released.is_none(), "an attempt at an open door");
        must!(self.faults.is_empty() && step.now >= self.locked_until, "an attempt at a bad time");
        let frame = self.frames.last().ok_or("no frame")?;
        must!(frame.face != Face::Absent, "an attempt of nobody");
        self.open = Some(Open {
            claimed: None,
            began: frame.captured,
            first: self.frames.len() - 1,
            compared: self.frames.len() - 1,
            deadline: step.now + millis(self.policy.attempt_timeout),
            last_face: Some(step.now),
            is_doubted: false,
        });
        Ok(())
    }

    /// What the gate shows of itself must agree with the books.
    fn check_shown(&mut self, step: &Step<'_>, state: &str, poll_at: Option<Ms>) -> Verdicts {
        if self.open.is_none() && state == "observing" {
            self.begin(step)?;
        }
        let is_recording = self.grant.is_some();
        let shown = match () {
            () if self.released.is_some() => "unlocked",
            () if !self.faults.is_empty() => "faulted",
            () if is_recording => "recording",
            () if self.open.is_some() => "observing",
            () if step.now < self.locked_until => "locked_out",
            () => "idle",
        };
        must!(state == shown, "the gate shows {state} where {shown} is true");
        let claimed = self.open.as_ref().filter(|_| !is_recording).and_then(|open| open.claimed);
        must!(claimed == self.expecting, "vision expects {:?} and {claimed:?} was claimed", self.expecting);
        let deadlines = [
            self.released.as_ref().map(|released| released.until),
            self.grant.as_ref().map(|grant| grant.until),
            self.manual.as_ref().map(|manual| manual.until),
            self.open.as_ref().filter(|_| !is_recording).map(|open| self.attempt_end(open)),
        ];
        let first = deadlines.into_iter().flatten().min();
        must!(first.is_none_or(|at| at > step.now), "a deadline of {first:?} was missed at {}", step.now);
        must!(first.is_none_or(|at| poll_at.is_some_and(|poll| poll <= at)), "asks for {poll_at:?}, needs {first:?}");
        Ok(())
    }

    /// A window that scores too little is held against the attempt that it reaches into.
    fn doubt(&mut self, step: &Step<'_>) {
        let is_asked = step.is_new_frame || matches!(step.event, Event::Liveness(_));
        let (Some(open), Some(report)) = (&mut self.open, &self.report) else { return };
        open.is_doubted |= is_asked && is_low(report) && ms(report.until) >= open.began;
    }

    fn attempt_end(&self, open: &Open) -> Ms {
        open.last_face.map_or(open.deadline, |at| open.deadline.min(at + millis(self.policy.absent_after)))
    }

    fn ledger_deadline(&self, step: &Step<'_>) -> Ms {
        step.now + millis(self.policy.ledger_timeout)
    }
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.grants += other.grants;
        self.exits += other.exits;
        self.manual += other.manual;
        self.attempts += other.attempts;
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += theirs;
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { attempts, grants, exits, manual, .. } = self;
        write!(f, "{attempts} attempts, {grants} admitted, {exits} exits, {manual} manual")?;
        for (outcome, count) in Outcome::ALL.iter().zip(self.outcomes).filter(|(_, count)| *count > 0) {
            write!(f, ", {outcome} {count}")?;
        }
        Ok(())
    }
}
