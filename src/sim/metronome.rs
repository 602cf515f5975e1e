//! The beat of a camera that isn't one.

use std::sync::Arc;

use crate::ports::Clock;
use crate::time::{Duration, Instant};

/// Most beats that are made up for; after a longer gap, such as the sleep of a laptop, the beat starts anew.
const MAX_LATE: u32 = 1000;

/// Says when the next frame is due. The first is due at once.
pub(super) struct Metronome {
    clock: Arc<dyn Clock>,
    interval: Duration,
    due: Option<Instant>,
}

impl Metronome {
    pub(super) fn new(clock: Arc<dyn Clock>, interval: Duration) -> Self {
        Self { clock, interval, due: None }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now().mono
    }

    /// Waits for the beat, at most `timeout`; whether it came. It stays due until [`Metronome::beaten`].
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let now = self.now();
        let left = self.due.map_or(Duration::ZERO, |due| due.since(now));
        self.clock.pause(left.min(timeout));
        left <= timeout
    }

    /// Whole beats that have been missed since the one that is due; their frames are gone.
    pub(super) fn missed(&mut self) -> u32 {
        let (now, interval) = (self.now(), self.interval.as_nanos().max(1));
        let due = *self.due.get_or_insert(now);
        let missed = u32::try_from(now.since(due).as_nanos() / interval).unwrap_or(u32::MAX);
        if missed > MAX_LATE {
            self.due = Some(now);
            return 0;
        }
        self.due = Some(due + self.interval * missed);
        missed
    }

    /// The frame that was due has been taken.
    pub(super) fn beaten(&mut self) {
        let now = self.now();
        self.due = Some(self.due.unwrap_or(now) + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;

    const MS: Duration = Duration::from_millis(1);

    fn metronome() -> (SimClock, Metronome) {
        let clock = SimClock::default();
        clock.advance(500 * MS);
        (clock.clone(), Metronome::new(Arc::new(clock), 40 * MS))
    }

    #[test]
    fn beats_come_at_the_interval_and_the_first_at_once() {
        let (clock, mut metronome) = metronome();
        for beat in 0..3 {
            assert!(metronome.wait(100 * MS));
            assert_eq!((metronome.missed(), clock.now().mono), (0, Instant::from_millis(500 + 40 * beat)));
            metronome.beaten();
        }
        assert!(!metronome.wait(10 * MS), "not due within 10 ms");
        assert!(metronome.wait(30 * MS), "due after 30 more");
    }

    #[test]
    fn who_comes_late_has_missed_frames_and_is_in_time_again() {
        let (clock, mut metronome) = metronome();
        metronome.beaten();
        clock.advance(135 * MS);
        assert!(metronome.wait(Duration::ZERO));
        assert_eq!(metronome.missed(), 2, "those of 40 and 80 ms");
        metronome.beaten();
        assert!(metronome.wait(30 * MS));
        assert_eq!(clock.now().mono, Instant::from_millis(660));
    }

    #[test]
    fn a_gap_of_hours_is_not_made_up_for() {
        let (clock, mut metronome) = metronome();
        metronome.beaten();
        clock.advance(Duration::from_secs(7200));
        assert_eq!(metronome.missed(), 0);
        metronome.beaten();
        assert!(!metronome.wait(39 * MS));
    }
}
