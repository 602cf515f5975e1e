//! Does what the gate says, in the order it says it: the only code that moves the strike.

use crate::gate::{Action, Actions, Alarm, Event, Fault, Gate, Record, Ticket};
use crate::person::PersonId;
use crate::ports::Strike;
use crate::time::{Duration, Instant, Now};

/// A line that could not be driven to its locked level is tried again so soon, and so on until it obeys.
const SECURE_RETRY: Duration = Duration::from_millis(500);

/// A locked line is driven to its level again so often: a chip that was unplugged while nobody came is noticed, and
/// taken anew, before somebody stands at the door.
const SECURE_AGAIN: Duration = Duration::from_secs(5);

/// Events that one event can bring about here, and these in turn.
const MAX_FOLLOWING: usize = 32;

/// What the gate's actions reach besides the strike. None of it may block.
pub trait Effects {
    /// Hands a record to the ledger; a ticket is answered with [`Event::Recorded`]. `false`: it can't take any more.
    fn record(&mut self, record: Record, ticket: Option<Ticket>) -> bool;
    /// The strike was told to release, and obeyed or didn't. What is recorded in the same step from then on came after
    /// it.
    fn released(&mut self, _has_obeyed: bool) {}
    /// Tells vision whom to score, if anybody.
    fn expect(&mut self, person: Option<PersonId>);
    fn alarm(&mut self, alarm: Alarm);
}

/// What an interpretation brought about, for the gate to hear next.
pub type Consequences = heapless::Vec<Event, { crate::gate::MAX_ACTIONS }>;

/// The strike, and everything else that obeys the gate.
pub struct Interpreter<S, E> {
    strike: S,
    effects: E,
    /// When the line is driven to locked again: soon after it refused to move, every 5 s while locked; `None` while
    /// released.
    secure_again_at: Option<Instant>,
    is_faulty: bool,
}

impl<S: Strike, E: Effects> Interpreter<S, E> {
    pub fn new(strike: S, effects: E) -> Self {
        Self { strike, effects, secure_again_at: None, is_faulty: false }
    }

    /// Carries actions out, and what follows from them, and so on: a strike that disobeys is a fault that denies.
    pub fn apply_all(&mut self, gate: &mut Gate, now: Now, actions: Actions) {
        let mut following = self.apply_once(now.mono, actions);
        // A fault is news to the gate only once, so this ends; the bound is for the case that it does not.
        for _ in 0..MAX_FOLLOWING {
            if following.is_empty() {
                break;
            }
            // In the order in which it happened: a line that fails and then obeys is cleared last.
            let event = following.remove(0);
            let actions = gate.step(now, event);
            for event in self.apply_once(now.mono, actions) {
                if following.push(event).is_err() {
                    log::error!("more faults follow from faults than {MAX_FOLLOWING}");
                }
            }
        }
    }

    /// Carries the actions out, and no more.
    #[must_use]
    pub fn apply_once(&mut self, now: Instant, actions: Actions) -> Consequences {
        let mut consequences = Consequences::new();
        for action in actions {
            let consequence = match action {
                Action::Release => {
                    let consequence = self.release(now);
                    if !self.is_faulty {
                        // The gate takes a line that failed for locked, and would not lock this one at the end of its
                        // release.
                        consequences.retain(|event| !matches!(event, Event::Fault(Fault::Strike)));
                    }
                    consequence
                }
                Action::Secure => self.secure(now),
                Action::Record { record, ticket } => {
                    let taken = self.effects.record(record, ticket);
                    ticket.filter(|_| !taken).map(|ticket| Event::Recorded { ticket, written: false })
                }
                Action::Expect(person) => {
                    self.effects.expect(person);
                    None
                }
                Action::Alarm(alarm) => {
                    self.effects.alarm(alarm);
                    None
                }
            };
            if let Some(event) = consequence {
                let _at_most_one_an_action = consequences.push(event);
            }
        }
        consequences
    }

    /// Locks again what would not lock, and what should have stayed so.
    #[must_use]
    pub fn tick(&mut self, now: Instant) -> Option<Event> {
        self.secure_again_at.filter(|at| now >= *at).and_then(|_| self.secure(now))
    }

    /// When [`Interpreter::tick`] is needed.
    pub fn poll_at(&self) -> Option<Instant> {
        self.secure_again_at
    }

    fn release(&mut self, now: Instant) -> Option<Event> {
        let result = self.strike.release();
        // A line that disobeys is neither released nor known to be locked, and the gate takes it for locked.
        self.secure_again_at = result.is_err().then_some(now + SECURE_RETRY);
        self.effects.released(result.is_ok());
        self.report(result)
    }

    fn secure(&mut self, now: Instant) -> Option<Event> {
        let result = self.strike.secure();
        self.secure_again_at = Some(now + if result.is_err() { SECURE_RETRY } else { SECURE_AGAIN });
        self.report(result)
    }

    fn report(&mut self, result: Result<(), crate::ports::DeviceError>) -> Option<Event> {
        let was_faulty = self.is_faulty;
        self.is_faulty = result.is_err();
        match result {
            Ok(()) => was_faulty.then_some(Event::Cleared(Fault::Strike)),
            Err(error) => {
                if !was_faulty {
                    log::error!("the strike does not obey: {error}");
                }
                Some(Event::Fault(Fault::Strike))
            }
        }
    }

    pub fn effects(&mut self) -> &mut E {
        &mut self.effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::DeviceError;

    /// A strike whose line is there as long as it is plugged in, and is locked anew when it comes back.
    struct Unpluggable {
        is_there: bool,
        is_released: bool,
        /// So many of the next orders fail although it is plugged in.
        refuses: u32,
    }

    impl Unpluggable {
        fn set(&mut self, released: bool) -> Result<(), DeviceError> {
            let obeys = self.is_there && self.refuses == 0;
            self.refuses = self.refuses.saturating_sub(1);
            self.is_released = released && obeys;
            let gone = || DeviceError { device: "a line".to_owned(), reason: "no such device".to_owned() };
            obeys.then_some(()).ok_or_else(gone)
        }
    }

    impl Strike for Unpluggable {
        fn release(&mut self) -> Result<(), DeviceError> {
            self.set(true)
        }

        fn secure(&mut self) -> Result<(), DeviceError> {
            self.set(false)
        }

        fn describe(&self) -> String {
            "unpluggable".to_owned()
        }
    }

    struct Nothing;

    impl Effects for Nothing {
        fn record(&mut self, _: Record, _: Option<Ticket>) -> bool {
            true
        }
        fn expect(&mut self, _: Option<PersonId>) {}
        fn alarm(&mut self, _: Alarm) {}
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn interpreter() -> Interpreter<Unpluggable, Nothing> {
        Interpreter::new(Unpluggable { is_there: true, is_released: false, refuses: 0 }, Nothing)
    }

    /// What the gate hears of the strike: that it is a fault, or one no more.
    fn heard(event: Option<Event>) -> Option<bool> {
        event.map(|event| match event {
            Event::Fault(Fault::Strike) => true,
            Event::Cleared(Fault::Strike) => false,
            other => panic!("{other:?} is not about the strike"),
        })
    }

    fn does<const N: usize>(
        interpreter: &mut Interpreter<Unpluggable, Nothing>,
        ms: u64,
        actions: [Action; N],
    ) -> Vec<bool> {
        interpreter
            .apply_once(at(ms), actions.into_iter().collect())
            .into_iter()
            .filter_map(|event| heard(Some(event)))
            .collect()
    }

    #[test]
    fn a_line_that_goes_away_while_locked_is_a_fault_and_is_cleared_when_it_is_back() {
        let mut interpreter = interpreter();
        assert!(does(&mut interpreter, 0, [Action::Secure]).is_empty());
        assert_eq!(interpreter.poll_at(), Some(at(5_000)));
        assert_eq!(heard(interpreter.tick(at(5_000))), None);
        interpreter.strike.is_there = false;
        assert_eq!(heard(interpreter.tick(at(9_999))), None);
        assert_eq!(heard(interpreter.tick(at(10_000))), Some(true));
        interpreter.strike.is_there = true;
        assert_eq!(heard(interpreter.tick(at(10_500))), Some(false));
    }

    #[test]
    fn a_line_that_refuses_a_release_is_locked_again_soon_and_until_it_obeys() {
        let mut interpreter = interpreter();
        interpreter.strike.is_there = false;
        assert_eq!(does(&mut interpreter, 0, [Action::Release]), [true]);
        assert_eq!(interpreter.poll_at(), Some(at(500)));
        assert_eq!(heard(interpreter.tick(at(500))), Some(true));
        interpreter.strike.is_there = true;
        assert_eq!(heard(interpreter.tick(at(1000))), Some(false));
        assert_eq!(interpreter.poll_at(), Some(at(6000)));
    }

    #[test]
    fn a_line_that_fails_to_lock_and_then_obeys_a_release_is_released_and_no_fault() {
        let mut interpreter = interpreter();
        interpreter.strike.refuses = 1;
        assert_eq!(
            does(&mut interpreter, 0, [Action::Secure, Action::Release]),
            [false],
            "it is cleared, if it was one"
        );
        assert!(interpreter.strike.is_released);
        interpreter.strike.refuses = 2;
        assert_eq!(does(&mut interpreter, 5000, [Action::Secure, Action::Release]), [true, true]);
    }

    #[test]
    fn a_released_line_is_left_alone() {
        let mut interpreter = interpreter();
        does(&mut interpreter, 0, [Action::Secure, Action::Release]);
        assert_eq!(interpreter.poll_at(), None);
        assert_eq!(heard(interpreter.tick(at(60_000))), None);
        assert!(interpreter.strike.is_released);
    }
}
