//! The wires of the door: strike, exit button and door contact, looked at without taking any of them.

use std::path::Path;
use std::sync::Arc;

use super::{Checked, Finding, Level, Visit, group};
use crate::cli::context::Context;
use crate::cli::devices::PI_REGISTERS;
use crate::cli::exit::Failure;
use crate::hw::clock::BootClock;
use crate::hw::gpio::{self, LineId};
use crate::hw::strike::{Fail, StrikeConfig, StrikeKind};
use crate::ports::Strike as _;

/// Of a fail-safe lock on a line that keeps its level.
const STAYS_LOCKED: &str = "the kernel keeps this line's level once the daemon is gone, so a daemon that is stopped leaves the fail-safe \
                            lock locked and the exit button dead: dtparam=strict_gpiod in /boot/firmware/config.txt (docs/wiring.md)";
/// Of one on a chip whose driver isn't known.
const MAY_STAY_LOCKED: &str = "what this line does once the daemon is gone is not known; try `systemctl stop facelatch`: if the \
                               fail-safe lock stays locked then, so does it after a crash, and the exit button is dead (docs/wiring.md)";

impl Visit<'_> {
    pub(super) fn strike(&mut self) -> Result<(), Failure> {
        let config = &self.ctx.config.strike;
        let keeps = gpio::keeps_outputs(&config.chip, Path::new("/sys/module"));
        let (level, says) = match (strike(self.ctx), stays_locked(config, keeps)) {
            (Ok(says), Some(why)) => (Level::Complaint, format!("{says}; {why}")),
            (Ok(says), None) => (Level::Ok, says),
            (Err(why), _) => (Level::Wrong, why),
        };
        self.show(Finding { check: "strike", level, says })?;
        match group::drive_past_the_daemon() {
            Some(says) if config.kind != StrikeKind::Recording => {
                self.show(Finding { check: "gpio", level: Level::Complaint, says })
            }
            _ => Ok(()),
        }
    }
}

/// The complaint where a daemon that is gone leaves the door locked, or may, though nothing but power holds it.
fn stays_locked(strike: &StrikeConfig, keeps_outputs: Option<bool>) -> Option<&'static str> {
    let is_meant = strike.kind == StrikeKind::Gpiochip && strike.fail == Fail::Safe;
    match keeps_outputs {
        Some(true) if is_meant => Some(STAYS_LOCKED),
        None if is_meant => Some(MAY_STAY_LOCKED),
        _ => None,
    }
}

/// Looks without taking the line, which the daemon may hold.
fn strike(ctx: &Context) -> Checked {
    let strike = &ctx.config.strike;
    let line = strike.line.as_ref().map(ToString::to_string).unwrap_or_default();
    match strike.kind {
        StrikeKind::Recording => {
            let recording = crate::sim::strike::RecordingStrike::new(Arc::new(BootClock));
            Ok(format!("{}; strike.kind says what drives the relay", recording.describe()))
        }
        StrikeKind::Gpiochip => check_line(&strike.chip, strike.line.as_ref()),
        StrikeKind::RaspberryPi => registers(&PI_REGISTERS).map(|found| format!("{found}, pin {line}")),
    }
}

/// The first of these that can be written: which one rppal takes depends on the Raspberry Pi.
fn registers(places: &[&'static str]) -> Result<&'static str, String> {
    let mut why = String::new();
    for place in places {
        match rustix::fs::access(*place, rustix::fs::Access::WRITE_OK) {
            Ok(()) => return Ok(place),
            Err(error) => why.push_str(&format!("{place}: {error}; ")),
        }
    }
    Err(format!("{why}on a Raspberry Pi add the user to group gpio, on another board use kind = \"gpiochip\""))
}

fn check_line(chip: &Path, line: Option<&LineId>) -> Checked {
    let Some(line) = line else { return Err("strike.line is missing".into()) };
    gpio::probe(chip, line)
        .map(|offset| format!("{}, line {offset}", gpio::place(chip).display()))
        .map_err(|error| error.to_string())
}

pub(super) fn inputs(ctx: &Context) -> Checked {
    let inputs = &ctx.config.inputs;
    let button = inputs.exit_button.as_ref().map(|b| ("exit button", b.chip.as_ref(), &b.line));
    let contact = inputs.door_contact.as_ref().map(|c| ("door contact", c.chip.as_ref(), &c.line));
    let mut says = Vec::new();
    for (what, chip, line) in [button, contact].into_iter().flatten() {
        let line = check_line(chip.unwrap_or(&inputs.chip), Some(line)).map_err(|why| format!("{what}: {why}"))?;
        says.push(format!("{what} on {line}"));
    }
    if says.is_empty() {
        says.push("none: no exit button, and open doors go unnoticed".into());
    }
    Ok(says.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fail_safe_lock_on_a_line_that_keeps_its_level_stays_locked_and_may_on_one_that_nobody_knows() {
        let strike = |fail| StrikeConfig { kind: StrikeKind::Gpiochip, fail, ..StrikeConfig::default() };
        let safe = strike(Fail::Safe);
        let of_safe = [Some(true), None, Some(false)].map(|keeps| stays_locked(&safe, keeps));
        assert_eq!(of_safe, [Some(STAYS_LOCKED), Some(MAY_STAY_LOCKED), None]);
        assert!(MAY_STAY_LOCKED.contains("not known; try `systemctl stop"));
        for other in [strike(Fail::Secure), StrikeConfig { kind: StrikeKind::Recording, ..safe }] {
            assert_eq!([Some(true), None].map(|keeps| stays_locked(&other, keeps)), [None; 2]);
        }
    }

    #[test]
    fn either_of_a_raspberry_pis_registers_will_do_and_none_is_told_with_both() {
        assert_eq!(registers(&["/dev/nowhere0", "/dev/null"]), Ok("/dev/null"));
        assert_eq!(registers(&["/dev/null", "/dev/nowhere0"]), Ok("/dev/null"));
        let why = registers(&["/dev/nowhere", "/dev/nowhere0"]).unwrap_err();
        assert!(
            why.starts_with("/dev/nowhere: ") && why.contains("; /dev/nowhere0: ") && why.contains("gpiochip"),
            "{why}"
        );
    }
}
