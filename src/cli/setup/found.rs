//! What the board has, looked at without changing any of it, and what is there of an earlier setup.

use std::path::{Path, PathBuf};

use super::question::Choice;
use crate::config::Config;
use crate::hw::camera::{self, Choice as Picture, Sight};
use crate::hw::gpio::{self, CONSUMER, ChipLines, LineId};
use crate::hw::sensors::buses::{self, Bus, LeftAlone};
use crate::hw::sensors::{Driver, answers, iio};
use crate::liveness::judge::MIN_FPS;
use crate::ports::SensorKind;

/// Most video nodes that are opened: a Raspberry Pi has thirty.
const MAX_NODES: usize = 64;
/// Nodes of decoders and image processors, which say that they capture and have no lens.
const NO_LENS: [&str; 5] = ["bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc", "rpivid"];
/// Receivers of cameras on a ribbon cable: they list formats that they can't give without an image processor.
const RAW: [&str; 2] = ["unicam", "rp1-cfe"];
/// What a thermal camera's node offers, beside pictures for people to look at.
const TEMPERATURES: &str = "Y16";
/// Columns that one has at most (FLIR's Lepton). A camera for faces in 16 bits of grey has more.
const THERMAL_COLUMNS: u32 = 160;
/// On a Raspberry Pi it is off until somebody wants it.
const NO_I2C: &str = "there is no I2C bus for sensors: on a Raspberry Pi dtparam=i2c_arm=on in /boot/firmware/config.txt, then sudo reboot \
                      (docs/sensors.md)";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub cameras: Vec<FoundCamera>,
    pub chips: Vec<ChipLines>,
    pub sensors: Vec<FoundSensor>,
    /// What was seen and can't be used, and why.
    pub remarks: Vec<String>,
    pub before: Before,
    /// The keys of it that setup doesn't ask for, and a new one lacks.
    pub leftover: Vec<String>,
    /// Where people go unless somebody says otherwise.
    pub state_dir: PathBuf,
    /// The same of the key.
    pub key_file: PathBuf,
}

/// What stands where the configuration goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Before {
    #[default]
    Nothing,
    /// A file that says nothing but the defaults, such as the sample that a package puts there.
    Sample,
    Configured(Box<Config>),
    /// Somebody's file that can't be read as one: why.
    Wrong(String),
}

/// A camera that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundCamera {
    /// The name that stays when it is plugged elsewhere, or else at the same port, or else the node's.
    pub device: PathBuf,
    /// All of its names.
    pub names: Vec<PathBuf>,
    pub card: String,
    /// What it is to be asked for.
    pub picture: Picture,
}

/// A sensor that is there, or may be.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSensor {
    pub kind: SensorKind,
    pub driver: Driver,
    pub device: PathBuf,
    pub address: Option<u8>,
    /// What is known of it.
    pub says: String,
}

impl FoundSensor {
    /// As an answer names it: `thermal:mlx90640:/dev/i2c-1`.
    pub fn answer(&self) -> String {
        let address = self.address.map(|address| format!("@{address:#04x}")).unwrap_or_default();
        format!("{}:{}:{}{address}", self.kind.as_str(), self.driver.as_str(), self.device.display())
    }
}

impl Found {
    /// Sees what devices the board has below `root`, `/` on a real one.
    pub fn probe(root: &Path) -> Self {
        let (dev, sys) = (root.join("dev"), root.join("sys"));
        let mut found = Self::default();
        for node in video_nodes(&dev) {
            let probed = camera::probe(&node);
            found.take_video(&dev, node, probed);
        }
        if found.cameras.is_empty() {
            found.remarks.push("no camera was found: plug one in and begin again".into());
        }
        for chip in gpio::chips(&dev) {
            match chip {
                Ok(chip) => found.chips.push(chip),
                Err(error) => found.remarks.push(error.to_string()),
            }
        }
        found.take_iio(iio::list(&iio::Places { sys: sys.join("bus/iio/devices"), dev: dev.clone() }));
        found.take_buses(buses::probe(&sys.join("bus/i2c/devices"), &dev, answers));
        found
    }

    fn take_video(&mut self, dev: &Path, node: PathBuf, probed: Result<Sight, camera::Refusal>) {
        let sight = match probed {
            // One camera has several nodes; those that give no pictures are no news.
            Err(camera::Refusal::NotACamera(_)) => return,
            Err(camera::Refusal::Planes { card }) if has_no_lens(&card) => return,
            Err(refusal) => return self.remarks.push(format!("{}: {refusal}", node.display())),
            Ok(sight) if has_no_lens(&sight.card) => return,
            Ok(sight) if RAW.iter().any(|card| sight.card.contains(card)) => {
                let why =
                    "a camera on the ribbon cable gives raw pixels, which facelatch doesn't read (docs/camera.md)";
                return self.remarks.push(format!("{} ({}): {why}", node.display(), sight.card));
            }
            Ok(sight) => sight,
        };
        let names = names(dev, &node);
        let device = names.first().cloned().unwrap_or_else(|| node.clone());
        let picture = camera::nearest(&sight.offers);
        let is_thermal = sight.offers.unknown.iter().any(|format| format == TEMPERATURES)
            && picture.is_none_or(|picture| picture.width <= THERMAL_COLUMNS);
        if is_thermal {
            let (kind, driver, says) = (SensorKind::Thermal, Driver::V4l2Thermal, sight.card);
            self.sensors.push(FoundSensor { kind, driver, device, address: None, says });
        } else if let Some(Picture { fps, .. }) = picture.filter(|picture| picture.fps < MIN_FPS) {
            let slow = format!("{fps} frames a second are too few for liveness, which needs {MIN_FPS}");
            self.remarks.push(format!("{} ({}): {slow}", node.display(), sight.card));
        } else if let Some(picture) = picture {
            self.cameras.push(FoundCamera { device, names, card: sight.card, picture });
        } else {
            let formats = sight.offers.unknown.join(" ");
            let why = format!("{} ({}): no format that facelatch reads ({formats})", node.display(), sight.card);
            self.remarks.push(why);
        }
    }

    fn take_iio(&mut self, listed: Vec<iio::Listed>) {
        for iio::Listed { device, kinds } in listed {
            self.sensors.extend(kinds.into_iter().map(|kind| FoundSensor {
                kind,
                driver: Driver::Iio,
                device: PathBuf::from(&device),
                address: None,
                says: "a driver of the kernel has it".into(),
            }));
        }
    }

    fn take_buses(&mut self, buses: Vec<Bus>) {
        if buses.iter().all(|bus| bus.left_alone == Some(LeftAlone::Display)) {
            self.remarks.push(NO_I2C.into());
        }
        for bus in buses {
            // That the others are left alone is nothing that somebody could do about.
            if bus.left_alone == Some(LeftAlone::NoNode) {
                self.remarks
                    .push(format!("{}: not looked at, as it has no node: modprobe i2c-dev", bus.device.display()));
            }
            self.sensors.extend(bus.candidates.into_iter().flat_map(|candidate| {
                let (driver, device, address) = (candidate.driver, candidate.bus, candidate.address);
                let says = format!("something answers at {address:#04x}, where it would; only you know what it is");
                // The address is said where the chip is sold with another.
                let address = (driver == Driver::Amg8833 && address == 0x68).then_some(address);
                driver.kinds().iter().map(move |kind| FoundSensor {
                    kind: *kind,
                    driver,
                    device: device.clone(),
                    address,
                    says: says.clone(),
                })
            }));
        }
    }

    /// The camera that has this name.
    pub fn camera(&self, name: &Path) -> Option<&FoundCamera> {
        self.cameras.iter().find(|camera| camera.names.iter().any(|known| known == name))
    }

    /// The one free line that a person means by `17`, `GPIO17` or `/dev/gpiochip0:17`: its chip, how it was named, its
    /// offset. Where several chips have one, a Raspberry Pi's header is meant. A chip that was named by a rule's link
    /// goes by it: it keeps no number.
    ///
    /// # Errors
    /// There is none, or several, or somebody has it.
    pub fn line(&self, text: &str) -> Result<(PathBuf, LineId, u32), String> {
        let (named, line) = match text.rsplit_once(':') {
            Some((chip, line)) if chip.starts_with('/') => (Some(Path::new(chip)), line),
            _ => (None, text),
        };
        let chip = named.map(gpio::real);
        let link = named.filter(|path| !gpio::is_numbered(path));
        let id = line.parse().map_or_else(|_| LineId::Name(line.to_owned()), LineId::Offset);
        let chips = self.chips.iter().filter(|found| chip.as_ref().is_none_or(|chip| found.chip == *chip));
        let hits =
            chips.flat_map(|found| found.lines.iter().enumerate().map(move |(i, state)| (found, i as u32, state)));
        let means = |&(_, offset, state): &(&ChipLines, u32, &gpio::LineState)| match &id {
            LineId::Offset(n) => *n == offset,
            LineId::Name(name) => state.name == *name,
        };
        let mut hits: Vec<_> = hits.filter(means).collect();
        let header = gpio::header(self.chips.iter().map(|found| (found, &found.label)));
        let is_header = |found: &ChipLines| header.is_some_and(|header| header == found);
        if hits.iter().any(|(found, ..)| is_header(found)) {
            hits.retain(|(found, ..)| is_header(found));
        }
        match hits[..] {
            [] => Err(format!("there is no line {text}; {}", self.free_lines())),
            [(found, offset, state)] => match &state.held_by {
                Some(by) if by != CONSUMER => {
                    let by = if by.is_empty() { "the system" } else { by };
                    Err(format!("line {text} of {} is in use by {by}; {}", found.chip.display(), self.free_lines()))
                }
                _ => {
                    let name = if is_header(found) { Path::new(gpio::HEADER) } else { &found.chip };
                    Ok((link.unwrap_or(name).to_owned(), id, offset))
                }
            },
            [(first, offset, _), ..] => {
                let chips: Vec<_> = hits.iter().map(|(found, ..)| found.chip.display().to_string()).collect();
                let example = format!("{}:{offset}", first.chip.display());
                Err(format!("several chips have a line {text} ({}): write {example}", chips.join(", ")))
            }
        }
    }

    /// The lines that nobody has, for a person to choose from.
    pub fn free_lines(&self) -> String {
        if self.chips.is_empty() {
            return "there is no GPIO chip here, so nothing can be wired: write none".into();
        }
        let chip = |found: &ChipLines| {
            let free = found.lines.iter().enumerate().filter(|(_, line)| line.held_by.is_none());
            let name = |(i, line): (usize, &gpio::LineState)| match line.name.is_empty() {
                true => i.to_string(),
                false => line.name.clone(),
            };
            let free = ranges(&free.map(name).collect::<Vec<_>>());
            let free = if free.is_empty() { "none".into() } else { free };
            format!("free on {} ({}): {free}", found.chip.display(), found.label)
        };
        self.chips.iter().map(chip).collect::<Vec<_>>().join("; ")
    }

    /// The cameras as answers.
    pub fn camera_choices(&self) -> Vec<Choice> {
        let choice = |found: &FoundCamera| {
            let Picture { format, width, height, fps } = found.picture;
            let says = format!("{}, {width}x{height} {} at {fps} a second", found.card, format.as_str());
            Choice { answer: found.device.display().to_string(), says }
        };
        self.cameras.iter().map(choice).collect()
    }

    /// The sensors as answers.
    pub fn sensor_choices(&self) -> Vec<Choice> {
        self.sensors.iter().map(|found| Choice { answer: found.answer(), says: found.says.clone() }).collect()
    }
}

/// `GPIO2 to GPIO9, ID_SD`: neighbours whose names count up are one.
fn ranges(names: &[String]) -> String {
    let split = |name: &str| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        Some((stem.to_owned(), name[stem.len()..].parse::<u32>().ok()?))
    };
    let mut parts: Vec<(String, String)> = Vec::new();
    for name in names {
        let follows = |last: &str| {
            split(last).zip(split(name)).is_some_and(|((a, n), (b, m))| a == b && n.checked_add(1) == Some(m))
        };
        match parts.last_mut() {
            Some((_, last)) if follows(last) => last.clone_from(name),
            _ => parts.push((name.clone(), name.clone())),
        }
    }
    let said = parts.into_iter().map(|(a, b)| if a == b { a } else { format!("{a} to {b}") });
    said.collect::<Vec<_>>().join(", ")
}

fn has_no_lens(card: &str) -> bool {
    NO_LENS.iter().any(|known| card.contains(known))
}

/// /dev/video0 and its kin, in the order of their numbers.
fn video_nodes(dev: &Path) -> Vec<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let listed = std::fs::read_dir(dev).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut nodes: Vec<_> = listed.filter_map(|path| Some((number(&path)?, path))).collect();
    nodes.sort();
    nodes.truncate(MAX_NODES);
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// All names of a node, the one that lasts longest first.
fn names(dev: &Path, node: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for dir in ["v4l/by-id", "v4l/by-path"] {
        let listed = std::fs::read_dir(dev.join(dir)).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_it = |link: &PathBuf| matches!((link.canonicalize(), node.canonicalize()), (Ok(a), Ok(b)) if a == b);
        let mut links: Vec<_> = listed.filter(is_it).collect();
        links.sort();
        names.extend(links);
    }
    names.push(node.to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::camera::{Offer, Offers, Rates, Refusal, Sizes, WantedFormat};
    use crate::hw::gpio::LineState;

    fn line(name: &str, held_by: Option<&str>) -> LineState {
        LineState { name: name.into(), held_by: held_by.map(str::to_owned) }
    }

    fn chip(path: &str, lines: Vec<LineState>) -> ChipLines {
        ChipLines { chip: path.into(), label: "pinctrl-bcm2711".into(), lines }
    }

    fn board() -> Found {
        let header = vec![
            line("ID_SDA", None),
            line("GPIO1", None),
            line("GPIO2", None),
            line("GPIO3", Some("spi0 CS0")),
            line("GPIO4", Some("")),
            line("GPIO5", Some("facelatch")),
        ];
        let expander = vec![line("BT_ON", Some("shutdown")), line("", None)];
        Found { chips: vec![chip("/dev/gpiochip0", header), chip("/dev/gpiochip1", expander)], ..Found::default() }
    }

    #[test]
    fn a_line_is_meant_by_its_number_its_name_or_with_its_chip() {
        let board = board();
        let (header, name) = (PathBuf::from("/dev/gpiochip0"), LineId::Name("GPIO2".into()));
        assert_eq!(board.line("GPIO2"), Ok((header.clone(), name, 2)));
        assert_eq!(board.line("2"), Ok((header.clone(), LineId::Offset(2), 2)), "only one chip is that long");
        assert_eq!(board.line("/dev/gpiochip1:1"), Ok(("/dev/gpiochip1".into(), LineId::Offset(1), 1)));
        assert_eq!(board.line("GPIO5").map(|(_, _, offset)| offset), Ok(5), "facelatch itself has it");
        assert!(board.line("1").unwrap_err().contains("several chips have a line 1 (/dev/gpiochip0, /dev/gpiochip1)"));
    }

    #[test]
    fn a_line_that_several_chips_have_is_the_headers() {
        let mut board = board();
        board.chips[1].label = "gpio-brcmstb@107d508500".into();
        assert_eq!(board.line("1"), Ok((gpio::HEADER.into(), LineId::Offset(1), 1)));
        assert_eq!(board.line("/dev/gpiochip0:1"), board.line("1"), "whatever number it has today");
        assert_eq!(board.line("/dev/gpiochip1:1"), Ok(("/dev/gpiochip1".into(), LineId::Offset(1), 1)));
        board.chips[0].label = "gpio-sim".into();
        assert!(board.line("1").unwrap_err().contains("several chips have a line 1"));
    }

    #[test]
    fn a_chip_goes_by_any_of_its_names() {
        let dev = tempfile::tempdir().unwrap();
        let [chip, link] = ["gpiochip0", "gpiochip4"].map(|name| dev.path().join(name));
        std::fs::write(&chip, "").unwrap();
        std::os::unix::fs::symlink("gpiochip0", &link).unwrap();
        let mut board = board();
        board.chips[0].chip = chip.canonicalize().unwrap();
        let found = board.line(&format!("{}:GPIO2", link.display())).unwrap();
        assert_eq!((found.0, found.2), (board.chips[0].chip.clone(), 2));
    }

    #[test]
    fn a_line_that_is_taken_or_absent_is_told_with_those_that_are_free() {
        let board = board();
        let said = board.line("GPIO3").unwrap_err();
        assert!(said.starts_with("line GPIO3 of /dev/gpiochip0 is in use by spi0 CS0; free on"), "{said}");
        assert!(said.contains("/dev/gpiochip0 (pinctrl-bcm2711): ID_SDA, GPIO1 to GPIO2;"), "{said}");
        assert!(board.line("4").unwrap_err().contains("in use by the system"));
        assert!(board.line("GPIO99").unwrap_err().starts_with("there is no line GPIO99"));
        assert!(board.line("/dev/gpiochip7:1").is_err());
        assert!(Found::default().line("17").unwrap_err().contains("no GPIO chip here"));
    }

    #[test]
    fn neighbouring_names_are_told_as_one() {
        let names = ["0", "1", "2", "GPIO7", "GPIO8", "GPIO10", "LED", "4294967295"].map(String::from);
        assert_eq!(ranges(&names), "0 to 2, GPIO7 to GPIO8, GPIO10, LED, 4294967295");
    }

    fn seen(found: &mut Found, dev: &Path, node: &str, card: &str, offers: Offers) {
        found.take_video(dev, dev.join(node), Ok(Sight { card: card.into(), offers }));
    }

    #[test]
    fn a_camera_goes_by_the_name_that_lasts_and_nodes_without_a_lens_are_passed_over() {
        let dev = tempfile::tempdir().unwrap();
        let dev = dev.path();
        for node in ["video0", "video1", "video2"] {
            std::fs::write(dev.join(node), "").unwrap();
        }
        for (dir, name) in [("by-path", "pci-0000-video-index0"), ("by-id", "usb-Cam_1234-video-index0")] {
            std::fs::create_dir_all(dev.join("v4l").join(dir)).unwrap();
            std::os::unix::fs::symlink("../../video0", dev.join("v4l").join(dir).join(name)).unwrap();
        }
        assert_eq!(video_nodes(dev), ["video0", "video1", "video2"].map(|node| dev.join(node)));
        let sizes = Sizes::Exactly(640, 480);
        let offer = Offer { format: WantedFormat::Yuyv, sizes, rates: Rates::These(vec![30.0]) };
        let offers = Offers { known: vec![offer], unknown: vec![] };
        let mut found = Found::default();
        seen(&mut found, dev, "video0", "A Cam", offers.clone());
        seen(&mut found, dev, "video1", "bcm2835-isp", offers.clone());
        seen(&mut found, dev, "video5", "unicam", offers);
        seen(&mut found, dev, "video2", "PureThermal", Offers { known: vec![], unknown: vec!["Y16".into()] });
        found.take_video(dev, dev.join("video3"), Err(Refusal::NotACamera("it captures no pictures")));
        found.take_video(dev, dev.join("video4"), Err(Refusal::Busy));
        for card in ["rpivid", "rkisp_mainpath"] {
            found.take_video(dev, dev.join("video6"), Err(Refusal::Planes { card: card.into() }));
        }
        let choices = found.camera_choices();
        assert_eq!(choices.len(), 1);
        assert!(choices[0].answer.ends_with("v4l/by-id/usb-Cam_1234-video-index0"), "{choices:?}");
        assert_eq!(choices[0].says, "A Cam, 640x480 yuyv at 30 a second");
        assert!(found.camera(&dev.join("video0")).is_some() && found.camera(&dev.join("video2")).is_none());
        assert!(found.sensors[0].answer().starts_with("thermal:v4l2-thermal:"), "{:?}", found.sensors);
        let remarks = found.remarks.join("\n");
        assert!(remarks.contains("ribbon cable") && remarks.contains("in use by another program"), "{remarks}");
        assert!(remarks.contains("video6: rkisp_mainpath captures in several planes"), "{remarks}");
        assert_eq!(found.remarks.len(), 3);
    }

    #[test]
    fn a_thermal_camera_that_gives_pictures_too_is_a_sensor_and_a_large_one_of_16_bits_a_camera() {
        let offer = |format, width, height, fps| {
            vec![Offer { format, sizes: Sizes::Exactly(width, height), rates: Rates::These(vec![fps]) }]
        };
        let offers =
            |known, unknown: &[&str]| Offers { known, unknown: unknown.iter().map(ToString::to_string).collect() };
        let (mut found, dev) = (Found::default(), Path::new("/nowhere"));
        let lepton = offers(offer(WantedFormat::Grey, 160, 120, 9.0), &["UYVY", "Y16", "RGBP", "BGR3"]);
        seen(&mut found, dev, "video0", "PureThermal (fw:v1.3.0)", lepton);
        seen(&mut found, dev, "video2", "A Cam", offers(offer(WantedFormat::Yuyv, 640, 480, 30.0), &[]));
        seen(&mut found, dev, "video4", "Industrial", offers(offer(WantedFormat::Grey, 1280, 960, 30.0), &["Y16"]));
        let cameras: Vec<_> = found.cameras.iter().map(|camera| &*camera.card).collect();
        assert_eq!(cameras, ["A Cam", "Industrial"]);
        let sensors: Vec<_> = found.sensor_choices().into_iter().map(|choice| choice.answer).collect();
        assert_eq!(sensors, ["thermal:v4l2-thermal:/nowhere/video0"]);
        assert!(found.remarks.is_empty(), "{:?}", found.remarks);
        seen(&mut found, dev, "video6", "Slow", offers(offer(WantedFormat::Yuyv, 640, 480, 10.0), &[]));
        assert_eq!(found.cameras.len(), 2);
        assert!(found.remarks[0].contains("video6 (Slow): 10 frames a second are too few"), "{:?}", found.remarks);
    }

    #[test]
    fn what_may_be_on_a_bus_is_offered_for_what_it_would_be() {
        let mut found = Found::default();
        let candidate = |driver, address| buses::Candidate { driver, bus: "/dev/i2c-1".into(), address };
        let candidates = vec![candidate(Driver::Mlx90640, 0x33), candidate(Driver::Amg8833, 0x68)];
        found.take_buses(vec![
            Bus { device: "/dev/i2c-1".into(), left_alone: None, candidates },
            Bus { device: "/dev/i2c-3".into(), left_alone: Some(LeftAlone::NoNode), candidates: vec![] },
            Bus { device: "/dev/i2c-20".into(), left_alone: Some(LeftAlone::Display), candidates: vec![] },
        ]);
        found.take_iio(vec![iio::Listed { device: "ltr501".into(), kinds: vec![SensorKind::Light] }]);
        let answers: Vec<_> = found.sensor_choices().into_iter().map(|choice| choice.answer).collect();
        assert_eq!(answers, ["thermal:mlx90640:/dev/i2c-1", "thermal:amg8833:/dev/i2c-1@0x68", "light:iio:ltr501"]);
        assert_eq!(found.remarks, ["/dev/i2c-3: not looked at, as it has no node: modprobe i2c-dev"]);
    }

    #[test]
    fn an_empty_board_has_nothing_and_says_what_is_to_be_plugged_in() {
        let root = tempfile::tempdir().unwrap();
        let found = Found::probe(root.path());
        assert_eq!(found.remarks, ["no camera was found: plug one in and begin again", NO_I2C]);
        assert_eq!(Found { remarks: vec![], ..found }, Found::default());
    }

    #[test]
    fn a_board_that_has_the_buses_of_displays_alone_is_told_how_sensors_get_one() {
        let root = tempfile::tempdir().unwrap();
        let has_one = |name: &str, compatible: &str| {
            let tree = root.path().join("sys/bus/i2c/devices").join(name).join("of_node");
            std::fs::create_dir_all(&tree).unwrap();
            std::fs::write(tree.join("compatible"), compatible).unwrap();
            !Found::probe(root.path()).remarks.iter().any(|remark| remark == NO_I2C)
        };
        assert!(!has_one("i2c-20", "brcm,bcm2711-hdmi-i2c\0"));
        assert!(has_one("i2c-1", "brcm,bcm2711-i2c\0"));
    }
}
