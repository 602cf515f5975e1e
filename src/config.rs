//! The configuration of one door: a TOML file, read whole or refused with the line that is wrong.
//!
//! Every key has a default and is explained in `systemd/facelatch.toml`, which a test keeps equal to the defaults.
//! Times carry their unit in the key's name. Nothing that can't be understood is passed over: a misspelt safety setting
//! must not leave the default in force unnoticed.

#![forbid(unsafe_code)]

mod error;
mod liveness;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::face::detect::MAX_CANVAS;
use crate::face::quality::Limits;
use crate::frame::MAX_SIDE;
use crate::gallery::{DeciderKind, keep};
use crate::gate::{LivenessPolicy, Mode, Policy};
use crate::hw::camera::CameraConfig;
use crate::hw::gpio::{self, LineId};
use crate::hw::inputs::InputsConfig;
use crate::hw::sensors::{MAX_SENSORS, SensorConfig};
use crate::hw::strike::{Fail, StrikeConfig, StrikeKind};
use crate::infer::MAX_CORES;
use crate::liveness::judge::{AGREE_LIVE, HOP, MIN_FPS};
use crate::liveness::series::SPAN;
use crate::liveness::{Source, SourceSet};
use crate::time::Duration;
use error::Nonsense;
pub use error::{ConfigError, line_at};
pub use liveness::{ACCEPT_KEY, CAMERA_ONLY_KEY, Liveness};

/// Where the configuration is looked for when no other is named.
pub const DEFAULT_PATH: &str = "/etc/facelatch/facelatch.toml";
/// A configuration is a page of text; more than this is some other file.
pub const MAX_CONFIG_BYTES: u64 = 64 * 1024;
/// Liveness says live of evidence from the attempt alone: of some windows of two seconds, and a frame takes its time to
/// be judged.
const MIN_ATTEMPT: Duration = Duration::from_millis(2500);
const _: () = {
    let judged = SPAN.as_millis() + (AGREE_LIVE as u128 - 1) * HOP.as_millis();
    assert!(judged < MIN_ATTEMPT.as_millis(), "an attempt that is as long as this can succeed");
};
/// Longest path of a socket: 108 bytes with the one that ends it (unix(7)).
const MAX_SOCKET_BYTES: usize = 107;
/// Most uids that may be named in `control.allowed_uids`.
pub const MAX_ALLOWED_UIDS: usize = 32;

/// What the file says, defaults filled in.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub camera: CameraConfig,
    pub replay: Option<Replay>,
    pub faces: Faces,
    /// What the door demands, but for liveness; see [`Config::policy`].
    pub gate: Policy,
    pub strike: StrikeConfig,
    pub inputs: InputsConfig,
    pub store: Store,
    pub control: Control,
    pub liveness: Liveness,
    /// A section `[[sensor]]` for each.
    #[serde(rename = "sensor")]
    pub sensors: Vec<SensorConfig>,
}

/// A recording in the camera's place, for trials without hardware.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// A folder of pictures, a .y4m or a video.
    pub path: PathBuf,
    /// Whether it begins anew at its end.
    #[serde(default, rename = "loop")]
    pub looped: bool,
}

/// Which networks look, and what face is good enough to be judged.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faces {
    /// A name of the manifest, or a file.
    pub detector: Option<String>,
    /// A name of the manifest, or a file.
    pub model: Option<String>,
    /// Where networks are looked for first.
    pub models_dir: Option<PathBuf>,
    /// What judges from two encodings whether they are one person's.
    pub decider: DeciderKind,
    /// The pair head's file, where the decider is one; else the one that comes with facelatch.
    pub pair_head: Option<PathBuf>,
    /// The longer side of what the detector is shown, in pixels.
    pub detect_px: u32,
    /// Cores that the layers of a network share.
    pub threads: u32,
    /// What places the points to align by: a network's name or file, or [`Faces::SECOND_LOOK`], or
    /// [`Faces::NO_LANDMARKS`].
    pub landmarks: Option<String>,
    /// Templates that a person keeps at most.
    pub templates_a_person: usize,
    pub min_size_px: f32,
    pub min_sharpness: f32,
    pub min_luminance: f32,
    pub max_luminance: f32,
    pub max_yaw: f32,
    pub max_pitch: f32,
    pub max_roll: f32,
    pub min_detector: f32,
}

/// What is kept, where, and how long.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub state_dir: Option<PathBuf>,
    /// The key that seals the templates; systemd's credential goes before it.
    pub key_file: Option<PathBuf>,
    /// Events older than this are cut off; 0 keeps them all.
    pub retention_days: u32,
}

/// Who may ask the daemon for something, and where.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    pub socket: PathBuf,
    /// Who may ask, besides root and the daemon's own user.
    pub allowed_uids: Vec<u32>,
    /// Or the group whose members may.
    pub group: Option<String>,
}

impl Faces {
    /// The detector looks once more, closer, in a landmark network's place.
    pub const SECOND_LOOK: &str = "second-look";
    /// The detector's own points have to do.
    pub const NO_LANDMARKS: &str = "none";
}

impl Default for Faces {
    fn default() -> Self {
        let l = Limits::default();
        let [min_luminance, max_luminance] = l.luminance;
        Self {
            detector: None,
            model: None,
            models_dir: None,
            decider: DeciderKind::Threshold,
            pair_head: None,
            detect_px: 320,
            threads: 1,
            landmarks: None,
            templates_a_person: keep::DEFAULT_CAP,
            min_size_px: l.min_size_px,
            min_sharpness: l.min_sharpness,
            min_luminance,
            max_luminance,
            max_yaw: l.max_yaw,
            max_pitch: l.max_pitch,
            max_roll: l.max_roll,
            min_detector: l.min_detector,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { state_dir: None, key_file: None, retention_days: 90 }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: "/run/facelatch/control.sock".into(), allowed_uids: Vec::new(), group: None }
    }
}

/// Why there can be no socket of this name anywhere.
fn no_socket(path: &Path) -> Option<String> {
    let name = path.as_os_str().as_encoded_bytes();
    match name {
        [] => Some("is empty: name a file".to_owned()),
        _ if name.contains(&0) => Some("has a character in it that no path has, U+0000".to_owned()),
        _ if name.len() > MAX_SOCKET_BYTES => {
            Some(format!("is {} bytes long, and a socket's path has at most {MAX_SOCKET_BYTES}", name.len()))
        }
        _ => None,
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line, the key and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
            _ => ConfigError::Read { path: path.to_owned(), source },
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(read)?;
        file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 > MAX_CONFIG_BYTES {
            return Err(ConfigError::Long { path: path.to_owned(), max: MAX_CONFIG_BYTES });
        }
        let text = str::from_utf8(&bytes).map_err(|error| ConfigError::no_text(path, &bytes, error.valid_up_to()))?;
        Self::parse(text, path)
    }

    /// Checks the text of a configuration; `path` is for the messages alone.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::parse(path, text, &error))?;
        config.check().map_err(|nonsense| ConfigError::nonsense(path, text, nonsense))?;
        Ok(config)
    }

    /// What the gate demands. Every number is in its range: the configuration was checked when it was read.
    pub fn policy(&self) -> Policy {
        let liveness = if self.liveness_required() { LivenessPolicy::Required } else { LivenessPolicy::NotRequired };
        Policy { liveness, ..self.gate.clone() }
    }

    /// How long events are kept; `None` keeps them all.
    pub fn retention(&self) -> Option<Duration> {
        (self.store.retention_days > 0).then(|| Duration::from_secs(86_400 * u64::from(self.store.retention_days)))
    }

    /// The poorest face that is judged.
    pub fn limits(&self) -> Limits {
        let f = &self.faces;
        Limits {
            min_size_px: f.min_size_px,
            min_sharpness: f.min_sharpness,
            luminance: [f.min_luminance, f.max_luminance],
            max_yaw: f.max_yaw,
            max_pitch: f.max_pitch,
            max_roll: f.max_roll,
            min_detector: f.min_detector,
        }
    }

    /// Whether a live verdict is demanded.
    pub fn liveness_required(&self) -> bool {
        self.liveness.is_required()
    }

    /// Whether a picture of somebody enrolled moves a real strike: what `doctor` and the journal complain about.
    pub fn photograph_opens(&self) -> bool {
        self.strike_moves() && !self.liveness_required()
    }

    /// Whether a real strike moves on what the camera alone says.
    pub fn camera_alone_opens(&self) -> bool {
        self.strike_moves() && self.liveness_required() && self.liveness.is_camera_only(self.sources())
    }

    /// Whether a real strike moves on a recording, whoever stands at the door.
    pub fn recording_opens(&self) -> bool {
        self.strike_moves() && self.replay.is_some()
    }

    fn strike_moves(&self) -> bool {
        self.strike.kind != StrikeKind::Recording
    }

    /// What the door has to judge liveness by.
    pub fn sources(&self) -> SourceSet {
        let sensors = self.sensors.iter().filter_map(|sensor| Source::of(sensor.kind));
        let antispoof = (!self.liveness.antispoof.is_empty()).then_some(Source::Antispoof);
        sensors.chain(antispoof).chain([Source::Camera]).collect()
    }

    fn check(&self) -> Result<(), Nonsense> {
        self.policy()
            .check()
            .map_err(|wrong| Nonsense::new(wrong.key, format!("{} is out of range, {}", wrong.value, wrong.range)))?;
        self.check_camera()?;
        self.check_times()?;
        self.check_faces()?;
        self.check_wiring()?;
        self.check_sensors()?;
        self.liveness.check(self.sources(), self.strike_moves())?;
        if let Some(why) = no_socket(&self.control.socket) {
            return Err(Nonsense::new("control.socket", why));
        }
        if self.control.allowed_uids.len() > MAX_ALLOWED_UIDS {
            let why = format!("more than {MAX_ALLOWED_UIDS} uids: name a group instead");
            return Err(Nonsense::new("control.allowed_uids", why));
        }
        if !self.control.allowed_uids.is_empty() && self.control.group.is_some() {
            return Err(Nonsense::new("control.group", "name either a group or uids, not both"));
        }
        Ok(())
    }

    fn check_camera(&self) -> Result<(), Nonsense> {
        let CameraConfig { width, height, fps, .. } = self.camera;
        let wrong = |key: &str, value: &dyn std::fmt::Display, range: String| {
            Err(Nonsense::new(&format!("camera.{key}"), format!("{value} is out of range, {range}")))
        };
        for (key, side) in [("width", width), ("height", height)] {
            if !(1..=MAX_SIDE).contains(&side) {
                return wrong(key, &side, format!("1 to {MAX_SIDE}"));
            }
        }
        // Written positively: NaN is no rate.
        let is_rate = fps > CameraConfig::MIN_FPS && fps <= CameraConfig::MAX_FPS;
        if is_rate && (fps >= MIN_FPS || !self.liveness_required()) {
            return Ok(());
        }
        if is_rate {
            let why = format!("{fps} frames a second are too few for liveness, which needs {MIN_FPS}");
            return Err(Nonsense::new("camera.fps", why));
        }
        wrong("fps", &fps, format!("more than {} and at most {}", CameraConfig::MIN_FPS, CameraConfig::MAX_FPS))
    }

    /// Times that lie in their ranges, and by which nobody could ever be admitted all the same.
    fn check_times(&self) -> Result<(), Nonsense> {
        let Policy { mode, agree, stale_after, absent_after, attempt_timeout, claim_timeout, .. } = &self.gate;
        let fps = self.camera.fps;
        let attempts = [
            ("gate.attempt_timeout_ms", attempt_timeout, *mode == Mode::Recognition),
            ("gate.claim_timeout_s", claim_timeout, true),
        ];
        let is_short = |time: &Duration, begins: bool| begins && self.liveness_required() && *time < MIN_ATTEMPT;
        if let Some((key, time, _)) = attempts.into_iter().find(|(_, time, begins)| is_short(time, *begins)) {
            let why = format!("{time:?} is over before liveness has judged anybody, which takes {MIN_ATTEMPT:?}");
            return Err(Nonsense::new(key, why));
        }
        let frames_in = |time: &Duration| f64::from(fps) * time.as_secs_f64();
        if frames_in(absent_after) <= 1.0 {
            let why = format!("at {fps} frames a second whoever stands there has gone before the next frame comes");
            return Err(Nonsense::new("gate.absent_after_ms", why));
        }
        let are_late = |time: &Duration| f64::from(agree - 1) >= frames_in(time);
        if let Some((key, ..)) = attempts.into_iter().find(|(_, time, begins)| *begins && are_late(time)) {
            let why = format!("at {fps} frames a second it is over before {agree} have come, which must agree");
            return Err(Nonsense::new(key, why));
        }
        // The first of them is as old as all that follow take, and it takes a while to be looked at, too.
        if !are_late(stale_after) {
            return Ok(());
        }
        let why =
            format!("at {fps} frames a second the first of {agree} that must agree is stale before the last comes");
        Err(Nonsense::new("gate.stale_after_ms", why))
    }

    fn check_faces(&self) -> Result<(), Nonsense> {
        let f = &self.faces;
        // Written positively: NaN is in no range.
        let ranges = [
            ("detect_px", f.detect_px as f32, 96.0..=MAX_CANVAS as f32),
            ("threads", f.threads as f32, 1.0..=MAX_CORES as f32),
            ("templates_a_person", f.templates_a_person as f32, 1.0..=keep::MAX_CAP as f32),
            ("min_size_px", f.min_size_px, 1.0..=1000.0),
            ("min_sharpness", f.min_sharpness, 0.0..=10.0),
            ("min_luminance", f.min_luminance, 0.0..=255.0),
            ("max_luminance", f.max_luminance, f.min_luminance..=255.0),
            ("max_yaw", f.max_yaw, 0.0..=2.0),
            ("max_pitch", f.max_pitch, 0.0..=2.0),
            ("max_roll", f.max_roll, 0.0..=180.0),
            ("min_detector", f.min_detector, 0.0..=1.0),
        ];
        match ranges.iter().find(|(_, value, range)| !range.contains(value)) {
            None => Ok(()),
            Some((key, value, range)) => {
                let why = format!("{value} is out of range, {} to {}", range.start(), range.end());
                Err(Nonsense::new(&format!("faces.{key}"), why))
            }
        }
    }

    fn check_wiring(&self) -> Result<(), Nonsense> {
        let (strike, inputs) = (&self.strike, &self.inputs);
        if strike.kind != StrikeKind::Recording && strike.line.is_none() {
            let why = "a strike that moves needs strike.line, the line that its relay hangs on";
            return Err(Nonsense::new("strike.kind", why));
        }
        if strike.kind == StrikeKind::RaspberryPi && matches!(strike.line, Some(LineId::Name(_))) {
            return Err(Nonsense::new("strike.line", "a Raspberry Pi's pin is its BCM number, such as 17"));
        }
        if strike.kind == StrikeKind::RaspberryPi && strike.fail == Fail::Safe {
            let why = "\"raspberry-pi\" leaves a fail-safe lock locked, and the exit button dead, once the daemon is stopped: \
                       write \"gpiochip\" (docs/wiring.md)";
            return Err(Nonsense::new("strike.kind", why));
        }
        if inputs.debounce_ms > 1000 {
            return Err(Nonsense::new("inputs.debounce_ms", "out of range, 0 to 1000"));
        }
        // A chip may have several names.
        let own = |chip: &Option<PathBuf>| gpio::real(chip.as_ref().unwrap_or(&inputs.chip));
        let button = inputs.exit_button.as_ref().map(|button| (own(&button.chip), &button.line));
        let contact = inputs.door_contact.as_ref().map(|contact| (own(&contact.chip), &contact.line));
        let relay = strike.line.as_ref().map(|line| (gpio::real(&strike.chip), line));
        let same = |a: &Option<(PathBuf, &LineId)>, b: &Option<(PathBuf, &LineId)>| a.is_some() && a == b;
        if same(&button, &contact) {
            return Err(Nonsense::new("inputs.door_contact.line", "the exit button hangs on the same line"));
        }
        if strike.kind != StrikeKind::Recording && (same(&relay, &button) || same(&relay, &contact)) {
            return Err(Nonsense::new("strike.line", "an input hangs on the same line"));
        }
        Ok(())
    }

    /// Sections have no names, so they are counted, from 1.
    fn check_sensors(&self) -> Result<(), Nonsense> {
        if self.sensors.len() > MAX_SENSORS {
            return Err(Nonsense::new("sensor", format!("more than {MAX_SENSORS} sensors")));
        }
        for (i, sensor) in self.sensors.iter().enumerate() {
            sensor.check().map_err(|wrong| Nonsense::new(&format!("sensor.{}.{}", i + 1, wrong.key), wrong.why))?;
            if self.sensors.iter().take(i).any(|other| other.kind == sensor.kind) {
                let why = "a second sensor of this kind: a door has one of each";
                return Err(Nonsense::new(&format!("sensor.{}.kind", i + 1), why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
