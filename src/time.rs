//! Time as the core sees it: told, never asked for.
//!
//! Two clocks, two types. [`Instant`] is CLOCK_BOOTTIME, which never jumps and counts suspended time; every deadline is
//! one. [`Wall`] is civil time, which a board without a battery gets wrong at boot; only schedules, expiry and the
//! ledger's stamps use it, and a schedule denies while it isn't [plausible](Wall::is_plausible).

#![forbid(unsafe_code)]

pub use std::time::Duration;

/// A point of CLOCK_BOOTTIME in nanoseconds since boot (584 years fit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    pub const BOOT: Self = Self(0);

    pub const fn from_nanos(nanos_since_boot: u64) -> Self {
        Self(nanos_since_boot)
    }

    pub const fn from_millis(millis_since_boot: u64) -> Self {
        Self(millis_since_boot * 1_000_000)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since boot.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// So much earlier; at boot at the earliest.
    #[must_use]
    pub fn before(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(d)))
    }

    /// The time from `earlier` to `self`; zero where `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time from `earlier` to `self`, or `None` where `earlier` is later: a stamp from the future is not fresh.
    pub fn checked_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time rather than wrapping to a deadline in the past.
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Civil time: milliseconds since 1970-01-01 UTC, as the system clock gives it, which may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(i64);

/// Before this the clock was plainly never set: 2025-01-01, earlier than the first release.
const EARLIEST_PLAUSIBLE: Wall = Wall(1_735_689_600_000);
/// After this it is plainly wrong: 2100-01-01.
const LATEST_PLAUSIBLE: Wall = Wall(4_102_444_800_000);

impl Wall {
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whether a schedule may believe this clock.
    pub fn is_plausible(self) -> bool {
        self >= EARLIEST_PLAUSIBLE && self < LATEST_PLAUSIBLE
    }
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    pub mono: Instant,
    pub wall: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_from_the_future_has_no_age() {
        let (a, b) = (Instant::from_millis(5), Instant::from_millis(9));
        assert_eq!(b.checked_since(a), Some(Duration::from_millis(4)));
        assert_eq!(a.checked_since(b), None);
        assert_eq!(a.since(b), Duration::ZERO);
    }

    #[test]
    fn a_deadline_too_far_saturates() {
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(Instant::from_millis(1) + Duration::MAX, end);
    }

    #[test]
    fn what_was_before_the_board_booted_was_when_it_did() {
        let at = Instant::from_millis(5);
        assert_eq!(at.before(Duration::from_millis(2)), Instant::from_millis(3));
        assert_eq!([at.before(Duration::from_millis(6)), at.before(Duration::MAX)], [Instant::BOOT; 2]);
    }

    #[test]
    fn a_clock_that_was_never_set_is_not_plausible() {
        assert!(!Wall::from_unix_millis(0).is_plausible());
        assert!(Wall::from_unix_millis(1_790_000_000_000).is_plausible());
        assert!(!Wall::from_unix_millis(i64::MAX).is_plausible());
    }

    #[test]
    fn a_clock_is_plausible_from_2025_on_until_2100_begins() {
        let [from, until] = [1_735_689_600_000, 4_102_444_800_000];
        let is_plausible = |millis| Wall::from_unix_millis(millis).is_plausible();
        assert_eq!([from - 1, from, until - 1, until].map(is_plausible), [false, true, true, false]);
    }
}
