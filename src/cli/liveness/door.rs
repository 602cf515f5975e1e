//! A door in simulated time at which sessions happen: the real gate, its interpreter, a ledger on disk, and a strike
//! that only remembers.
//!
//! Whoever stands there always looks like the one person enrolled: what keeps an attack out is liveness alone.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cli::exit::{Code, Failure};
use crate::cli::scratch::Scratch;
use crate::daemon::interpreter::{Effects, Interpreter};
use crate::gallery::MasterKey;
use crate::gate::{
    Actions, Alarm, Candidate, Event, Face, Gate, LivenessPolicy, Member, Mode, Outcome, Policy, Record, Roster,
    Schedule, Seen, Sighting, Ticket,
};
use crate::hw::store::Store;
use crate::liveness::judge::Judge;
use crate::liveness::series::TICK;
use crate::liveness::{Channel, Sample, Session, Source};
use crate::person::PersonId;
use crate::ports::{Clock, Ledger as _};
use crate::sim::clock::SimClock;
use crate::sim::strike::{RecordingStrike, StrikeLog};
use crate::time::{Duration, Instant, Wall};
use crate::units::Similarity;

/// From a frame's capture to what it shows: what finding and encoding a face takes on a small board.
const LATENCY: Duration = Duration::from_millis(80);
/// Between two visits at the least, and after the end of a lockout: longer than every pause after a denial.
const BETWEEN: Duration = Duration::from_secs(120);
const AFTER_LOCKOUT: Duration = Duration::from_secs(60);
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
    between: Duration,
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
    /// A door with this policy, liveness required, that looks at whoever comes: no session claims a name.
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
        let between = BETWEEN.max(policy.lockout_for + AFTER_LOCKOUT);
        let policy = Policy { liveness: LivenessPolicy::Required, mode: Mode::Recognition, ..policy };
        let (gate, first) = Gate::new(policy, clock.now());
        let ledger = Ledger { store, _scratch: scratch, answers: Vec::new(), outcomes: Vec::new() };
        let mut door = Self { interpreter: Interpreter::new(strike, ledger), strike: log, gate, clock, between };
        door.act(first);
        let schedule = Schedule::parse("always").ok();
        let member = Member { id: ANYBODY, expires: None, schedule };
        let threshold = Similarity::new(THRESHOLD);
        door.step(Event::Roster(Arc::new(Roster::new(vec![member], threshold, threshold))));
        door.wait_until(door.clock.now().mono + between);
        door.interpreter.effects().outcomes.clear();
        Ok(door)
    }

    /// Lets a session happen, judged by a judge that has heard nothing yet.
    pub fn visit(&mut self, session: &Session, judge: &mut Judge) -> Visit {
        let began = self.clock.now().mono;
        let releases = self.strike.releases();
        let at = |sample: &Sample| began + sample.at.since(Instant::BOOT);
        let mut moments = session.samples.chunk_by(|a, b| a.at == b.at).peekable();
        let end = session.samples.last().map_or(began, at) + Duration::from_secs(1);
        let (mut sense, mut first_face, mut opened_after, mut sequence) = (began, None, None, 0);
        let mut frames: VecDeque<(Instant, Vec<Sample>)> = VecDeque::new();
        for _ in 0..MAX_STEPS {
            let next = moments.peek().map_or(end, |samples| at(&samples[0]));
            let frame = frames.front().map_or(end, |(captured_at, _)| *captured_at + LATENCY);
            let now = next.min(frame).min(sense).min(end);
            self.wait_until(now);
            if now >= end {
                break;
            }
            if now == next
                && let Some(samples) = moments.next()
            {
                // What the frame shows is known once it was looked at, to liveness too.
                let (of_frame, sensed) = samples.iter().partition::<Vec<Sample>, _>(|sample| is_of_frame(sample));
                judge.moment(now, &sensed);
                if !of_frame.is_empty() {
                    frames.push_back((now, of_frame));
                }
            } else if now == frame
                && let Some((captured_at, samples)) = frames.pop_front()
            {
                judge.moment(captured_at, &samples);
                if samples.iter().any(|sample| sample.channel == Channel::FaceSize) {
                    first_face.get_or_insert(captured_at);
                    sequence += 1;
                    self.step(Event::Sighting(Sighting { captured_at, sequence, face: face() }));
                }
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
        // The last attempt ends some time after its last frame, and the next visitor finds the door as this one did.
        self.wait_until(end + self.between);
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
        self.act(actions);
    }

    /// Carries actions out, and lets the gate hear what the ledger answers.
    fn act(&mut self, actions: Actions) {
        self.interpreter.apply_all(&mut self.gate, self.clock.now(), actions);
        for answer in std::mem::take(&mut self.interpreter.effects().answers) {
            self.step(answer);
        }
    }
}

fn is_of_frame(sample: &Sample) -> bool {
    matches!(sample.channel.source(), Source::Camera | Source::Antispoof)
}

/// The person enrolled, plainly.
fn face() -> Face {
    let best = Similarity::new(ALIKE).map(|similarity| Candidate { person: ANYBODY, similarity });
    Face::Seen(Seen { best, runner_up: None, claimed: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::InferError;
    use crate::liveness::head::{Class, Score};
    use crate::liveness::judge::{Demands, Scorer};
    use crate::liveness::series::Window;
    use crate::liveness::{Label, Origin, SourceSet, Thresholds};

    /// Says the same of every window.
    struct Says(f32);

    impl Scorer for Says {
        fn score(&mut self, _window: &Window) -> Result<Score, InferError> {
            Ok(Score { log_odds: self.0, attack: Class::Print })
        }

        fn weights(&mut self, _window: &Window) -> Result<Vec<(Channel, f32)>, InferError> {
            Ok(Vec::new())
        }
    }

    /// A face for so long at such a door, in 25 frames a second, of which liveness makes this.
    fn visit(door: &mut Door, seconds: u64, log_odds: f32) -> Visit {
        let sources = SourceSet::default().with(Source::Camera);
        let table = "evaluation = \"made up\"\nwindows = 1\n[[subset]]\nsensors = [\"camera\"]\n\
                     points = [{ bpcer = 0.01, score = 0.0, apcer_worst = 0.0, worst = \"phone\" }]\n";
        let thresholds = Thresholds::parse(table).unwrap();
        let demands = Demands { sources, required: sources, target_bpcer: 0.01, thresholds };
        let sample = |i| Sample { at: Instant::from_millis(40 * i), channel: Channel::FaceSize, value: 0.1 };
        let samples = (0..25 * seconds).map(sample).collect();
        let session = Session { label: Label::Live, origin: Origin::Simulated, note: String::new(), samples };
        door.visit(&session, &mut Judge::new(demands, Box::new(Says(log_odds)), 60.0))
    }

    #[test]
    fn each_visit_has_its_own_outcomes_and_none_suffers_from_the_one_before() {
        use Outcome as O;
        let seconds = Duration::from_secs;
        let strict =
            Policy { lockout_after: 1, lockout_for: seconds(900), absent_after: seconds(3), ..Policy::default() };
        for mode in [Mode::Recognition, Mode::Verification] {
            let mut door = Door::new(Policy { mode, ..strict.clone() }).ok().unwrap();
            let visits = [(4, 9.0), (4, -9.0), (4, 9.0), (1, 9.0), (4, 9.0)];
            let visits = visits.map(|(seconds, log_odds)| visit(&mut door, seconds, log_odds));
            let outcomes = visits.each_ref().map(|visit| visit.outcomes.as_slice());
            let told: [&[O]; 5] =
                [&[O::Granted], &[O::Spoof, O::LockedOut], &[O::Granted], &[O::LivenessInconclusive], &[O::Granted]];
            assert_eq!(outcomes, told, "{mode:?}");
            let opened = visits.each_ref().map(|visit| visit.opened_after.is_some());
            assert_eq!(opened, [true, false, true, false, true], "{mode:?}");
        }
    }

    #[test]
    fn a_frame_counts_for_liveness_once_it_was_looked_at() {
        let mut door = Door::new(Policy::default()).ok().unwrap();
        // The second window ends with the frame of 2.16 s.
        assert_eq!(visit(&mut door, 4, 9.0).opened_after, Some(Duration::from_millis(2160) + LATENCY));
    }
}
