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

/// A frame with a face that is good enough to be judged.
#[derive(Debug, Clone, Copy)]
struct GoodFrame {
    captured_at: Instant,
    told_at: Instant,
    seen: Seen,
}

/// Faces of which an attempt remembers whom they showed: 4 s of them. Life is judged by 2.2 s, and its word counts for
/// another [`Policy::stale_after`], 1.5 s by default.
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
pub(super) struct Criteria {
    pub policy: Policy,
    pub roster: Arc<Roster>,
    /// Its newest report.
    pub liveness: Option<LivenessReport>,
}

impl Criteria {
    /// Whom a frame shows beyond doubt of everybody.
    pub(super) fn known(&self, face: &Face) -> Option<PersonId> {
        match face {
            Face::Seen(seen) => self.find(seen).matched().map(|found| found.person),
            Face::Absent | Face::Poor(_) => None,
        }
    }

    /// What a search for this face among everybody amounts to. Whoever was erased a moment ago may still be in the
    /// frame that was being looked at.
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
    /// When a face was last told of: a slow network must not look like an empty doorstep. Of a claim, from its own face
    /// on: who walks by or walks off meanwhile ends nobody's claim.
    last_face: Option<Instant>,
    good_frames: Deque<GoodFrame, MAX_OF>,
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
            good_frames: Deque::new(),
            faces: Deque::new(),
            poor: None,
            in_sight_since: now,
            unproven: None,
            is_doubted: false,
            is_borrowed: false,
        }
    }

    /// Whether a window of evidence scored less than is asked for: too few of them make no attack, but they are no mere
    /// absence of evidence either.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Forgets what the frames so far were like: they were compared with other people than are enrolled now.
    pub(super) fn start_anew(&mut self, now: Instant) {
        self.good_frames.clear();
        self.faces.clear();
        self.in_sight_since = now;
        self.unproven = None;
    }

    /// Takes in one frame.
    pub(super) fn update(&mut self, now: Instant, sighting: &Sighting, criteria: &Criteria) {
        let captured_at = sighting.captured_at;
        let person = match sighting.face {
            Face::Absent => return,
            Face::Poor(measure) => {
                self.poor = Some(measure);
                None
            }
            Face::Seen(seen) => {
                let person = self.judge(&seen, criteria).matched().map(|found| found.person);
                // Else a live stranger could stand there first, and then hold up somebody's picture.
                if person.is_some() && self.matches(captured_at, criteria).next().map(|before| before.person) != person
                {
                    self.in_sight_since = captured_at.max(self.began);
                }
                while self.good_frames.len() >= usize::from(criteria.policy.of)
                    && self.good_frames.pop_front().is_some()
                {}
                let _there_is_room = self.good_frames.push_back(GoodFrame { captured_at, told_at: now, seen });
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
    pub(super) fn assess(&mut self, now: Now, criteria: &Criteria) -> Assessment {
        self.is_doubted |= criteria.liveness.is_some_and(|report| report.until >= self.began && is_below(&report));
        // An attack at any time of the attempt spoils it; life counts only since this person came into sight.
        if let Some(report) = criteria.attack(self.began, now) {
            let spoof = Record::new(now.wall, Outcome::Spoof).because(Reason::LivenessSpoof);
            return Assessment::Deny(self.with_agreed(spoof, now, criteria).because_of(report.evidence));
        }
        let Some((found, agreed)) = self.agreement(now.mono, criteria).filter(|(_, n)| *n >= criteria.policy.agree)
        else {
            return Assessment::Wait;
        };
        let Some(member) = criteria.roster.get(found.person) else {
            return Assessment::Wait;
        };
        let frames = Reason::FramesAgreed { agreed, needed: criteria.policy.agree };
        let of_them = |outcome| Record::new(now.wall, outcome).like(found);
        if let Err((outcome, reason)) = member.permits(now) {
            return Assessment::Deny(of_them(outcome).because(reason).because(frames));
        }
        let granted = of_them(Outcome::Granted).because(frames);
        match criteria.policy.liveness {
            LivenessPolicy::Required => match criteria.liveness(self.in_sight_since, now) {
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
    pub(super) fn conclude(&self, now: Now, criteria: &Criteria) -> Record {
        let needed = criteria.policy.agree;
        let of = |outcome| Record::new(now.wall, outcome);
        if let Some((found, agreed)) = self.unproven {
            return of(Outcome::LivenessInconclusive)
                .like(found)
                .because(if self.is_borrowed { Reason::FewRecognised } else { Reason::LivenessMissing })
                .because(Reason::FramesAgreed { agreed, needed })
                .because_of(self.inconclusive(criteria));
        }
        let too_few = self.good_frames.len() < usize::from(needed);
        if let (true, Some(measure)) = (too_few, self.poor) {
            return of(Outcome::PoorQuality).person(self.claimed).because(Reason::Poor(measure));
        }
        // As of the newest good frame: that the person has left since says nothing about them.
        let agreement = self.good_frames.back().and_then(|frame| self.agreement(frame.captured_at, criteria));
        let frames = Reason::FramesAgreed { agreed: agreement.map_or(0, |(_, agreed)| agreed), needed };
        let record = match self.mostly_ambiguous(criteria) {
            Some(Finding::Ambiguous { best, runner_up, margin }) => of(Outcome::Ambiguous)
                .like(best)
                .because(Reason::TooCloseToRunnerUp { runner_up, margin, needed: criteria.policy.margin })
                .because(frames),
            _ => self.not_recognised(of(Outcome::NotRecognised).person(self.claimed).because(frames), criteria),
        };
        if too_few || self.agrees_too_late(criteria) { record.because(Reason::TooFewFrames) } else { record }
    }

    /// Adds why nobody was recognised.
    fn not_recognised(&self, record: Record, criteria: &Criteria) -> Record {
        let best = self.best(criteria);
        let mut record = record.similarity(best);
        match (self.threshold(criteria), best) {
            (None, _) => record = record.because(Reason::NoThreshold),
            (Some(threshold), Some(best)) if best < threshold => {
                record = record.because(Reason::BelowThreshold { best, threshold });
            }
            _ => {}
        }
        if criteria.roster.is_empty() {
            record = record.because(Reason::EmptyGallery);
        }
        if self.claimed.is_some() {
            record = record.because(Reason::ClaimNotConfirmed);
        }
        record
    }

    /// Names the person on whom enough frames agree, if there is one.
    fn with_agreed(&self, record: Record, now: Now, criteria: &Criteria) -> Record {
        match self.agreement(now.mono, criteria) {
            Some((found, agreed)) if agreed >= criteria.policy.agree => {
                record.like(found).because(Reason::FramesAgreed { agreed, needed: criteria.policy.agree })
            }
            _ => record.person(self.claimed),
        }
    }

    /// The person whom the newest fresh match shows, in how many fresh frames, and how alike in the best of them.
    fn agreement(&self, now: Instant, criteria: &Criteria) -> Option<(Candidate, u8)> {
        let person = self.matches(now, criteria).next()?.person;
        let mut agreed: u8 = 0;
        let mut similarity = Similarity::MIN;
        for found in self.matches(now, criteria).filter(|found| found.person == person) {
            agreed += 1;
            if found.similarity > similarity {
                similarity = found.similarity;
            }
        }
        Some((Candidate { person, similarity }, agreed))
    }

    /// The frames that match somebody and are fresh at `now`, newest first.
    fn matches<'a>(&'a self, now: Instant, criteria: &'a Criteria) -> impl Iterator<Item = Candidate> + 'a {
        let fresh = move |frame: &&GoodFrame| is_fresh(frame.captured_at, now, &criteria.policy);
        self.good_frames.iter().rev().filter(fresh).filter_map(move |frame| self.matched(frame, criteria))
    }

    fn matched(&self, frame: &GoodFrame, criteria: &Criteria) -> Option<Candidate> {
        self.judge(&frame.seen, criteria).matched()
    }

    /// Whether enough frames agree, and took so long to judge that so many are never fresh together: a matter of the
    /// board, and no stranger.
    fn agrees_too_late(&self, criteria: &Criteria) -> bool {
        let Policy { agree, stale_after, .. } = criteria.policy;
        let is_slow = |frame: &GoodFrame| frame.told_at.since(frame.captured_at) * u32::from(agree) > stale_after;
        let people = || {
            self.good_frames.iter().rev().filter_map(|frame| self.matched(frame, criteria)).map(|found| found.person)
        };
        let agreed = people().next().map_or(0, |newest| people().filter(|person| *person == newest).count());
        agreed >= usize::from(agree) && self.good_frames.iter().any(is_slow)
    }

    /// Whether most of the faces that the evidence was taken from are known to be this person's. Else somebody alive
    /// who can't be recognised, for want of light or under a hood, could hold a picture up now and then and be taken
    /// for whom it shows. Of faces that are forgotten nobody knows.
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
    fn inconclusive(&self, criteria: &Criteria) -> Evidence {
        let said =
            criteria.liveness.filter(|report| report.until >= self.began && report.verdict == Verdict::Inconclusive);
        said.map_or([None; MAX_EVIDENCE], |report| report.evidence)
    }

    fn judge(&self, seen: &Seen, criteria: &Criteria) -> Finding {
        let Some(person) = self.claimed else { return criteria.find(seen) };
        let is_enrolled = |found: Candidate| criteria.roster.get(found.person).is_some();
        let reaches =
            |found: Candidate| self.threshold(criteria).is_some_and(|threshold| found.similarity >= threshold);
        match seen.claimed {
            Some(found) if found.person == person && is_enrolled(found) && reaches(found) => Finding::Match(found),
            other => Finding::Below(other.map(|found| found.similarity)),
        }
    }

    fn threshold(&self, criteria: &Criteria) -> Option<Similarity> {
        if self.claimed.is_some() { criteria.roster.verify_threshold } else { criteria.roster.identify_threshold }
    }

    /// The last ambiguous finding, where at least half of the frames are.
    fn mostly_ambiguous(&self, criteria: &Criteria) -> Option<Finding> {
        let ambiguous = || {
            let findings = self.good_frames.iter().rev().map(|frame| self.judge(&frame.seen, criteria));
            findings.filter(|finding| matches!(finding, Finding::Ambiguous { .. }))
        };
        let last = ambiguous().next()?;
        (ambiguous().count() * 2 >= self.good_frames.len()).then_some(last)
    }

    /// The best similarity to anybody who was looked for.
    fn best(&self, criteria: &Criteria) -> Option<Similarity> {
        self.good_frames
            .iter()
            .filter_map(|frame| match self.judge(&frame.seen, criteria) {
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
