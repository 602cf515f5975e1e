//! What the judge believes about evidence, in its own words: which frames count, whom they show, what life proves.

use facelatch::gate::{Face, LivenessReport, Policy, Reason};
use facelatch::person::PersonId;
use facelatch::time::{Duration, Instant};

use super::world::People;

/// Everything in milliseconds since boot.
pub type Ms = u64;

/// A frame that counts, as it was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub captured: Ms,
    pub told: Ms,
    pub sequence: u32,
    pub face: Face,
}

/// Not from the future, not stale, and neither the same picture nor an older one than the last that counted.
pub fn counts(captured: Ms, sequence: u32, now: Ms, policy: &Policy, last: Option<&Told>) -> bool {
    is_fresh(captured, now, policy) && last.is_none_or(|last| captured > last.captured && sequence != last.sequence)
}

pub fn is_fresh(captured: Ms, now: Ms, policy: &Policy) -> bool {
    captured <= now && now - captured <= millis(policy.stale_after)
}

/// Whom a face shows beyond doubt, with how much similarity.
pub fn shows(face: &Face, claimed: Option<PersonId>, people: &People, policy: &Policy) -> Option<(PersonId, f32)> {
    let Face::Seen(seen) = face else { return None };
    let (found, threshold) = match claimed {
        Some(claimed) => (seen.claimed.filter(|found| found.person == claimed)?, people.verify?),
        None => (seen.best?, people.identify?),
    };
    let (person, similarity) = (found.person, found.similarity.get());
    people.get(person)?;
    let ahead = claimed.is_some()
        || seen
            .runner_up
            .is_none_or(|second| second.person != person && similarity - second.similarity.get() >= policy.margin);
    (similarity >= threshold && ahead).then_some((person, similarity))
}

/// Above the threshold, and another is too close behind.
pub fn is_ambiguous(face: &Face, people: &People, policy: &Policy) -> bool {
    let Face::Seen(seen) = face else { return false };
    let reaches = seen.best.zip(people.identify).is_some_and(|(best, threshold)| best.similarity.get() >= threshold);
    reaches && shows(face, None, people, policy).is_none()
}

/// Of the last `of` good frames of an attempt, the fresh ones that show the person of the newest such: who, how many,
/// and the best similarity.
pub fn agreement(
    frames: &[Told],
    claimed: Option<PersonId>,
    people: &People,
    policy: &Policy,
    now: Ms,
) -> Option<(PersonId, usize, f32)> {
    let good = frames.iter().rev().filter(|frame| matches!(frame.face, Face::Seen(_))).take(policy.of.into());
    let fresh = good.filter(|frame| is_fresh(frame.captured, now, policy));
    let shown: Vec<_> = fresh.filter_map(|frame| shows(&frame.face, claimed, people, policy)).collect();
    let (person, _) = *shown.first()?;
    let of_them = shown.iter().filter(|(other, _)| *other == person);
    let best = of_them.clone().map(|(_, similarity)| *similarity).fold(-1.0, f32::max);
    Some((person, of_them.count(), best))
}

/// Whether enough of the last `of` good frames show one person, and one was told so late that so many are never fresh
/// together.
pub fn agree_too_late(frames: &[Told], claimed: Option<PersonId>, people: &People, policy: &Policy) -> bool {
    let mut good = frames.iter().rev().filter(|frame| matches!(frame.face, Face::Seen(_))).take(policy.of.into());
    let is_slow = |frame: &Told| (frame.told - frame.captured) * Ms::from(policy.agree) > millis(policy.stale_after);
    let shown: Vec<_> =
        good.clone().filter_map(|frame| shows(&frame.face, claimed, people, policy)).map(|(who, _)| who).collect();
    let agreed = shown.iter().filter(|who| Some(*who) == shown.first()).count();
    agreed >= policy.agree.into() && good.any(is_slow)
}

/// Whether evidence that began at `from` is this person's: they were seen at or before its begin, and from then on
/// never lost from sight.
pub fn is_of(
    person: PersonId,
    from: Ms,
    frames: &[Told],
    claimed: Option<PersonId>,
    people: &People,
    policy: &Policy,
) -> bool {
    let good: Vec<_> = frames.iter().filter(|frame| matches!(frame.face, Face::Seen(_))).collect();
    let shown: Vec<_> =
        good.iter().map(|frame| shows(&frame.face, claimed, people, policy).map(|(who, _)| who)).collect();
    let sightings: Vec<_> = (0..good.len()).filter(|&i| shown[i] == Some(person)).collect();
    let Some(first) = sightings.iter().rposition(|&i| good[i].captured <= from) else { return false };
    sightings[first..].windows(2).all(|pair| {
        let (before, after) = (pair[0], pair[1]);
        let is_alone = shown[before + 1..after].iter().all(Option::is_none);
        let age = good[after].captured - good[before].captured;
        is_alone && after - before <= policy.of.into() && age <= millis(policy.stale_after)
    })
}

/// Whether more than half of the faces while the evidence was taken are beyond doubt this person's, of one in 25 ms,
/// and the last 160 of these reach back over all of it.
pub fn is_mostly(
    person: PersonId,
    report: &LivenessReport,
    frames: &[Told],
    claimed: Option<PersonId>,
    people: &People,
    policy: &Policy,
) -> bool {
    let mut faces: Vec<&Told> = Vec::new();
    for frame in frames.iter().filter(|frame| !matches!(frame.face, Face::Absent)) {
        if faces.last().is_none_or(|last| frame.captured >= last.captured + 25) {
            faces.push(frame);
        }
    }
    let known = &faces[faces.len().saturating_sub(160)..];
    if known.len() == 160 && known[0].captured > ms(report.from) {
        return false;
    }
    let within = known.iter().filter(|frame| (ms(report.from)..=ms(report.until)).contains(&frame.captured));
    let (mut theirs, mut others) = (0, 0);
    for frame in within {
        match shows(&frame.face, claimed, people, policy) {
            Some((who, _)) if who == person => theirs += 1,
            _ => others += 1,
        }
    }
    theirs > others
}

/// A judgement of the present, about evidence since an instant.
pub fn is_about(report: &LivenessReport, since: Ms, now: Ms, policy: &Policy) -> bool {
    let (from, until) = (ms(report.from), ms(report.until));
    since <= from && from <= until && is_fresh(until, now, policy)
}

/// Whether what it looks like scores less than is asked for.
pub fn is_low(report: &LivenessReport) -> bool {
    let is_below = |reason: &Reason| matches!(reason, Reason::LooksLike { score, needed, .. } if score < needed);
    report.evidence.iter().flatten().any(is_below)
}

pub fn ms(at: Instant) -> Ms {
    at.as_millis()
}

pub fn millis(time: Duration) -> Ms {
    time.as_millis() as Ms
}
