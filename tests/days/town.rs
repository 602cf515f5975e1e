//! Who comes to the door on a day, and what they look like there.

use facelatch::gate::{Candidate, Face, Member, PoorMeasure, Roster, Schedule, Seen};
use facelatch::person::PersonId;
use facelatch::sim::rng::Rng;
use facelatch::time::{Duration, Instant, Wall};
use facelatch::units::Similarity;

pub const THRESHOLD: f32 = 0.5;
pub const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Monday, 2026-09-21T00:00:00Z: every day begins at this midnight.
pub const MIDNIGHT: i64 = 1_789_948_800_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Somebody enrolled: ids 1 to 6 may always come, 7 between six and eighteen, 8 has expired, 9 expires at noon.
const ALWAYS: std::ops::RangeInclusive<u32> = 1..=6;
const CLEANER: PersonId = PersonId::new(7);
const FORMER: PersonId = PersonId::new(8);
const GUEST: PersonId = PersonId::new(9);
/// Is erased at a time of the day.
pub const LEAVER: PersonId = PersonId::new(6);

/// What stands before the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Member(PersonId),
    /// Nobody whom the door knows.
    Stranger,
    /// So like one member that only the next one tells them apart.
    LookAlike(PersonId),
    /// A picture of a member.
    Photo(PersonId),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member(person) => write!(f, "{person}"),
            Self::Stranger => f.write_str("a stranger"),
            Self::LookAlike(person) => write!(f, "a look-alike of {person}"),
            Self::Photo(person) => write!(f, "a photo of {person}"),
        }
    }
}

/// One stay before the door.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    pub who: Who,
    pub at: Instant,
    /// How long they try.
    pub patience: Duration,
    pub is_dark: bool,
    /// They say first who they are.
    pub claims: bool,
}

/// Something else that happens on a day.
#[derive(Debug, Clone, Copy)]
pub enum Chore {
    /// Somebody leaves: exit button, door, and the door closed again.
    Exit,
    /// Somebody opens from inside and holds the door for so long.
    Delivery(Duration),
    /// An operator releases by the control socket.
    Operator,
    /// Somebody opens the door by force.
    BreakIn,
    /// The clock jumps by so many milliseconds.
    Jump(i64),
    /// The leaver is erased.
    Erase,
    /// The clock of a board without a battery is set by the network.
    SetClock,
}

/// A day's plan.
#[derive(Debug)]
pub struct Plan {
    /// In order of time, never two at once.
    pub visits: Vec<Visit>,
    pub chores: Vec<(Instant, Chore)>,
    /// The board boots with its clock at 1970.
    pub is_unset: bool,
}

pub fn plan(rng: &mut Rng) -> Plan {
    let mut visits = Vec::new();
    let mut at = Instant::BOOT + 2 * MINUTE;
    while at.since(Instant::BOOT) < DAY - 5 * MINUTE {
        let hour = at.since(Instant::BOOT).as_secs() / 3600;
        let is_night = !(6..22).contains(&hour);
        let patience = SECOND * (8 + rng.below(20) as u32);
        let who = somebody(rng);
        let claims = matches!(who, Who::Member(_)) && rng.chance(0.1);
        visits.push(Visit { who, at, patience, is_dark: is_night && rng.chance(0.6), claims });
        at = at + patience + 20 * SECOND + rng.around(if is_night { HOUR } else { 10 * MINUTE });
        // Some try again and again.
        for _ in 0..if rng.chance(0.02) { 8 } else { 0 } {
            let patience = 6 * SECOND;
            visits.push(Visit { who: Who::Stranger, at, patience, is_dark: false, claims: false });
            at = at + patience + 2 * SECOND;
        }
    }
    let mut chores = Vec::new();
    let is_unset = rng.chance(0.3);
    if is_unset {
        chores.push((Instant::BOOT + rng.around(10 * MINUTE), Chore::SetClock));
    }
    let mut often = |times: usize, chore: &dyn Fn(&mut Rng) -> Chore| {
        for _ in 0..rng.below(times + 1) {
            let at = Instant::BOOT + rng.between(MINUTE, DAY - HOUR);
            chores.push((at, chore(rng)));
        }
    };
    often(40, &|_| Chore::Exit);
    often(4, &|rng| Chore::Delivery(SECOND * (5 + rng.below(90) as u32)));
    often(3, &|_| Chore::Operator);
    often(2, &|_| Chore::BreakIn);
    often(3, &|rng| Chore::Jump(rng.pick(&[-DAY_MS, -HOUR_MS, -30_000, 5_000, HOUR_MS, 40 * DAY_MS]).unwrap_or(0)));
    often(1, &|_| Chore::Erase);
    chores.sort_by_key(|(at, _)| *at);
    Plan { visits, chores, is_unset }
}

fn somebody(rng: &mut Rng) -> Who {
    let resident = PersonId::new(ALWAYS.start() + rng.below(ALWAYS.count()) as u32);
    match rng.below(20) {
        0..11 => Who::Member(resident),
        11 => Who::Member(CLEANER),
        12 => Who::Member(FORMER),
        13 => Who::Member(GUEST),
        14..17 => Who::Stranger,
        17 => Who::LookAlike(resident),
        _ => Who::Photo(resident),
    }
}

/// The people in force.
#[derive(Debug, Clone)]
pub struct Town {
    pub is_leaver_erased: bool,
}

impl Town {
    fn is_enrolled(&self, person: PersonId) -> bool {
        !(self.is_leaver_erased && person == LEAVER)
    }

    pub fn roster(&self) -> Roster {
        let all = (1..=9).map(PersonId::new).filter(|person| self.is_enrolled(*person));
        let members = all.map(|id| Member {
            id,
            expires: match id {
                FORMER => Some(Wall::from_unix_millis(MIDNIGHT - DAY_MS)),
                GUEST => Some(Wall::from_unix_millis(MIDNIGHT + 12 * HOUR_MS)),
                _ => None,
            },
            schedule: Schedule::parse(if id == CLEANER { "daily 06:00-18:00 UTC" } else { "always" }).ok(),
        });
        let threshold = Similarity::new(THRESHOLD);
        Roster::new(members.collect(), threshold, threshold)
    }

    /// Whether the rules let this person in by a clock that shows `wall`, in words of their own.
    pub fn permits(&self, person: PersonId, wall: i64) -> bool {
        // 2025: a clock that shows an earlier time was never set.
        let is_set = wall >= 1_735_689_600_000;
        self.is_enrolled(person)
            && match person {
                CLEANER => is_set && (6..18).contains(&(wall.rem_euclid(DAY_MS) / HOUR_MS)),
                FORMER => is_set && wall < MIDNIGHT - DAY_MS,
                GUEST => is_set && wall < MIDNIGHT + 12 * HOUR_MS,
                _ => true,
            }
    }

    /// What a frame shows of a visitor, with the noise that real scores have.
    pub fn face(&self, visit: &Visit, expected: Option<PersonId>, rng: &mut Rng) -> Face {
        if rng.chance(if visit.is_dark { 0.9 } else { 0.04 }) {
            let measures = [PoorMeasure::Pose, PoorMeasure::Sharpness];
            let measure = if visit.is_dark { Some(PoorMeasure::TooDark) } else { rng.pick(&measures) };
            return measure.map_or(Face::Absent, Face::Poor);
        }
        let draw = |rng: &mut Rng, low: f64, high: f64| low + (high - low) * rng.unit();
        let (best, second) = match visit.who {
            Who::Member(_) | Who::Photo(_) => (draw(rng, 0.62, 0.9), draw(rng, 0.1, 0.4)),
            Who::LookAlike(_) => {
                let best = draw(rng, 0.45, 0.75);
                (best, best - draw(rng, 0.0, 0.04))
            }
            // Now and then a stranger is taken for somebody in a single frame.
            Who::Stranger if rng.chance(0.01) => (0.56, 0.3),
            Who::Stranger => (draw(rng, 0.1, 0.45), 0.05),
        };
        let like = match visit.who {
            Who::Member(person) | Who::Photo(person) | Who::LookAlike(person) if self.is_enrolled(person) => person,
            Who::Stranger => PersonId::new(1 + rng.below(3) as u32),
            // Erased: nobody is like them any more.
            _ => return self.seen(PersonId::new(1), 0.3, PersonId::new(2), 0.1, expected),
        };
        let other = PersonId::new(if like.get() == 1 { 2 } else { 1 });
        self.seen(like, best, other, second, expected)
    }

    fn seen(&self, like: PersonId, best: f64, other: PersonId, second: f64, expected: Option<PersonId>) -> Face {
        let candidate =
            |person, cosine: f64| Similarity::new(cosine as f32).map(|similarity| Candidate { person, similarity });
        let claimed = expected.and_then(|person| candidate(person, if person == like { best } else { 0.1 }));
        Face::Seen(Seen { best: candidate(like, best), runner_up: candidate(other, second), claimed })
    }
}
