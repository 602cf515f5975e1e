//! One person's try at the door: the frames seen of them, and what these amount to.

use heapless::Deque;

use super::policy::{LivenessPolicy, MAX_OF, Policy};
use super::record::{Outcome, PoorMeasure, Reason, Record};
use super::roster::Roster;
use super::{LivenessReport, Verdict};
use crate::person::PersonId;
use crate::time::{Instant, Now};
use crate::units::Similarity;

/// A person, and how alike the face at the door is to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub person: PersonId,
    pub similarity: Similarity,
}

/// What one frame showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    pub captured_at: Instant,
    /// The driver's number of the frame.
    pub sequence: u32,
    pub face: Face,
}

/// The face in a frame, if any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Face {
    Absent,
    /// There is one, too poor to be judged.
    Poor(PoorMeasure),
    Seen(Seen),
}

/// Whom a good face is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The most similar person enrolled.
    pub best: Option<Candidate>,
    /// The most similar other person.
    pub runner_up: Option<Candidate>,
    /// The claimed person, where one was expected.
    pub claimed: Option<Candidate>,
}

/// What one good frame amounts to under a policy.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Finding {
    Match(Candidate),
    Ambiguous { best: Candidate, runner_up: PersonId, margin: f32 },
    Below(Option<Similarity>),
}

#[derive(Debug, Clone, Copy)]
struct Look {
    captured_at: Instant,
    seen: Seen,
}

/// All that an attempt is judged by besides its own frames.
#[derive(Clone, Copy)]
pub(super) struct Bar<'a> {
    pub policy: &'a Policy,
    pub roster: &'a Roster,
    pub liveness: Option<LivenessReport>,
}

/// Where an attempt stands.
#[derive(Debug, PartialEq)]
#[must_use]
pub(super) enum Assessment {
    /// Every condition holds; the record says why.
    Admit(Candidate, Record),
    Deny(Record),
    /// More evidence may come.
    Wait,
}

/// How an attempt ends that neither admits nor denies by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    TimedOut,
    Left,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub claimed: Option<PersonId>,
    pub deadline: Instant,
    /// The last frame with a face in it.
    last_face: Option<Instant>,
    looks: Deque<Look, MAX_OF>,
    /// Why the last poor face was poor.
    poor: Option<PoorMeasure>,
    last_match: Option<PersonId>,
    /// Since when whoever matched was one and the same person: liveness evidence from before may be somebody else's.
    same_since: Instant,
}

impl Attempt {
    pub(super) fn begin(now: Instant, claimed: Option<PersonId>, deadline: Instant) -> Self {
        Self { claimed, deadline, last_face: None, looks: Deque::new(), poor: None, last_match: None, same_since: now }
    }

    /// Takes in one frame.
    pub(super) fn look(&mut self, sighting: &Sighting, bar: Bar<'_>) {
        let captured_at = sighting.captured_at;
        match sighting.face {
            Face::Absent => return,
            Face::Poor(measure) => self.poor = Some(measure),
            Face::Seen(seen) => {
                if self.looks.len() >= usize::from(bar.policy.of) {
                    self.looks.pop_front();
                }
                let _there_is_room = self.looks.push_back(Look { captured_at, seen });
                if let Finding::Match(found) = self.judge(&seen, bar) {
                    if self.last_match.is_some_and(|last| last != found.person) {
                        self.same_since = captured_at;
                    }
                    self.last_match = Some(found.person);
                }
            }
        }
        self.last_face = Some(captured_at);
    }

    /// When the attempt ends by itself, and how.
    pub(super) fn ends(&self, policy: &Policy) -> (Instant, End) {
        let left = self.last_face.map(|at| at + policy.absent_after);
        match left {
            Some(left) if left < self.deadline => (left, End::Left),
            _ => (self.deadline, End::TimedOut),
        }
    }

    /// What the frames so far amount to.
    pub(super) fn assess(&self, now: Now, bar: Bar<'_>) -> Assessment {
        if self.liveness(now, bar) == Some(Verdict::Spoof) {
            let spoof = Record::new(now.wall, Outcome::Spoof).because(Reason::LivenessSpoof);
            return Assessment::Deny(self.with_agreed(spoof, now, bar));
        }
        let Some((found, agreed)) = self.agreement(now.mono, bar).filter(|(_, n)| *n >= bar.policy.agree) else {
            return Assessment::Wait;
        };
        let Some(member) = bar.roster.get(found.person) else {
            return Assessment::Wait;
        };
        let frames = Reason::FramesAgreed { agreed, needed: bar.policy.agree };
        let of_them = |outcome| Record::new(now.wall, outcome).person(found.person).similarity(Some(found.similarity));
        if let Err((outcome, reason)) = member.permits(now) {
            return Assessment::Deny(of_them(outcome).because(reason).because(frames));
        }
        let granted = of_them(Outcome::Granted).because(frames);
        match bar.policy.liveness {
            LivenessPolicy::Required if self.liveness(now, bar) == Some(Verdict::Live) => {
                Assessment::Admit(found, granted)
            }
            LivenessPolicy::Required => Assessment::Wait,
            LivenessPolicy::NotRequired => Assessment::Admit(found, granted.because(Reason::LivenessNotRequired)),
        }
    }

    /// The outcome of an attempt that ended without a decision: the most telling thing that was missing.
    pub(super) fn conclude(&self, now: Now, bar: Bar<'_>, end: End) -> Record {
        let needed = bar.policy.agree;
        let agreed = self.agreement(now.mono, bar).map_or(0, |(_, n)| n);
        let frames = Reason::FramesAgreed { agreed, needed };
        let of = |outcome| Record::new(now.wall, outcome);

        if agreed >= needed {
            let inconclusive = of(Outcome::LivenessInconclusive).because(Reason::LivenessMissing);
            return self.with_agreed(inconclusive, now, bar);
        }
        if let (true, Some(measure)) = (self.looks.is_empty(), self.poor) {
            return self.with_claim(of(Outcome::PoorQuality).because(Reason::Poor(measure)));
        }
        if let Some(Finding::Ambiguous { best, runner_up, margin }) = self.mostly_ambiguous(bar) {
            let close = Reason::TooCloseToRunnerUp { runner_up, margin, needed: bar.policy.margin };
            return of(Outcome::Ambiguous)
                .person(best.person)
                .similarity(Some(best.similarity))
                .because(close)
                .because(frames);
        }
        let best = self.best(bar);
        let mut record = of(Outcome::NotRecognised).similarity(best).because(frames);
        let threshold = self.threshold(bar.roster);
        if let (Some(best), Some(threshold)) = (best, threshold)
            && best < threshold
        {
            record = record.because(Reason::BelowThreshold { best, threshold });
        }
        if bar.roster.is_empty() {
            record = record.because(Reason::EmptyGallery);
        }
        if self.claimed.is_some() {
            record = record.because(Reason::ClaimNotConfirmed);
        }
        if end == End::Left && self.looks.len() < usize::from(needed) {
            record = record.because(Reason::LeftEarly);
        }
        self.with_claim(record)
    }

    fn with_claim(&self, record: Record) -> Record {
        match self.claimed {
            Some(person) => record.person(person),
            None => record,
        }
    }

    /// Names the person on whom enough frames agree, if there is one.
    fn with_agreed(&self, record: Record, now: Now, bar: Bar<'_>) -> Record {
        match self.agreement(now.mono, bar) {
            Some((found, agreed)) if agreed >= bar.policy.agree => record
                .person(found.person)
                .similarity(Some(found.similarity))
                .because(Reason::FramesAgreed { agreed, needed: bar.policy.agree }),
            _ => self.with_claim(record),
        }
    }

    /// The person whom the newest fresh match shows, in how many fresh frames, and how alike in the best of them.
    fn agreement(&self, now: Instant, bar: Bar<'_>) -> Option<(Candidate, u8)> {
        let fresh = |look: &&Look| is_fresh(look.captured_at, now, bar.policy);
        let matches = || {
            self.looks.iter().rev().filter(fresh).filter_map(|look| match self.judge(&look.seen, bar) {
                Finding::Match(found) => Some(found),
                _ => None,
            })
        };
        let person = matches().next()?.person;
        let mut agreed: u8 = 0;
        let mut similarity = Similarity::MIN;
        for found in matches().filter(|found| found.person == person) {
            agreed += 1;
            if found.similarity > similarity {
                similarity = found.similarity;
            }
        }
        Some((Candidate { person, similarity }, agreed))
    }

    /// What liveness says of this person, where it says it of now.
    fn liveness(&self, now: Now, bar: Bar<'_>) -> Option<Verdict> {
        bar.liveness
            .filter(|report| is_fresh(report.until, now.mono, bar.policy) && report.from >= self.same_since)
            .map(|report| report.verdict)
    }

    fn judge(&self, seen: &Seen, bar: Bar<'_>) -> Finding {
        let threshold = self.threshold(bar.roster);
        let reaches = |found: Candidate| threshold.is_some_and(|threshold| found.similarity >= threshold);
        if let Some(person) = self.claimed {
            return match seen.claimed {
                Some(found) if found.person == person && reaches(found) => Finding::Match(found),
                other => Finding::Below(other.map(|found| found.similarity)),
            };
        }
        match (seen.best, seen.runner_up) {
            (Some(best), None) if reaches(best) => Finding::Match(best),
            (Some(best), Some(runner_up)) if reaches(best) => {
                let margin = best.similarity.get() - runner_up.similarity.get();
                if runner_up.person != best.person && margin >= bar.policy.margin {
                    Finding::Match(best)
                } else {
                    Finding::Ambiguous { best, runner_up: runner_up.person, margin }
                }
            }
            (best, _) => Finding::Below(best.map(|found| found.similarity)),
        }
    }

    fn threshold(&self, roster: &Roster) -> Option<Similarity> {
        if self.claimed.is_some() { roster.verify_threshold } else { roster.identify_threshold }
    }

    /// The last ambiguous finding, where at least half of the frames are.
    fn mostly_ambiguous(&self, bar: Bar<'_>) -> Option<Finding> {
        let ambiguous = || {
            let findings = self.looks.iter().rev().map(|look| self.judge(&look.seen, bar));
            findings.filter(|finding| matches!(finding, Finding::Ambiguous { .. }))
        };
        let last = ambiguous().next()?;
        (ambiguous().count() * 2 >= self.looks.len()).then_some(last)
    }

    /// The best similarity to anybody who was looked for.
    fn best(&self, bar: Bar<'_>) -> Option<Similarity> {
        self.looks
            .iter()
            .filter_map(|look| match self.judge(&look.seen, bar) {
                Finding::Match(found) | Finding::Ambiguous { best: found, .. } => Some(found.similarity),
                Finding::Below(similarity) => similarity,
            })
            .max_by(|a, b| a.get().total_cmp(&b.get()))
    }
}

/// Captured, and not longer ago than the policy allows; a stamp from the future is not fresh.
pub(super) fn is_fresh(captured_at: Instant, now: Instant, policy: &Policy) -> bool {
    now.checked_since(captured_at).is_some_and(|age| age <= policy.stale_after)
}
