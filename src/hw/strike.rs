//! The wire that opens the door: a line of the kernel's GPIO chip interface, or a pin of a Raspberry Pi.
//!
//! The line carries the level for *locked* from the very request that makes it an output, so there is no glitch at the
//! start, and again whenever a strike is dropped, which includes a panic that unwinds. What happens to a line once no
//! program holds it is up to its driver: wire a pull resistor, or a relay board that rests, so that an undriven line
//! means what an unpowered board means.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::Deserialize;

use crate::hw::gpio::{self, GpioError, Level, LineId};
use crate::ports::{DeviceError, Strike};

/// `[strike]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StrikeConfig {
    /// What drives the relay; without it nothing is driven.
    pub kind: StrikeKind,
    /// `gpiochip`: the chip's device.
    pub chip: PathBuf,
    /// `gpiochip`: the line's offset or name. `raspberry-pi`: the BCM number of the pin. `recording` needs none.
    pub line: Option<LineId>,
    /// The relay draws when the line is low. Most relay boards with an optocoupler are so.
    pub active_low: bool,
    /// What the lock does without power.
    pub fail: Fail,
}

impl Default for StrikeConfig {
    fn default() -> Self {
        Self {
            kind: StrikeKind::Recording,
            chip: gpio::default_chip(),
            line: None,
            active_low: false,
            fail: Fail::Secure,
        }
    }
}

/// Which hardware the relay hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrikeKind {
    /// The kernel's GPIO character device: any board.
    Gpiochip,
    /// The registers of a Raspberry Pi, through rppal.
    RaspberryPi,
    /// No hardware: what would be driven is recorded.
    Recording,
}

/// What the lock does when it loses its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fail {
    /// It stays locked: a strike, which power opens.
    #[default]
    Secure,
    /// It opens: a magnet, which power holds. Which of the two a door may have is for whoever answers for fire
    /// protection to say; either way people get out by a handle or a break-glass that works without this board.
    Safe,
}

/// What the door is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Locked,
    Released,
}

/// The level on the line for a state of the door.
///
/// A fail-secure strike draws current to release, a fail-safe magnet to hold; an active-low relay draws on a low line.
pub const fn level(fail: Fail, active_low: bool, door: Door) -> Level {
    let energised = match (fail, door) {
        (Fail::Secure, Door::Locked) | (Fail::Safe, Door::Released) => false,
        (Fail::Secure, Door::Released) | (Fail::Safe, Door::Locked) => true,
    };
    if energised == active_low { Level::Low } else { Level::High }
}

/// Why there is no strike: which line, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct OpenError {
    line: String,
    /// As the system's calls have it; of a configuration that makes no sense `InvalidInput`.
    pub kind: ErrorKind,
    reason: String,
}

/// A strike on real hardware, or `None` where the configuration asks for a recording one, which belongs to `sim`.
///
/// # Errors
/// [`OpenError`] with the line and what to do.
pub fn open(config: &StrikeConfig) -> Result<Option<Box<dyn Strike>>, OpenError> {
    Ok(match config.kind {
        StrikeKind::Gpiochip => Some(Box::new(Gpiochip::open(config)?)),
        StrikeKind::RaspberryPi => Some(Box::new(RaspberryPi::open(config)?)),
        StrikeKind::Recording => None,
    })
}

/// One output that can be set.
pub trait Output: Send {
    /// # Errors
    /// Why the line could not be driven.
    fn drive(&mut self, level: Level) -> Result<(), String>;

    /// Gets hold of the line anew, which carries this level from the first. Where a line can't be lost it is only
    /// driven.
    ///
    /// # Errors
    /// Why it can't be had.
    fn take_anew(&mut self, level: Level) -> Result<(), String> {
        self.drive(level)
    }
}

/// A strike on an [`Output`]: knows which level means what, and locks on every way out.
#[derive(Debug)]
pub struct Wired<O: Output> {
    output: O,
    name: String,
    fail: Fail,
    active_low: bool,
}

impl<O: Output> Wired<O> {
    /// `output` already carries the level for locked.
    fn new(output: O, name: String, config: &StrikeConfig) -> Self {
        Self { output, name, fail: config.fail, active_low: config.active_low }
    }

    fn level(&self, door: Door) -> Level {
        level(self.fail, self.active_low, door)
    }

    fn explain(&self, reason: String) -> DeviceError {
        DeviceError { device: self.name.clone(), reason }
    }
}

impl<O: Output> Strike for Wired<O> {
    fn release(&mut self) -> Result<(), DeviceError> {
        let (locked, released) = (self.level(Door::Locked), self.level(Door::Released));
        // Who pressed the button while the chip was away shouldn't have to press twice.
        let obeyed = self.output.drive(released).or_else(|first| {
            self.output.take_anew(locked).map_err(|_| first)?;
            self.output.drive(released)
        });
        if obeyed.is_err() {
            // Whatever the failed attempt left on the wire, the caller believes the door locked.
            let _the_first_error_counts = self.secure();
        }
        obeyed.map_err(|reason| self.explain(reason))
    }

    fn secure(&mut self) -> Result<(), DeviceError> {
        let locked = self.level(Door::Locked);
        // A chip that went away and came back is another one to the kernel: what we hold of it stays dead.
        let secured = self.output.drive(locked).or_else(|_| self.output.take_anew(locked));
        secured.map_err(|reason| self.explain(reason))
    }

    fn describe(&self) -> String {
        let locked = self.level(Door::Locked);
        let kind = match self.fail {
            Fail::Secure => "fail-secure",
            Fail::Safe => "fail-safe",
        };
        format!("{}, {kind}, locked is {locked}", self.name)
    }
}

impl<O: Output> Drop for Wired<O> {
    fn drop(&mut self) {
        if let Err(error) = self.secure() {
            log::error!("the strike could not be locked on the way out: {error}");
        }
    }
}

/// A strike on a line of the kernel's GPIO character device.
pub type Gpiochip = Wired<ChipLine>;

/// An output line that the kernel has given to us.
#[derive(Debug)]
pub struct ChipLine {
    chip: PathBuf,
    line: LineId,
    /// With its offset; `None` where it could not be had anew.
    held: Option<(gpiocdev::Request, u32)>,
}

impl ChipLine {
    /// Takes the line and drives it in one request.
    fn take(&mut self, level: Level) -> Result<(), GpioError> {
        // Let go of first: the kernel gives a line to one at a time, even to ourselves.
        self.held = None;
        self.held = Some(gpio::request(&self.chip, &self.line, |builder| {
            builder.as_output(value(level));
        })?);
        Ok(())
    }
}

impl Gpiochip {
    /// Takes the line and drives it to the level for locked in one request.
    ///
    /// # Errors
    /// [`OpenError`]: no such chip or line, no permission, in use and by whom.
    pub fn open(config: &StrikeConfig) -> Result<Self, OpenError> {
        let name = format!("{} line {}", gpio::place(&config.chip).display(), shown(config.line.as_ref()));
        let fail = |kind, reason| OpenError { line: name.clone(), kind, reason };
        let line = config.line.as_ref().ok_or_else(|| fail(ErrorKind::InvalidInput, NO_LINE.to_owned()))?;
        let locked = level(config.fail, config.active_low, Door::Locked);
        let mut output = ChipLine { chip: config.chip.clone(), line: line.clone(), held: None };
        output.take(locked).map_err(|error| fail(error.kind(), error.to_string()))?;
        Ok(Self::new(output, name, config))
    }
}

impl Output for ChipLine {
    fn drive(&mut self, level: Level) -> Result<(), String> {
        let (request, offset) = self.held.as_ref().ok_or("the line was lost")?;
        request.set_value(*offset, value(level)).map_err(|e| e.to_string())
    }

    fn take_anew(&mut self, level: Level) -> Result<(), String> {
        self.take(level).map_err(|error| error.to_string())
    }
}

/// The request is made active-high whatever the relay is, so that [`level`] alone decides.
fn value(level: Level) -> gpiocdev::line::Value {
    match level {
        Level::Low => gpiocdev::line::Value::Inactive,
        Level::High => gpiocdev::line::Value::Active,
    }
}

/// A strike on a pin of a Raspberry Pi, by its BCM number.
pub type RaspberryPi = Wired<PiPin>;

/// An output pin. rppal sets the output latch before it makes the pin an output, so the pin never shows another level,
/// and it is told to leave the pin as it is when it is dropped: falling back to an input would let the wire float.
#[derive(Debug)]
pub struct PiPin(rppal::gpio::OutputPin);

impl RaspberryPi {
    /// Takes the pin and drives it to the level for locked.
    ///
    /// # Errors
    /// [`OpenError`]: not a Raspberry Pi, no such pin, no permission.
    pub fn open(config: &StrikeConfig) -> Result<Self, OpenError> {
        let name = format!("Raspberry Pi BCM pin {}", shown(config.line.as_ref()));
        let fail = |(kind, reason)| OpenError { line: name.clone(), kind, reason };
        let nonsense = |reason: &str| fail((ErrorKind::InvalidInput, reason.to_owned()));
        let number = match config.line {
            Some(LineId::Offset(n)) => {
                u8::try_from(n).map_err(|_| fail(pi_trouble(&rppal::gpio::Error::PinNotAvailable(u8::MAX))))?
            }
            Some(LineId::Name(_)) => {
                return Err(nonsense("a Raspberry Pi's pin is its BCM number, such as `line = 17`"));
            }
            None => return Err(nonsense(NO_LINE)),
        };
        let pin = rppal::gpio::Gpio::new().and_then(|gpio| gpio.get(number)).map_err(|e| fail(pi_trouble(&e)))?;
        let mut output = match level(config.fail, config.active_low, Door::Locked) {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        output.set_reset_on_drop(false);
        Ok(Self::new(PiPin(output), name, config))
    }
}

impl Output for PiPin {
    fn drive(&mut self, level: Level) -> Result<(), String> {
        match level {
            Level::Low => self.0.set_low(),
            Level::High => self.0.set_high(),
        }
        Ok(())
    }
}

const NO_LINE: &str =
    "the configuration names no line: add `line = 17` (its offset) or `line = \"GPIO17\"` to [strike]";

fn shown(line: Option<&LineId>) -> String {
    line.map_or_else(|| "?".to_owned(), LineId::to_string)
}

/// What an error of rppal's is, and in a sentence what to do.
fn pi_trouble(error: &rppal::gpio::Error) -> (ErrorKind, String) {
    use rppal::gpio::Error;
    match error {
        Error::UnknownModel => {
            (ErrorKind::NotFound, "this is no Raspberry Pi that rppal knows: use `kind = \"gpiochip\"`".to_owned())
        }
        Error::PinNotAvailable(_) => {
            (ErrorKind::NotFound, "there is no such pin: BCM numbers of the header are 2 to 27".to_owned())
        }
        Error::PermissionDenied(path) => (
            ErrorKind::PermissionDenied,
            format!("no permission on {path}: add the user to group gpio (a service: SupplementaryGroups=gpio)"),
        ),
        Error::PinUsed(_) => (ErrorKind::ResourceBusy, error.to_string()),
        other => (ErrorKind::Other, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A wire that remembers, and breaks where it is told to.
    #[derive(Clone, Default)]
    struct Wire {
        levels: Arc<Mutex<Vec<Level>>>,
        breaks_on: Option<Level>,
    }

    impl Output for Wire {
        fn drive(&mut self, level: Level) -> Result<(), String> {
            if self.breaks_on == Some(level) {
                return Err("wire cut".to_owned());
            }
            self.levels.lock().unwrap().push(level);
            Ok(())
        }
    }

    fn config(text: &str) -> StrikeConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_lock_and_relay_has_its_levels() {
        use Door::{Locked, Released};
        use Fail::{Safe, Secure};
        use Level::{High, Low};
        for (fail, active_low, door, expected) in [
            (Secure, false, Locked, Low),
            (Secure, false, Released, High),
            (Secure, true, Locked, High),
            (Secure, true, Released, Low),
            (Safe, false, Locked, High),
            (Safe, false, Released, Low),
            (Safe, true, Locked, Low),
            (Safe, true, Released, High),
        ] {
            assert_eq!(level(fail, active_low, door), expected, "{fail:?} active_low={active_low} {door:?}");
        }
    }

    #[test]
    fn a_chips_line_is_driven_to_the_level_that_is_asked_for() {
        use gpiocdev::line::Value;
        assert_eq!([Level::Low, Level::High].map(value), [Value::Inactive, Value::Active]);
    }

    #[test]
    fn a_dropped_strike_is_locked() {
        let wire = Wire::default();
        let mut strike = Wired::new(wire.clone(), "wire".into(), &config("kind = \"gpiochip\"\nline = 1"));
        strike.release().unwrap();
        drop(strike);
        assert_eq!(*wire.levels.lock().unwrap(), [Level::High, Level::Low]);
    }

    #[test]
    fn a_panic_while_released_locks() {
        let wire = Wire::default();
        let mut strike = Wired::new(wire.clone(), "wire".into(), &config("kind = \"gpiochip\"\nline = 1"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            strike.release().unwrap();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(wire.levels.lock().unwrap().last(), Some(&Level::Low));
    }

    #[test]
    fn a_release_that_fails_locks_again_and_says_which_line() {
        let wire = Wire { breaks_on: Some(Level::High), ..Wire::default() };
        let mut strike = Wired::new(wire.clone(), "wire".into(), &config("kind = \"gpiochip\"\nline = 1"));
        assert_eq!(strike.release().unwrap_err().to_string(), "wire: wire cut");
        assert_eq!(*wire.levels.lock().unwrap(), [Level::Low, Level::Low], "anew, and at the end");
    }

    /// Dead until it has been taken anew so often.
    struct Unplugged(Wire, u32);

    impl Output for Unplugged {
        fn drive(&mut self, level: Level) -> Result<(), String> {
            if self.1 > 0 { Err("no such device".to_owned()) } else { self.0.drive(level) }
        }

        fn take_anew(&mut self, level: Level) -> Result<(), String> {
            self.1 = self.1.saturating_sub(1);
            self.drive(level)
        }
    }

    #[test]
    fn a_release_on_a_line_whose_chip_went_away_takes_it_anew_and_releases() {
        let wire = Wire::default();
        let mut strike =
            Wired::new(Unplugged(wire.clone(), 1), "wire".into(), &config("kind = \"gpiochip\"\nline = 1"));
        strike.release().unwrap();
        assert_eq!(*wire.levels.lock().unwrap(), [Level::Low, Level::High]);
    }

    #[test]
    fn a_line_whose_chip_went_away_is_taken_anew_and_is_locked_from_the_first() {
        let wire = Wire::default();
        let mut strike =
            Wired::new(Unplugged(wire.clone(), 2), "wire".into(), &config("kind = \"gpiochip\"\nline = 1"));
        assert_eq!(strike.secure().unwrap_err().to_string(), "wire: no such device");
        strike.secure().unwrap();
        strike.release().unwrap();
        assert_eq!(*wire.levels.lock().unwrap(), [Level::Low, Level::High]);
    }

    #[test]
    fn a_strike_says_what_it_is() {
        let fail_safe = config("kind = \"gpiochip\"\nline = 1\nfail = \"safe\"\nactive_low = true");
        let strike = Wired::new(Wire::default(), "wire".into(), &fail_safe);
        assert_eq!(strike.describe(), "wire, fail-safe, locked is low");
    }

    #[test]
    fn configuration_with_an_unknown_key_or_kind_is_refused() {
        assert!(toml::from_str::<StrikeConfig>("kind = \"gpiochip\"\nlines = 1").is_err());
        assert!(toml::from_str::<StrikeConfig>("kind = \"relay\"").is_err());
        assert!(toml::from_str::<StrikeConfig>("kind = \"gpiochip\"\nfail = \"open\"").is_err());
    }

    #[test]
    fn opening_without_hardware_is_a_sentence() {
        let no_line = open(&config("kind = \"gpiochip\"")).err().unwrap();
        assert!(no_line.to_string().contains("names no line"));
        assert_eq!(no_line.kind, ErrorKind::InvalidInput);
        let no_chip = open(&config("kind = \"gpiochip\"\nchip = \"/dev/gpiochip987\"\nline = 1")).err().unwrap();
        assert!(no_chip.to_string().contains("gpiodetect"), "{no_chip}");
        assert_eq!(no_chip.kind, ErrorKind::NotFound);
        let named = open(&config("kind = \"raspberry-pi\"\nline = \"GPIO17\"")).err().unwrap();
        assert!(named.to_string().contains("BCM number"), "{named}");
        assert!(open(&config("kind = \"recording\"")).unwrap().is_none());
    }
}
