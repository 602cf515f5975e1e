//! Who follows the door's events live: the control socket's clients and the demo's screen.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::gate::Record;

/// Followers at most.
pub const MAX_WATCHERS: usize = 8;
/// Records that a slow follower may lag behind; then it misses some.
const MAX_LAG: usize = 64;

/// A record as the ledger took it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its number; `None` where the ledger could not take it.
    pub seq: Option<u64>,
    pub record: Record,
}

/// The senders to everybody who follows.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<heapless::Vec<SyncSender<Written>, MAX_WATCHERS>>);

impl Watchers {
    /// Follows from now on; `None` where [`MAX_WATCHERS`] do already.
    pub fn follow(&self) -> Option<Receiver<Written>> {
        let (sender, receiver) = sync_channel(MAX_LAG);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender).is_ok().then_some(receiver)
    }

    /// Tells everybody, and forgets who has gone. Never waits.
    pub fn tell(&self, written: &Written) {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|sender| !matches!(sender.try_send(written.clone()), Err(TrySendError::Disconnected(_))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Outcome;
    use crate::time::Wall;

    fn written(seq: u64) -> Written {
        Written { seq: Some(seq), record: Record::new(Wall::default(), Outcome::Exit) }
    }

    #[test]
    fn a_follower_that_left_makes_room_and_a_slow_one_only_misses() {
        let watchers = Watchers::default();
        let mut followers: Vec<_> = (0..MAX_WATCHERS).map(|_| watchers.follow().unwrap()).collect();
        assert!(watchers.follow().is_none());
        followers.pop();
        watchers.tell(&written(0));
        assert!(watchers.follow().is_some());
        for seq in 1..200 {
            watchers.tell(&written(seq));
        }
        let seen: Vec<_> = followers[0].try_iter().map(|w| w.seq.unwrap()).collect();
        assert_eq!(seen, (0..MAX_LAG as u64).collect::<Vec<_>>());
    }
}
