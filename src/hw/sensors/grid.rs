//! Grids that come as lines of text, from a microcontroller on a serial port or from a program through a socket:
//!
//! ```text
//! depth 8 8 12 612 615 - 640 … *5c
//! ```
//!
//! `depth` (millimetres) or `thermal` (degrees Celsius); columns; rows; how many milliseconds ago it was measured;
//! columns × rows numbers from the top left, `-` where a zone saw nothing; `*` and the exclusive or of all bytes before
//! the star as two hexadecimal digits; a newline. Words are separated by one blank or more.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};

use super::config::SensorConfig;
use super::failure;
use super::mounting::Mounting;
use crate::hw::{denied, socket};
use crate::ports::{DeviceError, MAX_CELLS, Reading, Sensor, SensorKind, Value};
use crate::time::{Duration, Instant};

/// The longest line: 8 characters for each of the most cells.
pub const MAX_LINE_BYTES: usize = 8 * MAX_CELLS;
/// Damaged lines in a row that are dropped: a cable picks something up now and then, a wrong speed damages them all.
const MAX_DAMAGED: usize = 8;
/// Lines that are looked at in one poll.
const MAX_LINES_A_POLL: usize = 16;
/// A measurement older than this when it is sent is nonsense.
const MAX_AGE_MS: u32 = 60_000;
/// Bits a second where the configuration doesn't say.
const DEFAULT_BAUD: u32 = 115_200;

/// The head of a line that was taken; its cells are in the buffer that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridLine {
    pub kind: SensorKind,
    pub columns: usize,
    pub rows: usize,
    pub age: Duration,
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("it has more than {MAX_LINE_BYTES} bytes")]
    Long,
    #[error("it does not end with * and two hexadecimal digits")]
    NoSum,
    #[error("its sum is {found:02x} and should be {right:02x}: a bad cable, or bits a second that differ")]
    Sum { found: u8, right: u8 },
    #[error("{0}")]
    Form(&'static str),
}

/// Reads a line, without or with its newline, into `cells`, whose memory is used again.
///
/// # Errors
/// [`LineError`]; `cells` are unspecified then.
pub fn parse_line(line: &[u8], cells: &mut Vec<f32>) -> Result<GridLine, LineError> {
    if line.len() > MAX_LINE_BYTES {
        return Err(LineError::Long);
    }
    let line = line.trim_ascii();
    let (body, sum) = line.split_last_chunk::<3>().ok_or(LineError::NoSum)?;
    let digits = std::str::from_utf8(&sum[1..]).ok().filter(|_| sum[0] == b'*').ok_or(LineError::NoSum)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(LineError::NoSum);
    }
    let found = u8::from_str_radix(digits, 16).map_err(|_| LineError::NoSum)?;
    let right = body.iter().fold(0, |sum, byte| sum ^ byte);
    if found != right {
        return Err(LineError::Sum { found, right });
    }
    let body = std::str::from_utf8(body).map_err(|_| LineError::Form("it is no text"))?;
    let mut words = body.split_ascii_whitespace();
    let kind = match words.next() {
        Some("depth") => SensorKind::Depth,
        Some("thermal") => SensorKind::Thermal,
        _ => return Err(LineError::Form("it begins with neither depth nor thermal")),
    };
    let mut number = |what| words.next().and_then(|word| word.parse::<u32>().ok()).ok_or(LineError::Form(what));
    let (columns, rows) = (number("its columns are no number")?, number("its rows are no number")?);
    let age = number("its age is no number of milliseconds")?;
    if age > MAX_AGE_MS {
        return Err(LineError::Form("it is older than a minute"));
    }
    let (columns, rows) = (columns as usize, rows as usize);
    let count = columns.checked_mul(rows).filter(|count| (1..=MAX_CELLS).contains(count));
    let count = count.ok_or(LineError::Form("it has no cells, or more than 2048"))?;
    cells.clear();
    for word in words {
        let cell = if word == "-" { Some(f32::NAN) } else { word.parse().ok().filter(|cell: &f32| cell.is_finite()) };
        if cells.len() == count {
            return Err(LineError::Form("it has more cells than columns and rows"));
        }
        cells.push(cell.ok_or(LineError::Form("a cell is no number"))?);
    }
    if cells.len() != count {
        return Err(LineError::Form("it has fewer cells than columns and rows"));
    }
    Ok(GridLine { kind, columns, rows, age: Duration::from_millis(u64::from(age)) })
}

/// Opens what a section names: a serial port or another character device, or a socket.
pub(super) fn open(config: &SensorConfig) -> Result<Box<dyn Sensor>, DeviceError> {
    let source = match config.socket() {
        Some(path) => bind(path).map(Source::Socket),
        None => open_port(&config.device, config.baud.unwrap_or(DEFAULT_BAUD)).map(Source::Port),
    };
    let source = source.map_err(|error| failure(&config.device, why_not(&error)))?;
    Ok(Box::new(Grids::new(config, source)))
}

/// Where lines come from, none of which waits.
enum Source {
    Port(File),
    /// One line a datagram.
    Socket(Socket),
}

struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<Socket> {
    socket::make_way(path)?;
    let socket = UnixDatagram::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(Socket { socket, path: path.to_owned() })
}

fn open_port(path: &Path, baud: u32) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let port = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !port.metadata()?.file_type().is_char_device() {
        return Err(io::Error::other("it is no character device"));
    }
    if isatty(&port) {
        let mut settings = tcgetattr(&port)?;
        settings.make_raw();
        settings.set_speed(baud)?;
        tcsetattr(&port, OptionalActions::Flush, &settings)?;
    }
    Ok(port)
}

fn why_not(error: &io::Error) -> String {
    if let Some(advice) = denied::in_group(error.raw_os_error(), "dialout") {
        return format!("{error}: {advice}");
    }
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            format!(
                "{error}: plug it in; `ls /dev/serial/by-id` shows serial ports, and a socket's directory must exist"
            )
        }
        Some(libc::EIO) => "it was unplugged".to_owned(),
        _ => error.to_string(),
    }
}

struct Grids {
    kind: SensorKind,
    device: PathBuf,
    mounting: Mounting,
    source: Source,
    /// What has come of a line that has not ended yet; of a socket, the datagram.
    line: Vec<u8>,
    /// Bytes that have been read and not been looked at yet.
    ahead: Vec<u8>,
    /// Whether the line is too long and is passed over up to its end.
    is_passed_over: bool,
    /// Damaged lines since the last whole one.
    damaged: usize,
    cells: Vec<f32>,
    upright: Vec<f32>,
}

impl Grids {
    fn new(config: &SensorConfig, source: Source) -> Self {
        // Those of the VL53L5CX and the MLX90640BAB (their data sheets).
        let view = if config.kind == SensorKind::Depth { [45.0, 45.0] } else { [55.0, 35.0] };
        Self {
            kind: config.kind,
            device: config.device.clone(),
            mounting: Mounting::new(config, view),
            source,
            line: Vec::new(),
            ahead: Vec::new(),
            is_passed_over: false,
            damaged: 0,
            cells: Vec::new(),
            upright: Vec::new(),
        }
    }

    /// Puts the next whole line into `self.line`; `false` where none has come yet.
    fn next_line(&mut self) -> io::Result<bool> {
        let Self { source, line, ahead, is_passed_over, .. } = self;
        match source {
            Source::Socket(Socket { socket, .. }) => {
                // One byte more, so that a datagram that was cut off is seen to be too long.
                line.resize(MAX_LINE_BYTES + 1, 0);
                let length = unless_waiting(socket.recv(line))?;
                line.truncate(length.unwrap_or(0));
                Ok(length.is_some())
            }
            Source::Port(port) => {
                if ahead.is_empty() {
                    let mut bytes = [0; 4096];
                    let length = unless_waiting(port.read(&mut bytes))?;
                    // A port that has an end has been unplugged.
                    if length == Some(0) {
                        return Err(io::Error::from_raw_os_error(libc::EIO));
                    }
                    let length = length.unwrap_or(0);
                    ahead.extend_from_slice(&bytes[..length]);
                }
                let end = ahead.iter().position(|byte| *byte == b'\n');
                let taken = ahead.drain(..end.map_or(ahead.len(), |end| end + 1));
                if line.last() == Some(&b'\n') {
                    line.clear();
                }
                let room = (MAX_LINE_BYTES + 1).saturating_sub(line.len());
                *is_passed_over |= taken.len() > room;
                line.extend(taken.take(room));
                if end.is_none() {
                    return Ok(false);
                }
                if std::mem::take(is_passed_over) {
                    line.resize(MAX_LINE_BYTES + 1, b' ');
                }
                if line.last() != Some(&b'\n') {
                    line.push(b'\n');
                }
                Ok(true)
            }
        }
    }
}

fn unless_waiting(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Sensor for Grids {
    fn kind(&self) -> SensorKind {
        self.kind
    }

    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        let mut head = None;
        for _ in 0..MAX_LINES_A_POLL {
            let has_line = self.next_line().map_err(|error| failure(&self.device, why_not(&error)))?;
            if !has_line {
                if self.ahead.is_empty() {
                    break;
                }
                continue;
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let line = match parse_line(&self.line, &mut self.cells) {
                Ok(line) => line,
                Err(_) if self.damaged < MAX_DAMAGED => {
                    self.damaged += 1;
                    continue;
                }
                Err(error) => return Err(failure(&self.device, format!("a line that is none: {error}"))),
            };
            self.damaged = 0;
            if line.kind != self.kind {
                let (is, should) = (line.kind.as_str(), self.kind.as_str());
                return Err(failure(&self.device, format!("it measures {is}, and the configuration says {should}")));
            }
            head = Some(line);
            break;
        }
        let Some(GridLine { columns, rows, age, .. }) = head else { return Ok(None) };
        let at = now.before(age);
        let Some(grid) = self.mounting.apply(columns, rows, &self.cells, &mut self.upright) else { return Ok(None) };
        let value = if self.kind == SensorKind::Depth { Value::Depth(grid) } else { Value::Thermal(grid) };
        Ok(Some(Reading { at, value }))
    }

    fn describe(&self) -> String {
        format!("{} in lines of text from {}", self.kind.as_str(), self.device.display())
    }
}

#[cfg(test)]
mod tests;
