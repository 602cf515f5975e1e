//! A clock that moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::ports::Clock;
use crate::time::{Duration, Instant, Now, Wall};

/// Both clocks, shared by all clones. Time since boot only goes forward; civil time follows it and may be made to jump,
/// as it does when a board without a battery hears from a time server.
#[derive(Debug, Clone, Default)]
pub struct SimClock(Arc<State>);

#[derive(Debug, Default)]
struct State {
    nanos: AtomicU64,
    wall_at_boot_millis: AtomicI64,
}

impl SimClock {
    /// A board that boots at `wall`.
    pub fn new(wall: Wall) -> Self {
        let clock = Self::default();
        clock.set_wall(wall);
        clock
    }

    /// Moves both clocks on.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let add = |now: u64| Some(now.saturating_add(nanos));
        let _always_some = self.0.nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Moves both clocks on to `instant`; harmless where that has passed.
    pub fn advance_to(&self, instant: Instant) {
        self.0.nanos.fetch_max(instant.as_nanos(), Ordering::Relaxed);
    }

    /// Civil time jumps; time since boot doesn't notice.
    pub fn set_wall(&self, wall: Wall) {
        let at_boot = wall.unix_millis().saturating_sub(self.millis());
        self.0.wall_at_boot_millis.store(at_boot, Ordering::Relaxed);
    }

    /// Civil time jumps by so many milliseconds, backwards if negative.
    pub fn jump_wall(&self, millis: i64) {
        self.0.wall_at_boot_millis.fetch_add(millis, Ordering::Relaxed);
    }

    fn millis(&self) -> i64 {
        (self.0.nanos.load(Ordering::Relaxed) / 1_000_000) as i64
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let at_boot = self.0.wall_at_boot_millis.load(Ordering::Relaxed);
        Now {
            mono: Instant::from_nanos(self.0.nanos.load(Ordering::Relaxed)),
            wall: Wall::from_unix_millis(at_boot.saturating_add(self.millis())),
        }
    }

    fn pause(&self, time: Duration) {
        self.advance(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_takes_no_time_and_moves_every_clone() {
        let clock = SimClock::new(Wall::from_unix_millis(5_000));
        let other = clock.clone();
        clock.pause(Duration::from_secs(3_600));
        let now = other.now();
        assert_eq!((now.mono, now.wall.unix_millis()), (Instant::from_millis(3_600_000), 3_605_000));
    }

    #[test]
    fn civil_time_jumps_and_time_since_boot_does_not() {
        let clock = SimClock::new(Wall::from_unix_millis(0));
        clock.advance(Duration::from_millis(10));
        clock.jump_wall(-86_400_000);
        assert_eq!((clock.now().mono, clock.now().wall.unix_millis()), (Instant::from_millis(10), 10 - 86_400_000));
        clock.set_wall(Wall::from_unix_millis(1_000));
        assert_eq!(clock.now().wall.unix_millis(), 1_000);
    }

    #[test]
    fn time_since_boot_never_goes_back_or_wraps() {
        let clock = SimClock::default();
        clock.advance_to(Instant::from_millis(10));
        clock.advance_to(Instant::from_millis(5));
        assert_eq!(clock.now().mono, Instant::from_millis(10));
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now().mono, Instant::from_nanos(u64::MAX));
    }
}
