//! The judge's books on the leaf of the door and its alarm.

use facelatch::gate::{Alarm, Event, Outcome, Policy};

use super::evidence::{Ms, millis};
use super::judge::Verdicts;

/// After locking, a leaf may report so late that it was opened before.
const OPENING_GRACE: Ms = 2000;
/// A leaf that opens again so soon has never really closed.
const REBOUND: Ms = 1000;

/// A leaf that stands open, or did last.
#[derive(Debug, Clone, Copy)]
struct Opening {
    since: Ms,
    /// Nobody had released it.
    is_break_in: bool,
}

#[derive(Debug)]
pub struct Leaf {
    is_known: bool,
    opening: Option<Opening>,
    /// The one before, and when it ended.
    last: Option<(Opening, Ms)>,
    alarm: Alarm,
    /// What the event of this step begins.
    begins: Option<Opening>,
    /// What it begins is no opening that goes on.
    is_new: bool,
}

impl Leaf {
    pub fn new() -> Self {
        Self { is_known: false, opening: None, last: None, alarm: Alarm::Silent, begins: None, is_new: false }
    }

    /// Before the gate's answer: whether this opening was allowed.
    pub fn learn(&mut self, now: Ms, event: &Event, is_released: bool, secured_at: Option<Ms>) {
        let opens = matches!(event, Event::DoorContact { open: true }) && self.opening.is_none();
        let was_pulled = secured_at.is_some_and(|at| now - at < OPENING_GRACE);
        let is_break_in = self.is_known && !is_released && !was_pulled;
        let goes_on = self.last.filter(|(_, closed)| now - closed < REBOUND).map(|(opening, _)| opening);
        self.begins = opens.then(|| goes_on.unwrap_or(Opening { since: now, is_break_in }));
        self.is_new = opens && goes_on.is_none();
    }

    /// Whether the leaf opens in this step and had stood closed.
    pub fn opens_anew(&self) -> bool {
        self.is_new
    }

    pub fn sound(&mut self, alarm: Alarm) -> Verdicts {
        must!(alarm != self.alarm, "the alarm repeats {alarm:?}");
        self.alarm = alarm;
        Ok(())
    }

    /// What a record says of the door must be so.
    pub fn record(&self, now: Ms, outcome: Outcome, policy: &Policy) -> Verdicts {
        let lasts = |time: Ms| self.opening.is_some_and(|opening| now >= opening.since + time);
        let is_true = match outcome {
            Outcome::DoorForced => self.is_new && self.begins.is_some_and(|opening| opening.is_break_in),
            Outcome::DoorClosed => self.alarm != Alarm::Silent && self.standing(now).is_none(),
            Outcome::DoorHeldOpenSoon => lasts(warned(policy)),
            _ => lasts(millis(policy.held_open_after)),
        };
        must!(is_true, "{outcome}, which is not so: {self:?}");
        Ok(())
    }

    /// The opening that has not ended for good, and until when it is known to last.
    fn standing(&self, now: Ms) -> Option<(Opening, Ms)> {
        self.opening.map(|opening| (opening, now)).or(self.last.filter(|(_, closed)| now - closed < REBOUND))
    }

    /// After the gate's answer: no break-in and no door held open goes without its alarm, and none outlasts the closing
    /// once that is for good.
    pub fn settle(&mut self, now: Ms, event: &Event, policy: &Policy) -> Verdicts {
        if let Event::DoorContact { open } = *event {
            self.is_known = true;
            if !open && let Some(opening) = self.opening.take() {
                self.last = Some((opening, now));
            }
        }
        // How long it lasts was asked before the event.
        let is_news = self.begins.is_some();
        self.opening = self.begins.take().or(self.opening);
        let is_right = match self.standing(now) {
            None => self.alarm == Alarm::Silent,
            Some((opening, _)) if opening.is_break_in => self.alarm == Alarm::Forced,
            Some(_) if is_news => self.alarm != Alarm::Forced,
            Some((opening, until)) => {
                let lasts = |time: Ms| until >= opening.since + time;
                self.alarm
                    == match () {
                        () if lasts(millis(policy.held_open_after)) => Alarm::HeldOpen,
                        () if lasts(warned(policy)) => Alarm::HeldOpenSoon,
                        () => Alarm::Silent,
                    }
            }
        };
        must!(is_right, "the wrong alarm at {now}: {self:?}");
        Ok(())
    }
}

fn warned(policy: &Policy) -> Ms {
    millis(policy.held_open_after) - millis(policy.held_open_prealert)
}
