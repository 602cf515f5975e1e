//! One person's try at the door: the frames seen of them, and what these amount to.

use std::sync::Arc;

use heapless::Deque;

use super::policy::{LivenessPolicy, MAX_OF, Policy};
use super::record::{Outcome, PoorMeasure, Reason, Record};
use super::roster::Roster;
use super::{Evidence, LivenessReport, MAX_EVIDENCE, Verdict};
use crate::person::PersonId;
use crate::time::{Duration, Instant, Now};
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
pub enum Finding {
    Match(Candidate),
    /// Two people are so alike to the face that it may be either.
    Ambiguous {
        best: Candidate,
        runner_up: PersonId,
        margin: f32,
    },
    /// Nobody reaches the threshold; how alike the nearest is.
    Below(Option<Similarity>),
}

impl Finding {
    /// Whom it shows beyond doubt.
    const fn matched(self) -> Option<Candidate> {
        match self {
            Self::Match(found) => Some(found),
            Self::Ambiguous { .. } | Self::Below(_) => None,
        }
    }
}

impl Seen {
    /// What a search among everybody amounts to: the best must reach the threshold, where there is one, and be ahead of
    /// the next person by the margin.
    pub fn recognised(&self, threshold: Option<Similarity>, margin: f32) -> Finding {
        let reaches = |found: Candidate| threshold.is_some_and(|threshold| found.similarity >= threshold);
        match (self.best, self.runner_up) {
            (Some(best), None) if reaches(best) => Finding::Match(best),
            (Some(best), Some(runner_up)) if reaches(best) => {
                let ahead = best.similarity.get() - runner_up.similarity.get();
                if runner_up.person != best.person && ahead >= margin {
                    Finding::Match(best)
                } else {
                    Finding::Ambiguous { best, runner_up: runner_up.person, margin: ahead }
                }
            }
            (best, _) => Finding::Below(best.map(|found| found.similarity)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Look {
    captured_at: Instant,
    told_at: Instant,
    seen: Seen,
}

/// Faces of which an attempt remembers whom they showed: 4 s of them. Life is judged by 2.2 s, and its word counts for another
/// [`Policy::stale_after`], 1.5 s by default.
const MAX_FACES: usize = 160;
/// At most one of them in so long, however many frames the camera gives.
const FACE_EACH: Duration = Duration::from_millis(25);

/// Whom a frame with a face showed beyond doubt, poor ones among them.
#[derive(Debug, Clone, Copy)]
struct Shown {
    captured_at: Instant,
    person: Option<PersonId>,
}

/// All that an attempt is judged by besides its own frames.
#[derive(Debug)]
pub(super) struct Bar {
    pub policy: Policy,
    pub roster: Arc<Roster>,
    /// Its newest report.
    pub liveness: Option<LivenessReport>,
}

impl Bar {
    /// Whom a frame shows beyond doubt of everybody.
    pub(super) fn known(&self, face: &Face) -> Option<PersonId> {
        match face {
            Face::Seen(seen) => self.find(seen).matched().map(|found| found.person),
            Face::Absent | Face::Poor(_) => None,
        }
    }

    /// What a search for this face among everybody amounts to. Whoever was erased a moment ago may still be in the frame that
    /// was being looked at.
    fn find(&self, seen: &Seen) -> Finding {
        match seen.best {
            Some(best) if self.roster.get(best.person).is_some() => {
                seen.recognised(self.roster.identify_threshold, self.policy.margin)
            }
            best => Finding::Below(best.map(|found| found.similarity)),
        }
    }

    /// What liveness says by evidence from `since` on, where it says it of now.
    fn liveness(&self, since: Instant, now: Now) -> Option<LivenessReport> {
        self.liveness
            .filter(|report| since <= report.from && report.from <= report.until)
            .filter(|report| is_fresh(report.until, now.mono, &self.policy))
    }

    /// The same, if it is that there is an attack.
    pub(super) fn attack(&self, since: Instant, now: Now) -> Option<LivenessReport> {
        self.liveness(since, now).filter(|report| report.verdict == Verdict::Spoof)
    }
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

#[derive(Debug)]
pub(super) struct Attempt {
    pub claimed: Option<PersonId>,
    pub began: Instant,
    deadline: Instant,
    /// When a face was last told of: a slow network must not look like an empty doorstep. Of a claim, from its own face on:
    /// who walks by or walks off meanwhile ends nobody's claim.
    last_face: Option<Instant>,
    looks: Deque<Look, MAX_OF>,
    faces: Deque<Shown, MAX_FACES>,
    /// Why the last poor face was poor.
    poor: Option<PoorMeasure>,
    /// Since when the person who matches has been in sight: liveness evidence from before may be somebody else's.
    in_sight_since: Instant,
    /// Whom nothing but liveness kept out, and in how many frames they agreed.
    unproven: Option<(Candidate, u8)>,
    /// A window of evidence scored less than is asked for.
    is_doubted: bool,
    /// Life was seen while most faces were nobody's that is known.
    is_borrowed: bool,
}

impl Attempt {
    pub(super) fn begin(now: Instant, claimed: Option<PersonId>, deadline: Instant) -> Self {
        Self {
            claimed,
            began: now,
            deadline,
            last_face: None,
            looks: Deque::new(),
            faces: Deque::new(),
            poor: None,
            in_sight_since: now,
            unproven: None,
            is_doubted: false,
            is_borrowed: false,
        }
    }

    /// Whether a window of evidence scored less than is asked for: too few of them make no attack, but they are no mere absence
    /// of evidence either.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Forgets what the frames so far were like: they were compared with other people than are enrolled now.
    pub(super) fn start_anew(&mut self, now: Instant) {
        self.looks.clear();
        self.faces.clear();
        self.in_sight_since = now;
        self.unproven = None;
    }

    /// Takes in one frame.
    pub(super) fn look(&mut self, now: Instant, sighting: &Sighting, bar: &Bar) {
        let captured_at = sighting.captured_at;
        let person = match sighting.face {
            Face::Absent => return,
            Face::Poor(measure) => {
                self.poor = Some(measure);
                None
            }
            Face::Seen(seen) => {
                let person = self.judge(&seen, bar).matched().map(|found| found.person);
                // Else a live stranger could stand there first, and then hold up somebody's picture.
                if person.is_some() && self.matches(captured_at, bar).next().map(|before| before.person) != person {
                    self.in_sight_since = captured_at.max(self.began);
                }
                while self.looks.len() >= usize::from(bar.policy.of) && self.looks.pop_front().is_some() {}
                let _there_is_room = self.looks.push_back(Look { captured_at, told_at: now, seen });
                person
            }
        };
        if self.faces.back().is_none_or(|last| captured_at.since(last.captured_at) >= FACE_EACH) {
            if self.faces.is_full() {
                let _the_oldest = self.faces.pop_front();
            }
            let _there_is_room = self.faces.push_back(Shown { captured_at, person });
        }
        if self.claimed.is_none() || self.last_face.is_some() || person.is_some() {
            self.last_face = Some(now);
        }
    }

    /// When the attempt ends by itself: nobody is there any more, or it has lasted long enough.
    pub(super) fn ends(&self, policy: &Policy) -> Instant {
        self.last_face.map_or(self.deadline, |at| self.deadline.min(at + policy.absent_after))
    }

    /// What the frames so far amount to.
    pub(super) fn assess(&mut self, now: Now, bar: &Bar) -> Assessment {
        self.is_doubted |= bar.liveness.is_some_and(|report| report.until >= self.began && is_below(&report));
        // An attack at any time of the attempt spoils it; life counts only since this person came into sight.
        if let Some(report) = bar.attack(self.began, now) {
            let spoof = Record::new(now.wall, Outcome::Spoof).because(Reason::LivenessSpoof);
            return Assessment::Deny(self.with_agreed(spoof, now, bar).because_of(report.evidence));
        }
        let Some((found, agreed)) = self.agreement(now.mono, bar).filter(|(_, n)| *n >= bar.policy.agree) else {
            return Assessment::Wait;
        };
        let Some(member) = bar.roster.get(found.person) else {
            return Assessment::Wait;
        };
        let frames = Reason::FramesAgreed { agreed, needed: bar.policy.agree };
        let of_them = |outcome| Record::new(now.wall, outcome).like(found);
        if let Err((outcome, reason)) = member.permits(now) {
            return Assessment::Deny(of_them(outcome).because(reason).because(frames));
        }
        let granted = of_them(Outcome::Granted).because(frames);
        match bar.policy.liveness {
            LivenessPolicy::Required => match bar.liveness(self.in_sight_since, now) {
                Some(report) if report.verdict == Verdict::Live && self.is_mostly(found.person, &report) => {
                    Assessment::Admit(found, granted.because_of(report.evidence))
                }
                other => {
                    self.is_borrowed = other.is_some_and(|report| report.verdict == Verdict::Live);
                    self.unproven = Some((found, agreed));
                    Assessment::Wait
                }
            },
            LivenessPolicy::NotRequired => Assessment::Admit(found, granted.because(Reason::LivenessNotRequired)),
        }
    }

    /// The outcome of an attempt that ended without a decision: the most telling thing that was missing.
    pub(super) fn conclude(&self, now: Now, bar: &Bar) -> Record {
        let needed = bar.policy.agree;
        let of = |outcome| Record::new(now.wall, outcome);
        if let Some((found, agreed)) = self.unproven {
            return of(Outcome::LivenessInconclusive)
                .like(found)
                .because(if self.is_borrowed { Reason::FewRecognised } else { Reason::LivenessMissing })
                .because(Reason::FramesAgreed { agreed, needed })
                .because_of(self.inconclusive(bar));
        }
        let too_few = self.looks.len() < usize::from(needed);
        if let (true, Some(measure)) = (too_few, self.poor) {
            return of(Outcome::PoorQuality).person(self.claimed).because(Reason::Poor(measure));
        }
        // As of the newest good frame: that the person has left since says nothing about them.
        let agreement = self.looks.back().and_then(|look| self.agreement(look.captured_at, bar));
        let frames = Reason::FramesAgreed { agreed: agreement.map_or(0, |(_, agreed)| agreed), needed };
        let record = match self.mostly_ambiguous(bar) {
            Some(Finding::Ambiguous { best, runner_up, margin }) => of(Outcome::Ambiguous)
                .like(best)
                .because(Reason::TooCloseToRunnerUp { runner_up, margin, needed: bar.policy.margin })
                .because(frames),
            _ => self.not_recognised(of(Outcome::NotRecognised).person(self.claimed).because(frames), bar),
        };
        if too_few || self.agrees_too_late(bar) { record.because(Reason::TooFewFrames) } else { record }
    }

    /// Adds why nobody was recognised.
    fn not_recognised(&self, record: Record, bar: &Bar) -> Record {
        let best = self.best(bar);
        let mut record = record.similarity(best);
        match (self.threshold(bar), best) {
            (None, _) => record = record.because(Reason::NoThreshold),
            (Some(threshold), Some(best)) if best < threshold => {
                record = record.because(Reason::BelowThreshold { best, threshold });
            }
            _ => {}
        }
        if bar.roster.is_empty() {
            record = record.because(Reason::EmptyGallery);
        }
        if self.claimed.is_some() {
            record = record.because(Reason::ClaimNotConfirmed);
        }
        record
    }

    /// Names the person on whom enough frames agree, if there is one.
    fn with_agreed(&self, record: Record, now: Now, bar: &Bar) -> Record {
        match self.agreement(now.mono, bar) {
            Some((found, agreed)) if agreed >= bar.policy.agree => {
                record.like(found).because(Reason::FramesAgreed { agreed, needed: bar.policy.agree })
            }
            _ => record.person(self.claimed),
        }
    }

    /// The person whom the newest fresh match shows, in how many fresh frames, and how alike in the best of them.
    fn agreement(&self, now: Instant, bar: &Bar) -> Option<(Candidate, u8)> {
        let person = self.matches(now, bar).next()?.person;
        let mut agreed: u8 = 0;
        let mut similarity = Similarity::MIN;
        for found in self.matches(now, bar).filter(|found| found.person == person) {
            agreed += 1;
            if found.similarity > similarity {
                similarity = found.similarity;
            }
        }
        Some((Candidate { person, similarity }, agreed))
    }

    /// The frames that match somebody and are fresh at `now`, newest first.
    fn matches<'a>(&'a self, now: Instant, bar: &'a Bar) -> impl Iterator<Item = Candidate> + 'a {
        let fresh = move |look: &&Look| is_fresh(look.captured_at, now, &bar.policy);
        self.looks.iter().rev().filter(fresh).filter_map(move |look| self.matched(look, bar))
    }

    fn matched(&self, look: &Look, bar: &Bar) -> Option<Candidate> {
        self.judge(&look.seen, bar).matched()
    }

    /// Whether enough frames agree, and took so long to judge that so many are never fresh together: a matter of the board, and no
    /// stranger.
    fn agrees_too_late(&self, bar: &Bar) -> bool {
        let Policy { agree, stale_after, .. } = bar.policy;
        let is_slow = |look: &Look| look.told_at.since(look.captured_at) * u32::from(agree) > stale_after;
        let people = || self.looks.iter().rev().filter_map(|look| self.matched(look, bar)).map(|found| found.person);
        let agreed = people().next().map_or(0, |newest| people().filter(|person| *person == newest).count());
        agreed >= usize::from(agree) && self.looks.iter().any(is_slow)
    }

    /// Whether most of the faces that the evidence was taken from are known to be this person's. Else somebody alive who can't be
    /// recognised, for want of light or under a hood, could hold a picture up now and then and be taken for whom it shows.
    /// Of faces that are forgotten nobody knows.
    fn is_mostly(&self, person: PersonId, report: &LivenessReport) -> bool {
        let reaches_back = self.faces.front().is_some_and(|oldest| oldest.captured_at <= report.from);
        if self.faces.is_full() && !reaches_back {
            return false;
        }
        let within = || self.faces.iter().filter(|face| (report.from..=report.until).contains(&face.captured_at));
        let theirs = within().filter(|face| face.person == Some(person)).count();
        2 * theirs > within().count()
    }

    /// Why liveness could not tell, where it said so during this attempt.
    fn inconclusive(&self, bar: &Bar) -> Evidence {
        let said = bar.liveness.filter(|report| report.until >= self.began && report.verdict == Verdict::Inconclusive);
        said.map_or([None; MAX_EVIDENCE], |report| report.evidence)
    }

    fn judge(&self, seen: &Seen, bar: &Bar) -> Finding {
        let Some(person) = self.claimed else { return bar.find(seen) };
        let is_enrolled = |found: Candidate| bar.roster.get(found.person).is_some();
        let reaches = |found: Candidate| self.threshold(bar).is_some_and(|threshold| found.similarity >= threshold);
        match seen.claimed {
            Some(found) if found.person == person && is_enrolled(found) && reaches(found) => Finding::Match(found),
            other => Finding::Below(other.map(|found| found.similarity)),
        }
    }

    fn threshold(&self, bar: &Bar) -> Option<Similarity> {
        if self.claimed.is_some() { bar.roster.verify_threshold } else { bar.roster.identify_threshold }
    }

    /// The last ambiguous finding, where at least half of the frames are.
    fn mostly_ambiguous(&self, bar: &Bar) -> Option<Finding> {
        let ambiguous = || {
            let findings = self.looks.iter().rev().map(|look| self.judge(&look.seen, bar));
            findings.filter(|finding| matches!(finding, Finding::Ambiguous { .. }))
        };
        let last = ambiguous().next()?;
        (ambiguous().count() * 2 >= self.looks.len()).then_some(last)
    }

    /// The best similarity to anybody who was looked for.
    fn best(&self, bar: &Bar) -> Option<Similarity> {
        self.looks
            .iter()
            .filter_map(|look| match self.judge(&look.seen, bar) {
                Finding::Match(found) | Finding::Ambiguous { best: found, .. } => Some(found.similarity),
                Finding::Below(similarity) => similarity,
            })
            .max_by(|a, b| a.get().total_cmp(&b.get()))
    }
}

/// Whether its newest window scored less than is asked for.
fn is_below(report: &LivenessReport) -> bool {
    let reasons = || report.evidence.iter().flatten();
    reasons().any(|reason| matches!(reason, Reason::LooksLike { score, needed, .. } if score < needed))
}

/// Captured, and not longer ago than the policy allows; a stamp from the future is not fresh.
pub(super) fn is_fresh(captured_at: Instant, now: Instant, policy: &Policy) -> bool {
    now.checked_since(captured_at).is_some_and(|age| age <= policy.stale_after)
}
