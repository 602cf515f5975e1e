//! What the gate's actions do besides moving the strike.
//!
//! A record that only tells (a refusal, an alarm) is in the journal at once and goes to the keeper, who tells followers
//! its number once written; while the keeper is slow, followers are told at once without one. A record on which a
//! release depends is written first. Followers are told of it after the strike has moved, or has refused to, and
//! whoever asked for the release takes that for the answer.

use std::sync::Arc;

use heapless::Deque;

use super::inbox::{Entry, Inbox, Journal, PendingTicket, TellOnce, write_down};
use super::interpreter::Effects;
use super::shared::{LedgerAnswer, Shared, WatchedThread};
use super::watchers::{Step, Written};
use crate::gate::{Alarm, Fault, Outcome, Reason, Record, Ticket};
use crate::person::PersonId;
use crate::time::{Duration, Instant, Now};

/// A keeper without a sign of life for so long is not waited for with what is to be told. It gives two a second at
/// rest.
const KEEPER_SLOW: Duration = Duration::from_secs(1);
/// At most so many records may be with the keeper and not yet told to followers; beyond that the oldest are told when
/// the keeper gets to them.
const MAX_UNTOLD: usize = 32;

/// See the module.
pub struct GateEffects {
    pub shared: Arc<Shared>,
    pub ledger: Inbox,
    /// How long the gate waits for the ledger.
    pub ledger_timeout: Duration,
    pub journal: Journal,
    now: Now,
    step: Step,
    /// What the keeper has written, until it is told.
    answered: Option<(Box<Record>, u64)>,
    /// Whether the strike obeyed to a release, where this step asked for one.
    has_obeyed: Option<bool>,
    /// A fault of the strike's is recorded in this step.
    is_fault_told: bool,
    /// What the keeper has been given to write and to tell, in case that it hangs with it.
    untold: Deque<(TellOnce, Written), MAX_UNTOLD>,
}

impl GateEffects {
    pub fn new(shared: Arc<Shared>, ledger: Inbox, ledger_timeout: Duration, journal: Journal) -> Self {
        let now = shared.now();
        let step = Step { number: 0, answers: None };
        let (answered, has_obeyed, is_fault_told, untold) = (None, None, false, Deque::new());
        Self { shared, ledger, ledger_timeout, journal, now, step, answered, has_obeyed, is_fault_told, untold }
    }

    /// The number of the gate's next step.
    pub fn next_step(&self) -> u64 {
        self.step.number + 1
    }

    /// A step of the gate's begins, at the time that the gate is told, which its deadlines count from; `answer` is what
    /// the keeper said in it.
    pub fn begin(&mut self, now: Now, answer: Option<LedgerAnswer>) {
        self.now = now;
        self.step = Step { number: self.next_step(), answers: answer.as_ref().map(|answer| answer.record.outcome) };
        self.answered = answer.and_then(|answer| Some((answer.record, answer.seq?)));
        self.has_obeyed = None;
        self.is_fault_told = false;
    }

    /// Everything that follows from it is done.
    pub fn end(&mut self) {
        let is_answered = self.step.answers.is_some();
        if is_answered && self.has_obeyed == Some(false) && !self.is_fault_told {
            // The fault stood already, so the gate had nothing new to say, and whoever asked hears it here.
            let fault = Record::new(self.now.wall, Outcome::Fault).because(Reason::Fault(Fault::Strike));
            self.record(fault, None);
        }
        // It opened nothing.
        self.tell_answered(false);
    }

    /// Tells the followers what a keeper that hangs by now has been given and hasn't told; due each second.
    pub fn poll(&mut self, now: Instant) {
        while self.untold.front().is_some_and(|(told, _)| told.is_done()) {
            self.untold.pop_front();
        }
        if self.is_late(now) {
            while let Some((told, written)) = self.untold.pop_front() {
                if told.claim() {
                    self.shared.watchers.tell(&written);
                }
            }
        }
    }

    /// Whether the followers would wait for the keeper, and for nobody knows how long.
    fn is_late(&self, now: Instant) -> bool {
        now.since(self.shared.last_beat(WatchedThread::Keeper)) >= KEEPER_SLOW || self.ledger.is_backed_up()
    }

    fn tell_answered(&mut self, stands: bool) {
        if let Some((record, seq)) = self.answered.take() {
            self.shared.watchers.tell(&Written { seq: Some(seq), stands, step: self.step, record: *record });
        }
    }
}

impl Effects for GateEffects {
    fn record(&mut self, record: Record, ticket: Option<Ticket>) -> bool {
        let until = self.now.mono + self.ledger_timeout;
        self.is_fault_told |= record.reasons.contains(&Reason::Fault(Fault::Strike));
        let outcome = record.outcome;
        let is_asked = ticket.is_some();
        if !is_asked && outcome == Outcome::ManualRelease && self.has_obeyed != Some(true) {
            // Whoever shares a release that the strike has refused has released nothing: its fault is their answer.
            return true;
        }
        let record = match (outcome, self.has_obeyed) {
            // Whoever wants out has not got out.
            (Outcome::Exit, Some(false)) => record.because(Reason::Fault(Fault::Strike)),
            _ => record,
        };
        let told = TellOnce::default();
        if !is_asked {
            write_down(self.journal, &record, &self.shared.gallery());
            self.poll(self.now.mono);
            let written = Written { seq: None, stands: true, step: self.step, record: record.clone() };
            if self.is_late(self.now.mono) || record.reasons.contains(&Reason::LedgerLate) {
                let _mine = told.claim();
                self.shared.watchers.tell(&written);
            } else {
                if self.untold.is_full() {
                    self.untold.pop_front();
                }
                let _there_is_room = self.untold.push_back((told.clone(), written));
            }
        }
        let ticket = ticket.map(|ticket| PendingTicket { ticket, until });
        let is_taken = self.ledger.put(Entry { record, ticket, step: self.step, told });
        match (is_taken, is_asked) {
            (false, false) => {
                log::error!("the ledger hangs, and its backlog is full: this event is in the journal alone")
            }
            // The gate hears that at once.
            (false, true) => self.step.answers = Some(outcome),
            (true, _) => {}
        }
        is_taken
    }

    fn released(&mut self, has_obeyed: bool) {
        self.has_obeyed = Some(has_obeyed);
        self.tell_answered(has_obeyed);
    }

    fn expect(&mut self, person: Option<PersonId>) {
        self.shared.expect(person);
    }

    fn alarm(&mut self, alarm: Alarm) {
        log::warn!("alarm: {}", alarm.as_str());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::daemon::inbox::tests::{TODAY, exit, ticket};
    use crate::daemon::inbox::{Job, inbox};
    use crate::daemon::keeper::nobody;
    use crate::sim::clock::SimClock;
    use crate::time::Wall;

    thread_local! {
        static JOURNAL: std::cell::RefCell<Vec<i64>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    /// What the journal hears is in [`JOURNAL`], by the milliseconds of its time; the ledger has two seconds.
    fn put_up(clock: &SimClock) -> (Arc<Shared>, GateEffects, Receiver<Job>) {
        let shared = Arc::new(Shared::new(Arc::new(clock.clone()), nobody()));
        let (ledger, jobs) = inbox();
        let note: Journal = |record, _| JOURNAL.with_borrow_mut(|journal| journal.push(record.at.unix_millis()));
        (Arc::clone(&shared), GateEffects::new(shared, ledger, Duration::from_secs(2), note), jobs)
    }

    #[test]
    fn what_only_tells_what_happened_is_in_the_journal_once_whether_the_ledger_takes_it_or_hangs() {
        let (_, mut effects, jobs) = put_up(&SimClock::new(TODAY));
        let taken = (0..1000).filter(|n| effects.record(exit(Wall::from_unix_millis(*n)), None)).count();
        assert!((100..1000).contains(&taken), "{taken}");
        assert!(!effects.record(exit(TODAY), Some(ticket())), "what can't be written is none of it");
        drop(effects);
        assert_eq!(JOURNAL.take(), (0..1000).collect::<Vec<_>>());
        assert!(jobs.try_iter().count() < taken, "some were left when it stopped");
    }

    #[test]
    fn while_the_keeper_hangs_the_followers_are_told_at_once_and_not_again_by_the_keeper() {
        let clock = SimClock::new(TODAY);
        let (shared, mut effects, jobs) = put_up(&clock);
        let follower = shared.watchers.follow(0).unwrap();
        let is_told = |effects: &mut GateEffects, record: Record| {
            effects.begin(shared.now(), None);
            assert!(effects.record(record, None));
            let Job::Write(entry) = jobs.try_recv().unwrap() else { panic!("a record") };
            let told: Vec<_> = follower.try_iter().map(|written| (written.seq, written.stands)).collect();
            assert_eq!(told, if entry.told.is_done() { vec![(None, true)] } else { vec![] });
            !entry.told.claim()
        };
        clock.advance(Duration::from_millis(999));
        assert!(!is_told(&mut effects, exit(TODAY)), "the start counts as a sign of life");
        let late = Record::new(TODAY, Outcome::Fault).because(Reason::LedgerLate);
        assert!(is_told(&mut effects, late), "what the gate didn't wait for, nobody does");
        clock.advance(Duration::from_millis(1));
        assert!(is_told(&mut effects, exit(TODAY)));
        shared.beat(WatchedThread::Keeper);
        assert!(!is_told(&mut effects, exit(TODAY)));
        while !effects.ledger.is_backed_up() {
            assert!(effects.record(exit(TODAY), None));
        }
        assert_eq!(follower.try_iter().count(), 0);
        assert!(effects.record(exit(TODAY), None));
        assert_eq!(follower.try_iter().count(), MAX_UNTOLD + 1, "whatever sign of life it gave");
    }

    #[test]
    fn what_the_keeper_hangs_with_is_told_a_second_later_once_and_in_order() {
        let clock = SimClock::new(TODAY);
        let (shared, mut effects, jobs) = put_up(&clock);
        let follower = shared.watchers.follow(0).unwrap();
        for _ in 0..3 {
            clock.advance(Duration::from_millis(300));
            effects.begin(shared.now(), None);
            assert!(effects.record(exit(TODAY), None));
        }
        let Job::Write(first) = jobs.try_recv().unwrap() else { panic!("a record") };
        assert!(first.told.claim(), "the keeper tells the first, and then hangs");
        effects.poll(shared.now().mono);
        assert_eq!(follower.try_iter().count(), 0);
        clock.advance(Duration::from_millis(100));
        effects.poll(shared.now().mono);
        let steps: Vec<_> = follower.try_iter().map(|written| written.step.number).collect();
        assert_eq!(steps, [2, 3]);
        effects.poll(shared.now().mono);
        assert_eq!(follower.try_iter().count(), 0);
        assert!(jobs.try_iter().all(|job| matches!(job, Job::Write(entry) if !entry.told.claim())));
    }

    #[test]
    fn whoever_shares_a_release_that_the_strike_refused_is_written_down_nowhere() {
        let (shared, mut effects, jobs) = put_up(&SimClock::new(TODAY));
        for (has_obeyed, written) in [(false, 0), (true, 1)] {
            effects.begin(shared.now(), None);
            effects.released(has_obeyed);
            assert!(effects.record(Record::new(TODAY, Outcome::ManualRelease), None));
            assert_eq!((jobs.try_iter().count(), JOURNAL.take().len()), (written, written), "{has_obeyed}");
        }
    }

    #[test]
    fn an_exit_that_the_strike_refused_says_so() {
        let (shared, mut effects, jobs) = put_up(&SimClock::new(TODAY));
        for (has_obeyed, reasons) in [(false, 1), (true, 0)] {
            effects.begin(shared.now(), None);
            effects.released(has_obeyed);
            assert!(effects.record(exit(TODAY), None));
            let Job::Write(entry) = jobs.try_recv().unwrap() else { panic!("a record") };
            assert_eq!(entry.record.reasons.len(), reasons, "{:?}", entry.record.reasons);
        }
    }

    #[test]
    fn the_keeper_is_asked_until_the_gates_own_deadline() {
        let clock = SimClock::new(TODAY);
        let (shared, mut effects, jobs) = put_up(&clock);
        effects.begin(shared.now(), None);
        let deadline = shared.now().mono + Duration::from_secs(2);
        clock.advance(Duration::from_millis(30));
        assert!(effects.record(exit(TODAY), Some(ticket())));
        let Job::Write(entry) = jobs.try_recv().unwrap() else { panic!("a record") };
        assert_eq!(entry.ticket.unwrap().until, deadline);
    }
}
