//! Exit button and door contact on GPIO lines.
//!
//! Levels are told, not edges: an edge only wakes the reader, which then reads the line again, and a wait that ends
//! without an edge reads it too. So an edge that was lost can't leave a door thought closed. A line without an
//! interrupt tells of no edge, and is read often.

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
        let anew = || granted(wire, request);
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
mod tests;
