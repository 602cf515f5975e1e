//! Tells systemd that the door is alive, and only while it is.
//!
//! Alive means that frames really pass through: since the last sign, vision has judged a frame. A camera that is known
//! to be lost is the one exception, as long as capture keeps trying to open it: the gate holds the fault, the door is
//! locked, and a restart would take the exit button away for nothing. Nor does a network that fails end the daemon at
//! once, which vision answers for. A hung driver or network is no exception.
//!
//! A keeper that hangs in its disk is not restarted for either, since the next one would hang as well: it is a fault,
//! so that it shows and nobody is admitted.

use super::shared::{Shared, WatchedThread};
use crate::gate::{Event, Fault};
use crate::hw::notify;
use crate::time::{Duration, Instant};

/// Capture tries again at least this often: its longest pause, and a slow driver's opening.
const MAX_CAPTURE_SILENCE: Duration = Duration::from_secs(20);
/// After a poll that found the daemon dead, or the manager without room for its sign of life, poll again this soon: a
/// whole period later systemd would already have killed it, though it may have recovered.
const POLL_AGAIN: Duration = Duration::from_secs(1);
/// A keeper without a sign of life for so long hangs. It waits five seconds for another process that holds the store,
/// and half a second for a record.
const MAX_KEEPER_SILENCE: Duration = Duration::from_secs(10);
/// How often that is looked for.
const KEEPER_POLL: Duration = Duration::from_secs(1);

/// Feeds the service manager's watchdog as often as it asks.
pub struct Watchdog {
    /// `None` where nobody watches.
    period: Option<Duration>,
    fed_at: Instant,
    poll_at: Instant,
    is_ready: bool,
}

impl Watchdog {
    /// As $WATCHDOG_USEC says; idle without it.
    pub fn from_environment() -> Self {
        Self::with(notify::watchdog_period())
    }

    fn with(period: Option<Duration>) -> Self {
        Self { period, fed_at: Instant::BOOT, poll_at: Instant::BOOT, is_ready: false }
    }

    /// When [`Watchdog::poll`] is wanted next.
    pub fn poll_at(&self) -> Option<Instant> {
        self.period.map(|_| self.poll_at)
    }

    /// Says that the daemon is ready, at first, and from then on in every period that it is alive.
    pub fn poll(&mut self, shared: &Shared, now: Instant) {
        self.is_ready = self.is_ready || notify::ready();
        let Some(period) = self.period.filter(|_| now >= self.poll_at) else { return };
        let is_fed = is_alive(shared, self.fed_at, now) && notify::alive();
        self.poll_at = now + if is_fed { period } else { period.min(POLL_AGAIN) };
        if is_fed {
            self.fed_at = now;
        }
    }
}

fn is_alive(shared: &Shared, since: Instant, now: Instant) -> bool {
    let has_seen = shared.last_beat(WatchedThread::Vision) >= since;
    let is_trying =
        shared.is_camera_lost() && now.since(shared.last_beat(WatchedThread::Capture)) <= MAX_CAPTURE_SILENCE;
    has_seen || is_trying || shared.has_recording_ended()
}

/// Notices a keeper that hangs.
#[derive(Debug)]
pub struct KeeperStall {
    poll_at: Instant,
    is_hung: bool,
}

impl KeeperStall {
    pub fn new(now: Instant) -> Self {
        Self { poll_at: now + KEEPER_POLL, is_hung: false }
    }

    /// When [`KeeperStall::poll`] is wanted next.
    pub fn poll_at(&self) -> Instant {
        self.poll_at
    }

    /// The fault that begins or ends. Where the store fails besides, that end is the keeper's to tell.
    pub fn poll(&mut self, shared: &Shared, now: Instant) -> Option<Event> {
        if now < self.poll_at {
            return None;
        }
        self.poll_at = now + KEEPER_POLL;
        let is_hung = now.since(shared.last_beat(WatchedThread::Keeper)) >= MAX_KEEPER_SILENCE;
        match (std::mem::replace(&mut self.is_hung, is_hung), is_hung) {
            (false, true) => {
                log::error!("the store has not answered for {} s", MAX_KEEPER_SILENCE.as_secs());
                Some(Event::Fault(Fault::Store))
            }
            (true, false) if !shared.is_store_failing() => Some(Event::Cleared(Fault::Store)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::keeper::nobody;
    use crate::sim::clock::SimClock;
    use std::sync::Arc;

    fn shared() -> (SimClock, Shared) {
        let clock = SimClock::default();
        (clock.clone(), Shared::new(Arc::new(clock), nobody()))
    }

    #[test]
    fn a_keeper_that_hangs_is_a_fault_until_it_gives_a_sign() {
        let (clock, shared) = shared();
        let mut keeper_stall = KeeperStall::new(shared.now().mono);
        let mut after = |seconds, beats: bool| {
            clock.advance(Duration::from_secs(seconds));
            if beats {
                shared.beat(WatchedThread::Keeper);
            }
            keeper_stall.poll(&shared, shared.now().mono)
        };
        assert!(after(9, false).is_none());
        assert!(matches!(after(1, false), Some(Event::Fault(Fault::Store))));
        assert!(after(5, false).is_none());
        assert!(matches!(after(1, true), Some(Event::Cleared(Fault::Store))));
        assert!(matches!(after(10, false), Some(Event::Fault(Fault::Store))));
        shared.set_store_failing(true);
        assert!(after(1, true).is_none(), "it still fails, and the keeper says when that is over");
    }

    fn s(seconds: u64) -> Instant {
        Instant::from_millis(1000 * seconds)
    }

    /// A watchdog that is polled at a second: when systemd was fed last, and when it is polled again.
    fn polled(clock: &SimClock, shared: &Shared) -> impl FnMut(u64) -> (Instant, Option<Instant>) {
        let mut watchdog = Watchdog::with(Some(Duration::from_secs(15)));
        move |seconds| {
            clock.advance_to(s(seconds));
            watchdog.poll(shared, shared.now().mono);
            (watchdog.fed_at, watchdog.poll_at())
        }
    }

    #[test]
    fn a_camera_that_comes_back_at_the_moment_of_a_poll_costs_no_restart() {
        let (clock, shared) = shared();
        let mut at = polled(&clock, &shared);
        let opening = shared.camera_opened();
        assert!(shared.camera_lost("unplugged"));
        let reopened = shared.camera_opened();
        shared.beat(WatchedThread::Capture);
        assert_eq!(at(1), (s(1), Some(s(16))));
        assert!(!shared.camera_judged(opening), "a frame from before the loss");
        assert!(shared.camera_judged(reopened));
        assert_eq!(at(16), (s(1), Some(s(17))), "vision is still busy with the next");
        shared.beat(WatchedThread::Vision);
        assert_eq!(at(17), (s(17), Some(s(32))));
    }

    #[test]
    fn a_lost_camera_that_nobody_has_tried_to_open_for_twenty_seconds_is_no_life() {
        let (clock, shared) = shared();
        let mut at = polled(&clock, &shared);
        assert!(shared.camera_lost("unplugged"));
        assert_eq!(at(1), (s(1), Some(s(16))));
        assert_eq!(at(16), (s(16), Some(s(31))), "the start counts as a try");
        assert_eq!(at(31), (s(16), Some(s(32))));
        shared.beat(WatchedThread::Capture);
        assert_eq!(at(51), (s(51), Some(s(66))));
        assert_eq!(at(66), (s(51), Some(s(67))));
    }
}
