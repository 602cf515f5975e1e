//! Who may come in at all, and how alike a face must be: a snapshot that the daemon hands over whole.

use super::Schedule;
use super::record::{Outcome, Reason};
use crate::person::PersonId;
use crate::time::{Now, Wall};
use crate::units::Similarity;

/// One enrolled person, as far as the gate is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub id: PersonId,
    /// Not from this time on; `None` never expires.
    pub expires: Option<Wall>,
    /// `None` where the stored schedule could not be read: such a person is never inside it.
    pub schedule: Option<Schedule>,
}

/// The people and thresholds in force.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roster {
    /// In order of their ids.
    members: Vec<Member>,
    /// For 1:N, already for a gallery of this size; `None` where the model's table reaches no such rate: admits nobody.
    pub identify_threshold: Option<Similarity>,
    /// For 1:1.
    pub verify_threshold: Option<Similarity>,
}

impl Roster {
    pub fn new(
        mut members: Vec<Member>,
        identify_threshold: Option<Similarity>,
        verify_threshold: Option<Similarity>,
    ) -> Self {
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        Self { members, identify_threshold, verify_threshold }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn get(&self, id: PersonId) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        self.members.get(at)
    }
}

impl Member {
    /// Whether this person may come in at `now`.
    ///
    /// # Errors
    /// The outcome that denies, and its reason.
    pub fn permits(&self, now: Now) -> Result<(), (Outcome, Reason)> {
        if let Some(expires) = self.expires {
            if !now.wall.is_plausible() {
                return Err((Outcome::Expired, Reason::ClockNotSet));
            }
            if now.wall >= expires {
                return Err((Outcome::Expired, Reason::ExpiredAt(expires)));
            }
        }
        match &self.schedule {
            Some(schedule) if schedule.admits(now.wall) => Ok(()),
            Some(_) if !now.wall.is_plausible() => Err((Outcome::OutOfSchedule, Reason::ClockNotSet)),
            _ => Err((Outcome::OutOfSchedule, Reason::OutsideSchedule)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn now(wall_ms: i64) -> Now {
        Now { mono: Instant::BOOT, wall: Wall::from_unix_millis(wall_ms) }
    }

    const NOON: i64 = 1_790_000_000_000;

    fn member(expires: Option<i64>, schedule: &str) -> Member {
        Member {
            id: PersonId::new(1),
            expires: expires.map(Wall::from_unix_millis),
            schedule: Schedule::parse(schedule).ok(),
        }
    }

    #[test]
    fn a_person_expires_at_their_instant_and_not_before() {
        let guest = member(Some(NOON), "always");
        assert_eq!(guest.permits(now(NOON - 1)), Ok(()));
        assert!(matches!(guest.permits(now(NOON)), Err((Outcome::Expired, Reason::ExpiredAt(_)))));
    }

    #[test]
    fn an_unset_clock_denies_whoever_expires_or_has_hours_and_nobody_else() {
        assert_eq!(member(Some(NOON), "always").permits(now(0)), Err((Outcome::Expired, Reason::ClockNotSet)));
        let hours = member(None, "daily 00:00-24:00 UTC");
        assert_eq!(hours.permits(now(0)), Err((Outcome::OutOfSchedule, Reason::ClockNotSet)));
        assert_eq!(member(None, "always").permits(now(0)), Ok(()));
    }

    #[test]
    fn an_unreadable_schedule_admits_never() {
        assert!(member(None, "whenever").permits(now(NOON)).is_err());
    }

    #[test]
    fn a_roster_finds_its_members_in_any_order_of_insertion() {
        let of = |id| Member { id: PersonId::new(id), ..member(None, "always") };
        let roster = Roster::new(vec![of(9), of(2), of(5)], None, None);
        assert!(roster.get(PersonId::new(5)).is_some());
        assert!(roster.get(PersonId::new(3)).is_none());
    }
}
