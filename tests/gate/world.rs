//! Who is enrolled in the stories, described twice: as the gate takes it, and so plainly that a judge needs none of the
//! gate's code.

use std::sync::Arc;

use facelatch::gate::{Member, Roster, Schedule};
use facelatch::person::PersonId;
use facelatch::time::Wall;
use facelatch::units::Similarity;

pub const RESIDENT: PersonId = PersonId::new(1);
pub const NEIGHBOUR: PersonId = PersonId::new(2);
/// Expires within the hour in which the stories play.
pub const GUEST: PersonId = PersonId::new(3);
/// May come between six and eighteen.
pub const CLEANER: PersonId = PersonId::new(4);
/// Nobody can read their schedule.
pub const MUDDLE: PersonId = PersonId::new(5);
/// Never enrolled.
pub const NOBODY: PersonId = PersonId::new(9);
pub const EVERYBODY: [PersonId; 6] = [RESIDENT, NEIGHBOUR, GUEST, CLEANER, MUDDLE, NOBODY];

/// Monday, 2026-09-21T17:55:00Z: five minutes before the cleaner must go.
pub const EVENING: i64 = 1_790_013_300_000;
const HOUR: i64 = 3_600_000;

/// When somebody may come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hours {
    Always,
    SixToEighteen,
    Unreadable,
}

#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub id: PersonId,
    pub expires: Option<i64>,
    pub hours: Hours,
}

/// One gallery.
#[derive(Debug)]
pub struct People {
    pub entries: Vec<Entry>,
    pub identify: Option<f32>,
    pub verify: Option<f32>,
    pub roster: Arc<Roster>,
}

impl People {
    fn new(entries: Vec<Entry>, identify: Option<f32>, verify: Option<f32>) -> Self {
        let member = |entry: &Entry| Member {
            id: entry.id,
            expires: entry.expires.map(Wall::from_unix_millis),
            schedule: match entry.hours {
                Hours::Always => Some(Schedule::Always),
                Hours::SixToEighteen => Some(Schedule::parse("daily 06:00-18:00 UTC").unwrap()),
                Hours::Unreadable => None,
            },
        };
        let threshold = |cosine: Option<f32>| cosine.and_then(Similarity::new);
        let members = entries.iter().map(member).collect();
        let roster = Arc::new(Roster::new(members, threshold(identify), threshold(verify)));
        Self { entries, identify, verify, roster }
    }

    pub fn get(&self, id: PersonId) -> Option<Entry> {
        self.entries.iter().copied().find(|entry| entry.id == id)
    }

    /// Whether this person may come in by a clock that shows `wall`.
    pub fn permits(&self, id: PersonId, wall: i64) -> bool {
        // 2025 to 2100: a clock outside was never set.
        let is_set = (1_735_689_600_000..4_102_444_800_000).contains(&wall);
        let hour = wall.rem_euclid(24 * HOUR) / HOUR;
        self.get(id).is_some_and(|entry| {
            let unexpired = entry.expires.is_none_or(|expires| is_set && wall < expires);
            let in_hours = match entry.hours {
                Hours::Always => true,
                Hours::SixToEighteen => is_set && (6..18).contains(&hour),
                Hours::Unreadable => false,
            };
            unexpired && in_hours
        })
    }
}

/// The galleries that come into force in the stories; the first is the usual one.
pub fn galleries() -> Vec<People> {
    let entry = |id, expires, hours| Entry { id, expires, hours };
    let all = vec![
        entry(MUDDLE, None, Hours::Unreadable),
        entry(RESIDENT, None, Hours::Always),
        entry(NEIGHBOUR, None, Hours::Always),
        entry(GUEST, Some(EVENING + 60_000), Hours::Always),
        entry(CLEANER, None, Hours::SixToEighteen),
    ];
    let without = |gone: PersonId| all.iter().copied().filter(|entry| entry.id != gone).collect::<Vec<_>>();
    let mut expired = without(RESIDENT);
    expired.push(entry(RESIDENT, Some(EVENING - 1), Hours::Always));
    vec![
        People::new(all.clone(), Some(0.5), Some(0.4)),
        People::new(without(RESIDENT), Some(0.5), Some(0.4)),
        People::new(expired, Some(0.5), Some(0.4)),
        People::new(all.clone(), Some(0.7), Some(0.65)),
        People::new(all, None, None),
        People::new(Vec::new(), Some(0.5), Some(0.4)),
    ]
}
