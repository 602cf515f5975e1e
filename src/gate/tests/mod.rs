//! Scenes at a door as timed scripts: what happens, and every action the gate answers with, to the millisecond.
//!
//! A line is `seconds what`; [`Script::says`] compares all lines since it was asked last, so that nothing goes unread.

mod admission;
mod claims;
mod door;
mod faults;
mod refusal;

use std::sync::Arc;

use super::*;
use crate::time::{Duration, Now, Wall};
use crate::units::Similarity;

const ANA: PersonId = PersonId::new(1);
const BEN: PersonId = PersonId::new(2);
/// Has expired.
const EVA: PersonId = PersonId::new(3);
/// May come in on Saturdays, and the scenes play on a Monday.
const TOM: PersonId = PersonId::new(4);
/// Expires, and has not yet.
const GUS: PersonId = PersonId::new(5);

/// Monday, 2026-09-21T13:33:20Z.
const MONDAY: i64 = 1_790_000_000_000;
/// When every script starts, by the clock that counts from boot.
const START: u64 = 1_000_000;
/// Between frames.
const FRAME: u64 = 100;
/// What liveness needs to see.
const WINDOW: u64 = 500;
/// How long the ledger takes.
const PROMPT: u64 = 20;

fn similarity(cosine: f32) -> Similarity {
    Similarity::new(cosine).unwrap()
}

fn candidate(person: PersonId, cosine: f32) -> Candidate {
    Candidate { person, similarity: similarity(cosine) }
}

/// Like `best` so much, like `second` so much, and like whoever is claimed as the two say.
fn between(best: (PersonId, f32), second: (PersonId, f32)) -> Face {
    Face::Seen(Seen {
        best: Some(candidate(best.0, best.1)),
        runner_up: Some(candidate(second.0, second.1)),
        claimed: None,
    })
}

fn face(person: PersonId) -> Face {
    between((person, 0.8), (if person == BEN { ANA } else { BEN }, 0.1))
}

fn stranger() -> Face {
    between((ANA, 0.2), (BEN, 0.1))
}

/// A frame looked at while `person` was claimed.
fn scored(person: PersonId, cosine: f32) -> Face {
    Face::Seen(Seen { best: None, runner_up: None, claimed: Some(candidate(person, cosine)) })
}

fn roster() -> Roster {
    let member = |id, expires: Option<i64>, schedule| Member {
        id,
        expires: expires.map(Wall::from_unix_millis),
        schedule: Schedule::parse(schedule).ok(),
    };
    let members = vec![
        member(ANA, None, "always"),
        member(BEN, None, "always"),
        member(EVA, Some(MONDAY - 1), "always"),
        member(TOM, None, "Sat 08:00-12:00 UTC"),
        member(GUS, Some(MONDAY + 86_400_000), "always"),
    ];
    Roster::new(members, Some(similarity(0.5)), Some(similarity(0.4)))
}

/// The roster without some.
fn roster_without(gone: &[PersonId]) -> Arc<Roster> {
    let all = roster();
    let left = [ANA, BEN, EVA, TOM, GUS].into_iter().filter(|id| !gone.contains(id));
    let members = left.filter_map(|id| all.get(id).cloned()).collect();
    Arc::new(Roster::new(members, all.identify_threshold, all.verify_threshold))
}

/// The default, with no liveness.
fn pictures_pass() -> Policy {
    Policy { liveness: LivenessPolicy::NotRequired, ..Policy::default() }
}

/// How the ledger behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ledger {
    /// Confirms after so many milliseconds.
    Writes(u64),
    Fails,
    Silent,
}

/// A gate, its clocks, its ledger, and what it has said.
struct Script {
    gate: Gate,
    /// Milliseconds since the script started.
    now: u64,
    /// How far civil time is off, in milliseconds.
    wall_offset: i64,
    sequence: u32,
    ledger: Ledger,
    acks: Vec<(u64, Ticket, bool)>,
    /// What liveness finds in whoever is shown.
    verdict: Option<Verdict>,
    /// Why it finds that.
    evidence: Evidence,
    lines: Vec<String>,
}

impl Script {
    /// The default policy and everybody enrolled.
    fn new() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let policy = policy.check().unwrap();
        let now = Now { mono: Instant::from_millis(START), wall: Wall::from_unix_millis(MONDAY) };
        let (gate, first) = Gate::new(policy, now);
        let mut script = Self {
            gate,
            now: 0,
            wall_offset: 0,
            sequence: 0,
            ledger: Ledger::Writes(PROMPT),
            acks: Vec::new(),
            verdict: Some(Verdict::Live),
            evidence: [None; MAX_EVIDENCE],
            lines: Vec::new(),
        };
        script.note(first);
        script.says(["0 secure", "0 started"]);
        script.event(Event::Roster(Arc::new(roster())));
        script
    }

    fn seconds(&self) -> f64 {
        self.now as f64 / 1000.0
    }

    fn mono(&self) -> Instant {
        Instant::from_millis(START + self.now)
    }

    fn clocks(&self) -> Now {
        let wall = MONDAY + i64::try_from(self.now).unwrap() + self.wall_offset;
        Now { mono: self.mono(), wall: Wall::from_unix_millis(wall) }
    }

    /// Something happens now.
    fn event(&mut self, event: Event) -> &mut Self {
        let actions = self.gate.step(self.clocks(), event);
        self.note(actions);
        self
    }

    /// Time passes; the gate's deadlines are met and the ledger answers.
    fn wait(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        for _ in 0..1_000_000 {
            let due = self.gate.poll_at().map_or(u64::MAX, |at| at.as_nanos().div_ceil(1_000_000) - START);
            let ack = self.acks.iter().map(|(at, ..)| *at).min().unwrap_or(u64::MAX);
            let next = due.min(ack);
            if next > end {
                self.now = end;
                return self;
            }
            self.now = self.now.max(next);
            match self.acks.iter().position(|(at, ..)| *at == next) {
                Some(first) => {
                    let (_, ticket, written) = self.acks.remove(first);
                    self.event(Event::Recorded { ticket, written })
                }
                None => self.event(Event::Tick),
            };
        }
        panic!("a deadline that is never met: {:?}", self.gate.poll_at());
    }

    /// Frames of a face for so long; liveness watches from the first of them.
    fn show(&mut self, face: Face, ms: u64) -> &mut Self {
        let began = self.now;
        while self.now < began + ms {
            self.frame(face);
            if let Some(verdict) = self.verdict.filter(|_| self.now >= began + WINDOW && face != Face::Absent) {
                self.liveness(self.now - WINDOW, self.now, verdict);
            }
            self.wait(FRAME);
        }
        self
    }

    /// One frame, captured now.
    fn frame(&mut self, face: Face) -> &mut Self {
        self.sequence += 1;
        let (captured_at, sequence) = (self.mono(), self.sequence);
        self.event(Event::Sighting(Sighting { captured_at, sequence, face }))
    }

    /// One frame with stamps of its own, which may lie in the past or the future.
    fn odd_frame(&mut self, captured: u64, sequence: u32, face: Face) -> &mut Self {
        let captured_at = Instant::from_millis(START + captured);
        self.event(Event::Sighting(Sighting { captured_at, sequence, face }))
    }

    fn liveness(&mut self, from: u64, until: u64, verdict: Verdict) -> &mut Self {
        let (from, until) = (Instant::from_millis(START + from), Instant::from_millis(START + until));
        self.event(Event::Liveness(LivenessReport { from, until, verdict, evidence: self.evidence }))
    }

    fn exit(&mut self) -> &mut Self {
        self.event(Event::ExitButton { pressed: true }).event(Event::ExitButton { pressed: false })
    }

    fn opens(&mut self) -> &mut Self {
        self.event(Event::DoorContact { open: true })
    }

    fn closes(&mut self) -> &mut Self {
        self.event(Event::DoorContact { open: false })
    }

    fn note(&mut self, actions: Actions) {
        for action in actions {
            if let Action::Record { ticket: Some(ticket), .. } = action {
                match self.ledger {
                    Ledger::Writes(ms) => self.acks.push((self.now + ms, ticket, true)),
                    Ledger::Fails => self.acks.push((self.now + PROMPT, ticket, false)),
                    Ledger::Silent => {}
                }
            }
            self.lines.push(format!("{} {}", self.seconds(), line(&action)));
        }
    }

    /// All that was said since this was asked last.
    #[track_caller]
    fn says<const N: usize>(&mut self, expected: [&str; N]) -> &mut Self {
        let said = std::mem::take(&mut self.lines);
        assert_eq!(said, expected, "\nsaid:\n{}\n", said.join("\n"));
        self
    }

    /// Leaves out what a scene before this one has said.
    fn skip(&mut self) -> &mut Self {
        self.lines.clear();
        self
    }
}

/// `granted #1 0.800 [frames_agreed 5, needed 3]`, `release`, `expect #1` and so on; a `?` asks for the ledger's
/// answer.
fn line(action: &Action) -> String {
    match action {
        Action::Record { record, ticket } => {
            let mut line = record.outcome.to_string();
            if ticket.is_some() {
                line.push('?');
            }
            if let Some(person) = record.person {
                line += &format!(" {person}");
            }
            if let Some(similarity) = record.similarity {
                line += &format!(" {similarity}");
            }
            if !record.reasons.is_empty() {
                let reasons: Vec<_> = record.reasons.iter().map(ToString::to_string).collect();
                line += &format!(" [{}]", reasons.join(", "));
            }
            line
        }
        Action::Release => "release".into(),
        Action::Secure => "secure".into(),
        Action::Expect(Some(person)) => format!("expect {person}"),
        Action::Expect(None) => "expect nobody".into(),
        Action::Alarm(alarm) => format!("alarm {alarm:?}"),
    }
}
