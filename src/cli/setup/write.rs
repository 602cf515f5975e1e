//! The configuration as a file: rendered, read back before it counts, and put in place whole or not at all.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Code, Failure};
use crate::config::{Config, DEFAULT_PATH, Liveness};
use crate::draft::Draft;
use crate::hw::camera::CameraConfig;
use crate::hw::gpio::LineId;
use crate::hw::inputs::InputsConfig;
use crate::hw::strike::{Fail, StrikeConfig, StrikeKind};

const DIRECTORY_MODE: u32 = 0o755;
/// Most old configurations that are kept beside the one in force.
const MAX_COPIES: usize = 100;

const HEAD: &str = "\
# Written by `facelatch setup`. What doesn't stand here has its default; every key is explained in
# /usr/share/doc/facelatch/examples/facelatch.toml. After a change: `sudo facelatch doctor`, then `systemctl restart
# facelatch`; for [gate] alone, `systemctl reload facelatch` will do.
";
/// Of a configuration that isn't the service's.
const HEAD_ELSEWHERE: &str = "\
# Written by `facelatch setup`. What doesn't stand here has its default; every key is explained in
# /usr/share/doc/facelatch/examples/facelatch.toml. After a change, with the --config that names this file:
# `sudo facelatch doctor`, then stop the daemon and `facelatch run` again.
";

/// The configuration as text that means the same when it is read.
///
/// # Errors
/// It can't be said in TOML, or makes no sense: a fault of setup's, and nothing is to be written.
pub fn checked(config: &Config, path: &Path) -> Result<String, Failure> {
    let text = render(config, path);
    match Config::parse(&text, path) {
        Ok(read) if read == *config => Ok(text),
        Ok(_) => {
            let why =
                "the configuration that comes of these answers reads otherwise than it was meant; nothing was written";
            Err(Failure::said(Code::Software, why))
        }
        Err(error) => Err(error.into()),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn path_of(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn line_of(line: &LineId) -> String {
    match line {
        LineId::Offset(n) => n.to_string(),
        LineId::Name(name) => quoted(name),
    }
}

/// What setup asks for; all else is left to its default.
fn render(config: &Config, path: &Path) -> String {
    let mut text = if path == Path::new(DEFAULT_PATH) { HEAD } else { HEAD_ELSEWHERE }.to_owned();
    let mut put = |line: std::fmt::Arguments<'_>| {
        let _a_string_takes_all = writeln!(text, "{line}");
    };
    match &config.replay {
        Some(replay) => {
            put(format_args!("\n# A recording in the camera's place, for trials. Take it out for a camera.\n[replay]"));
            put(format_args!("path = {}\nloop = {}", path_of(&replay.path), replay.looped));
        }
        None => {
            let (camera, usual) = (&config.camera, CameraConfig::default());
            put(format_args!("\n[camera]\ndevice = {}", path_of(&camera.device)));
            if (camera.width, camera.height, camera.fps) != (usual.width, usual.height, usual.fps) {
                put(format_args!(
                    "# It offers no {}x{} at {} a second; this comes nearest.",
                    usual.width, usual.height, usual.fps
                ));
                put(format_args!("width = {}\nheight = {}\nfps = {:?}", camera.width, camera.height, camera.fps));
            }
        }
    }
    strike(&config.strike, &mut put);
    inputs(&config.inputs, &mut put);
    put(format_args!("\n[store]"));
    let store = [("state_dir", &config.store.state_dir), ("key_file", &config.store.key_file)];
    for (key, path) in store {
        path.iter().for_each(|path| put(format_args!("{key} = {}", path_of(path))));
    }
    liveness(&config.liveness, &mut put);
    for sensor in &config.sensors {
        put(format_args!("\n[[sensor]]\nkind = {}", quoted(sensor.kind.as_str())));
        put(format_args!("driver = {}\ndevice = {}", quoted(sensor.driver.as_str()), path_of(&sensor.device)));
        sensor.address.iter().for_each(|address| put(format_args!("address = {address:#04x}")));
    }
    text
}

fn strike(strike: &StrikeConfig, put: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    put(format_args!("\n[strike]"));
    match (strike.kind, &strike.line) {
        (StrikeKind::Recording, None) => {
            return put(format_args!(
                "# Nothing moves: releases are only told. docs/wiring.md, then `facelatch setup` again.\nkind = \"recording\""
            ));
        }
        (StrikeKind::Recording, Some(_)) => {
            put(format_args!(
                "# Nothing moves yet. \"gpiochip\" drives the line; it needs a sensor, or a decision (docs/liveness.md)."
            ));
            put(format_args!("kind = \"recording\""));
        }
        (StrikeKind::Gpiochip, _) => put(format_args!("kind = \"gpiochip\"")),
        (StrikeKind::RaspberryPi, _) => put(format_args!("kind = \"raspberry-pi\"")),
    }
    if strike.chip != StrikeConfig::default().chip {
        put(format_args!("chip = {}", path_of(&strike.chip)));
    }
    strike.line.iter().for_each(|line| put(format_args!("line = {}", line_of(line))));
    let fail = match strike.fail {
        Fail::Secure => "secure",
        Fail::Safe => "safe",
    };
    put(format_args!("# Whether the relay draws at the low level, and what the lock does without power."));
    put(format_args!("active_low = {}\nfail = \"{fail}\"", strike.active_low));
}

fn inputs(inputs: &InputsConfig, put: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    let button =
        inputs.exit_button.as_ref().map(|b| ("exit_button", "To ground, pulled up by the chip.", &b.line, &b.chip));
    let contact = inputs.door_contact.as_ref();
    let contact = contact.map(|c| ("door_contact", "To ground while the door is closed.", &c.line, &c.chip));
    for (name, says, line, chip) in [button, contact].into_iter().flatten() {
        put(format_args!("\n# {says}\n[inputs.{name}]\nline = {}", line_of(line)));
        chip.iter().for_each(|chip| put(format_args!("chip = {}", path_of(chip))));
    }
}

fn liveness(liveness: &Liveness, put: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    let usual = Liveness::default();
    if *liveness == usual {
        return;
    }
    put(format_args!("\n[liveness]"));
    if liveness.camera_view_deg != usual.camera_view_deg {
        put(format_args!("camera_view_deg = {:?}", liveness.camera_view_deg));
    }
    if liveness.camera_only_opens_the_door {
        put(format_args!(
            "# By a camera alone, simulated, four in ten of all attacks' windows pass, nine in ten of the worst attack's\n# (models/cards/liveness.md). Take this line out once there is a sensor."
        ));
        put(format_args!("camera_only_opens_the_door = true"));
    }
    if liveness.i_accept_that_a_photograph_opens_this_door {
        put(format_args!("# Liveness is off."));
        put(format_args!("i_accept_that_a_photograph_opens_this_door = true"));
    }
}

/// The file's directory, made where it is missing.
///
/// # Errors
/// It can't be made.
pub fn made_directory(path: &Path) -> Result<(), Failure> {
    let Some(dir) = path.parent() else { return Ok(()) };
    let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir);
    made.map_err(|error| Failure::said(Code::CantCreate, format!("{}: can't be made ({error})", dir.display())))
}

/// Puts the text in the file's place at once, on the disk, and keeps what was there beside it; returns the copy.
///
/// # Errors
/// Nothing has changed then, but that there may be a copy.
pub fn put(path: &Path, text: &str) -> Result<Option<PathBuf>, Failure> {
    let placed = Draft::new(path, text.as_bytes()).and_then(|draft| {
        let copy = kept(path)?;
        draft.place().map(|()| copy)
    });
    placed.map_err(|error| {
        let why =
            format!("{}: the configuration can't be written ({error}); what was there is as it was", path.display());
        Failure::said(Code::CantCreate, why)
    })
}

/// A second name for the file that is there, so that it stays when the first goes to another; never one that is taken.
fn kept(path: &Path) -> io::Result<Option<PathBuf>> {
    for n in 1..=MAX_COPIES {
        let copy = path.with_added_extension(if n == 1 { "old".to_owned() } else { format!("old.{n}") });
        match fs::hard_link(path, &copy) {
            Ok(()) => return Ok(Some(copy)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{MAX_COPIES} old ones lie there already: remove some")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_first_configuration_is_written_for_all_to_read_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/door.toml");
        made_directory(&path).unwrap();
        assert_eq!(put(&path, "a = 1\n").unwrap(), None);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("a = 1\n", 0o644));
        assert_eq!((names(path.parent().unwrap()), mode(path.parent().unwrap())), (vec!["door.toml".into()], 0o755));
    }

    #[test]
    fn what_was_there_is_kept_under_a_name_of_its_own_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.toml");
        for text in ["one", "two", "three"] {
            put(&path, text).unwrap();
        }
        assert_eq!(names(dir.path()), ["door.toml", "door.toml.old", "door.toml.old.2"]);
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(["door.toml.old", "door.toml.old.2", "door.toml"].map(read), ["one", "two", "three"]);
    }

    #[test]
    fn a_place_that_can_not_be_written_keeps_what_is_there_and_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.toml");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();
        let error = put(&path, "text").unwrap_err();
        assert_eq!(error.code(), Code::CantCreate);
        assert_eq!(names(dir.path()), ["door.toml"]);
        assert!(put(Path::new("/nowhere/at/all.toml"), "").is_err());
    }

    #[test]
    fn a_configuration_elsewhere_is_no_service_s_to_restart() {
        let head = |path: &str| checked(&Config::default(), Path::new(path)).unwrap();
        assert!(head(DEFAULT_PATH).contains("systemctl restart") && !head(DEFAULT_PATH).contains("--config"));
        assert!(head("door.toml").contains("--config") && !head("door.toml").contains("systemctl"));
    }

    #[test]
    fn what_setup_never_chooses_is_not_written_otherwise_than_it_is_meant() {
        let mut config = Config::default();
        config.gate.agree = 2;
        let error = checked(&config, Path::new("door.toml")).unwrap_err();
        assert_eq!(error.code(), Code::Software);
        assert!(error.to_string().contains("nothing was written"));
    }
}
