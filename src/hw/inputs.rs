//! Exit button and door contact on GPIO lines.
//!
//! Levels are told, not edges: an edge only wakes the reader, which then reads the line again, and a wait that ends
//! without an edge reads it too. So an edge that was lost can't leave a door thought closed. A line without an interrupt
//! tells of no edge, and is read often.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use gpiocdev::line::{Bias, EdgeDetection, Value};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use crate::hw::gpio::{self, GpioError, Level, LineId};
use crate::ports::{Clock, Input, Inputs};
use crate::time::{Duration, Instant};

/// `[inputs]` of the configuration; each wire may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputsConfig {
    /// The chip's device, unless a line names another.
    pub chip: PathBuf,
    /// A level counts once it has held this long. Contacts bounce for 1 to 10 ms.
    pub debounce_ms: u16,
    pub exit_button: Option<ExitButtonConfig>,
    pub door_contact: Option<DoorContactConfig>,
}

impl Default for InputsConfig {
    fn default() -> Self {
        Self { chip: gpio::default_chip(), debounce_ms: 20, exit_button: None, door_contact: None }
    }
}

/// The button that lets people out: by default one that pulls its line to ground.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitButtonConfig {
    pub line: LineId,
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The level while it is pressed.
    #[serde(default = "low")]
    pub pressed: Level,
    #[serde(default)]
    pub bias: BiasConfig,
}

/// The contact that knows whether the door is open: by default a reed switch to ground that a closed door closes, so
/// that a cut wire reads as an open door.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorContactConfig {
    pub line: LineId,
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The level while the door is open.
    #[serde(default = "high")]
    pub open: Level,
    #[serde(default)]
    pub bias: BiasConfig,
}

fn low() -> Level {
    Level::Low
}
fn high() -> Level {
    Level::High
}

/// The chip's own resistor on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BiasConfig {
    #[default]
    PullUp,
    PullDown,
    /// None: there is one on the board.
    Off,
    /// As the kernel has it: for chips that refuse to set one.
    AsIs,
}

/// Most edges that are read off one line in one go; the level is read after them, so the rest do no harm.
const MAX_EDGES: usize = 64;

/// Between two looks at a line that tells of no edge: half of the default debounce, and a press lasts longer.
const LOOK: Duration = Duration::from_millis(10);

/// How long a line is given to come to rest, at least, once its resistor is switched on.
const MIN_SETTLING: Duration = Duration::from_millis(20);

/// A wire as it is configured.
#[derive(Debug, Clone)]
pub struct WireConfig {
    chip: PathBuf,
    line: LineId,
    bias: BiasConfig,
    active: Level,
    debounce: Duration,
    means: fn(bool) -> Input,
}

impl InputsConfig {
    /// The wires that there are, by name.
    pub fn wires(&self) -> impl Iterator<Item = (&'static str, WireConfig)> {
        let wire = |chip: &Option<PathBuf>, line: &LineId, bias, active, means| WireConfig {
            chip: chip.as_ref().unwrap_or(&self.chip).clone(),
            line: line.clone(),
            bias,
            active,
            debounce: Duration::from_millis(self.debounce_ms.into()),
            means,
        };
        let button = self.exit_button.as_ref().map(|button| {
            ("exit button", wire(&button.chip, &button.line, button.bias, button.pressed, Input::ExitButton))
        });
        let contact = self.door_contact.as_ref().map(|contact| {
            ("door contact", wire(&contact.chip, &contact.line, contact.bias, contact.open, Input::DoorContact))
        });
        button.into_iter().chain(contact)
    }
}

/// What the kernel is asked to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// To tell of its edges once they have settled.
    Debounced,
    /// To tell of its edges.
    Edges,
    /// To read it when it is asked.
    Level,
}

/// One of the door's own wires, and what was last told of it.
pub struct GpioInput {
    request: gpiocdev::Request,
    offset: u32,
    has_edges: bool,
    active: Level,
    means: fn(bool) -> Input,
    told: Option<bool>,
    /// Where the kernel does not debounce.
    debounce: Option<Debounce>,
    clock: Arc<dyn Clock>,
}

impl GpioInput {
    /// Takes the line.
    ///
    /// # Errors
    /// [`GpioError`]: no such chip or line, no permission, in use and by whom.
    pub fn open(wire: &WireConfig, clock: Arc<dyn Clock>) -> Result<Self, GpioError> {
        let WireConfig { chip, line, bias, active, debounce: period, means } = wire;
        let request = |ask: Ask| {
            gpio::request(chip, line, |builder| {
                builder.as_input();
                if ask != Ask::Level {
                    builder.with_edge_detection(EdgeDetection::BothEdges);
                }
                match bias {
                    BiasConfig::PullUp => builder.with_bias(Bias::PullUp),
                    BiasConfig::PullDown => builder.with_bias(Bias::PullDown),
                    BiasConfig::Off => builder.with_bias(Bias::Disabled),
                    BiasConfig::AsIs => builder.with_bias(None),
                };
                if ask == Ask::Debounced {
                    builder.with_debounce_period(*period);
                }
            })
        };
        let anew = || granted(wire, &request);
        let ((request, offset), ask) = settled(clock.as_ref(), *period, || request(Ask::Level), anew)?;
        let debounce = (ask != Ask::Debounced && !period.is_zero()).then(|| Debounce::new(*period));
        let has_edges = ask != Ask::Level;
        Ok(Self { request, offset, has_edges, active: *active, means: *means, told: None, debounce, clock })
    }

    /// Sleeps until an edge or until `timeout` has passed.
    fn sleep(&self, timeout: Duration) -> Result<(), String> {
        if !self.has_edges {
            self.clock.pause(timeout);
            return Ok(());
        }
        let mut edge = [PollFd::from_borrowed_fd(self.request.as_fd(), PollFlags::IN)];
        let limit = Timespec::try_from(timeout).map_err(|e| format!("a timeout of {timeout:?}: {e}"))?;
        match poll(&mut edge, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(format!("waiting for an edge: {e}")),
        }
    }

    /// The level, where it differs from what was told.
    fn change(&mut self) -> Result<Option<Input>, String> {
        let fail = |e: gpiocdev::Error| format!("line {} of {}: {e}", self.offset, self.request.chip_path().display());
        // Kernels before 5.10 say of a line that tells of none that there always is one.
        let edges = if self.has_edges { MAX_EDGES } else { 0 };
        for _ in 0..edges {
            if !self.request.has_edge_event().map_err(fail)? {
                break;
            }
            let _the_level_is_read_below = self.request.read_edge_event().map_err(fail)?;
            if let Some(debounce) = &mut self.debounce {
                debounce.disturb();
            }
        }
        let active = level(self.request.value(self.offset).map_err(fail)?) == self.active;
        let settled = match &mut self.debounce {
            None => Some(active),
            Some(debounce) => debounce.sample(self.clock.now().mono, active),
        };
        match settled {
            Some(level) if self.told != Some(level) => {
                self.told = Some(level);
                Ok(Some((self.means)(level)))
            }
            _ => Ok(None),
        }
    }
}

impl Inputs for GpioInput {
    fn wait(&mut self, timeout: Duration) -> Result<Option<Input>, String> {
        if let Some(input) = self.change()? {
            return Ok(Some(input));
        }
        let end = self.clock.now().mono + timeout;
        loop {
            let now = self.clock.now().mono;
            let left = end.since(now);
            // A level that is still settling ends the sleep when it has settled.
            let settles = self.debounce.as_ref().and_then(Debounce::settles_at);
            self.sleep(nap(left, settles.map(|at| at.since(now)), self.has_edges))?;
            if let Some(input) = self.change()? {
                return Ok(Some(input));
            }
            if self.clock.now().mono >= end {
                return Ok(None);
            }
        }
    }
}

/// The request is made active-high whatever the wire is, so that the configuration alone says what a level means.
fn level(value: Value) -> Level {
    match value {
        Value::Active => Level::High,
        Value::Inactive => Level::Low,
    }
}

/// How much of the time that is left can be slept.
fn nap(left: Duration, settles: Option<Duration>, has_edges: bool) -> Duration {
    let longest = if has_edges { left } else { left.min(LOOK) };
    settles.map_or(longest, |settles| longest.min(settles))
}

/// Asks the kernel for as much as it does with the line, and says what that is. What it doesn't is ours to do.
fn granted<R>(wire: &WireConfig, request: impl Fn(Ask) -> Result<R, GpioError>) -> Result<(R, Ask), GpioError> {
    let mut ask = if wire.debounce.is_zero() { Ask::Edges } else { Ask::Debounced };
    loop {
        let (less, why) = match (ask, request(ask)) {
            (_, Ok(got)) => return Ok((got, ask)),
            (Ask::Debounced, Err(GpioError::Other { reason, .. })) => {
                (Ask::Edges, format!("the kernel does not debounce ({reason}), so we do"))
            }
            (Ask::Debounced | Ask::Edges, Err(GpioError::NoEdges { .. })) => {
                (Ask::Level, format!("it has no interrupt, so we read it every {} ms", LOOK.as_millis()))
            }
            (_, Err(error)) => return Err(error),
        };
        log::info!("line {} of {}: {why}", wire.line, wire.chip.display());
        ask = less;
    }
}

/// Asks for a line, lets it come to rest, and asks anew, for what is told.
///
/// The first request switches the line's resistor on, and the kernel's debounce takes the level of that very moment for
/// the one that counts. On a line that was pulled the other way until then it is the level of a wire that isn't charged
/// yet: a press that nobody made. It stays so until the next edge where the wire is charged before edges are heard.
fn settled<L, R, E>(
    clock: &dyn Clock,
    debounce: Duration,
    first: impl FnOnce() -> Result<L, E>,
    anew: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    let line = first()?;
    // Whoever asks for a longer debounce has a line that takes longer to rest.
    clock.pause(debounce.saturating_mul(2).max(MIN_SETTLING));
    // Nobody can ask for a line that is held. What it was charged with outlasts the moment in between.
    drop(line);
    anew()
}

/// Tells a level once it has held for a period; the first is taken as it is.
#[derive(Debug, Clone)]
pub struct Debounce {
    period: Duration,
    stable: Option<bool>,
    candidate: Option<(bool, Instant)>,
}

impl Debounce {
    pub fn new(period: Duration) -> Self {
        Self { period, stable: None, candidate: None }
    }

    /// Takes what the line shows now and gives the level that counts.
    pub fn sample(&mut self, now: Instant, level: bool) -> Option<bool> {
        match self.stable {
            None => self.stable = Some(level),
            Some(stable) if stable == level => self.candidate = None,
            Some(_) => match self.candidate {
                Some((candidate, since)) if candidate == level => {
                    if now.since(since) >= self.period {
                        (self.stable, self.candidate) = (Some(level), None);
                    }
                }
                _ => self.candidate = Some((level, now)),
            },
        }
        self.stable
    }

    /// The line moved since the last sample, whatever it shows now: a level that was settling starts anew.
    pub fn disturb(&mut self) {
        self.candidate = None;
    }

    /// When a level that is still settling may count; `None` where none is.
    pub fn settles_at(&self) -> Option<Instant> {
        self.candidate.map(|(_, since)| since + self.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::clock::BootClock;
    use crate::sim::clock::SimClock;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    /// A button's line, pulled down until its pull-up is switched on and has charged the wire 5 ms later.
    struct Wire {
        clock: SimClock,
        charged_at: Cell<Option<Instant>>,
        pressed_at: Option<Instant>,
        held: Rc<()>,
    }

    /// A request, and the level that the kernel took in it: `true` while the line is low.
    struct Taken(bool, Rc<()>);

    impl Wire {
        fn new(pressed_at: Option<Instant>) -> Self {
            Self { clock: SimClock::default(), charged_at: Cell::new(None), pressed_at, held: Rc::default() }
        }

        fn request(&self) -> Result<Taken, &'static str> {
            if Rc::strong_count(&self.held) > 1 {
                return Err("busy");
            }
            let now = self.clock.now().mono;
            let charged_at = self.charged_at.get().unwrap_or(now + Duration::from_millis(5));
            self.charged_at.set(Some(charged_at));
            Ok(Taken(now < charged_at || self.pressed_at.is_some_and(|at| now >= at), Rc::clone(&self.held)))
        }

        fn opens(&self, debounce: Duration) -> (bool, Duration) {
            let began = self.clock.now().mono;
            let Taken(level, _held) = settled(&self.clock, debounce, || self.request(), || self.request()).unwrap();
            (level, self.clock.now().mono.since(began))
        }
    }

    #[test]
    fn a_line_that_is_charged_while_it_settles_was_never_pressed_and_a_button_that_is_held_was() {
        let ms = Duration::from_millis;
        for (debounce, settling) in [(0, 20), (1, 20), (20, 40), (1000, 2000)] {
            let untouched = Wire::new(None);
            assert!(untouched.request().unwrap().0, "the level of the first moment is wrong");
            assert_eq!(Wire::new(None).opens(ms(debounce)), (false, ms(settling)));
            assert_eq!(Wire::new(Some(Instant::BOOT)).opens(ms(debounce)), (true, ms(settling)));
        }
        let pressed_meanwhile = Wire::new(Some(SimClock::default().now().mono + ms(30)));
        assert_eq!(pressed_meanwhile.opens(ms(20)), (true, ms(40)));
    }

    /// What a chip grants that refuses in this way, with all that it was asked for.
    fn asked(debounce_ms: u64, refuses: impl Fn(Ask) -> Option<GpioError>) -> (Result<Ask, GpioError>, Vec<Ask>) {
        let config: InputsConfig = toml::from_str("chip = \"/dev/gpiochip2\"\nexit_button = { line = 3 }").unwrap();
        let (_, wire) = config.wires().next().unwrap();
        let wire = WireConfig { debounce: Duration::from_millis(debounce_ms), ..wire };
        let asked = RefCell::new(Vec::new());
        let got = granted(&wire, |ask| {
            asked.borrow_mut().push(ask);
            refuses(ask).map_or(Ok(()), Err)
        });
        (got.map(|((), ask)| ask), asked.into_inner())
    }

    #[test]
    fn a_line_without_an_interrupt_is_read_and_one_that_the_kernel_does_not_debounce_tells_of_its_edges() {
        let (chip, line) = (PathBuf::from("/dev/gpiochip2"), LineId::Offset(3));
        let no_edges = || GpioError::NoEdges { chip: chip.clone(), line: line.clone() };
        let other = || GpioError::Other { chip: chip.clone(), line: line.clone(), reason: "not supported".to_owned() };
        let expander = |ask: Ask| (ask != Ask::Level).then(no_edges);
        assert_eq!(asked(20, expander), (Ok(Ask::Level), vec![Ask::Debounced, Ask::Level]));
        assert_eq!(asked(0, expander), (Ok(Ask::Level), vec![Ask::Edges, Ask::Level]));
        let old = |ask: Ask| (ask == Ask::Debounced).then(other);
        assert_eq!(asked(20, old), (Ok(Ask::Edges), vec![Ask::Debounced, Ask::Edges]));
        assert_eq!(asked(0, old), (Ok(Ask::Edges), vec![Ask::Edges]));
        // Kernels before 5.10 refuse to debounce any line, and then the edges of this one.
        let old_expander = |ask: Ask| old(ask).or_else(|| expander(ask));
        assert_eq!(asked(20, old_expander).1, [Ask::Debounced, Ask::Edges, Ask::Level]);
        let gone = |_: Ask| Some(GpioError::NoChip { chip: chip.clone() });
        assert_eq!(asked(20, gone), (Err(GpioError::NoChip { chip: chip.clone() }), vec![Ask::Debounced]));
    }

    #[test]
    fn a_line_that_tells_of_no_edge_is_read_every_ten_milliseconds() {
        let ms = Duration::from_millis;
        assert_eq!([nap(ms(250), None, true), nap(ms(250), Some(ms(4)), true)], [ms(250), ms(4)]);
        assert_eq!([nap(ms(250), None, false), nap(ms(250), Some(ms(20)), false)], [ms(10), ms(10)]);
        assert_eq!([nap(ms(250), Some(ms(4)), false), nap(ms(3), None, false)], [ms(4), ms(3)]);
    }

    #[test]
    fn a_bouncing_contact_counts_once_it_rests() {
        let ms = Instant::from_millis;
        let mut debounce = Debounce::new(Duration::from_millis(20));
        assert_eq!(debounce.sample(ms(0), false), Some(false), "the first level counts at once");
        for (at, level) in [(10, true), (12, false), (14, true), (33, true)] {
            assert_eq!(debounce.sample(ms(at), level), Some(false), "at {at} ms");
        }
        assert_eq!(debounce.settles_at(), Some(ms(34)));
        assert_eq!(debounce.sample(ms(34), true), Some(true));
        assert_eq!(debounce.settles_at(), None);
    }

    #[test]
    fn a_spike_shorter_than_the_period_never_counts() {
        let ms = Instant::from_millis;
        let mut debounce = Debounce::new(Duration::from_millis(20));
        debounce.sample(ms(0), false);
        debounce.sample(ms(5), true);
        assert_eq!(debounce.sample(ms(30), false), Some(false));
        assert_eq!(debounce.sample(ms(60), true), Some(false), "a new spike starts anew");
    }

    #[test]
    fn an_edge_between_two_equal_samples_starts_the_period_anew() {
        let ms = Instant::from_millis;
        let mut debounce = Debounce::new(Duration::from_millis(20));
        debounce.sample(ms(0), false);
        debounce.sample(ms(5), true);
        debounce.disturb();
        assert_eq!(debounce.sample(ms(26), true), Some(false));
        assert_eq!(debounce.sample(ms(46), true), Some(true));
    }

    #[test]
    fn the_defaults_are_a_button_to_ground_and_a_contact_that_a_cut_wire_opens() {
        let config: InputsConfig =
            toml::from_str("exit_button = { line = 27 }\ndoor_contact = { line = \"GPIO22\" }").unwrap();
        let (button, contact) = (config.exit_button.unwrap(), config.door_contact.unwrap());
        assert_eq!((button.pressed, button.bias), (Level::Low, BiasConfig::PullUp));
        assert_eq!((contact.open, contact.bias), (Level::High, BiasConfig::PullUp));
        assert_eq!(config.debounce_ms, 20);
        assert!(toml::from_str::<InputsConfig>("exit_button = { line = 27, presed = \"low\" }").is_err());
    }

    #[test]
    fn each_wire_has_its_own_line_level_and_resistor_and_is_told_as_what_it_is() {
        let config: InputsConfig = toml::from_str(
            "debounce_ms = 35\nexit_button = { line = 27, pressed = \"high\", bias = \"pull-down\" }\n\
             door_contact = { line = \"GPIO22\", open = \"low\", bias = \"off\" }",
        )
        .unwrap();
        let wires: Vec<_> = config
            .wires()
            .map(|(_, WireConfig { line, active, bias, debounce, means, .. })| {
                (line, active, bias, debounce.as_millis(), [true, false].map(means))
            })
            .collect();
        let button = [true, false].map(Input::ExitButton);
        let contact = [true, false].map(Input::DoorContact);
        let expected = [
            (LineId::Offset(27), Level::High, BiasConfig::PullDown, 35, button),
            (LineId::Name("GPIO22".into()), Level::Low, BiasConfig::Off, 35, contact),
        ];
        assert_eq!(wires, expected);
        assert_eq!([Value::Inactive, Value::Active].map(level), [Level::Low, Level::High]);
    }

    #[test]
    fn each_wire_that_is_configured_is_opened_by_itself_and_a_missing_chip_is_named() {
        assert_eq!(InputsConfig::default().wires().count(), 0);
        let config: InputsConfig = toml::from_str(
            "chip = \"/dev/gpiochip987\"\nexit_button = { line = 27 }\n\
             door_contact = { line = 22, chip = \"/dev/gpiochip986\" }",
        )
        .unwrap();
        let errors: Vec<_> = config
            .wires()
            .map(|(name, wire)| {
                (name, GpioInput::open(&wire, Arc::new(BootClock)).err().map(|error| error.to_string()).unwrap())
            })
            .collect();
        assert_eq!(errors.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["exit button", "door contact"]);
        assert!(errors[0].1.contains("/dev/gpiochip987") && errors[0].1.contains("gpiodetect"), "{errors:?}");
        assert!(errors[1].1.contains("/dev/gpiochip986"), "{errors:?}");
    }
}
