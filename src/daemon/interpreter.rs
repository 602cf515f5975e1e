//! Does what the gate says, in the order it says it: the only code that moves the strike.

use crate::gate::{Action, Actions, Alarm, Event, Fault, Record, Ticket};
use crate::person::PersonId;
use crate::ports::Strike;
use crate::time::{Duration, Instant};

/// A line that could not be driven to its locked level is tried again so soon, and so on until it obeys.
const SECURE_RETRY: Duration = Duration::from_millis(500);

/// What the gate's actions reach besides the strike. None of it may block.
pub trait Effects {
    /// Hands a record to the ledger; a ticket is answered with [`Event::Recorded`]. `false`: it can't take any more.
    fn record(&mut self, record: Record, ticket: Option<Ticket>) -> bool;
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
    /// The line disobeyed while locking, and is to be tried again then.
    secure_again_at: Option<Instant>,
    is_faulty: bool,
}

impl<S: Strike, E: Effects> Interpreter<S, E> {
    pub fn new(strike: S, effects: E) -> Self {
        Self { strike, effects, secure_again_at: None, is_faulty: false }
    }

    /// Carries the actions out.
    #[must_use]
    pub fn apply(&mut self, now: Instant, actions: Actions) -> Consequences {
        let mut consequences = Consequences::new();
        for action in actions {
            let consequence = match action {
                Action::Release => self.release(),
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

    /// Tries again to lock what would not lock.
    #[must_use]
    pub fn tick(&mut self, now: Instant) -> Option<Event> {
        self.secure_again_at.filter(|at| now >= *at).and_then(|_| self.secure(now))
    }

    /// When [`Interpreter::tick`] is needed.
    pub fn poll_at(&self) -> Option<Instant> {
        self.secure_again_at
    }

    fn release(&mut self) -> Option<Event> {
        self.secure_again_at = None;
        let result = self.strike.release();
        self.report(result)
    }

    fn secure(&mut self, now: Instant) -> Option<Event> {
        let result = self.strike.secure();
        self.secure_again_at = result.is_err().then_some(now + SECURE_RETRY);
        self.report(result)
    }

    fn report(&mut self, result: Result<(), crate::ports::StrikeError>) -> Option<Event> {
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

    pub fn strike(&self) -> &S {
        &self.strike
    }
}
