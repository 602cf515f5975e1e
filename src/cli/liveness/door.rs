//! A door in simulated time at which sessions happen: the real gate, its interpreter, a ledger on disk, and a strike that
//! only remembers.
//!
//! Whoever stands there always looks like the one person enrolled: what keeps an attack out is liveness alone.

use std::sync::Arc;

use crate::cli::exit::{Code, Failure};
use crate::cli::scratch::Scratch;
use crate::daemon::interpreter::{Effects, Interpreter};
use crate::gallery::MasterKey;
use crate::gate::{
    Actions, Alarm, Candidate, Event, Face, Gate, LivenessPolicy, Member, Outcome, Policy, Record, Roster, Schedule,
    Seen, Sighting, Ticket,
};
use crate::hw::store::Store;
use crate::liveness::judge::Judge;
use crate::liveness::series::TICK;
use crate::liveness::{Channel, Sample, Session};
use crate::person::PersonId;
use crate::ports::{Clock, Ledger as _};
use crate::sim::clock::SimClock;
use crate::sim::strike::{RecordingStrike, StrikeLog};
use crate::time::{Duration, Instant, Wall};
use crate::units::Similarity;

/// From a frame's capture to what it shows: what finding and encoding a face takes on a small board.
const LATENCY: Duration = Duration::from_millis(80);
/// Between two visits: longer than a lockout and every pause after a denial.
const BETWEEN: Duration = Duration::from_secs(120);
/// Monday, 2026-09-21T13:33:20Z.
const MONDAY: Wall = Wall::from_unix_millis(1_790_000_000_000);
const ANYBODY: PersonId = PersonId::new(1);
/// As alike as one person's pictures are on the whole, and the threshold of a gallery.
const ALIKE: f32 = 0.75;
const THRESHOLD: f32 = 0.5;
/// Steps that a visit takes at most: ten minutes of frames and judgements.
const MAX_STEPS: usize = 100_000;

/// How a visit ended.
#[derive(Debug, Clone)]
pub struct Visit {
    /// From the first frame with a face to the release of the strike, if it was released.
    pub opened_after: Option<Duration>,
    /// What the ledger has of it, in order.
    pub outcomes: Vec<Outcome>,
}

/// See the module.
pub struct Door {
    clock: SimClock,
    gate: Gate,
    interpreter: Interpreter<RecordingStrike, Ledger>,
    strike: StrikeLog,
}

/// Writes at once.
struct Ledger {
    store: Store,
    _scratch: Scratch,
    answers: Vec<Event>,
    outcomes: Vec<Outcome>,
}

impl Effects for Ledger {
    fn record(&mut self, record: Record, ticket: Option<Ticket>) -> bool {
        let written = self.store.append(&record).is_ok();
        self.outcomes.push(record.outcome);
        self.answers.extend(ticket.map(|ticket| Event::Recorded { ticket, written }));
        true
    }

    fn expect(&mut self, _person: Option<PersonId>) {}

    fn alarm(&mut self, _alarm: Alarm) {}
}

impl Door {
    /// A door with this policy, liveness required.
    ///
    /// # Errors
    /// No ledger can be made on disk.
    pub fn new(policy: Policy) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let key = MasterKey::generate().map_err(|error| Failure::said(Code::Os, error.to_string()))?;
        let store = Store::open(&scratch.path().join("door.db"), &key)?;
        let clock = SimClock::new(MONDAY);
        let strike = RecordingStrike::new(Arc::new(clock.clone()));
        let log = strike.log();
        let (gate, first) = Gate::new(Policy { liveness: LivenessPolicy::Required, ..policy }, clock.now());
        let ledger = Ledger { store, _scratch: scratch, answers: Vec::new(), outcomes: Vec::new() };
        let mut door = Self { interpreter: Interpreter::new(strike, ledger), strike: log, gate, clock };
        door.carry_out(first);
        let schedule = Schedule::parse("always").ok();
        let member = Member { id: ANYBODY, expires: None, schedule };
        let threshold = Similarity::new(THRESHOLD);
        door.step(Event::Roster(Arc::new(Roster::new(vec![member], threshold, threshold))));
        Ok(door)
    }

    /// Lets a session happen, judged by a judge that has heard nothing yet.
    pub fn visit(&mut self, session: &Session, judge: &mut Judge) -> Visit {
        self.interpreter.effects().outcomes.clear();
        let began = self.clock.now().mono + BETWEEN;
        self.wait_until(began);
        let releases = self.strike.releases();
        let at = |sample: &Sample| began + sample.at.since(Instant::BOOT);
        let mut moments = session.samples.chunk_by(|a, b| a.at == b.at).peekable();
        let end = session.samples.last().map_or(began, at) + Duration::from_secs(1);
        let (mut sense, mut first_face, mut opened_after, mut sequence) = (began, None, None, 0);
        let mut frames: std::collections::VecDeque<Instant> = std::collections::VecDeque::new();
        for _ in 0..MAX_STEPS {
            let next = moments.peek().map_or(end, |samples| at(&samples[0]));
            let frame = frames.front().map_or(end, |captured_at| *captured_at + LATENCY);
            let now = next.min(frame).min(sense).min(end);
            self.wait_until(now);
            if now >= end {
                break;
            }
            if now == next
                && let Some(samples) = moments.next()
            {
                judge.moment(now, samples);
                if samples.iter().any(|sample| sample.channel == Channel::FaceSize) {
                    first_face.get_or_insert(now);
                    frames.push_back(now);
                }
            } else if now == frame
                && let Some(captured_at) = frames.pop_front()
            {
                sequence += 1;
                self.step(Event::Sighting(Sighting { captured_at, sequence, face: face() }));
            } else {
                sense = now + TICK;
                if let Some(report) = judge.judge(now) {
                    self.step(Event::Liveness(report));
                }
            }
            if opened_after.is_none() && self.strike.releases() > releases {
                opened_after = first_face.map(|first| now.since(first));
            }
        }
        Visit { opened_after, outcomes: std::mem::take(&mut self.interpreter.effects().outcomes) }
    }

    /// Lets time pass, deadlines included.
    fn wait_until(&mut self, until: Instant) {
        for _ in 0..MAX_STEPS {
            let due = [self.gate.poll_at(), self.interpreter.poll_at()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= until) else { break };
            self.clock.advance_to(due);
            let again = self.interpreter.tick(due);
            self.step(again.unwrap_or(Event::Tick));
        }
        self.clock.advance_to(until);
    }

    fn step(&mut self, event: Event) {
        let actions = self.gate.step(self.clock.now(), event);
        self.carry_out(actions);
    }

    /// Carries actions out, and lets the gate hear what the ledger answers.
    fn carry_out(&mut self, actions: Actions) {
        self.interpreter.carry_out(&mut self.gate, self.clock.now(), actions);
        for answer in std::mem::take(&mut self.interpreter.effects().answers) {
            self.step(answer);
        }
    }
}

/// The person enrolled, plainly.
fn face() -> Face {
    let best = Similarity::new(ALIKE).map(|similarity| Candidate { person: ANYBODY, similarity });
    Face::Seen(Seen { best, runner_up: None, claimed: None })
}
