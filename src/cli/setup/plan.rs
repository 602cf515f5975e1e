//! What was answered so far, as the configuration that it makes: each answer is read, or refused with what would do.

use std::path::{Path, PathBuf};

use super::found::{Before, Found};
use super::question::{NOBODY, NONE};
use crate::config::{Config, Replay};
use crate::gallery::person::CONSENT_MAX_BYTES;
use crate::hw::camera::CameraConfig;
use crate::hw::gpio::{self, Level, LineId};
use crate::hw::inputs::{BiasConfig, DoorContactConfig, ExitButtonConfig};
use crate::hw::sensors::{Driver, SensorConfig};
use crate::hw::strike::{Fail, StrikeKind};
use crate::person::Name;
use crate::ports::SensorKind;

/// Photographs come from the door's camera.
pub const BY_CAMERA: &str = "camera";
/// Most photographs that are named for the first person.
const MAX_PHOTOS: usize = 32;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The configuration that is there stays as it is.
    pub keeps: bool,
    pub config: Config,
    pub person: Option<Newcomer>,
    /// The lines that are wired, and what to.
    wires: Vec<(PathBuf, u32, &'static str)>,
}

/// The first person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    pub name: Name,
    pub consent: String,
    /// None of them: the camera takes some.
    pub photos: Vec<PathBuf>,
}

type Taken = Result<(), String>;

/// Yes or no, in a few spellings.
fn yes(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" => Ok(true),
        "n" | "no" | "false" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no")),
    }
}

/// Parts of a list, with blanks around them taken off.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// As it stays true whatever directory the daemon starts in.
fn absolute(text: &str) -> Result<PathBuf, String> {
    match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => Err(format!("{text:?} is no absolute path: it begins with /")),
    }
}

impl Plan {
    pub fn wires_strike(&self) -> bool {
        self.config.strike.kind != StrikeKind::Recording
    }

    /// Whether a strike would move on what the camera alone says.
    pub fn has_camera_alone(&self) -> bool {
        self.wires_strike() && self.config.liveness.is_camera_only(self.config.sources())
    }

    /// Whether a face's size is to be held against a distance.
    pub fn measures_distance(&self) -> bool {
        use SensorKind::{Depth, Distance, Thermal};
        self.config.sensors.iter().any(|sensor| matches!(sensor.kind, Distance | Depth | Thermal))
    }

    pub fn take_replace(&mut self, found: &Found, text: &str) -> Taken {
        self.keeps = !yes(text)?;
        match (&found.before, self.keeps) {
            (Before::Configured(config), true) => self.config = (**config).clone(),
            (Before::Wrong(why), true) => return Err(format!("it can't be kept as it is: {why}")),
            _ => {}
        }
        Ok(())
    }

    pub fn take_camera(&mut self, found: &Found, text: &str) -> Taken {
        let path = absolute(text)?;
        if let Some(camera) = found.camera(&path) {
            let picture = camera.picture;
            let usual = CameraConfig { device: path.clone(), ..CameraConfig::default() };
            let (width, height, fps) = (picture.width, picture.height, picture.fps);
            self.config.camera = CameraConfig { width, height, fps, ..usual };
            return Ok(());
        }
        if path.starts_with("/dev") {
            let known: Vec<_> = found.camera_choices().into_iter().map(|choice| choice.answer).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(format!("{text} is no camera that can be used; there are: {known}"));
        }
        if !path.exists() {
            return Err(format!("{text} isn't there: name a camera, or a folder of pictures or a video"));
        }
        self.config.replay = Some(Replay { path, looped: true });
        Ok(())
    }

    pub fn take_strike(&mut self, found: &Found, text: &str) -> Taken {
        let Some((chip, line)) = self.wire(found, text, "the strike")? else { return Ok(()) };
        self.config.strike.kind = StrikeKind::Gpiochip;
        self.config.strike.chip = chip;
        self.config.strike.line = Some(line);
        Ok(())
    }

    pub fn take_active_low(&mut self, _: &Found, text: &str) -> Taken {
        self.config.strike.active_low = yes(text)?;
        Ok(())
    }

    pub fn take_fail(&mut self, _: &Found, text: &str) -> Taken {
        self.config.strike.fail = match text {
            "secure" => Fail::Secure,
            "safe" => Fail::Safe,
            _ => return Err(format!("{text:?} is neither secure nor safe")),
        };
        Ok(())
    }

    pub fn take_button(&mut self, found: &Found, text: &str) -> Taken {
        let wired = self.wire(found, text, "the exit button")?;
        self.config.inputs.exit_button = wired.map(|(chip, line)| ExitButtonConfig {
            line,
            chip: self.other_chip(chip),
            pressed: Level::Low,
            bias: BiasConfig::PullUp,
        });
        Ok(())
    }

    pub fn take_contact(&mut self, found: &Found, text: &str) -> Taken {
        let wired = self.wire(found, text, "the door contact")?;
        self.config.inputs.door_contact = wired.map(|(chip, line)| DoorContactConfig {
            line,
            chip: self.other_chip(chip),
            open: Level::High,
            bias: BiasConfig::PullUp,
        });
        Ok(())
    }

    fn other_chip(&self, chip: PathBuf) -> Option<PathBuf> {
        (chip != self.config.inputs.chip).then_some(chip)
    }

    /// The chip and line that somebody means, not wired to anything else yet.
    fn wire(&mut self, found: &Found, text: &str, what: &'static str) -> Result<Option<(PathBuf, LineId)>, String> {
        if text == NONE {
            return Ok(None);
        }
        let (chip, line, offset) = found.line(text)?;
        let real = gpio::real(&chip);
        if let Some((.., other)) = self.wires.iter().find(|(c, o, _)| *c == real && *o == offset) {
            return Err(format!("{other} hangs on that line already"));
        }
        self.wires.push((real, offset, what));
        Ok(Some((chip, line)))
    }

    pub fn take_sensors(&mut self, _: &Found, text: &str) -> Taken {
        let named = list(text).filter(|part| *part != NONE);
        let sensors = named.map(sensor).collect::<Result<Vec<_>, _>>()?;
        for (i, sensor) in sensors.iter().enumerate() {
            if sensors.iter().take(i).any(|other| other.kind == sensor.kind) {
                let kind = sensor.kind.as_str();
                return Err(format!("two sensors of kind {kind}: a door has one of each"));
            }
        }
        self.config.sensors = sensors;
        Ok(())
    }

    pub fn take_view(&mut self, _: &Found, text: &str) -> Taken {
        let view = text.parse::<f32>().ok().filter(|view| (20.0..=170.0).contains(view));
        self.config.liveness.camera_view_deg = view.ok_or_else(|| format!("{text:?} is no angle from 20 to 170"))?;
        Ok(())
    }

    pub fn take_opens(&mut self, _: &Found, text: &str) -> Taken {
        match text {
            NOBODY => self.config.strike.kind = StrikeKind::Recording,
            "camera" => self.config.liveness.camera_only_opens_the_door = true,
            "photograph" => self.config.liveness.i_accept_that_a_photograph_opens_this_door = true,
            _ => return Err(format!("{text:?} is none of {NOBODY}, camera and photograph")),
        }
        Ok(())
    }

    pub fn take_state_dir(&mut self, _: &Found, text: &str) -> Taken {
        self.config.store.state_dir = Some(absolute(text)?);
        Ok(())
    }

    pub fn take_key_file(&mut self, _: &Found, text: &str) -> Taken {
        self.config.store.key_file = Some(absolute(text)?);
        Ok(())
    }

    pub fn take_person(&mut self, _: &Found, text: &str) -> Taken {
        if text != NOBODY {
            let name = Name::new(text).map_err(|error| error.to_string())?;
            self.person = Some(Newcomer { name, consent: String::new(), photos: Vec::new() });
        }
        Ok(())
    }

    pub fn take_consent(&mut self, _: &Found, text: &str) -> Taken {
        if text.len() > CONSENT_MAX_BYTES {
            return Err(format!("{} bytes are too long: at most {CONSENT_MAX_BYTES}", text.len()));
        }
        match text {
            "no" | "false" => self.person = None,
            // Whoever reads the note in a year must learn more from it than that there was one.
            "yes" | "true" => return Err("say how and when, such as \"in person, 2026-11-28\", or no".into()),
            _ => self.person.iter_mut().for_each(|person| text.clone_into(&mut person.consent)),
        }
        Ok(())
    }

    pub fn take_photos(&mut self, _: &Found, text: &str) -> Taken {
        let photos: Vec<_> = list(text).filter(|part| *part != BY_CAMERA).map(PathBuf::from).collect();
        if photos.len() > MAX_PHOTOS {
            return Err(format!("{} photographs are too many: at most {MAX_PHOTOS}", photos.len()));
        }
        if let Some(absent) = photos.iter().find(|photo| !photo.is_file()) {
            return Err(format!("{} is no file that is there", absent.display()));
        }
        self.person.iter_mut().for_each(|person| person.photos.clone_from(&photos));
        Ok(())
    }
}

/// `thermal:mlx90640:/dev/i2c-1`, or with an address of its own `thermal:amg8833:/dev/i2c-1@0x68`.
fn sensor(text: &str) -> Result<SensorConfig, String> {
    let parts: Vec<_> = text.splitn(3, ':').collect();
    let [kind, driver, device] = parts[..] else {
        return Err(format!("{text:?} is no sensor: write KIND:DRIVER:DEVICE, such as light:iio:bh1750"));
    };
    let kind =
        SensorKind::parse(kind).ok_or_else(|| format!("{text:?}: there is no kind {kind:?} (docs/sensors.md)"))?;
    let driver =
        Driver::parse(driver).ok_or_else(|| format!("{text:?}: there is no driver {driver:?} (docs/sensors.md)"))?;
    let hex = |(device, hex): (&'_ str, &str)| Some((device.to_owned(), u8::from_str_radix(hex, 16).ok()?));
    let (device, address) = match device.rsplit_once("@0x").and_then(hex) {
        Some((device, address)) => (device, Some(address)),
        None => (device.to_owned(), None),
    };
    let sensor = SensorConfig { address, ..SensorConfig::new(kind, driver, Path::new(&device)) };
    sensor.check().map_err(|wrong| format!("{text:?}: {}: {}", wrong.key, wrong.why))?;
    Ok(sensor)
}
