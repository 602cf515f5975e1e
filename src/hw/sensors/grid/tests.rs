use std::io::Write as _;
use std::os::fd::OwnedFd;

use super::super::config::Driver;
use super::*;

fn sealed(body: &str) -> String {
    format!("{body}*{:02x}\n", body.bytes().fold(0, |sum, byte| sum ^ byte))
}

fn parse(body: &str) -> Result<(GridLine, Vec<f32>), LineError> {
    let mut cells = Vec::new();
    parse_line(sealed(body).as_bytes(), &mut cells).map(|line| (line, cells))
}

#[test]
fn a_line_is_its_head_and_its_cells() {
    let (line, cells) = parse("depth 2 2 12 612 -  -5.5 640").unwrap();
    let age = Duration::from_millis(12);
    assert_eq!(line, GridLine { kind: SensorKind::Depth, columns: 2, rows: 2, age });
    assert!(cells[1].is_nan() && (cells[0], cells[2], cells[3]) == (612.0, -5.5, 640.0));
}

#[test]
fn a_line_that_is_wrong_in_any_way_is_refused() {
    for body in [
        "",
        "depth",
        "death 1 1 0 5",
        "depth x 1 0 5",
        "depth 1 1 0",
        "depth 1 1 0 5 6",
        "depth 0 1 0",
        "depth 1 1 0 nan",
        "depth 1 1 0 inf",
        "depth 4294967295 4294967295 0 1",
        "depth 64 64 0 1",
        "depth 1 1 60001 5",
        "depth 1 1 -1 5",
    ] {
        assert!(matches!(parse(body), Err(LineError::Form(_))), "{body}: {:?}", parse(body));
    }
    let mut cells = Vec::new();
    let whole = sealed("depth 1 1 0 5");
    for cut in 0..whole.len() - 1 {
        assert!(parse_line(&whole.as_bytes()[..cut], &mut cells).is_err(), "cut at {cut}");
    }
    let error = parse_line(b"depth 1 1 0 6*51", &mut cells).unwrap_err();
    assert!(matches!(error, LineError::Sum { found: 0x51, .. }), "{error}");
    assert_eq!(parse_line(b"depth 1 1 0 6*+1", &mut cells), Err(LineError::NoSum));
    assert_eq!(parse_line(&[b' '; MAX_LINE_BYTES + 1], &mut cells), Err(LineError::Long));
}

fn ms(reading: Option<Reading<'_>>) -> Option<(u64, Vec<f32>)> {
    let reading = reading?;
    match reading.value {
        Value::Depth(grid) | Value::Thermal(grid) => Some((reading.at.as_millis(), grid.cells.to_vec())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_takes_a_line_a_datagram_and_replaces_one_that_was_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("depth.sock");
    drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
    let config = SensorConfig::new(SensorKind::Depth, Driver::Grid, format!("unix:{}", path.display()));
    let mut sensor = open(&config).unwrap();
    let now = Instant::from_millis(1000);
    assert_eq!(sensor.poll(now), Ok(None));
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.send_to(sealed("depth 2 1 40 500 510").as_bytes(), &path).unwrap();
    sender.send_to(sealed("thermal 2 1 0 30 31").as_bytes(), &path).unwrap();
    sender.send_to(b"noise", &path).unwrap();
    sender.send_to(&vec![b'9'; MAX_LINE_BYTES + 10], &path).unwrap();
    assert_eq!(ms(sensor.poll(now).unwrap()), Some((960, vec![500.0, 510.0])));
    let error = sensor.poll(now).unwrap_err();
    assert!(error.reason.contains("the configuration says depth"), "{error}");
    assert_eq!(sensor.poll(now), Ok(None), "damaged lines are dropped");
    sender.send_to(sealed("depth 2 1 0 520 530").as_bytes(), &path).unwrap();
    assert_eq!(ms(sensor.poll(now).unwrap()), Some((1000, vec![520.0, 530.0])));
    drop(sensor);
    assert!(!path.exists(), "it goes with the sensor");
}

#[test]
fn a_sockets_directory_that_went_with_the_service_is_made_and_no_more_than_that() {
    let run = tempfile::tempdir().unwrap();
    let at = |path: &str| {
        let device = format!("unix:{}", run.path().join(path).display());
        open(&SensorConfig::new(SensorKind::Depth, Driver::Grid, device)).err().map(|error| error.reason)
    };
    assert_eq!(at("facelatch/depth.sock"), None);
    assert_eq!(at("facelatch/depth.sock"), None, "nor is one that is there in the way");
    std::os::unix::fs::symlink("facelatch", run.path().join("link")).unwrap();
    assert_eq!(at("link/depth.sock"), None, "nor one behind a link, as /var/run is");
    assert!(at("nowhere/at/all.sock").is_some());
    assert!(!run.path().join("nowhere").exists());
}

#[test]
fn a_file_in_the_sockets_place_is_left_alone_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("depth.sock");
    std::fs::write(&path, "precious").unwrap();
    let config = SensorConfig::new(SensorKind::Depth, Driver::Grid, format!("unix:{}", path.display()));
    assert!(open(&config).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let config = SensorConfig::new(SensorKind::Depth, Driver::Grid, dir.path().join("ttyACM0"));
    assert!(open(&config).err().unwrap().reason.contains("ls /dev/serial/by-id"));
}

/// A thermal sensor at one end of a pipe, in a serial port's place, and the other end.
fn on_a_pipe() -> (Grids, File) {
    let (near, far) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&near, rustix::fs::OFlags::NONBLOCK).unwrap();
    let config = SensorConfig::new(SensorKind::Thermal, Driver::Grid, "/dev/ttyACM0");
    (Grids::new(&config, Source::Port(OwnedFd::from(near).into())), OwnedFd::from(far).into())
}

#[test]
fn a_serial_port_gives_whole_lines_however_they_are_cut_up() {
    let (mut sensor, mut far) = on_a_pipe();
    let now = Instant::from_millis(50);
    let line = sealed("thermal 3 1 0 20.25 31.5 -");
    let mut next = |bytes: &[u8]| {
        far.write_all(bytes).unwrap();
        sensor.poll(now).map(|reading| ms(reading).unwrap_or_default())
    };
    assert_eq!(next(&line.as_bytes()[..9]), Ok((0, Vec::new())));
    let (at, cells) = next(&line.as_bytes()[9..]).unwrap();
    assert!(at == 50 && cells[..2] == [20.25, 31.5] && cells[2].is_nan());
    let damaged = [&b"\xff\xfe\x00\n"[..], line.as_bytes()].concat();
    for _ in 0..2 * MAX_DAMAGED {
        assert_eq!(next(&damaged).unwrap().1[..2], [20.25, 31.5], "the line after a damaged one is whole");
    }
    drop(far);
    assert!(sensor.poll(now).unwrap_err().reason.contains("unplugged"));
}

#[test]
fn a_line_without_an_end_takes_no_more_memory_than_the_longest() {
    let (mut sensor, mut far) = on_a_pipe();
    for _ in 0..32 {
        far.write_all(&[b'7'; 4096]).unwrap();
        assert_eq!(sensor.poll(Instant::BOOT), Ok(None));
        assert!(sensor.line.len() <= MAX_LINE_BYTES + 2 && sensor.ahead.is_empty());
    }
    far.write_all(b"\n").unwrap();
    assert_eq!(sensor.poll(Instant::BOOT), Ok(None));
    assert_eq!(sensor.damaged, 1);
    far.write_all(sealed("thermal 1 1 0 30").as_bytes()).unwrap();
    assert_eq!(ms(sensor.poll(Instant::BOOT).unwrap()), Some((0, vec![30.0])));
}

#[test]
fn lines_that_are_all_damaged_are_an_error_that_says_why_until_one_is_whole() {
    let (mut sensor, mut far) = on_a_pipe();
    for round in 0..2 {
        for _ in 0..MAX_DAMAGED {
            far.write_all(b"thermal 1 1 0 31*00\n").unwrap();
            assert_eq!(sensor.poll(Instant::BOOT), Ok(None), "round {round}");
        }
        far.write_all(b"thermal 1 1 0 31*00\n").unwrap();
        assert!(sensor.poll(Instant::BOOT).unwrap_err().reason.contains("bits a second that differ"));
        far.write_all(sealed("thermal 1 1 0 30").as_bytes()).unwrap();
        assert_eq!(ms(sensor.poll(Instant::BOOT).unwrap()), Some((0, vec![30.0])));
    }
}

#[test]
fn a_character_device_that_is_no_terminal_is_read_and_one_that_is_none_is_not() {
    let config = SensorConfig::new(SensorKind::Depth, Driver::Grid, "/dev/null");
    assert!(open(&config).unwrap().poll(Instant::BOOT).unwrap_err().reason.contains("unplugged"));
    let config = SensorConfig::new(SensorKind::Depth, Driver::Grid, "/etc/passwd");
    assert!(open(&config).err().unwrap().reason.contains("no character device"));
}
