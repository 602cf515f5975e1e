//! The wires of the door: strike, exit button and door contact, looked at without taking any of them.

use std::path::Path;
use std::sync::Arc;

use super::{Checked, Finding, Level, Visit};
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

impl Visit<'_> {
    pub(super) fn strike(&mut self) -> Result<(), Failure> {
        let config = &self.ctx.config.strike;
        let keeps = gpio::keeps_outputs(&config.chip, Path::new("/sys/module"));
        let (level, says) = match strike(self.ctx) {
            Ok(says) if stays_locked(config, keeps) => (Level::Complaint, format!("{says}; {STAYS_LOCKED}")),
            Ok(says) => (Level::Ok, says),
            Err(why) => (Level::Wrong, why),
        };
        self.show(Finding { check: "strike", level, says })
    }
}

/// Whether a daemon that is gone leaves the door locked though nothing but power holds it.
fn stays_locked(strike: &StrikeConfig, keeps_outputs: bool) -> bool {
    strike.kind == StrikeKind::Gpiochip && strike.fail == Fail::Safe && keeps_outputs
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
        StrikeKind::Gpiochip => look_at_line(&strike.chip, strike.line.as_ref()),
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

fn look_at_line(chip: &Path, line: Option<&LineId>) -> Checked {
    let Some(line) = line else { return Err("strike.line is missing".into()) };
    gpio::look(chip, line).map(|offset| format!("{}, line {offset}", chip.display())).map_err(|error| error.to_string())
}

pub(super) fn inputs(ctx: &Context) -> Checked {
    let inputs = &ctx.config.inputs;
    let button = inputs.exit_button.as_ref().map(|b| ("exit button", b.chip.as_ref(), &b.line));
    let contact = inputs.door_contact.as_ref().map(|c| ("door contact", c.chip.as_ref(), &c.line));
    let mut says = Vec::new();
    for (what, chip, line) in [button, contact].into_iter().flatten() {
        let line = look_at_line(chip.unwrap_or(&inputs.chip), Some(line)).map_err(|why| format!("{what}: {why}"))?;
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
    fn a_fail_safe_lock_on_a_line_that_keeps_its_level_stays_locked() {
        let strike = |fail| StrikeConfig { kind: StrikeKind::Gpiochip, fail, ..StrikeConfig::default() };
        assert!(stays_locked(&strike(Fail::Safe), true) && !stays_locked(&strike(Fail::Safe), false));
        assert!(!stays_locked(&strike(Fail::Secure), true));
        assert!(!stays_locked(&StrikeConfig { kind: StrikeKind::Recording, ..strike(Fail::Safe) }, true));
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
