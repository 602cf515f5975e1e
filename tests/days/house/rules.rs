//! The gate's answers carried out by the real interpreter, and what must never happen on any day.

use super::*;

impl House {
    pub(super) fn step(&mut self, event: Event) {
        match event {
            Event::Fault(fault) if !self.faults.contains(&fault) => self.faults.push(fault),
            Event::Cleared(fault) => self.faults.retain(|standing| *standing != fault),
            _ => {}
        }
        let actions = self.gate.step(self.clock.now(), event.clone());
        self.carry_out(Some(&event), actions);
        // A line that can't be driven is the one case in which the strike may not follow.
        let shows_unlocked = self.gate.status().state == "unlocked";
        let is_excused = self.faults.contains(&Fault::Strike);
        assert!(is_excused || shows_unlocked == self.strike.is_released(), "{event:?}: the strike does not follow");
    }

    pub(super) fn carry_out(&mut self, event: Option<&Event>, actions: Actions) {
        let mut admits = false;
        for action in &actions {
            match action {
                Action::Record { record, ticket } => {
                    self.count(record.outcome);
                    self.say("gate", &describe(record));
                    match (ticket, record.outcome, record.person) {
                        (Some(ticket), Outcome::Granted, Some(person)) => self.granted = Some((*ticket, person)),
                        (Some(ticket), ..) => self.asked_manual.push(*ticket),
                        _ => {}
                    }
                }
                Action::Release => admits |= self.may_release(event),
                Action::Expect(Some(person)) => self.say("gate", &format!("expects {person}")),
                Action::Expect(None) | Action::Secure | Action::Alarm(_) => {}
            }
        }
        let was_released = self.strike.is_released();
        let consequences = self.interpreter.apply_once(self.now(), actions);
        if self.strike.is_released() != was_released {
            self.say("strike", if was_released { "secured" } else { "released" });
        }
        if admits {
            self.welcome();
        }
        while let Some(alarm) = self.interpreter.effects().alarms.pop_front() {
            self.say("alarm", &format!("{alarm:?}"));
        }
        while let Some((record, ticket)) = self.interpreter.effects().records.pop_front() {
            let (at, events) = self.keeper.write(self.now(), &record, ticket);
            self.after_keeper(at, events);
        }
        for event in consequences {
            self.step(event);
        }
    }

    pub(super) fn after_keeper(&mut self, at: Instant, events: Vec<Event>) {
        for event in events {
            self.todo(at, Todo::Tell(event));
        }
        if self.keeper.is_failing() && !std::mem::replace(&mut self.is_retrying, true) {
            self.todo(at + RETRY, Todo::Retry);
        }
    }

    /// Every release has its cause, and an admission is of the person who stands there; whether it is an admission.
    fn may_release(&mut self, event: Option<&Event>) -> bool {
        let ticket = match event {
            Some(Event::ExitButton { pressed: true }) => {
                self.excuse = true;
                self.tally.exits += 1;
                return false;
            }
            Some(Event::Recorded { ticket, written: true }) => *ticket,
            other => panic!("a release by {other:?}"),
        };
        if let Some(asked) = self.asked_manual.iter().position(|asked| *asked == ticket) {
            self.asked_manual.swap_remove(asked);
            self.excuse = true;
            self.tally.manual += 1;
            return false;
        }
        let (granted, person) = self.granted.take().expect("a release without a grant");
        assert_eq!(granted, ticket, "the ledger confirmed something else");
        assert!(self.faults.is_empty(), "{person} was admitted though {:?} stand", self.faults);
        let just_left = self.last_visit.filter(|(_, left)| self.now().since(*left) <= JUST_LEFT).map(|(i, _)| i);
        let visit = self.scene.get().or(just_left).map(|i| self.visit(i));
        assert_eq!(visit.map(|visit| visit.who), Some(Who::Member(person)), "somebody was admitted as {person}");
        let wall = self.clock.now().wall.unix_millis();
        assert!(self.town.permits(person, wall), "{person} was admitted against the rules");
        let records = self.keeper.records();
        let written = records.iter().rev().find(|record| record.outcome == Outcome::Granted);
        assert_eq!(written.and_then(|record| record.person), Some(person), "the ledger does not know of it");
        self.tally.grants += 1;
        true
    }

    /// The visitor pulls the door, if it really can be opened.
    fn welcome(&mut self) {
        let Some(i) = self.scene.get() else { return };
        if self.strike.is_released() {
            self.admitted = true;
            self.tally.welcome += usize::from(!self.excuse);
            let (pull, stay) = (self.rng.between(SECOND / 2, 2 * SECOND), self.rng.between(3 * SECOND, 6 * SECOND));
            let pull = self.now() + pull;
            self.todo(pull, Todo::Pull(stay, "the person admitted"));
            self.todo(pull + SECOND / 2, Todo::Leave(i));
        }
    }

    /// Somebody pulls the door who was let through.
    pub(super) fn pull(&mut self, stays: Duration, who: &str) {
        let now = self.now();
        if self.strike.is_released() {
            self.walk(now, now + stays);
            return;
        }
        self.say("door", &format!("{who} finds the door locked"));
        let is_bad_luck = self.last_trouble.is_some_and(|at| now.since(at) < AFTERMATH);
        let was_passed = self.open_until.is_some_and(|until| now <= until + 2 * SECOND);
        assert!(is_bad_luck || was_passed, "at {now:?} {who} is locked in:\n{}", self.last_lines());
    }

    pub(super) fn last_lines(&self) -> String {
        self.lines[self.lines.len().saturating_sub(30)..].join("\n")
    }

    /// The relay was never held longer than its maximum, and where the line could not be driven, not long after
    /// it could again.
    pub(super) fn relay_was_bounded(&mut self) {
        let transitions = self.strike.transitions();
        assert!(!self.strike.is_released(), "the day ends with the door locked");
        for pair in transitions.windows(2).filter(|pair| pair[0].released) {
            let (from, until) = (pair[0].at, pair[1].at);
            let seconds = 0..=until.since(from).as_secs() as u32;
            let stuck = seconds.filter_map(|s| self.strike_trouble.episode(from + SECOND * s));
            let stuck_until = stuck.map(|episode| episode.until).max();
            let is_bounded = until.since(from) <= MAX_PULSE || stuck_until.is_some_and(|end| until <= end + SECOND);
            assert!(is_bounded, "released from {from:?} until {until:?}, stuck until {stuck_until:?}");
        }
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::NotRecognised
            | Outcome::Ambiguous
            | Outcome::Spoof
            | Outcome::LivenessInconclusive
            | Outcome::PoorQuality
            | Outcome::Expired
            | Outcome::OutOfSchedule => self.tally.denials += 1,
            Outcome::LockedOut => {
                self.tally.lockouts += 1;
                self.excuse = true;
            }
            Outcome::Fault => self.tally.faults += 1,
            Outcome::DoorForced => self.tally.break_ins += 1,
            Outcome::DoorHeldOpen => self.tally.held_open += 1,
            _ => {}
        }
    }
}

/// A record as a line of the day.
fn describe(record: &Record) -> String {
    let person = record.person.map_or(String::new(), |person| format!(" {person}"));
    let similarity = record.similarity.map_or(String::new(), |similarity| format!(" {similarity}"));
    let reasons: Vec<_> = record.reasons.iter().map(ToString::to_string).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    format!("{}{person}{similarity}{reasons}", record.outcome)
}
