//! Counts the denials of strangers and attacks, so that guessing faces takes longer than a night. It counts attempts,
//! not faces: at a door without liveness a screen shows many in one (docs/target-fmr.md).

use heapless::Deque;

use crate::time::{Duration, Instant};

/// As many as [`Policy::lockout_after`](super::Policy::lockout_after) can ask for.
const MAX_DENIALS: usize = 100;

/// When the last denials were.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    denials: Deque<Instant, MAX_DENIALS>,
}

impl Lockout {
    /// Counts a denial; whether `after` of them now lie within `window`, in which case the count begins anew.
    pub(super) fn trips(&mut self, now: Instant, after: u8, window: Duration) -> bool {
        while self.denials.front().is_some_and(|&at| now.since(at) >= window) {
            self.denials.pop_front();
        }
        if self.denials.push_back(now).is_err() {
            // Full of recent ones, so `after` (at most MAX_DENIALS) is reached below whatever is dropped here.
            self.denials.pop_front();
            let _there_is_room = self.denials.push_back(now);
        }
        let trips = self.denials.len() >= usize::from(after);
        if trips {
            self.denials.clear();
        }
        trips
    }

    /// Somebody known was admitted: the denials before were probably theirs.
    pub(super) fn forgive(&mut self) {
        self.denials.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn the_last_of_enough_denials_trips_and_the_count_begins_anew() {
        let mut lockout = Lockout::default();
        let at = Instant::from_millis;
        assert!(!lockout.trips(at(0), 3, WINDOW));
        assert!(!lockout.trips(at(1000), 3, WINDOW));
        assert!(lockout.trips(at(2000), 3, WINDOW));
        assert!(!lockout.trips(at(3000), 3, WINDOW));
    }

    #[test]
    fn denials_that_left_the_window_do_not_count() {
        let mut lockout = Lockout::default();
        assert!(!lockout.trips(Instant::from_millis(0), 2, WINDOW));
        assert!(!lockout.trips(Instant::from_millis(60_000), 2, WINDOW));
        assert!(lockout.trips(Instant::from_millis(119_999), 2, WINDOW));
    }

    #[test]
    fn a_hundred_denials_are_counted_and_a_grant_forgives_them() {
        let mut lockout = Lockout::default();
        for i in 0..99 {
            assert!(!lockout.trips(Instant::from_millis(i), 100, WINDOW));
        }
        assert!(lockout.trips(Instant::from_millis(99), 100, WINDOW));
        assert!(!lockout.trips(Instant::from_millis(100), 2, WINDOW));
        lockout.forgive();
        assert!(!lockout.trips(Instant::from_millis(101), 2, WINDOW));
    }
}
