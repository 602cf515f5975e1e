//! What setup says at its end: how it stands, and what is left for a person to do.

use std::path::Path;

use crate::cli::context::Context;
use crate::config::{Config, DEFAULT_PATH};
use crate::hw::sensors::Driver;
use crate::hw::strike::StrikeKind;

/// What narrows the service to the devices of the configuration before.
const DROP_IN: &str = "devices.conf";
const DROP_INS: &str = "/etc/systemd/system/facelatch.service.d";

/// Whether the service is narrowed to the devices of an earlier configuration.
pub fn is_narrowed() -> bool {
    Path::new(DROP_INS).join(DROP_IN).exists()
}

/// The sentences, in the order in which they are to be done.
pub fn words(ctx: &Context, is_well: bool, is_enrolled: bool, is_narrowed: bool) -> Vec<String> {
    let path = ctx.config_path.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
    let named = named(path);
    let mut words = vec![String::new()];
    words.push(match is_well {
        true => "All is well: no line begins with NO.".into(),
        false => format!("Each line with NO says what to do about it; then look again: sudo facelatch doctor{named}"),
    });
    if !is_enrolled {
        words.push(format!("The first person is not enrolled: sudo facelatch enroll NAME --camera{named}"));
    }
    words.extend(of_the_door(&ctx.config, &named, is_narrowed));
    if is_well {
        words.push(match path == Path::new(DEFAULT_PATH) {
            true => {
                "Start the door: sudo systemctl enable --now facelatch; see what it does: sudo facelatch watch".into()
            }
            false => format!("Start the door: facelatch run{named}"),
        });
    }
    words
}

/// What a command needs to be said for this configuration; nothing where it is the usual one.
fn named(path: &Path) -> String {
    if path == Path::new(DEFAULT_PATH) { String::new() } else { format!(" --config {}", path.display()) }
}

fn of_the_door(config: &Config, named: &str, is_narrowed: bool) -> impl Iterator<Item = String> {
    let recording = config.strike.kind == StrikeKind::Recording;
    let still = recording
        .then(|| format!("Nothing moves yet: wire as docs/wiring.md says, then again: sudo facelatch setup{named}"));
    // The unit that is shipped allows cameras and GPIO chips.
    let is_beyond = |driver: Driver| !matches!(driver, Driver::V4l2Thermal);
    let beyond = config.sensors.iter().any(|sensor| is_beyond(sensor.driver));
    let allow = (is_narrowed || beyond).then(|| {
        let groups = if beyond { "; docs/sensors.md says which groups the sensors need" } else { "" };
        format!(
            "Allow the service its devices: sudo mkdir -p {DROP_INS} && facelatch devices{named} | sudo tee {DROP_INS}/{DROP_IN} && sudo \
             systemctl daemon-reload{groups}"
        )
    });
    [still, allow].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Output;
    use crate::hw::sensors::SensorConfig;
    use crate::ports::SensorKind;

    fn said(config: Config, is: [bool; 3]) -> String {
        said_of(None, config, is)
    }

    fn said_of(path: Option<&str>, config: Config, [is_well, is_enrolled, is_narrowed]: [bool; 3]) -> String {
        let globals = crate::cli::Globals::default();
        let ctx = Context { globals, config, config_path: path.map(Into::into), out: Output { json: false } };
        words(&ctx, is_well, is_enrolled, is_narrowed).join("\n")
    }

    #[test]
    fn a_door_that_is_well_is_to_be_started_and_one_that_is_not_to_be_looked_at_again() {
        let well = said(Config::default(), [true, true, false]);
        assert!(well.contains("no line begins with NO") && well.contains("systemctl enable --now facelatch"), "{well}");
        assert!(well.contains("Nothing moves yet") && !well.contains("enroll"), "{well}");
        let ill = said(Config::default(), [false; 3]);
        assert!(ill.contains("facelatch doctor") && ill.contains("enroll NAME --camera"), "{ill}");
        assert!(!ill.contains("systemctl enable"), "{ill}");
    }

    #[test]
    fn of_another_configuration_than_the_usual_each_command_names_it() {
        for path in [None, Some(DEFAULT_PATH)] {
            assert!(!said_of(path, Config::default(), [false, false, true]).contains("--config"));
        }
        for is in [[false, false, true], [true, true, true]] {
            let said = said_of(Some("/srv/door.toml"), Config::default(), is);
            for command in said.split("facelatch ").skip(1).filter(|rest| rest.starts_with(char::is_alphabetic)) {
                assert!(command.contains(" --config /srv/door.toml"), "{said}");
            }
            assert!(said.contains("facelatch setup --config /srv/door.toml"), "{said}");
        }
    }

    #[test]
    fn sensors_that_the_unit_does_not_allow_are_told() {
        let mut config = Config::default();
        config.strike.kind = StrikeKind::Gpiochip;
        config.sensors = vec![SensorConfig::new(SensorKind::Thermal, Driver::V4l2Thermal, "/dev/video2")];
        assert!(!said(config.clone(), [true, true, false]).contains("facelatch devices"));
        let narrowed = said(config.clone(), [true; 3]);
        assert!(narrowed.contains("facelatch devices") && !narrowed.contains("groups"), "the drop-in is the old one's");
        config.sensors = vec![SensorConfig::new(SensorKind::Thermal, Driver::Mlx90640, "/dev/i2c-1")];
        let beyond = said(config, [true, true, false]);
        assert!(beyond.contains("facelatch devices") && !beyond.contains("Nothing moves yet"), "{beyond}");
    }
}
