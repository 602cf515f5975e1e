//! What a configuration says and setup doesn't ask for: a new one in its place says none of it.

use toml::{Table, Value};

use crate::config::Config;

/// What setup asks, or writes by what it found. Sections of sensors are one here, a name alone is all below it.
const ASKED: [&str; 20] = [
    "camera.device",
    "camera.width",
    "camera.height",
    "camera.fps",
    "replay",
    "strike",
    "inputs.chip",
    "inputs.exit_button.line",
    "inputs.exit_button.chip",
    "inputs.door_contact.line",
    "inputs.door_contact.chip",
    "store.state_dir",
    "store.key_file",
    "liveness.camera_view_deg",
    "liveness.camera_only_opens_the_door",
    "liveness.i_accept_that_a_photograph_opens_this_door",
    "sensor.kind",
    "sensor.driver",
    "sensor.device",
    "sensor.address",
];

/// The keys of a configuration that a new one lacks, in their order; one that states a default is none. Of a text that
/// is no TOML none are known.
pub fn keys(text: &str) -> Vec<String> {
    let Ok(table) = text.parse::<Table>() else { return Vec::new() };
    let meant = read(&table);
    let mut keys = Vec::new();
    leaves("", &Value::Table(table.clone()), &mut keys);
    keys.retain(|key| !is_asked(key) && says_something(&table, key, meant.as_ref()));
    keys
}

fn read(table: &Table) -> Option<Config> {
    table.clone().try_into().ok()
}

/// `sensor.2.rotate`: sections that have no names are counted, from 1, as the configuration's errors do.
fn leaves(prefix: &str, value: &Value, into: &mut Vec<String>) {
    let below = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(name, value)| leaves(&below(name), value, into)),
        Value::Array(sections) if sections.iter().any(Value::is_table) => {
            sections.iter().enumerate().for_each(|(i, value)| leaves(&below(&(i + 1).to_string()), value, into));
        }
        _ => into.push(prefix.to_owned()),
    }
}

fn is_asked(key: &str) -> bool {
    let parts = key.split('.').filter(|part| part.parse::<usize>().is_err());
    let plain = parts.collect::<Vec<_>>().join(".");
    ASKED.iter().any(|asked| plain.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Whether the configuration would mean something else without the key; of one that can't be read that isn't known.
fn says_something(table: &Table, key: &str, meant: Option<&Config>) -> bool {
    let mut without = Value::Table(table.clone());
    remove(&mut without, key);
    let Value::Table(without) = without else { return true };
    meant.is_none() || read(&without).as_ref() != meant
}

fn remove(value: &mut Value, key: &str) {
    let (name, rest) = key.split_once('.').unwrap_or((key, ""));
    match value {
        Value::Table(table) if rest.is_empty() => drop(table.remove(name)),
        Value::Table(table) => table.get_mut(name).into_iter().for_each(|inner| remove(inner, rest)),
        Value::Array(sections) => {
            let section = name.parse::<usize>().ok().and_then(|n| sections.get_mut(n.checked_sub(1)?));
            section.into_iter().for_each(|inner| remove(inner, rest));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_setup_does_not_ask_for_is_named_where_it_says_something() {
        let text = "[camera]\ndevice = \"/dev/video2\"\nformat = \"mjpeg\"\n[gate]\nmode = \"verification\"\nagree = 3\n\
                    target_fmr = 1e-5\n[faces]\nmodel = \"other\"\n[store]\nretention_days = 30\nkey_file = \"/k\"\n\
                    [inputs.exit_button]\nline = 27\npressed = \"high\"\nbias = \"pull-up\"\n\
                    [[sensor]]\nkind = \"light\"\ndriver = \"iio\"\ndevice = \"bh1750\"\n\
                    [[sensor]]\nkind = \"thermal\"\ndriver = \"mlx90640\"\ndevice = \"/dev/i2c-1\"\nrotate = 90\nmirror = false\n";
        let mut named = keys(text);
        named.sort();
        let lost = [
            "camera.format",
            "faces.model",
            "gate.mode",
            "gate.target_fmr",
            "inputs.exit_button.pressed",
            "sensor.2.rotate",
            "store.retention_days",
        ];
        assert_eq!(named, lost);
    }

    #[test]
    fn the_sample_and_what_setup_writes_say_nothing_more() {
        assert!(keys(include_str!("../../../systemd/facelatch.toml")).is_empty());
        let text = super::super::write::checked(&Config::default(), std::path::Path::new("door.toml")).unwrap();
        assert!(keys(&text).is_empty());
    }

    #[test]
    fn of_a_file_that_is_wrong_every_key_is_named_and_of_one_that_is_none_nothing() {
        assert_eq!(keys("[gate]\nagree = 3\nlevel = 4\n"), ["gate.agree", "gate.level"]);
        assert!(keys("[gate\n").is_empty() && keys("").is_empty());
    }
}
