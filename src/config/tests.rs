use super::*;
use crate::units::Fmr;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/door.toml")).map_err(|error| error.to_string())
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("it should be refused")
}

#[test]
fn an_empty_file_is_the_default_and_demands_liveness() {
    let config = parse("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.policy(), Policy::default());
    assert_eq!(config.policy().liveness, LivenessPolicy::Required);
}

#[test]
fn each_key_of_the_gate_is_the_policys_own() {
    let config = parse(
        "[gate]
        mode = \"verification\"
        target_fmr = 1e-3
        verify_target_fmr = 1e-2
        agree = 2
        of = 7
        margin = 0.25
        stale_after_ms = 1100
        attempt_timeout_ms = 1200
        absent_after_ms = 1300
        retry_after_ms = 1400
        claim_timeout_s = 11
        pulse_ms = 1600
        relock_on_open = false
        ledger_timeout_ms = 1700
        lockout_after = 8
        lockout_window_s = 50
        lockout_for_s = 40
        held_open_after_s = 45
        held_open_prealert_s = 15
        [liveness]
        i_accept_that_a_photograph_opens_this_door = true",
    )
    .unwrap();
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let policy = Policy {
        mode: Mode::Verification,
        liveness: LivenessPolicy::NotRequired,
        target_fmr: Fmr::new(1e-3).unwrap(),
        verify_target_fmr: Fmr::new(1e-2).unwrap(),
        agree: 2,
        of: 7,
        margin: 0.25,
        stale_after: ms(1100),
        attempt_timeout: ms(1200),
        absent_after: ms(1300),
        retry_after: ms(1400),
        claim_timeout: s(11),
        pulse: ms(1600),
        relock_on_open: false,
        ledger_timeout: ms(1700),
        lockout_after: 8,
        lockout_window: s(50),
        lockout_for: s(40),
        held_open_after: s(45),
        held_open_prealert: s(15),
    };
    assert_eq!(config.policy(), policy);
}

#[test]
fn each_measure_of_a_face_is_its_own_limit() {
    let config = parse(
        "[faces]
        min_size_px = 20.0
        min_sharpness = 0.2
        min_luminance = 40.0
        max_luminance = 210.0
        max_yaw = 0.7
        max_pitch = 0.5
        max_roll = 30.0
        min_detector = 0.8",
    )
    .unwrap();
    let limits = Limits {
        min_size_px: 20.0,
        min_sharpness: 0.2,
        luminance: [40.0, 210.0],
        max_yaw: 0.7,
        max_pitch: 0.5,
        max_roll: 30.0,
        min_detector: 0.8,
    };
    assert_eq!(config.limits(), limits);
}

#[test]
fn events_are_kept_for_so_many_days_or_for_ever() {
    let retention = |days: u32| parse(&format!("[store]\nretention_days = {days}\n")).unwrap().retention();
    let s = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!([0, 1, 90].map(retention), [None, s(86_400), s(7_776_000)]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_keys_there_are() {
    let said = refusal("[camera]\nfps = 10\n\n[gate]\nagree = 2\npuls_ms = 10\n");
    assert!(said.starts_with("/etc/door.toml, line 6: gate.puls_ms: there is no such key here"), "{said}");
    assert!(said.contains("`pulse_ms`"), "{said}");
    let said = refusal("[gates]\n");
    assert!(said.starts_with("/etc/door.toml, line 1: gates: there is no such key here"), "{said}");
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    let said = refusal("[gate]\ntarget_fmr = 2.0\n");
    assert!(said.starts_with("/etc/door.toml, line 2: gate.target_fmr: 2 is no rate"), "{said}");
    let said = refusal("[gate]\n\nagree = \"three\"\n");
    assert!(said.starts_with("/etc/door.toml, line 3: gate.agree: invalid type: string"), "{said}");
    let said = refusal("gate.pulse_ms = -5\n");
    assert!(said.starts_with("/etc/door.toml, line 1: gate.pulse_ms: "), "{said}");
    let said = refusal("[strike]\nkind = \"magnet\"\n");
    assert!(said.contains("line 2: strike.kind: unknown variant `magnet`, expected one of `gpiochip`"), "{said}");
    let said = refusal("[strike]\nkind = \"recording\"\nline = true\n");
    assert!(said.contains("line 3: strike.line: ") && said.contains("or its name"), "{said}");
}

#[test]
fn a_value_out_of_range_is_named_with_its_line() {
    let said = refusal("[gate]\nagree = 2\npulse_ms = 60000\n");
    assert!(said.starts_with("/etc/door.toml, line 3: gate.pulse_ms: 60s is out of range, 100 ms to 30 s"), "{said}");
    let said = refusal("[gate]\nmargin = nan\n");
    assert!(said.contains("line 2: gate.margin"), "{said}");
    let said = refusal("[gate]\nheld_open_after_s = 5\n");
    let by_default = "gate.held_open_prealert_s (its default): 10s is out of range";
    assert!(said.starts_with(&format!("/etc/door.toml, line 2: {by_default}")), "{said}");
}

#[test]
fn a_default_that_a_value_does_not_suit_is_named_with_that_values_line_or_its_sections() {
    for (text, says) in [
        ("[gate]\nmargin = 0.1\nof = 2\n", "line 3: gate.agree (its default): 3 is out of range"),
        ("[faces]\nmin_luminance = 250\n", "line 2: faces.max_luminance (its default): 225"),
    ] {
        let said = refusal(text);
        assert!(said.starts_with(&format!("/etc/door.toml, {says}")), "{said}");
    }
    assert!(refusal("[sensor]\nkind = \"light\"\n").contains("write [[sensor]]"));
}

#[test]
fn times_by_which_nobody_is_ever_admitted_are_named_with_the_reason() {
    let said = refusal("[gate]\nattempt_timeout_ms = 2499\n");
    assert!(said.starts_with("/etc/door.toml, line 2: gate.attempt_timeout_ms: 2.499s is over before"), "{said}");
    let said = refusal("[gate]\nclaim_timeout_s = 2\n");
    assert!(said.starts_with("/etc/door.toml, line 2: gate.claim_timeout_s: 2s is over before liveness"), "{said}");
    let said = refusal("[gate]\nagree = 16\nof = 16\nstale_after_ms = 500\n");
    assert!(said.starts_with("/etc/door.toml, line 4: gate.stale_after_ms: at 30 frames a second"), "{said}");
    let pictures = "[liveness]\ni_accept_that_a_photograph_opens_this_door = true\n";
    for (slow, said) in [
        (
            "[camera]\nfps = 5\n[gate]\nabsent_after_ms = 200\n",
            "line 4: gate.absent_after_ms: at 5 frames a second who",
        ),
        (
            "[camera]\nfps = 4\n[gate]\nagree = 5\nattempt_timeout_ms = 1000\n",
            "line 5: gate.attempt_timeout_ms: at 4 frames a second it is over before 5 have come",
        ),
        (
            "[camera]\nfps = 4\n[gate]\nagree = 5\nclaim_timeout_s = 1\n",
            "line 5: gate.claim_timeout_s: at 4 frames a second it is over before 5 have come",
        ),
    ] {
        let told = refusal(&format!("{slow}{pictures}"));
        assert!(told.starts_with(&format!("/etc/door.toml, {said}")), "{told}");
    }
    for fine in [
        "[gate]\nattempt_timeout_ms = 2500\nclaim_timeout_s = 3\n",
        "[gate]\nmode = \"verification\"\nattempt_timeout_ms = 500\n",
        "[gate]\nagree = 16\nof = 16\nstale_after_ms = 501\n",
        &format!("[camera]\nfps = 1.1\n[gate]\nagree = 1\n{pictures}"),
        &format!("[gate]\nattempt_timeout_ms = 500\nclaim_timeout_s = 1\n{pictures}"),
    ] {
        parse(fine).unwrap();
    }
}

#[test]
fn a_camera_is_asked_only_for_frames_that_can_be_held_at_a_rate_that_is_one() {
    for wrong in ["width = 0", "width = 8193", "height = 0", "height = 4294967295"] {
        let said = refusal(&format!("[camera]\ndevice = \"/dev/video2\"\n{wrong}\n"));
        let key = wrong.split(' ').next().unwrap();
        assert!(said.starts_with(&format!("/etc/door.toml, line 3: camera.{key}: ")), "{said}");
        assert!(said.contains("out of range, 1 to 8192"), "{said}");
    }
    for wrong in ["0", "0.5", "-30.0", "nan", "inf", "1000.5"] {
        let said = refusal(&format!("[camera]\nfps = {wrong}\n"));
        assert!(said.starts_with("/etc/door.toml, line 2: camera.fps: "), "{said}");
        assert!(said.contains("out of range, more than 0.5 and at most 1000"), "{said}");
    }
    parse("[camera]\nwidth = 8192\nheight = 1\nfps = 12\n").unwrap();
    parse("[camera]\nfps = 1000\n").unwrap();
    let said = refusal("[camera]\nfps = 11.9\n");
    assert!(
        said.starts_with("/etc/door.toml, line 2: camera.fps: 11.9 frames a second are too few for liveness"),
        "{said}"
    );
    let pictures = "[liveness]\ni_accept_that_a_photograph_opens_this_door = true\n";
    parse(&format!("[camera]\nfps = 7.5\n{pictures}")).unwrap();
}

#[test]
fn broken_toml_is_told_by_its_line() {
    let said = refusal("[gate]\nagree = \n");
    assert!(said.starts_with("/etc/door.toml, line 2: "), "{said}");
    assert!(refusal("\u{0}").starts_with("/etc/door.toml, line 1: "));
}

#[test]
fn a_strike_that_moves_on_pictures_alone_needs_the_one_explicit_line() {
    let strike = "[strike]\nkind = \"gpiochip\"\nline = 17\n[liveness]\n";
    for liveness in ["", "required = []", "required = [\"camera\"]", "sensors = []"] {
        let said = refusal(&format!("{strike}{liveness}"));
        assert!(said.contains("line 2: strike.kind") && said.contains("camera_only_opens_the_door = true"), "{said}");
    }
    let camera_only = parse(&format!("{strike}camera_only_opens_the_door = true\n")).unwrap();
    assert_eq!(camera_only.policy().liveness, LivenessPolicy::Required);
    assert!(camera_only.camera_alone_opens() && !camera_only.photograph_opens());
    let accept = "i_accept_that_a_photograph_opens_this_door = true\n";
    let config = parse(&format!("{strike}{accept}")).unwrap();
    assert_eq!(config.policy().liveness, LivenessPolicy::NotRequired);
    assert!(config.photograph_opens() && !config.recording_opens());
    assert!(refusal(&format!("{strike}{accept}required = [\"camera\"]")).contains("liveness.required"));
}

#[test]
fn a_strike_that_moves_on_a_recording_is_known() {
    let replay = "[replay]\npath = \"day.y4m\"\n";
    assert!(!parse(replay).unwrap().recording_opens(), "nothing moves");
    let strike = "[strike]\nkind = \"gpiochip\"\nline = 17\n[liveness]\ncamera_only_opens_the_door = true\n";
    assert!(!parse(strike).unwrap().recording_opens());
    assert!(parse(&format!("{replay}{strike}")).unwrap().recording_opens());
}

#[test]
fn a_network_for_single_frames_or_a_sensor_that_is_not_required_tells_no_person_from_a_picture() {
    let strike = "[strike]\nkind = \"gpiochip\"\nline = 17\n[liveness]\n";
    let depth = "\n[[sensor]]\nkind = \"depth\"\ndriver = \"vl53l5cx\"\ndevice = \"/dev/i2c-1\"\n";
    for (liveness, sensor) in [
        ("antispoof = [\"x\"]", ""),
        ("antispoof = [\"x\"]\nrequired = [\"antispoof\"]", ""),
        ("required = [\"camera\"]", depth),
        ("sensors = [\"camera\"]", depth),
    ] {
        let said = refusal(&format!("{strike}{liveness}{sensor}"));
        assert!(said.contains("camera_only_opens_the_door = true"), "{liveness}: {said}");
        let config = parse(&format!("{strike}camera_only_opens_the_door = true\n{liveness}{sensor}")).unwrap();
        assert!(config.camera_alone_opens(), "{liveness}");
    }
    let config = parse(&format!("{strike}{depth}")).unwrap();
    assert!(!config.camera_alone_opens());
    let both: SourceSet = [Source::Camera, Source::Depth].into_iter().collect();
    assert_eq!(config.liveness.required(config.sources()), both);
}

#[test]
fn liveness_asks_only_for_what_the_door_has_and_in_range() {
    assert!(refusal("[liveness]\nsensors = [\"thermal\"]\n").contains("the door has no thermal"));
    assert!(refusal("[liveness]\nrequired = [\"touch\"]\n").contains("touch takes no part"));
    assert!(refusal("[liveness]\nsensors = [\"nose\"]\n").contains("unknown variant `nose`"));
    for wrong in ["target_bpcer = 0.6", "target_bpcer = nan", "camera_view_deg = 180"] {
        assert!(refusal(&format!("[liveness]\n{wrong}\n")).contains("out of range"), "{wrong}");
    }
}

#[test]
fn wires_that_cross_are_refused() {
    let said = refusal("[inputs.exit_button]\nline = 5\n[inputs.door_contact]\nline = 5\n");
    assert!(said.contains("line 4: inputs.door_contact.line"), "{said}");
    assert!(refusal("[strike]\nkind = \"gpiochip\"\n").contains("needs strike.line"));
    assert!(refusal("[strike]\nkind = \"raspberry-pi\"\nline = \"GPIO17\"\n").contains("BCM number"));
    let said = refusal("[strike]\nkind = \"gpiochip\"\nline = \"a\"\n[inputs.exit_button]\nline = \"a\"\n");
    assert!(said.contains("an input hangs on the same line"), "{said}");
    let said = refusal("[strike]\nkind = \"gpiochip\"\nline = 22\n[inputs.door_contact]\nline = 22\n");
    assert!(said.contains("an input hangs on the same line"), "{said}");
}

#[test]
fn a_contact_is_given_a_second_at_most_to_come_to_rest() {
    assert_eq!(parse("[inputs]\ndebounce_ms = 1000\n").unwrap().inputs.debounce_ms, 1000);
    let said = refusal("[inputs]\ndebounce_ms = 1001\n");
    assert!(said.starts_with("/etc/door.toml, line 2: inputs.debounce_ms: out of range, 0 to 1000"), "{said}");
}

#[test]
fn the_socket_is_for_a_group_or_for_thirty_two_uids_at_most() {
    let of_uids = |n: u32| format!("[control]\nallowed_uids = {:?}\n", (1000..1000 + n).collect::<Vec<_>>());
    assert_eq!(parse(&of_uids(32)).unwrap().control.allowed_uids.len(), 32);
    let said = refusal(&of_uids(33));
    assert!(said.starts_with("/etc/door.toml, line 2: control.allowed_uids: more than 32 uids"), "{said}");
    assert_eq!(parse("[control]\ngroup = \"door\"\n").unwrap().control.group.as_deref(), Some("door"));
    let said = refusal(&(of_uids(1) + "group = \"door\"\n"));
    assert!(said.starts_with("/etc/door.toml, line 3: control.group: name either"), "{said}");
}

#[test]
fn a_socket_of_a_name_that_none_can_have_is_refused_with_its_line() {
    let of = |name: &str| format!("[control]\nsocket = \"{name}\"\n");
    for (name, why) in [("", "is empty"), ("/run/a\\u0000b", "U+0000"), (&"/".repeat(108), "108 bytes long")] {
        let said = refusal(&of(name));
        assert!(said.starts_with("/etc/door.toml, line 2: control.socket: ") && said.contains(why), "{said}");
    }
    parse(&of(&"/".repeat(107))).unwrap();
}

#[test]
fn a_recording_is_always_played_in_its_own_time() {
    let said = refusal("[replay]\npath = \"day.y4m\"\nreal_time = false\n");
    assert!(said.contains("line 3: replay.real_time: there is no such key"), "{said}");
}

#[test]
fn one_chip_by_two_names_is_one_chip() {
    let dev = tempfile::tempdir().unwrap();
    let [chip, link] = ["gpiochip0", "gpiochip4"].map(|name| dev.path().join(name));
    std::fs::write(&chip, "").unwrap();
    std::os::unix::fs::symlink("gpiochip0", &link).unwrap();
    let said = refusal(&format!(
        "[strike]\nkind = \"gpiochip\"\nchip = {link:?}\nline = 17\n[inputs.exit_button]\nline = 17\nchip = {chip:?}\n"
    ));
    assert!(said.contains("an input hangs on the same line"), "{said}");
}

#[test]
fn a_raspberry_pis_registers_hold_no_fail_safe_lock() {
    let pi = "[strike]\nkind = \"raspberry-pi\"\nline = 17\n";
    let said = refusal(&format!("{pi}fail = \"safe\"\n"));
    assert!(said.starts_with("/etc/door.toml, line 2: strike.kind: ") && said.contains("exit button dead"), "{said}");
    parse(&format!("{pi}fail = \"secure\"\n[liveness]\ncamera_only_opens_the_door = true\n")).unwrap();
}

#[test]
fn a_file_that_is_none_or_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said = Config::load(dir.path()).unwrap_err().to_string();
    assert!(said.contains("can't be read") && said.contains("check that it is a file"), "{said}");
    let long = dir.path().join("long.toml");
    assert!(matches!(Config::load(&long), Err(ConfigError::Missing { .. })));
    std::fs::write(&long, "#".repeat(70_000)).unwrap();
    assert!(matches!(Config::load(&long), Err(ConfigError::Long { .. })));
    std::fs::write(&long, b"[gate]\n# T\xfcr\n").unwrap();
    let said = Config::load(&long).unwrap_err().to_string();
    assert!(said.contains("long.toml, line 2: a character here isn't UTF-8"), "{said}");
}

#[test]
fn a_sensor_that_makes_no_sense_is_named_by_its_number_and_line() {
    let light = "[[sensor]]\nkind = \"light\"\ndriver = \"iio\"\ndevice = \"bh1750\"\n";
    assert_eq!(parse(light).unwrap().sensors.len(), 1);
    let touch = "[[sensor]]\nkind = \"touch\"\ndriver = \"iio\"\ndevice = \"max30102\"\n";
    let said = refusal(&format!("{light}{touch}rate_hz = 1000\n"));
    assert!(said.starts_with("/etc/door.toml, line 9: sensor.2.rate_hz: 1000 is out of range, 10 to 100"), "{said}");
    let said = refusal(&format!("{light}{touch}rat_hz = 25\n"));
    assert!(said.starts_with("/etc/door.toml, line 9: sensor.2.rat_hz: there is no such key here"), "{said}");
    let said = refusal(&format!("{light}{touch}{light}"));
    assert!(said.starts_with("/etc/door.toml, line 10: sensor.3.kind: a second sensor of this kind"), "{said}");
    let said = refusal("[[sensor]]\nkind = \"light\"\n");
    assert!(said.starts_with("/etc/door.toml, line 1: ") && said.contains("missing field `driver`"), "{said}");
}

#[test]
fn the_slowest_sensor_of_each_kind_leaves_no_gap_that_liveness_does_not_bridge() {
    use crate::hw::sensors::{Driver, least_rate};
    use crate::liveness::Source;
    // What the thread of a sensor sleeps between two looks at it.
    const PAUSE_S: f32 = 0.02;
    for kind in Driver::ALL.iter().flat_map(|driver| driver.kinds()) {
        let Some(source) = Source::of(*kind) else { continue };
        let (hold, gap) = (source.hold().as_secs_f32(), 1.0 / least_rate(*kind));
        assert!(gap + PAUSE_S <= hold + 1e-6, "{kind:?}: a gap of {gap} s");
        assert!(gap * 1.5 > hold, "{kind:?}: slower would do");
    }
}

#[test]
fn a_configuration_cut_at_any_byte_is_read_or_refused() {
    for cut in 0..SAMPLE.len() {
        if let Some(text) = SAMPLE.get(..cut) {
            let _read_or_refused = Config::parse(text, Path::new("cut"));
        }
    }
}

const SECTIONS: [&str; 12] = [
    "camera",
    "replay",
    "faces",
    "gate",
    "strike",
    "inputs",
    "inputs.exit_button",
    "inputs.door_contact",
    "store",
    "control",
    "liveness",
    "[sensor]",
];
const SAMPLE: &str = include_str!("../../systemd/facelatch.toml");

#[test]
fn the_sample_states_the_defaults() {
    assert_eq!(parse(SAMPLE).unwrap(), Config::default());
}

#[test]
fn the_sample_states_what_a_camera_may_be_asked_for() {
    let ranges = format!(
        "# width and height: 1 to {MAX_SIDE}. fps: more than {} and at most {}; where liveness is required, at least {MIN_FPS}.\n",
        CameraConfig::MIN_FPS,
        CameraConfig::MAX_FPS
    );
    assert!(SAMPLE.contains(&ranges), "{ranges}");
}

#[test]
fn the_sample_states_the_ranges_beyond_which_a_number_is_refused() {
    let sensor =
        |kind: &str, driver: &str| format!("[[sensor]]\nkind = {kind:?}\ndriver = {driver:?}\ndevice = \"x\"\n");
    let sensors = [("thermal", "mlx90640"), ("proximity", "iio"), ("depth", "grid")];
    let [thermal, proximity, grid] = sensors.map(|(kind, driver)| sensor(kind, driver));
    let faces = "[faces]\n".to_owned();
    for (section, key, beyond) in [
        (&faces, "detect_px", "1"),
        (&faces, "threads", "0"),
        (&faces, "templates_a_person", "0"),
        (&faces, "min_size_px", "0"),
        (&faces, "min_sharpness", "-1"),
        (&faces, "min_luminance", "-1"),
        (&faces, "max_yaw", "3"),
        (&faces, "max_pitch", "3"),
        (&faces, "max_roll", "200"),
        (&faces, "min_detector", "2"),
        (&thermal, "address", "1"),
        (&thermal, "view_deg", "[0, 50]"),
        (&thermal, "emissivity", "2"),
        (&proximity, "full_scale", "0"),
        (&proximity, "dark_full_scale", "0"),
        (&grid, "baud", "1"),
    ] {
        let said = refusal(&format!("{section}{key} = {beyond}\n"));
        let range = said.split_once("out of range, ").and_then(|(_, rest)| rest.split(';').next());
        let stated = format!("{key}: {}", range.unwrap_or_else(|| panic!("{said}")));
        assert!(SAMPLE.contains(&stated), "{stated}");
    }
}

#[test]
fn the_sample_explains_every_key_and_no_other() {
    let key_of = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let uncommented = || SAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let tables = uncommented()
        .filter_map(|line| Some(line.strip_prefix('[')?.strip_suffix(']')?.rsplit('.').next()?.to_owned()));
    let stated: Vec<String> = uncommented().filter_map(key_of).filter(|key| is_key(key)).chain(tables).collect();
    for section in SECTIONS {
        let known = refusal(&format!("[{section}]\nzz = 1\n"));
        for key in known.split('`').skip(1).step_by(2) {
            assert!(stated.iter().any(|s| s == key), "{section}.{key} is not explained");
        }
    }
    let shown = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with('[') || key_of(rest).is_some_and(|key| is_key(&key)) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    });
    let everything = shown.collect::<String>();
    assert!(parse(&everything).is_ok(), "{:?}", parse(&everything));
}
