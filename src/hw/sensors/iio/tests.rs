//! Devices as the kernel's drivers show them, in a directory of our own.

use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::hw::sensors::config::Driver;
use crate::time::Instant;

struct Board {
    root: tempfile::TempDir,
}

impl Board {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["sys", "dev"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        Self { root }
    }

    fn places(&self) -> Places {
        Places { sys: self.root.path().join("sys"), dev: self.root.path().join("dev") }
    }

    /// The driver puts scans into the buffer of device `n`, which the kernel keeps until they are read.
    fn measure(&self, n: usize, scans: &[u8]) {
        let node = self.places().dev.join(format!("iio:device{n}"));
        let mut buffer = std::fs::OpenOptions::new().create(true).append(true).open(node).unwrap();
        buffer.write_all(scans).unwrap();
    }

    /// A device with its attributes; `n` is its number.
    fn add(&self, n: usize, attributes: &[(&str, &str)]) -> PathBuf {
        let dir = self.places().sys.join(format!("iio:device{n}"));
        for (name, text) in attributes {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        dir
    }
}

fn config(kind: SensorKind, device: &str) -> SensorConfig {
    SensorConfig::new(kind, Driver::Iio, device)
}

fn read(sensor: &mut dyn Sensor, ms: u64) -> Option<Value<'static>> {
    let reading = sensor.poll(Instant::from_millis(ms)).unwrap()?;
    Some(match reading.value {
        Value::Distance(x) => Value::Distance(x),
        Value::Thermometer { object, ambient } => Value::Thermometer { object, ambient },
        Value::Proximity { lit, dark } => Value::Proximity { lit, dark },
        Value::Light(x) => Value::Light(x),
        Value::Touch(x) => Value::Touch(x),
        Value::Acceleration(axes) => Value::Acceleration(axes),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_vl53l0x_gives_millimetres_at_its_rate() {
    let board = Board::new();
    board.add(0, &[("name", "bh1750"), ("in_illuminance_raw", "120"), ("in_illuminance_scale", "0.416666")]);
    let dir = board.add(1, &[("name", "vl53l0x"), ("in_distance_raw", "612"), ("in_distance_scale", "0.001000")]);
    let mut sensor = open(&config(SensorKind::Distance, "vl53l0x"), &board.places()).unwrap();
    assert_eq!(read(&mut *sensor, 0), Some(Value::Distance(612.0)));
    std::fs::write(dir.join("in_distance_raw"), "8190\n").unwrap();
    assert_eq!(read(&mut *sensor, 39), None, "25 Hz, not faster");
    assert_eq!(read(&mut *sensor, 40), Some(Value::Distance(8190.0)));
    assert!(sensor.describe().contains("vl53l0x"));
    let mut light = open(&config(SensorKind::Light, "iio:device0"), &board.places()).unwrap();
    assert!(matches!(read(&mut *light, 0), Some(Value::Light(lux)) if (lux - 50.0).abs() < 0.01));
}

#[test]
fn an_mlx90614_offsets_and_scales_both_of_its_temperatures() {
    let board = Board::new();
    let shared = [("in_temp_offset", "-13657.500000"), ("in_temp_scale", "20")];
    board.add(
        0,
        &[
            ("name", "mlx90614"),
            ("in_temp_object_raw", "15357"),
            ("in_temp_ambient_raw", "14657"),
            shared[0],
            shared[1],
        ],
    );
    let mut sensor = open(&config(SensorKind::Thermometer, "mlx90614"), &board.places()).unwrap();
    let Some(Value::Thermometer { object, ambient }) = read(&mut *sensor, 0) else { panic!("no reading") };
    assert!((object - 33.99).abs() < 0.001 && (ambient - 19.99).abs() < 0.001, "{object} {ambient}");
}

#[test]
fn a_light_sensor_that_computes_lux_itself_is_believed() {
    let board = Board::new();
    board.add(0, &[("name", "tsl2563"), ("in_illuminance0_input", "1250.5"), ("in_illuminance0_raw", "9")]);
    let mut sensor = open(&config(SensorKind::Light, "tsl2563"), &board.places()).unwrap();
    assert_eq!(read(&mut *sensor, 0), Some(Value::Light(1250.5)));
}

#[test]
fn what_the_driver_computes_and_cannot_be_opened_is_not_guessed_from_its_counts() {
    let board = Board::new();
    let dir = board.add(0, &[("name", "tsl2563"), ("in_illuminance0_raw", "9")]);
    let loops = dir.join("in_illuminance0_input");
    std::os::unix::fs::symlink(&loops, &loops).unwrap();
    let refused = open(&config(SensorKind::Light, "tsl2563"), &board.places()).err().unwrap();
    assert!(refused.to_string().contains("in_illuminance0_input"), "{refused}");
}

#[test]
fn proximity_comes_on_top_of_the_dark_and_needs_it() {
    let board = Board::new();
    board.add(
        0,
        &[
            ("name", "ltr501"),
            ("in_proximity_raw", "614"),
            ("in_intensity_ir_raw", "6553"),
            ("in_intensity_scale", "0.005"),
        ],
    );
    board.add(1, &[("name", "lonely"), ("in_proximity_raw", "614")]);
    let section = SensorConfig { full_scale: Some(2047.0), ..config(SensorKind::Proximity, "ltr501") };
    let mut sensor = open(&section, &board.places()).unwrap();
    let Some(Value::Proximity { lit, dark }) = read(&mut *sensor, 0) else { panic!("no reading") };
    assert!((dark - 0.1).abs() < 0.001 && (lit - dark - 0.3).abs() < 0.001, "{lit} {dark}");
    let error = open(&config(SensorKind::Proximity, "lonely"), &board.places()).err().unwrap();
    assert!(error.to_string().contains("no in_intensity_ir_raw"), "{error}");
}

#[test]
fn an_accelerometer_scales_each_axis() {
    let board = Board::new();
    let axes = [("in_accel_x_raw", "0"), ("in_accel_y_raw", "-256"), ("in_accel_z_raw", "256")];
    board.add(0, &[("name", "adxl345"), ("in_accel_scale", "0.038300"), axes[0], axes[1], axes[2]]);
    let mut sensor = open(&config(SensorKind::Acceleration, "adxl345"), &board.places()).unwrap();
    let Some(Value::Acceleration([x, y, z])) = read(&mut *sensor, 0) else { panic!("no reading") };
    assert!(x == 0.0 && (y + 9.8048).abs() < 1e-4 && (z - 9.8048).abs() < 1e-4);
}

#[test]
fn a_device_that_is_not_there_is_told_with_those_that_are() {
    let board = Board::new();
    board.add(0, &[("name", "bh1750"), ("label", "lamp"), ("in_illuminance_raw", "1")]);
    let error = open(&config(SensorKind::Distance, "vl53l0x"), &board.places()).err().unwrap();
    assert!(
        error.to_string().starts_with("vl53l0x: the kernel has no such IIO device, there are: bh1750, lamp"),
        "{error}"
    );
    assert!(open(&config(SensorKind::Light, "lamp"), &board.places()).is_ok());
    let error = open(&config(SensorKind::Distance, "lamp"), &board.places()).err().unwrap();
    assert!(error.to_string().contains("no in_distance_raw"), "{error}");
}

#[test]
fn an_attribute_that_is_no_number_is_an_error_and_the_next_may_be_fine() {
    let board = Board::new();
    let dir = board.add(0, &[("name", "x"), ("in_illuminance_raw", "12")]);
    let mut sensor = open(&config(SensorKind::Light, "x"), &board.places()).unwrap();
    let mut at = 0;
    for text in ["", "nan", "inf", "1e999", "twelve", "\u{fffd}", "12 13"] {
        std::fs::write(dir.join("in_illuminance_raw"), text).unwrap();
        at += 1000;
        assert!(sensor.poll(Instant::from_millis(at)).is_err(), "{text:?}");
    }
    std::fs::write(dir.join("in_illuminance_raw"), [0xFF; 200]).unwrap();
    assert!(sensor.poll(Instant::from_millis(at + 1000)).is_err());
    std::fs::write(dir.join("in_illuminance_raw"), "-3\n").unwrap();
    assert_eq!(read(&mut *sensor, at + 2000), Some(Value::Light(-3.0)));
}

#[test]
fn a_scale_that_is_there_and_can_not_be_read_is_an_error() {
    let board = Board::new();
    let dir = board.add(
        0,
        &[
            ("name", "mlx90614"),
            ("in_temp_object_raw", "15357"),
            ("in_temp_ambient_raw", "14657"),
            ("in_temp_offset", "-13657.500000"),
            ("in_temp_scale", ""),
        ],
    );
    let section = config(SensorKind::Thermometer, "mlx90614");
    let error = open(&section, &board.places()).err().unwrap();
    assert!(error.to_string().contains("in_temp_scale"), "{error}");
    std::fs::write(dir.join("in_temp_scale"), "20\n").unwrap();
    assert!(open(&section, &board.places()).is_ok());
}

/// As the MAX30102's driver shows it: no raw values, no time stamps.
fn ppg(board: &Board, enable: &str) -> PathBuf {
    ppg_named(board, "max30102", enable)
}

fn ppg_named(board: &Board, name: &str, enable: &str) -> PathBuf {
    let kind = "be:u18/32>>8";
    board.add(
        0,
        &[
            ("name", name),
            ("scan_elements/in_intensity_red_en", "1"),
            ("scan_elements/in_intensity_red_index", "0"),
            ("scan_elements/in_intensity_red_type", kind),
            ("scan_elements/in_intensity_ir_en", "0"),
            ("scan_elements/in_intensity_ir_index", "1"),
            ("scan_elements/in_intensity_ir_type", kind),
            ("buffer/enable", enable),
            ("buffer/length", "2"),
        ],
    )
}

#[test]
fn a_max30102_is_switched_on_and_its_buffer_read_in_the_order_of_time() {
    let board = Board::new();
    let dir = ppg(&board, "0");
    let words = |x: u32| (x << 8).to_be_bytes();
    let scans = |irs: &[u32]| irs.iter().flat_map(|ir| [words(7), words(*ir)].concat()).collect::<Vec<u8>>();
    board.measure(0, &scans(&[9; 200]));
    let section = SensorConfig { rate_hz: Some(100.0), ..config(SensorKind::Touch, "max30102") };
    let mut sensor = open(&section, &board.places()).unwrap();
    for (file, text) in [("buffer/enable", "1"), ("buffer/length", "64"), ("scan_elements/in_intensity_ir_en", "1")] {
        assert_eq!(std::fs::read_to_string(dir.join(file)).unwrap(), text, "{file}");
    }
    assert_eq!(sensor.poll(Instant::from_millis(900)), Ok(None), "what was measured before it was opened is old");
    board.measure(0, &scans(&[100_000, 131_071, 262_143]));
    let mut got = Vec::new();
    while let Some(reading) = sensor.poll(Instant::from_millis(1000)).unwrap() {
        let Value::Touch(share) = reading.value else { panic!("{reading:?}") };
        got.push((reading.at.as_millis(), (share * 1000.0).round()));
    }
    assert_eq!(got, [(680, 381.0), (690, 500.0), (700, 1000.0)], "30 more are in the chip");
}

#[test]
fn readings_are_as_old_as_what_their_driver_leaves_in_the_chip() {
    for (name, at) in [("max30102", 700), ("max30105", 700), ("max30100", 1000)] {
        let board = Board::new();
        ppg_named(&board, name, "0");
        board.measure(0, &[]);
        let mut sensor = open(&config(SensorKind::Touch, name), &board.places()).unwrap();
        board.measure(0, &[1; 8]);
        let reading = sensor.poll(Instant::from_millis(1000)).unwrap().unwrap();
        assert_eq!(reading.at, Instant::from_millis(at), "{name}");
    }
}

#[test]
fn a_max30102_as_it_is_configured_by_default_gives_stamps_that_go_on_by_its_period() {
    let board = Board::new();
    let dir = ppg(&board, "0");
    board.measure(0, &[]);
    let mut sensor = open(&config(SensorKind::Touch, "max30102"), &board.places()).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("buffer/enable")).unwrap(), "1");
    let mut stamps = Vec::new();
    for now in (1000..1200).step_by(20) {
        board.measure(0, &[1; 16]);
        while let Some(reading) = sensor.poll(Instant::from_millis(now)).unwrap() {
            stamps.push(reading.at.as_millis());
        }
    }
    assert_eq!(stamps, (690..890).step_by(10).collect::<Vec<_>>());
}

#[test]
fn a_max30102_is_timed_by_its_drivers_rate_whatever_the_configuration_asks_for() {
    let board = Board::new();
    ppg(&board, "0");
    board.measure(0, &[]);
    let section = SensorConfig { rate_hz: Some(50.0), ..config(SensorKind::Touch, "max30102") };
    let mut sensor = open(&section, &board.places()).unwrap();
    board.measure(0, &[1; 16]);
    let mut stamps = Vec::new();
    while let Some(reading) = sensor.poll(Instant::from_millis(1000)).unwrap() {
        stamps.push(reading.at.as_millis());
    }
    assert_eq!(stamps, [690, 700]);
}

#[test]
fn a_buffer_that_runs_already_is_taken_as_it_is() {
    let board = Board::new();
    let dir = ppg(&board, "1");
    let error = open(&config(SensorKind::Touch, "max30102"), &board.places()).err().unwrap();
    assert!(error.to_string().contains("runs without in_intensity_ir"), "{error}");
    std::fs::write(dir.join("scan_elements/in_intensity_ir_en"), "1").unwrap();
    let error = open(&config(SensorKind::Touch, "max30102"), &board.places()).err().unwrap();
    assert!(error.device.ends_with("iio:device0"), "{error}");
    board.measure(0, &[]);
    let mut sensor = open(&config(SensorKind::Touch, "max30102"), &board.places()).unwrap();
    board.measure(0, &[1; 12]);
    assert!(sensor.poll(Instant::BOOT).unwrap_err().reason.contains("12 bytes are no whole scans of 8"));
    assert_eq!(std::fs::read_to_string(dir.join("buffer/length")).unwrap(), "2\n");
}

/// An accelerometer whose buffer runs, with stamps of that clock.
fn stamped_by(board: &Board, clock: &str) -> Box<dyn Sensor> {
    let axis = |axis, index| {
        [
            (format!("scan_elements/in_accel_{axis}_en"), "1"),
            (format!("scan_elements/in_accel_{axis}_index"), index),
            (format!("scan_elements/in_accel_{axis}_type"), "le:s12/16>>4"),
        ]
    };
    let mut attributes = [axis("x", "0"), axis("y", "1"), axis("z", "2")].concat();
    attributes.extend([
        ("scan_elements/in_timestamp_en".to_owned(), "1"),
        ("scan_elements/in_timestamp_index".to_owned(), "3"),
        ("scan_elements/in_timestamp_type".to_owned(), "le:s64/64"),
        ("current_timestamp_clock".to_owned(), clock),
        ("buffer/enable".to_owned(), "1"),
        ("in_accel_scale".to_owned(), "0.01"),
        ("name".to_owned(), "adxl355"),
    ]);
    let attributes: Vec<_> = attributes.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    board.add(3, &attributes);
    board.measure(3, &[]);
    open(&config(SensorKind::Acceleration, "adxl355"), &board.places()).unwrap()
}

fn scan_stamped(nanos: i64) -> Vec<u8> {
    let mut scan: Vec<u8> = [0i16, -100, 980].iter().flat_map(|x| (x << 4).to_le_bytes()).collect();
    scan.extend([0, 0]);
    scan.extend(nanos.to_le_bytes());
    scan
}

#[test]
fn stamps_are_the_readings_times_whatever_clock_they_are_of() {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};
    let clocks = [
        ("boottime", DynamicClockId::Boottime),
        ("monotonic", DynamicClockId::Known(ClockId::Monotonic)),
        ("monotonic_raw", DynamicClockId::Known(ClockId::MonotonicRaw)),
        ("realtime", DynamicClockId::Known(ClockId::Realtime)),
        ("tai", DynamicClockId::Tai),
    ];
    for (name, clock) in clocks {
        let board = Board::new();
        let mut sensor = stamped_by(&board, name);
        let now = crate::ports::Clock::now(&crate::hw::clock::BootClock).mono;
        let time = clock_gettime_dynamic(clock).unwrap();
        let taken = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec) - 7_000_000_000;
        board.measure(3, &scan_stamped(taken as i64));
        let reading = sensor.poll(now).unwrap().unwrap();
        assert_eq!(reading.value, Value::Acceleration([0.0, -1.0, 9.8]));
        let off = now.since(reading.at).as_secs_f64() - 7.0;
        assert!((-0.5..1.0).contains(&off), "{name}: {off} s");
    }
}

#[test]
fn stamps_of_a_clock_that_is_not_known_are_passed_over() {
    let board = Board::new();
    let mut sensor = stamped_by(&board, "lunar");
    assert!(sensor.describe().ends_with("without time stamps"), "{}", sensor.describe());
    board.measure(3, &scan_stamped(7_000_000_000));
    let reading = sensor.poll(Instant::from_millis(9000)).unwrap().unwrap();
    assert_eq!((reading.at, reading.value), (Instant::from_millis(9000), Value::Acceleration([0.0, -1.0, 9.8])));
}

#[test]
fn devices_are_listed_with_what_a_door_can_use_of_them() {
    let board = Board::new();
    board.add(0, &[("name", "bh1750"), ("in_illuminance_raw", "120")]);
    board.add(
        1,
        &[("name", "ltr501"), ("in_proximity_raw", "9"), ("in_intensity0_raw", "4"), ("in_illuminance_input", "4")],
    );
    board.add(2, &[("name", "rpi-adc"), ("in_voltage0_raw", "1")]);
    board.add(3, &[("name", "max30102"), ("scan_elements/in_intensity_ir_en", "0"), ("buffer/enable", "0")]);
    board.add(4, &[("name", "twin"), ("in_distance_raw", "1")]);
    board.add(5, &[("name", "twin"), ("in_distance_raw", "1")]);
    let listed: Vec<_> = list(&board.places()).into_iter().map(|found| (found.device, found.kinds)).collect();
    let expected = [
        ("bh1750", vec![SensorKind::Light]),
        ("ltr501", vec![SensorKind::Proximity, SensorKind::Light]),
        ("max30102", vec![SensorKind::Touch]),
        ("iio:device4", vec![SensorKind::Distance]),
        ("iio:device5", vec![SensorKind::Distance]),
    ];
    assert_eq!(listed, expected.map(|(name, kinds)| (name.to_owned(), kinds)));
}
