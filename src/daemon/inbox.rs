//! The way from the gate to the keeper: bounded, in order, and never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use heapless::Deque;

use super::keeper::{Demand, Gallery};
use super::watchers::Step;
use crate::gate::{Record, Ticket};
use crate::time::Instant;

/// Records on their way at most.
pub const INBOX: usize = 64;
/// Records that the inbox didn't take, and that wait until it does; those on which a decision hangs don't.
const OVERFLOW: usize = 128;

/// Writes a record with a person's name into the journal: [`crate::hw::journal::outcome`].
pub type Journal = fn(&Record, Option<&str>);

/// Writes a record into the journal, with the name by which the gallery knows whom it is about.
pub fn write_down(journal: Journal, record: &Record, gallery: &Gallery) {
    journal(record, record.person.and_then(|id| gallery.name(id)));
}

/// A record on its way into the ledger.
#[derive(Debug)]
pub struct Entry {
    pub record: Record,
    pub ticket: Option<PendingTicket>,
    pub step: Step,
    pub told: TellOnce,
}

/// Whether the followers have a record: the keeper tells them once it is written, or the gate's thread, without a
/// number, because the keeper hangs. Whoever comes first does.
#[derive(Debug, Clone, Default)]
pub struct TellOnce(Arc<AtomicBool>);

impl TellOnce {
    /// Whether it falls to the caller to tell.
    #[must_use]
    pub fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[expect(clippy::large_enum_variant, reason = "few wait at a time, and nearly all are records")]
pub enum Job {
    Write(Entry),
    /// Other rates are demanded from now on.
    Demand(Demand),
}

/// A ticket, and until when its answer is of use: later the gate has decided without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingTicket {
    pub ticket: Ticket,
    pub until: Instant,
}

/// Where the gate's records are put. While the keeper hangs, those that only tell what happened wait here.
pub struct Inbox {
    sender: SyncSender<Job>,
    /// What a reload demands, until the keeper has room for it: a stricter rate must not be lost.
    pending: Option<Demand>,
    waiting: Deque<Entry, OVERFLOW>,
}

/// An inbox, and where the keeper takes from it.
pub fn inbox() -> (Inbox, Receiver<Job>) {
    let (sender, jobs) = sync_channel(INBOX);
    (Inbox { sender, pending: None, waiting: Deque::new() }, jobs)
}

impl Inbox {
    /// `false` where it can't be taken. Never waits.
    pub fn put(&mut self, entry: Entry) -> bool {
        self.flush();
        if !self.waiting.is_empty() {
            // In order, or not at all: a grant must not come before what happened earlier.
            return entry.ticket.is_none() && self.waiting.push_back(entry).is_ok();
        }
        match self.sender.try_send(Job::Write(entry)) {
            Ok(()) => true,
            Err(TrySendError::Full(Job::Write(entry))) if entry.ticket.is_none() => {
                self.waiting.push_back(entry).is_ok()
            }
            Err(_) => false,
        }
    }

    /// Whether something waits that the keeper has no room for.
    pub fn is_backed_up(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands on what waits, as far as there is room.
    pub fn flush(&mut self) {
        if let Some(demand) = self.pending.take()
            && let Err(TrySendError::Full(Job::Demand(demand)) | TrySendError::Disconnected(Job::Demand(demand))) =
                self.sender.try_send(Job::Demand(demand))
        {
            self.pending = Some(demand);
            return;
        }
        while let Some(entry) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(Job::Write(entry)) | TrySendError::Disconnected(Job::Write(entry))) =
                self.sender.try_send(Job::Write(entry))
            {
                let _its_place_is_free = self.waiting.push_front(entry);
                return;
            }
        }
    }

    /// In the place of what was demanded before and still waits. Never waits itself.
    pub fn demand(&mut self, demand: Demand) {
        self.pending = Some(demand);
        self.flush();
    }

    /// Hands on what there is room for, and leaves the rest; how many that are. They are in the journal.
    fn leave(&mut self) -> usize {
        self.flush();
        let left = self.waiting.len();
        self.waiting.clear();
        left
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let left = self.leave();
        if left > 0 {
            log::error!("the store hung to the end: {left} events are in the journal alone");
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::daemon::MatchThresholds;
    use crate::gallery::Comparisons;
    use crate::gate::{Action, Event, Gate, Outcome, Policy};
    use crate::time::{Now, Wall};
    use crate::units::Similarity;

    /// The 21st of September 2026.
    pub const TODAY: Wall = Wall::from_unix_millis(1_790_000_000_000);

    pub fn exit(at: Wall) -> Record {
        Record::new(at, Outcome::Exit)
    }

    pub fn entry(record: Record, ticket: Option<PendingTicket>) -> Entry {
        Entry { record, ticket, step: Step { number: 1, answers: None }, told: TellOnce::default() }
    }

    /// A ticket as a gate gives it out: for the unlocking of a door by hand.
    pub fn ticket() -> Ticket {
        let now = Now { mono: Instant::BOOT, wall: TODAY };
        let (mut gate, _) = Gate::new(Policy::default(), now);
        let actions = gate.step(now, Event::ManualRelease { uid: 0 });
        let found = actions.into_iter().find_map(|action| match action {
            Action::Record { ticket, .. } => ticket,
            _ => None,
        });
        found.unwrap()
    }

    #[test]
    fn what_still_waits_for_a_hung_keeper_at_the_end_is_counted_and_what_finds_room_is_handed_on() {
        let (mut inbox, jobs) = inbox();
        for _ in 0..INBOX + 10 {
            assert!(inbox.put(entry(exit(TODAY), None)));
        }
        for _ in 0..3 {
            jobs.try_recv().unwrap();
        }
        assert_eq!(inbox.leave(), 7);
        assert_eq!(inbox.leave(), 0, "told once");
        drop(inbox);
        assert_eq!(jobs.try_iter().count(), INBOX);
    }

    #[test]
    fn what_a_reload_demands_of_a_hung_keeper_waits_until_there_is_room_and_the_last_demand_counts() {
        let (mut inbox, jobs) = inbox();
        for _ in 0..INBOX + 1 {
            assert!(inbox.put(entry(exit(TODAY), None)));
        }
        let demand =
            |verify| -> Demand { Box::new(move |_| MatchThresholds { identify: None, verify, searches: true }) };
        inbox.demand(demand(None));
        inbox.demand(demand(Some(Similarity::MAX)));
        jobs.try_recv().unwrap();
        inbox.flush();
        let mut demanded = jobs.try_iter().filter_map(|job| match job {
            Job::Demand(demand) => demand(Comparisons::ONE).verify,
            Job::Write(_) => None,
        });
        assert_eq!(demanded.next(), Some(Similarity::MAX));
    }

    #[test]
    fn what_a_hung_keeper_does_not_take_waits_in_order_and_no_release_overtakes_it() {
        let (mut inbox, jobs) = inbox();
        let at = |n: usize| exit(Wall::from_unix_millis(n as i64));
        let pending = Some(PendingTicket { ticket: ticket(), until: Instant::BOOT });
        for n in 0..INBOX + OVERFLOW {
            assert!(inbox.put(entry(at(n), None)), "{n}");
            assert!(n < INBOX || !inbox.put(entry(at(n), pending)), "a decision doesn't wait");
        }
        assert!(!inbox.put(entry(at(0), None)), "there is an end");
        let mut taken = Vec::new();
        while let Ok(Job::Write(Entry { record, .. })) = jobs.try_recv() {
            taken.push(record.at.unix_millis());
            inbox.flush();
        }
        assert_eq!(taken, (0..(INBOX + OVERFLOW) as i64).collect::<Vec<_>>());
        assert!(inbox.put(entry(at(0), pending)));
    }
}
