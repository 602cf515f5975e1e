//! When trouble comes and how long it stays.

use std::collections::VecDeque;

use crate::sim::rng::Rng;
use crate::time::{Duration, Instant};

/// Most episodes that are passed over in one call, after a very long jump of the clock.
const MAX_PASSED: usize = 100_000;

/// A fault that lasts from one time until just before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Episode<F> {
    pub from: Instant,
    pub until: Instant,
    pub fault: F,
}

/// Episodes one after the other: listed, or drawn from a seed.
#[derive(Debug, Clone)]
pub struct Schedule<F> {
    /// The present or next ones, in the order of time.
    episodes: VecDeque<Episode<F>>,
    drawn: Option<Drawn<F>>,
}

#[derive(Debug, Clone)]
struct Drawn<F> {
    rng: Rng,
    quiet: Duration,
    trouble: Duration,
    faults: Vec<F>,
}

impl<F: Copy> Schedule<F> {
    /// No trouble at all.
    pub fn none() -> Self {
        Self::listed([])
    }

    /// Just these, in any order; of two at once the earlier counts.
    pub fn listed(episodes: impl IntoIterator<Item = Episode<F>>) -> Self {
        let mut episodes: Vec<_> = episodes.into_iter().collect();
        episodes.sort_by_key(|episode| episode.from);
        Self { episodes: episodes.into(), drawn: None }
    }

    /// Trouble for ever: quiet times and troubled ones take turns, each exponentially distributed about its mean, and
    /// each fault is as likely as the other. The same seed gives the same episodes, however often it is asked.
    pub fn seeded(seed: u64, quiet: Duration, trouble: Duration, faults: &[F]) -> Self {
        let drawn = Drawn { rng: Rng::new(seed), quiet, trouble, faults: faults.to_vec() };
        Self { episodes: VecDeque::new(), drawn: (!faults.is_empty()).then_some(drawn) }
    }

    /// The fault that holds at `now`, if one does. Time only goes forward.
    pub fn at(&mut self, now: Instant) -> Option<F> {
        self.episode(now).map(|episode| episode.fault)
    }

    /// As [`Schedule::at`], with its beginning and end.
    pub fn episode(&mut self, now: Instant) -> Option<Episode<F>> {
        let mut last_end = Instant::BOOT;
        for _ in 0..MAX_PASSED {
            match self.episodes.front() {
                Some(episode) if episode.until <= now => {
                    last_end = episode.until;
                    self.episodes.pop_front();
                }
                Some(episode) => return (episode.from <= now).then_some(*episode),
                None => {
                    let next = self.drawn.as_mut()?.after(last_end)?;
                    self.episodes.push_back(next);
                }
            }
        }
        None
    }
}

impl<F: Copy> Drawn<F> {
    fn after(&mut self, end: Instant) -> Option<Episode<F>> {
        let from = end + self.rng.around(self.quiet);
        // At least a nanosecond, so that time goes forward.
        let until = from + self.rng.around(self.trouble).max(Duration::from_nanos(1));
        self.rng.pick(&self.faults).map(|fault| Episode { from, until, fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn listed_trouble_comes_and_goes_at_its_times() {
        let episode = |from, until, fault| Episode {
            from: Instant::from_millis(from),
            until: Instant::from_millis(until),
            fault,
        };
        let mut schedule = Schedule::listed([episode(50, 60, 'b'), episode(10, 20, 'a')]);
        let seen: Vec<_> = [0, 10, 19, 20, 49, 55, 60].map(|ms| schedule.at(Instant::from_millis(ms))).into();
        assert_eq!(seen, [None, Some('a'), Some('a'), None, None, Some('b'), None]);
    }

    #[test]
    fn a_seed_gives_the_same_trouble_however_often_it_is_asked() {
        let asked_every = |step: usize| {
            let mut schedule = Schedule::seeded(42, 60 * S, 10 * S, &['a', 'b', 'c']);
            let ask = |s: u64| schedule.at(Instant::from_millis(s * 1000));
            (0..86_400u64).step_by(step).map(ask).step_by(600 / step).collect::<Vec<_>>()
        };
        let often = asked_every(1);
        assert_eq!(often, asked_every(600));
        for fault in ['a', 'b', 'c'] {
            assert!(often.contains(&Some(fault)));
        }
        let share = often.iter().filter(|f| f.is_some()).count() as f64 / often.len() as f64;
        assert!((share - 1.0 / 7.0).abs() < 0.1, "{share}");
    }

    #[test]
    fn without_faults_there_is_no_trouble_and_a_jump_of_ages_ends() {
        assert_eq!(Schedule::<u8>::none().at(Instant::from_millis(5)), None);
        assert_eq!(Schedule::<u8>::seeded(1, S, S, &[]).at(Instant::from_millis(5)), None);
        let mut hectic = Schedule::seeded(1, Duration::ZERO, Duration::ZERO, &[1]);
        assert_eq!(hectic.at(Instant::from_nanos(u64::MAX)), None);
    }
}
