//! An exit button and a door contact that follow a script, and a hand to move them in between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::ports::{Clock, Input, Inputs};
use crate::time::{Duration, Instant};

/// Most changes that wait to happen; more are refused.
pub const MAX_SCRIPT: usize = 65_536;
/// The longest pause in one piece, and so how late a hand is noticed.
const SLICE: Duration = Duration::from_millis(20);

type Script = Arc<Mutex<VecDeque<(Instant, Input)>>>;

/// Inputs that change when a script says.
pub struct ScriptedInputs {
    clock: Arc<dyn Clock>,
    script: Script,
}

/// Adds to the script while it runs; all clones move the same inputs.
#[derive(Clone)]
pub struct Hand {
    clock: Arc<dyn Clock>,
    script: Script,
}

impl ScriptedInputs {
    /// A button that is let go and a closed door, until a [`Hand`] moves them.
    pub fn at_rest(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now().mono;
        Self::new(clock, [(now, Input::ExitButton(false)), (now, Input::DoorContact(false))])
    }

    /// A script in any order; what has passed is told first, in the order of time.
    pub fn new(clock: Arc<dyn Clock>, script: impl IntoIterator<Item = (Instant, Input)>) -> Self {
        let mut script: Vec<_> = script.into_iter().take(MAX_SCRIPT).collect();
        script.sort_by_key(|(at, _)| *at);
        Self { clock, script: Arc::new(Mutex::new(script.into())) }
    }

    pub fn hand(&self) -> Hand {
        Hand { clock: self.clock.clone(), script: self.script.clone() }
    }
}

impl Hand {
    /// Now.
    pub fn set(&self, input: Input) {
        self.set_at(self.clock.now().mono, input);
    }

    /// At a time to come; after everything that is to happen at the same time. Beyond [`MAX_SCRIPT`] it is dropped.
    pub fn set_at(&self, at: Instant, input: Input) {
        let mut script = lock(&self.script);
        if script.len() < MAX_SCRIPT {
            let place = script.partition_point(|(other, _)| *other <= at);
            script.insert(place, (at, input));
        }
    }
}

impl Inputs for ScriptedInputs {
    fn wait(&mut self, timeout: Duration) -> Result<Option<Input>, String> {
        let end = self.clock.now().mono + timeout;
        loop {
            let now = self.clock.now().mono;
            let due = {
                let mut script = lock(&self.script);
                match script.front() {
                    Some(&(at, input)) if at <= now => {
                        script.pop_front();
                        return Ok(Some(input));
                    }
                    next => next.map_or(end, |(at, _)| *at),
                }
            };
            if now >= end {
                return Ok(None);
            }
            self.clock.pause(due.min(end).since(now).min(SLICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;

    #[test]
    fn changes_come_in_their_order_and_at_their_time() {
        let clock = SimClock::default();
        let ms = Instant::from_millis;
        let script = [(ms(500), Input::DoorContact(true)), (ms(100), Input::ExitButton(true))];
        let mut inputs = ScriptedInputs::new(Arc::new(clock.clone()), script);
        assert_eq!(inputs.wait(Duration::from_millis(50)), Ok(None));
        assert_eq!(clock.now().mono, ms(50));
        assert_eq!(inputs.wait(Duration::from_secs(1)), Ok(Some(Input::ExitButton(true))));
        assert_eq!(clock.now().mono, ms(100));
        assert_eq!(inputs.wait(Duration::from_secs(1)), Ok(Some(Input::DoorContact(true))));
        assert_eq!(clock.now().mono, ms(500));
    }

    #[test]
    fn a_hand_moves_what_rests() {
        let clock = SimClock::default();
        let mut inputs = ScriptedInputs::at_rest(Arc::new(clock.clone()));
        let hand = inputs.hand();
        assert_eq!(inputs.wait(Duration::ZERO), Ok(Some(Input::ExitButton(false))));
        hand.set(Input::ExitButton(true));
        hand.set_at(Instant::from_millis(10), Input::ExitButton(false));
        assert_eq!(inputs.wait(Duration::ZERO), Ok(Some(Input::DoorContact(false))), "what was first is told first");
        assert_eq!(inputs.wait(Duration::ZERO), Ok(Some(Input::ExitButton(true))));
        assert_eq!(inputs.wait(Duration::ZERO), Ok(None));
        assert_eq!(inputs.wait(Duration::from_millis(10)), Ok(Some(Input::ExitButton(false))));
    }
}
