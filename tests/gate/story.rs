//! Random stories at a door: visits that often succeed, and noise that spoils them.

use facelatch::gate::{Candidate, Face, Fault, LivenessPolicy, MAX_PULSE, Mode, Policy, PoorMeasure, Seen, Verdict};
use facelatch::person::PersonId;
use facelatch::sim::rng::Rng;
use facelatch::time::Duration;
use facelatch::units::Similarity;

use super::world::{CLEANER, EVERYBODY, GUEST, NEIGHBOUR, RESIDENT};

/// The fewest and the most events of one story.
pub const LENGTH: std::ops::RangeInclusive<usize> = 5..=60;

/// One event, so many milliseconds after the one before.
#[derive(Debug, Clone)]
pub struct Beat {
    pub after: u64,
    /// The gate is not asked to meet its deadlines in between.
    pub is_late: bool,
    pub what: What,
}

/// What happens. Times are relative, because a story is shortened when it fails.
#[derive(Debug, Clone)]
pub enum What {
    /// Captured so many milliseconds ago; below zero: not yet.
    Frame {
        age: i64,
        number: Number,
        face: Face,
    },
    /// Evidence that began and ended so long ago.
    Liveness {
        from: i64,
        until: i64,
        verdict: Verdict,
        /// Of its newest window; 0 is asked for.
        score: f32,
    },
    /// The ledger answers one of the tickets it was given.
    Answer {
        which: Which,
        written: bool,
    },
    /// Index into the galleries.
    Gallery(usize),
    Fault(Fault),
    Cleared(Fault),
    Claim(PersonId),
    Exit(bool),
    Contact(bool),
    Manual,
    /// Civil time jumps.
    Wall(i64),
    Tick,
}

/// The driver's number of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    Next,
    Same,
    Restarted,
}

/// Which of the tickets so far.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    OldestOpen,
    NewestOpen,
    AnsweredBefore,
}

#[derive(Debug, Clone)]
pub struct Story {
    pub policy: Policy,
    pub beats: Vec<Beat>,
}

pub fn tell(rng: &mut Rng) -> Story {
    let policy = policy(rng);
    let length = LENGTH.start() + rng.below(LENGTH.end() - LENGTH.start() + 1);
    let mut beats = Vec::with_capacity(2 * LENGTH.end());
    if rng.chance(0.8) {
        beats.push(beat(0, What::Contact(false)));
    }
    while beats.len() < length {
        if rng.chance(0.6) {
            visit(rng, &policy, &mut beats);
        } else {
            let after = pause(rng);
            let what = noise(rng);
            let is_passing = rng.chance(0.7);
            beats.push(beat(after, what.clone()));
            if let What::Fault(fault) = what
                && is_passing
            {
                beats.push(beat(pause(rng), What::Cleared(fault)));
            }
        }
    }
    beats.truncate(length);
    if rng.chance(0.5) {
        spoil(rng, &mut beats);
    }
    Story { policy, beats }
}

fn beat(after: u64, what: What) -> Beat {
    Beat { after, is_late: false, what }
}

/// Somebody steps up and stays for some frames; often enough everything is as it should be.
fn visit(rng: &mut Rng, policy: &Policy, beats: &mut Vec<Beat>) {
    let person = if rng.chance(0.7) { one(rng, &[RESIDENT, NEIGHBOUR]) } else { one(rng, &EVERYBODY) };
    let claimed = (policy.mode == Mode::Verification || rng.chance(0.15)).then_some(person);
    let mut after = one(rng, &[0, 300, 1000, 3000, 8000, 40_000]);
    if let Some(person) = claimed {
        beats.push(beat(std::mem::take(&mut after), What::Claim(person)));
    }
    let frames = usize::from(policy.agree) + rng.below(4);
    let step = 50 + rng.below(150) as u64;
    let is_live = policy.liveness == LivenessPolicy::Required && rng.chance(0.9);
    let mut stood = 0;
    for i in 0..frames {
        let face = if rng.chance(0.9) { face(rng, person, claimed) } else { other_face(rng, claimed) };
        let age = if rng.chance(0.9) { 0 } else { rng.below(60) as i64 };
        let pause = if i == 0 { std::mem::take(&mut after) } else { step };
        beats.push(beat(pause, What::Frame { age, number: Number::Next, face }));
        stood += if i == 0 { 0 } else { step as i64 };
    }
    if is_live {
        let from = if rng.chance(0.8) { stood } else { stood + 1 - rng.below(400) as i64 };
        let verdict = if rng.chance(0.9) { Verdict::Live } else { one(rng, &[Verdict::Spoof, Verdict::Inconclusive]) };
        let score = if verdict == Verdict::Live { 1.0 } else { one(rng, &[-1.0, 0.0]) };
        beats.push(beat(0, What::Liveness { from, until: 0, verdict, score }));
    }
    if rng.chance(0.85) {
        let after = one(rng, &[1, 20, 50, policy.ledger_timeout.as_millis() as u64 - 1]);
        beats.push(beat(after, What::Answer { which: Which::NewestOpen, written: true }));
    }
    if rng.chance(0.3) {
        beats.push(beat(500, What::Contact(true)));
        beats.push(beat(1000, What::Contact(false)));
        if rng.chance(0.3) {
            flap(rng, beats);
        }
    }
}

/// The contact has worked loose, and somebody wants out.
fn flap(rng: &mut Rng, beats: &mut Vec<Beat>) {
    let soon = |rng: &mut Rng| one(rng, &[0, 10, 200, 999, 1000]);
    for _ in 0..=rng.below(4) {
        beats.push(beat(soon(rng), What::Contact(true)));
        if rng.chance(0.3) {
            beats.push(beat(soon(rng), What::Exit(true)));
        }
        beats.push(beat(soon(rng), What::Contact(false)));
    }
}

/// Breaks a few things about a story that made sense.
fn spoil(rng: &mut Rng, beats: &mut Vec<Beat>) {
    for i in 0..beats.len() {
        if !rng.chance(0.06) {
            continue;
        }
        match rng.below(5) {
            0 => beats[i] = beat(pause(rng), noise(rng)),
            1 => beats[i].is_late = true,
            2 => beats[i].after = pause(rng),
            3 => {
                let other = rng.below(beats.len());
                beats.swap(i, other);
            }
            _ => beats[i] = beats[rng.below(beats.len())].clone(),
        }
    }
    if rng.chance(0.3) {
        let at = rng.below(beats.len());
        let after = pause(rng);
        beats.insert(at, beat(after, noise(rng)));
        beats.pop();
    }
}

fn pause(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0..5 => rng.below(100) as u64,
        5..8 => rng.below(1500) as u64,
        8 => rng.below(10_000) as u64,
        _ => rng.below(100_000) as u64,
    }
}

fn noise(rng: &mut Rng) -> What {
    let claimed = rng.chance(0.5).then(|| one(rng, &EVERYBODY));
    match rng.below(16) {
        0..3 => What::Frame {
            age: one(rng, &[-1, -500, 0, 0, 40, 300, 900, 5000]),
            number: one(rng, &[Number::Next, Number::Next, Number::Same, Number::Restarted]),
            face: other_face(rng, claimed),
        },
        3..5 => What::Liveness {
            from: one(rng, &[-100, 0, 100, 300, 600, 2000]),
            until: one(rng, &[-100, 0, 0, 100, 700, 3000]),
            verdict: one(rng, &[Verdict::Live, Verdict::Spoof, Verdict::Inconclusive]),
            score: one(rng, &[-1.0, 0.0]),
        },
        5..7 => What::Answer {
            which: one(rng, &[Which::OldestOpen, Which::NewestOpen, Which::AnsweredBefore]),
            written: rng.chance(0.7),
        },
        7 => What::Gallery(if rng.chance(0.6) { 0 } else { rng.below(6) }),
        8 => What::Fault(one(rng, &Fault::ALL)),
        9 => What::Cleared(one(rng, &Fault::ALL)),
        10 => What::Claim(one(rng, &EVERYBODY)),
        11 => What::Exit(rng.chance(0.7)),
        12 => What::Contact(rng.chance(0.5)),
        13 => What::Manual,
        14 => What::Wall(one(rng, &[-1_790_013_300_000, -3_600_000, 30_000, 120_000, 600_000, 86_400_000])),
        _ => What::Tick,
    }
}

fn one<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    rng.pick(from).expect("there is something to pick from")
}

fn candidate(person: PersonId, cosine: f64) -> Option<Candidate> {
    Similarity::new(cosine as f32).map(|similarity| Candidate { person, similarity })
}

/// A face that is this person's, well enough seen.
fn face(rng: &mut Rng, person: PersonId, claimed: Option<PersonId>) -> Face {
    let second = if person == NEIGHBOUR { RESIDENT } else { NEIGHBOUR };
    let best = 0.55 + 0.4 * rng.unit();
    Face::Seen(Seen {
        best: candidate(person, best),
        runner_up: if rng.chance(0.9) { candidate(second, best - 0.15 - 0.2 * rng.unit()) } else { None },
        claimed: claimed.and_then(|claimed| candidate(claimed, if claimed == person { best } else { 0.1 })),
    })
}

/// Anything else that a frame may show.
fn other_face(rng: &mut Rng, claimed: Option<PersonId>) -> Face {
    let first = if rng.chance(0.5) { RESIDENT } else { one(rng, &[NEIGHBOUR, GUEST, CLEANER]) };
    match rng.below(6) {
        0 => Face::Absent,
        1 => Face::Poor(one(rng, &[PoorMeasure::Size, PoorMeasure::TooDark, PoorMeasure::Pose])),
        2 => face(rng, first, claimed),
        // A look-alike: above the threshold, and so is somebody else.
        3 => {
            let best = 0.6 + 0.3 * rng.unit();
            let second = one(rng, &[NEIGHBOUR, RESIDENT, first]);
            Face::Seen(Seen {
                best: candidate(first, best),
                runner_up: candidate(second, best - 0.12 * rng.unit()),
                claimed: claimed.and_then(|claimed| candidate(claimed, best)),
            })
        }
        4 => Face::Seen(Seen { best: None, runner_up: None, claimed: candidate(first, rng.unit()) }),
        // A stranger.
        _ => Face::Seen(Seen {
            best: candidate(first, 0.5 * rng.unit()),
            runner_up: candidate(NEIGHBOUR, -0.1),
            claimed: claimed.and_then(|claimed| candidate(claimed, 0.4 * rng.unit())),
        }),
    }
}

fn policy(rng: &mut Rng) -> Policy {
    let ms = Duration::from_millis;
    let of = 1 + rng.below(5) as u8;
    let held_open_after = ms(one(rng, &[1000, 5000, 30_000]));
    let policy = Policy {
        mode: if rng.chance(0.8) { Mode::Recognition } else { Mode::Verification },
        liveness: if rng.chance(0.75) { LivenessPolicy::Required } else { LivenessPolicy::NotRequired },
        agree: 1 + rng.below(usize::from(of).min(3)) as u8,
        of,
        margin: one(rng, &[0.0, 0.05, 0.1]),
        stale_after: ms(one(rng, &[400, 1000, 1500])),
        attempt_timeout: ms(one(rng, &[500, 2000, 5000])),
        absent_after: ms(one(rng, &[200, 600, 1000])),
        retry_after: ms(one(rng, &[500, 2000])),
        claim_timeout: ms(one(rng, &[1000, 10_000])),
        pulse: one(rng, &[ms(100), ms(1000), ms(5000), MAX_PULSE]),
        relock_on_open: rng.chance(0.5),
        ledger_timeout: ms(one(rng, &[100, 300, 2000])),
        lockout_after: one(rng, &[1, 2, 3, 5]),
        lockout_window: ms(one(rng, &[10_000, 60_000])),
        lockout_for: ms(one(rng, &[1000, 30_000])),
        held_open_after,
        held_open_prealert: held_open_after.mul_f64(one(rng, &[0.0, 0.25, 1.0])),
        ..Policy::default()
    };
    policy.check().expect("every draw lies in its range")
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}", self.policy)?;
        self.beats.iter().try_for_each(|Beat { after, is_late, what }| {
            writeln!(f, "after {after} ms{}: {what:?}", if *is_late { ", unasked" } else { "" })
        })
    }
}
