//! `devices`: which devices the configuration needs, as a drop-in for the service.
//!
//! The unit that is shipped allows every camera and every GPIO chip, since it can't know the configuration. With this
//! one the daemon opens the chips that are named by their numbers and no other. The header's keeps none, nor does one
//! that is named by a link, and rppal looks for the header's itself: then every chip stays allowed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::context::Context;
use super::exit::{Failure, Verdict};
use crate::config::Config;
use crate::hw::gpio;
use crate::hw::sensors::Driver;
use crate::hw::strike::StrikeKind;

/// By class and not by path: a camera that was unplugged may come back under another number.
const CAMERAS: &str = "char-video4linux";
/// Sensors behind the kernel's Industrial I/O.
const IIO: &str = "char-iio";
/// Serial ports by USB, and what each is called below /dev. By class for the same reason as cameras.
const SERIAL: [(&str, &str); 2] = [("/dev/ttyACM", "char-ttyACM"), ("/dev/ttyUSB", "char-ttyUSB")];
/// Links to the one or the other.
const SERIAL_LINKS: &str = "/dev/serial/";
/// The registers of a Raspberry Pi: the first up to the Pi 4, the second on the Pi 5.
pub const PI_REGISTERS: [&str; 2] = ["/dev/gpiomem", "/dev/gpiomem0"];

/// rppal opens chip after chip until one is the header's, though it drives the registers. A chip on USB that comes back
/// while its line is held gets another number.
const GPIO_CHIPS: &str = "char-gpiochip";

/// What [`needed`] names, by its beginning, and the module without which the kernel knows nothing of that name. What it
/// doesn't know when the service starts stays forbidden, systemd.resource-control(5) says. The unit itself sees to the
/// cameras'.
const MODULES: [(&str, &str); 4] =
    [(IIO, "industrialio"), ("char-ttyACM", "cdc_acm"), ("char-ttyUSB", "usbserial"), ("/dev/i2c-", "i2c_dev")];

/// Goes to /etc/systemd/system/facelatch.service.d/devices.conf
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct Allowed {
    allow: BTreeSet<String>,
}

pub fn run(_: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let allow = needed(&ctx.config);
    ctx.out.line(drop_in(&allow).trim_end())?;
    ctx.out.json(&Allowed { allow })?;
    Ok(Verdict::Yes)
}

/// As `DeviceAllow=` names them: a path, or a class of the kernel's.
fn needed(config: &Config) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    if config.replay.is_none() {
        needed.insert(CAMERAS.to_owned());
    }
    match config.strike.kind {
        StrikeKind::Gpiochip => drop(needed.insert(chip(&config.strike.chip))),
        StrikeKind::RaspberryPi => {
            needed.extend(PI_REGISTERS.map(str::to_owned));
            needed.insert(GPIO_CHIPS.to_owned());
        }
        StrikeKind::Recording => {}
    }
    let inputs = &config.inputs;
    let button = inputs.exit_button.as_ref().map(|button| &button.chip);
    let contact = inputs.door_contact.as_ref().map(|contact| &contact.chip);
    needed.extend([button, contact].into_iter().flatten().map(|own| chip(own.as_ref().unwrap_or(&inputs.chip))));
    needed.extend(config.sensors.iter().flat_map(|sensor| match sensor.driver {
        // Which number it has is settled at each boot.
        Driver::Iio => vec![IIO.to_owned()],
        Driver::V4l2Thermal => vec![CAMERAS.to_owned()],
        Driver::Grid => serial(&sensor.device),
        _ => by_path(&sensor.device),
    }));
    needed
}

/// The header's chip keeps no number, and so does one that a rule's link names; but a Raspberry Pi's gpiochip4 is a
/// link as well.
fn chip(path: &Path) -> String {
    let is_named = path == Path::new(gpio::HEADER) || (!gpio::is_numbered(path) && path.is_symlink());
    if is_named { GPIO_CHIPS.to_owned() } else { quoted(path) }
}

/// A port of the board itself keeps its number.
fn serial(device: &Path) -> Vec<String> {
    let path = device.to_string_lossy();
    let is_link = path.starts_with(SERIAL_LINKS);
    let classes = SERIAL.iter().filter(|(ports, _)| is_link || path.starts_with(ports));
    let classes: Vec<String> = classes.map(|(_, class)| (*class).to_owned()).collect();
    if classes.is_empty() { by_path(device) } else { classes }
}

/// A socket is no device.
fn by_path(device: &Path) -> Vec<String> {
    if device.starts_with("/dev") { vec![quoted(device)] } else { Vec::new() }
}

/// A path as systemd.syntax(7) wants it: `%` is a specifier's, and blanks need quotes.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.:%".contains(c));
    if is_plain { text } else { format!("{text:?}") }
}

fn drop_in(allow: &BTreeSet<String>) -> String {
    let mut text = "# Made by `facelatch devices` of the configuration; make it again after a change.\n".to_owned();
    let modules = MODULES.iter().filter(|(name, _)| allow.iter().any(|device| device.starts_with(name)));
    let loads: Vec<String> = modules.map(|(_, module)| format!("modprobe@{module}.service")).collect();
    if !loads.is_empty() {
        let loads = loads.join(" ");
        // Writing to a string can't fail.
        let _ = writeln!(text, "[Unit]\nWants={loads}\nAfter={loads}");
    }
    text.push_str("[Service]\nDevicePolicy=closed\nDeviceAllow=\n");
    for device in allow {
        let _ = writeln!(text, "DeviceAllow={device} rw");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(text: &str) -> Vec<String> {
        needed(&toml::from_str(text).unwrap()).into_iter().collect()
    }

    #[test]
    fn a_recording_strike_without_wires_needs_the_camera_alone_and_a_replay_nothing() {
        assert_eq!(needs(""), ["char-video4linux"]);
        assert!(needs("[replay]\npath = \"/tmp/pictures\"\n").is_empty());
    }

    #[test]
    fn each_chip_that_is_named_is_needed_once() {
        let wired = "[strike]\nkind = \"gpiochip\"\nchip = \"/dev/gpiochip4\"\nline = 17\n\
                     [inputs.exit_button]\nline = 27\n[inputs.door_contact]\nline = 22\nchip = \"/dev/gpiochip4\"\n";
        assert_eq!(needs(wired), ["/dev/gpiochip4", "char-gpiochip", "char-video4linux"], "the header has no number");
    }

    #[test]
    fn a_chip_that_is_named_by_a_link_may_come_back_under_another_number_and_is_needed_by_class() {
        let dev = tempfile::tempdir().unwrap();
        let link = dev.path().join("door-gpio");
        std::os::unix::fs::symlink("gpiochip3", &link).unwrap();
        let strike = format!("[strike]\nkind = \"gpiochip\"\nchip = {link:?}\nline = 17\n");
        assert_eq!(needs(&strike), ["char-gpiochip", "char-video4linux"]);
        let header = dev.path().join("gpiochip4");
        std::os::unix::fs::symlink("gpiochip0", &header).unwrap();
        let wired = format!("[strike]\nkind = \"gpiochip\"\nchip = {header:?}\nline = 17\n");
        assert!(needs(&wired).contains(&header.display().to_string()), "a number was asked for");
        let inputs = format!("[inputs]\nchip = {link:?}\n[inputs.exit_button]\nline = 27\n");
        assert_eq!(needs(&inputs), ["char-gpiochip", "char-video4linux"]);
    }

    #[test]
    fn a_raspberry_pis_registers_are_needed_and_the_chips_that_rppal_opens_beside_them() {
        let pi = needs("[strike]\nkind = \"raspberry-pi\"\nline = 17\n");
        assert_eq!(pi, ["/dev/gpiomem", "/dev/gpiomem0", "char-gpiochip", "char-video4linux"]);
    }

    #[test]
    fn sensors_need_their_bus_their_class_or_nothing() {
        let sensor = |kind: &str, driver: &str, device: &str| {
            format!("[[sensor]]\nkind = {kind:?}\ndriver = {driver:?}\ndevice = {device:?}\n")
        };
        let depth = sensor("depth", "vl53l5cx", "/dev/i2c-1");
        let light = sensor("light", "iio", "bh1750");
        let thermal = sensor("thermal", "grid", "unix:/run/thermal.sock");
        assert_eq!(needs(&format!("{depth}{light}{thermal}")), ["/dev/i2c-1", "char-iio", "char-video4linux"]);
    }

    #[test]
    fn a_serial_port_that_may_come_back_under_another_number_is_needed_by_class() {
        let grid =
            |device: &str| needs(&format!("[[sensor]]\nkind = \"thermal\"\ndriver = \"grid\"\ndevice = {device:?}\n"));
        assert_eq!(grid("/dev/ttyACM0"), ["char-ttyACM", "char-video4linux"]);
        assert_eq!(grid("/dev/ttyUSB1"), ["char-ttyUSB", "char-video4linux"]);
        for link in ["/dev/serial/by-id/usb-depth", "/dev/serial/by-path/usb-1"] {
            assert_eq!(grid(link), ["char-ttyACM", "char-ttyUSB", "char-video4linux"]);
        }
        assert_eq!(grid("/dev/ttyAMA0"), ["/dev/ttyAMA0", "char-video4linux"]);
    }

    #[test]
    fn what_systemd_would_read_otherwise_is_escaped() {
        assert_eq!(quoted(Path::new("/dev/a b%c")), "\"/dev/a b%%c\"");
        assert_eq!(quoted(Path::new("/dev/gpiochip0")), "/dev/gpiochip0");
    }

    #[test]
    fn the_drop_in_takes_back_what_the_unit_allows_before_it_allows() {
        let text = drop_in(&BTreeSet::from(["/dev/gpiochip0".to_owned()]));
        assert!(
            text.ends_with("change.\n[Service]\nDevicePolicy=closed\nDeviceAllow=\nDeviceAllow=/dev/gpiochip0 rw\n"),
            "{text}"
        );
    }

    #[test]
    fn a_class_that_comes_with_a_module_is_there_before_the_service_starts() {
        let text = drop_in(&BTreeSet::from(["/dev/i2c-1".to_owned(), "char-iio".to_owned()]));
        let loads = "modprobe@industrialio.service modprobe@i2c_dev.service";
        assert!(text.contains(&format!("[Unit]\nWants={loads}\nAfter={loads}\n[Service]\n")), "{text}");
    }
}
