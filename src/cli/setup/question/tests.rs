//! The dialogue, answer by answer; and that what is written is what was answered, whatever that was.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::cli::setup::found::{FoundCamera, FoundSensor};
use crate::cli::setup::write;
use crate::config::{Config, Replay};
use crate::hw::camera::{Choice as Picture, WantedFormat};
use crate::hw::gpio::{ChipLines, LineId, LineState};
use crate::hw::sensors::Driver;
use crate::hw::strike::{Fail, StrikeKind};
use crate::ports::SensorKind;

/// A board with a camera, a chip of ten lines named from GPIO10 on, of which GPIO13 is taken, and a sensor of depth.
pub fn board() -> Found {
    let picture = Picture { format: WantedFormat::Yuyv, width: 640, height: 480, fps: 30.0 };
    let names = ["/dev/v4l/by-id/usb-Cam", "/dev/video0"].map(PathBuf::from).to_vec();
    let line = |i: u32| LineState { name: format!("GPIO{}", 10 + i), held_by: (i == 3).then(|| "spi0 CS0".into()) };
    Found {
        cameras: vec![FoundCamera { device: names[0].clone(), names, card: "Cam".into(), picture }],
        chips: vec![ChipLines {
            chip: "/dev/gpiochip0".into(),
            label: "header".into(),
            lines: (0..10).map(line).collect(),
        }],
        sensors: vec![FoundSensor {
            kind: SensorKind::Depth,
            driver: Driver::Vl53l5cx,
            device: "/dev/i2c-1".into(),
            address: None,
            says: "something answers".into(),
        }],
        state_dir: "/var/lib/facelatch".into(),
        key_file: "/etc/facelatch/facelatch.key".into(),
        ..Found::default()
    }
}

/// The plan of these answers, each by its key, all others left to their default; and the keys that were asked.
fn answered(found: &Found, answers: &[(&str, &str)]) -> (Plan, Vec<&'static str>) {
    let (mut interview, mut asked) = (Interview::new(found), Vec::new());
    while let Some(question) = interview.question() {
        asked.push(question.key);
        let given = answers.iter().find(|(key, _)| *key == question.key).map_or("", |(_, text)| text);
        interview.answer(given).unwrap_or_else(|why| panic!("{}: {why}", question.key));
    }
    (interview.plan(), asked)
}

/// Why an answer won't do, after those before it.
fn refused(found: &Found, answers: &[(&str, &str)], key: &str, text: &str) -> String {
    let mut interview = Interview::new(found);
    while let Some(question) = interview.question() {
        if question.key == key {
            let before = interview.plan.clone();
            let why = interview.answer(text).unwrap_err();
            assert_eq!(interview.plan, before, "a refusal changes nothing");
            assert_eq!(interview.question().map(|question| question.key), Some(key), "and is asked again");
            return why;
        }
        let given = answers.iter().find(|(key, _)| *key == question.key).map_or("", |(_, text)| text);
        interview.answer(given).unwrap();
    }
    panic!("{key} was not asked");
}

#[test]
fn defaults_alone_make_a_door_at_which_nothing_moves() {
    let (plan, asked) = answered(&board(), &[]);
    assert_eq!(plan.config.strike.kind, StrikeKind::Recording);
    assert!(plan.person.is_none() && plan.config.liveness_required());
    let ask = ["camera.device", "strike.line", "inputs.exit_button", "inputs.door_contact", "sensors"];
    assert_eq!(asked, [&ask[..], &["store.state_dir", "store.key_file", "person.name"]].concat());
}

#[test]
fn a_strike_asks_how_it_is_wired_and_what_may_open_it() {
    let wired = [("strike.line", "GPIO17"), ("strike.active_low", "yes"), ("strike.fail", "safe")];
    let (plan, asked) = answered(&board(), &wired);
    assert!(
        asked.contains(&"strike.active_low") && asked.contains(&"strike.fail") && asked.contains(&"liveness.opens")
    );
    let strike = &plan.config.strike;
    assert_eq!((strike.kind, strike.active_low, strike.fail), (StrikeKind::Recording, true, Fail::Safe));
    assert_eq!(strike.line, Some(LineId::Name("GPIO17".into())), "wired, and still until somebody decides");
    let camera = [&wired[..], &[("liveness.opens", "camera")]].concat();
    let plan = answered(&board(), &camera).0;
    assert!(plan.wires_strike() && plan.config.camera_alone_opens());
    let photograph = [&wired[..], &[("liveness.opens", "photograph")]].concat();
    assert!(answered(&board(), &photograph).0.config.photograph_opens());
}

#[test]
fn a_sensor_that_helps_the_camera_spares_the_question_and_an_accelerometer_does_not() {
    let with = |sensors| answered(&board(), &[("strike.line", "GPIO17"), ("sensors", sensors)]);
    let (plan, asked) = with("depth:vl53l5cx:/dev/i2c-1");
    assert!(!asked.contains(&"liveness.opens") && asked.contains(&"camera.view_deg"));
    assert!(plan.wires_strike() && !plan.config.camera_alone_opens());
    let (plan, asked) = with("acceleration:iio:adxl345");
    assert!(asked.contains(&"liveness.opens") && !asked.contains(&"camera.view_deg"));
    assert!(!plan.wires_strike());
}

#[test]
fn wires_that_cross_are_refused_by_whatever_name() {
    let strike = [("strike.line", "GPIO17")];
    assert_eq!(refused(&board(), &strike, "inputs.exit_button", "7"), "the strike hangs on that line already");
    let button = [("inputs.exit_button", "7")];
    let why = refused(&board(), &button, "inputs.door_contact", "/dev/gpiochip0:GPIO17");
    assert_eq!(why, "the exit button hangs on that line already");
    assert!(refused(&board(), &[], "strike.line", "GPIO13").contains("in use by spi0 CS0"));
    assert!(
        refused(&board(), &[], "strike.line", "GPIO99").contains("free on /dev/gpiochip0 (header): GPIO10 to GPIO12")
    );
}

#[test]
fn inputs_go_to_their_lines_and_name_a_chip_that_is_another() {
    let mut found = board();
    found.chips[0].chip = "/dev/gpiochip4".into();
    let plan = answered(&found, &[("inputs.exit_button", "GPIO11"), ("inputs.door_contact", "2")]).0;
    let inputs = plan.config.inputs;
    let (button, contact) = (inputs.exit_button.unwrap(), inputs.door_contact.unwrap());
    assert_eq!((button.line, button.chip), (LineId::Name("GPIO11".into()), Some("/dev/gpiochip4".into())));
    assert_eq!((contact.line, contact.chip), (LineId::Offset(2), Some("/dev/gpiochip4".into())));
}

#[test]
fn a_chip_that_is_named_by_a_rules_link_is_written_by_it_and_is_the_same_chip() {
    let dev = tempfile::tempdir().unwrap();
    let [chip, link] = ["gpiochip3", "door-gpio"].map(|name| dev.path().join(name));
    std::fs::write(&chip, "").unwrap();
    std::os::unix::fs::symlink("gpiochip3", &link).unwrap();
    let mut found = board();
    found.chips[0].chip = chip.canonicalize().unwrap();
    let by_link = |line: &str| format!("{}:{line}", link.display());
    let (strike, button) = (by_link("GPIO17"), by_link("GPIO11"));
    let wired = [("strike.line", &*strike), ("inputs.exit_button", &*button)];
    let text = write::checked(&answered(&found, &wired).0.config, Path::new("door.toml")).unwrap();
    assert_eq!(text.matches(&format!("chip = \"{}\"\n", link.display())).count(), 2, "{text}");
    let why = refused(&found, &wired, "inputs.door_contact", &format!("{}:GPIO17", chip.display()));
    assert_eq!(why, "the strike hangs on that line already");
    let numbered = answered(&found, &[("strike.line", "GPIO17")]).0.config.strike.chip;
    assert_eq!(numbered, found.chips[0].chip, "nobody named it");
}

#[test]
fn a_camera_is_one_that_was_found_or_a_recording_that_is_there() {
    let plan = answered(&board(), &[("camera.device", "/dev/video0")]).0;
    assert_eq!(plan.config.camera.device, Path::new("/dev/video0"), "as it was named");
    let dir = tempfile::tempdir().unwrap();
    let plan = answered(&board(), &[("camera.device", dir.path().to_str().unwrap())]).0;
    assert_eq!(plan.config.replay, Some(Replay { path: dir.path().into(), looped: true }));
    assert!(refused(&board(), &[], "camera.device", "/dev/video9").contains("there are: /dev/v4l/by-id/usb-Cam"));
    assert!(refused(&board(), &[], "camera.device", "/nowhere").contains("isn't there"));
    assert!(refused(&board(), &[], "camera.device", "clips").contains("no absolute path"));
    assert_eq!(refused(&Found::default(), &[], "camera.device", " "), "it needs an answer");
}

#[test]
fn a_camera_without_the_usual_picture_is_asked_for_what_it_has() {
    let mut found = board();
    found.cameras[0].picture = Picture { format: WantedFormat::Mjpeg, width: 1280, height: 720, fps: 29.97 };
    let config = answered(&found, &[]).0.config;
    assert_eq!((config.camera.width, config.camera.height, config.camera.fps), (1280, 720, 29.97));
    let text = write::checked(&config, Path::new("door.toml")).unwrap();
    assert!(text.contains("width = 1280\nheight = 720\nfps = 29.97\n"), "{text}");
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let strike = [("strike.line", "GPIO17")];
    assert!(refused(&board(), &strike, "strike.active_low", "low").contains("neither yes nor no"));
    assert!(refused(&board(), &strike, "strike.fail", "open").contains("neither secure nor safe"));
    assert!(
        refused(&board(), &strike, "liveness.opens", "everybody").contains("none of nobody, camera and photograph")
    );
    let depth = [("sensors", "depth:vl53l5cx:/dev/i2c-1")];
    for view in ["wide", "19", "171", "nan", "-60"] {
        assert!(refused(&board(), &depth, "camera.view_deg", view).contains("no angle from 20 to 170"), "{view}");
    }
    for (sensors, why) in [
        ("vl53l5cx", "KIND:DRIVER:DEVICE"),
        ("smell:iio:nose", "no kind \"smell\""),
        ("light:usb:x", "no driver \"usb\""),
        ("depth:mlx90640:/dev/i2c-1", "measures thermal only"),
        ("light:iio:", "names no device"),
        ("light:iio:a@0x23", "address: means nothing"),
        ("light:iio:a, light:iio:b", "two sensors of kind light"),
    ] {
        assert!(refused(&board(), &[], "sensors", sensors).contains(why), "{sensors}");
    }
    assert!(refused(&board(), &[], "store.state_dir", "people").contains("no absolute path"));
    assert!(refused(&board(), &[], "store.key_file", "key").contains("no absolute path"));
    assert!(refused(&board(), &[], "person.name", "a\u{7}b").contains("control characters"));
}

#[test]
fn nobody_is_enrolled_without_their_consent() {
    let ana = [("person.name", "Ana Ruiz")];
    assert_eq!(refused(&board(), &ana, "person.consent", ""), "it needs an answer");
    assert!(refused(&board(), &ana, "person.consent", "yes").contains("how and when"));
    assert!(refused(&board(), &ana, "person.consent", &"x".repeat(2000)).contains("too long"));
    let (plan, asked) = answered(&board(), &[ana[0], ("person.consent", "no")]);
    assert!(plan.person.is_none() && !asked.contains(&"person.photos"));
    let (plan, asked) = answered(&board(), &[ana[0], ("person.consent", "in person, 2026-11-28")]);
    let person = plan.person.unwrap();
    assert_eq!((person.name.as_str(), &*person.consent, person.photos.len()), ("Ana Ruiz", "in person, 2026-11-28", 0));
    assert_eq!(asked.last(), Some(&"person.photos"));
}

#[test]
fn photographs_must_be_there() {
    let ana = [("person.name", "Ana"), ("person.consent", "paper")];
    let photo = tempfile::NamedTempFile::new().unwrap();
    let named = photo.path().to_str().unwrap();
    let plan = answered(&board(), &[ana[0], ana[1], ("person.photos", named)]).0;
    assert_eq!(plan.person.unwrap().photos, [photo.path()]);
    assert!(refused(&board(), &ana, "person.photos", "/nowhere.jpg").contains("no file that is there"));
    assert!(refused(&board(), &ana, "person.photos", &"a,".repeat(40)).contains("too many"));
}

#[test]
fn a_configuration_that_is_there_stays_unless_somebody_says_otherwise() {
    let mut found = board();
    let mut theirs = Config::default();
    theirs.gate.agree = 2;
    found.before = Before::Configured(Box::new(theirs.clone()));
    let (plan, asked) = answered(&found, &[]);
    assert_eq!((plan.keeps, plan.config, asked), (true, theirs, vec!["replace", "person.name"]));
    let (plan, asked) = answered(&found, &[("replace", "yes")]);
    assert!(!plan.keeps && plan.config.gate.agree == 3 && asked.contains(&"camera.device"));
    found.before = Before::Wrong("line 3: no such key".into());
    assert!(refused(&found, &[], "replace", "").contains("can't be kept as it is: line 3"));
    found.before = Before::Sample;
    assert!(!answered(&found, &[]).1.contains(&"replace"), "it says nothing that the defaults don't");
}

/// What somebody may type at a question, sense or not.
fn candidates(found: &Found, question: &Question) -> Vec<String> {
    let odd = [
        "",
        "yes",
        "no",
        "safe",
        "secure",
        "camera",
        "photograph",
        "nobody",
        "none",
        "GPIO17",
        "7",
        "3",
        "62.2",
        "90",
        "/dev/gpiochip0:GPIO12",
        "/odd \"path\" with \\ and 'ü'\u{7f}",
        "/tmp",
        "Ana",
        "light:iio:odd \"name\"",
        "thermal:amg8833:/dev/i2c-1@0x68,depth:grid:unix:/run/d.sock",
        "distance:iio:iio:device0",
    ];
    let found = question.choices(found).into_iter().map(|choice| choice.answer);
    found.chain(odd.map(str::to_owned)).collect()
}

proptest! {
    /// Whatever is answered, the file reads as the configuration that was meant, and no strike moves without a sensor
    /// or a decision.
    #[test]
    fn what_is_written_is_what_was_answered(picks in proptest::collection::vec(any::<prop::sample::Index>(), 120)) {
        let found = board();
        let (mut interview, mut picks) = (Interview::new(&found), picks.into_iter());
        while let Some(question) = interview.question() {
            let candidates = candidates(&found, question);
            let Some(pick) = picks.next() else {
                // Tired of it: Enter, and no consent.
                let enter = interview.answer(if question.key == "person.consent" { "no" } else { "" });
                prop_assert!(enter.is_ok());
                continue;
            };
            let _refused_or_taken = interview.answer(&candidates[pick.index(candidates.len())]);
        }
        let config = interview.plan().config;
        let text = write::checked(&config, Path::new("door.toml"));
        prop_assert!(text.is_ok(), "{:?} {config:?}", text.err());
        let decided = config.liveness.camera_only_opens_the_door || !config.liveness_required();
        let alone = config.liveness.is_camera_only(config.sources());
        prop_assert!(config.strike.kind == StrikeKind::Recording || !alone || decided);
    }
}
