//! A strike that moves nothing and remembers everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::ports::{Clock, DeviceError, Strike};
use crate::time::{Duration, Instant};

/// Most transitions that are remembered; the oldest give way.
pub const MAX_TRANSITIONS: usize = 4096;

/// The door became released or locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub at: Instant,
    pub released: bool,
}

/// A recording strike. Like a real one it is locked when it is dropped.
pub struct RecordingStrike {
    clock: Arc<dyn Clock>,
    log: StrikeLog,
}

/// What a [`RecordingStrike`] has done; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct StrikeLog(Arc<Mutex<History>>);

#[derive(Debug, Default)]
struct History {
    transitions: VecDeque<Transition>,
    released_since: Option<Instant>,
    releases: u64,
    longest: Duration,
}

impl RecordingStrike {
    /// A locked door.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log: StrikeLog::default() }
    }

    pub fn log(&self) -> StrikeLog {
        self.log.clone()
    }

    fn set(&self, released: bool) {
        let at = self.clock.now().mono;
        let mut history = lock(&self.log.0);
        if history.released_since.is_some() == released {
            return;
        }
        match history.released_since {
            Some(since) => history.longest = history.longest.max(at.since(since)),
            None => history.releases += 1,
        }
        history.released_since = released.then_some(at);
        if history.transitions.len() == MAX_TRANSITIONS {
            history.transitions.pop_front();
        }
        history.transitions.push_back(Transition { at, released });
    }
}

impl Strike for RecordingStrike {
    fn release(&mut self) -> Result<(), DeviceError> {
        self.set(true);
        Ok(())
    }

    fn secure(&mut self) -> Result<(), DeviceError> {
        self.set(false);
        Ok(())
    }

    fn describe(&self) -> String {
        "a recording strike, which moves nothing".to_owned()
    }
}

impl Drop for RecordingStrike {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl StrikeLog {
    /// The last [`MAX_TRANSITIONS`] changes, oldest first.
    pub fn transitions(&self) -> Vec<Transition> {
        lock(&self.0).transitions.iter().copied().collect()
    }

    pub fn is_released(&self) -> bool {
        lock(&self.0).released_since.is_some()
    }

    /// How often the door was released.
    pub fn releases(&self) -> u64 {
        lock(&self.0).releases
    }

    /// The longest time that the door was released without a break, one that still lasts included.
    pub fn longest_release(&self, now: Instant) -> Duration {
        let history = lock(&self.0);
        let present = history.released_since.map_or(Duration::ZERO, |since| now.since(since));
        history.longest.max(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;

    #[test]
    fn releases_are_recorded_with_their_times_and_repeats_are_not() {
        let clock = SimClock::default();
        let mut strike = RecordingStrike::new(Arc::new(clock.clone()));
        let log = strike.log();
        strike.secure().unwrap();
        strike.release().unwrap();
        clock.advance(Duration::from_secs(3));
        strike.release().unwrap();
        assert_eq!(log.longest_release(clock.now().mono), Duration::from_secs(3), "while it lasts");
        clock.advance(Duration::from_secs(2));
        drop(strike);
        let expected = [
            Transition { at: Instant::BOOT, released: true },
            Transition { at: Instant::from_millis(5_000), released: false },
        ];
        assert_eq!(log.transitions(), expected);
        assert_eq!((log.releases(), log.is_released()), (1, false));
        assert_eq!(log.longest_release(clock.now().mono), Duration::from_secs(5));
    }

    #[test]
    fn a_long_history_keeps_its_end_and_its_maximum() {
        let clock = SimClock::default();
        let mut strike = RecordingStrike::new(Arc::new(clock.clone()));
        for i in 0..MAX_TRANSITIONS as u64 {
            strike.release().unwrap();
            clock.advance(Duration::from_millis(if i == 0 { 900 } else { 1 }));
            strike.secure().unwrap();
        }
        let log = strike.log();
        assert_eq!((log.transitions().len(), log.releases()), (MAX_TRANSITIONS, MAX_TRANSITIONS as u64));
        assert_eq!(log.longest_release(clock.now().mono), Duration::from_millis(900));
    }
}
