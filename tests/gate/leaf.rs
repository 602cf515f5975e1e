//! The judge's books on the leaf of the door and its alarm.

use facelatch::gate::{Alarm, Event, Outcome, Policy};

use super::evidence::{Ms, millis};
use super::judge::Verdicts;

/// After locking, a leaf may report so late that it was opened before.
const OPENING_GRACE: Ms = 2000;

#[derive(Debug)]
pub struct Leaf {
    is_known: bool,
    open_since: Option<Ms>,
    alarm: Alarm,
    is_break_in: bool,
}

impl Leaf {
    pub fn new() -> Self {
        Self { is_known: false, open_since: None, alarm: Alarm::Silent, is_break_in: false }
    }

    /// Before the gate's answer: whether this opening was allowed.
    pub fn learn(&mut self, now: Ms, event: &Event, is_released: bool, secured_at: Option<Ms>) {
        let opens = matches!(event, Event::DoorContact { open: true }) && self.is_known && self.open_since.is_none();
        let was_pulled = secured_at.is_some_and(|at| now - at < OPENING_GRACE);
        self.is_break_in = opens && !is_released && !was_pulled;
    }

    pub fn sound(&mut self, alarm: Alarm) -> Verdicts {
        must!(alarm != self.alarm, "the alarm repeats {alarm:?}");
        self.alarm = alarm;
        Ok(())
    }

    /// What a record says of the door must be so.
    pub fn record(&self, now: Ms, event: &Event, outcome: Outcome, policy: &Policy) -> Verdicts {
        let lasts = |time: Ms| self.open_since.is_some_and(|at| now >= at + time);
        let is_true = match outcome {
            Outcome::DoorForced => self.is_break_in,
            Outcome::DoorClosed => matches!(event, Event::DoorContact { open: false }) && self.open_since.is_some(),
            Outcome::DoorHeldOpenSoon => lasts(warned(policy)),
            _ => lasts(millis(policy.held_open_after)),
        };
        must!(is_true, "{outcome}, which is not so: {self:?}");
        Ok(())
    }

    /// After the gate's answer: no break-in and no door held open goes without its alarm, and none outlasts the closing.
    pub fn settle(&mut self, now: Ms, event: &Event, policy: &Policy) -> Verdicts {
        let open_for = self.open_since.map(|at| now - at);
        if let Event::DoorContact { open } = *event {
            self.is_known = true;
            self.open_since = open.then(|| self.open_since.unwrap_or(now));
        }
        let is_right = match (self.alarm, self.open_since.and(open_for)) {
            (Alarm::Forced, _) => self.open_since.is_some(),
            (alarm, Some(time)) if time >= millis(policy.held_open_after) => alarm == Alarm::HeldOpen,
            (alarm, Some(time)) if time >= warned(policy) => alarm == Alarm::HeldOpenSoon,
            // What opened just now has been judged as an opening, and not yet as one that lasts.
            (alarm, _) => alarm == Alarm::Silent && !self.is_break_in,
        };
        must!(is_right, "the wrong alarm at {now}: {self:?}");
        Ok(())
    }
}

fn warned(policy: &Policy) -> Ms {
    millis(policy.held_open_after) - millis(policy.held_open_prealert)
}
