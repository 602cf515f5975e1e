//! Who follows the door's events live: the control socket's clients and the demo's screen.

use std::ops::Deref;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};

use super::shared::lock;
use crate::gate::{Outcome, Record};

/// Followers at most.
pub const MAX_WATCHERS: usize = 8;
/// Records that a slow follower may lag behind; then it misses some.
const MAX_LAG: usize = 64;

/// The gate's step that a record came of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// They rise.
    pub number: u64,
    /// What the ledger was asked to write first, where this step is the gate's answer to how that went.
    pub answers: Option<Outcome>,
}

/// A record as the ledger took it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its number; `None` where the ledger could not take it, or has not in time.
    pub seq: Option<u64>,
    /// False for a release that was written and then did not happen (given up meanwhile, or the strike refused).
    /// Another event says what did.
    pub stands: bool,
    /// Of a release that the ledger was asked to write first it is the one that moved the strike, or didn't.
    pub step: Step,
    pub record: Record,
}

/// One who follows, until dropped.
#[derive(Debug)]
pub struct Follower {
    events: Receiver<Written>,
    _place: Arc<()>,
}

impl Deref for Follower {
    type Target = Receiver<Written>;

    fn deref(&self) -> &Self::Target {
        &self.events
    }
}

/// Where one who follows is told.
#[derive(Debug)]
struct Place {
    sender: SyncSender<Written>,
    /// Gone as soon as the follower is: the sender itself would only tell when something happens.
    follower: Weak<()>,
}

/// The places of everybody who follows.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<heapless::Vec<Place, MAX_WATCHERS>>);

impl Watchers {
    /// Follows from now on, where at least `spare` places stay free beside this one; `None` where they don't.
    pub fn follow(&self, spare: usize) -> Option<Follower> {
        let mut places = lock(&self.0);
        places.retain(|place| place.follower.strong_count() > 0);
        if places.len() + spare >= MAX_WATCHERS {
            return None;
        }
        let (sender, events) = sync_channel(MAX_LAG);
        let place = Arc::new(());
        places
            .push(Place { sender, follower: Arc::downgrade(&place) })
            .is_ok()
            .then_some(Follower { events, _place: place })
    }

    /// Tells everybody. Never waits.
    pub fn tell(&self, written: &Written) {
        let places = lock(&self.0);
        for place in places.iter() {
            // Whoever lags behind misses this one, and whoever has gone makes room for the next that comes.
            let _lagging_or_gone = place.sender.try_send(written.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    fn written(seq: u64) -> Written {
        let step = Step { number: seq, answers: None };
        Written { seq: Some(seq), stands: true, step, record: Record::new(Wall::default(), Outcome::Exit) }
    }

    #[test]
    fn a_follower_that_left_makes_room_and_a_slow_one_only_misses() {
        let watchers = Watchers::default();
        let mut followers: Vec<_> = (0..MAX_WATCHERS).map(|_| watchers.follow(0).unwrap()).collect();
        assert!(watchers.follow(0).is_none());
        followers.pop();
        assert!(watchers.follow(1).is_none(), "the last place is kept");
        assert!(watchers.follow(0).is_some(), "nothing had to happen for that");
        watchers.tell(&written(0));
        for seq in 1..200 {
            watchers.tell(&written(seq));
        }
        let seen: Vec<_> = followers[0].try_iter().map(|w| w.seq.unwrap()).collect();
        assert_eq!(seen, (0..MAX_LAG as u64).collect::<Vec<_>>());
    }
}
