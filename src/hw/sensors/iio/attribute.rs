//! One attribute of sysfs: a short line of text that is read anew each time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Longer than any attribute that is read here.
const MAX_BYTES: usize = 128;

/// An attribute that is read again and again. The file stays open, so that a device that has gone is noticed as such.
#[derive(Debug)]
pub(super) struct Attribute(File);

impl Attribute {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Its number as it is now.
    pub(super) fn number(&self) -> io::Result<f64> {
        let mut bytes = [0; MAX_BYTES];
        let length = self.0.read_at(&mut bytes, 0)?;
        parse(text(&bytes[..length])?)
    }
}

/// The text of an attribute, without its newline.
pub(in crate::hw::sensors) fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = [0; MAX_BYTES];
    let length = File::open(path)?.read_at(&mut bytes, 0)?;
    text(&bytes[..length]).map(str::to_owned)
}

/// The number of an attribute that stays.
pub(super) fn read_number(path: &Path) -> io::Result<f64> {
    parse(&read_text(path)?)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map(str::trim).map_err(|_| strange("bytes that are no text"))
}

/// Decimal, as the ABI has it; `inf` and `nan`, which Rust would read, are no measurement.
fn parse(text: &str) -> io::Result<f64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| strange(&format!("{:?} where a number should be", text.chars().take(20).collect::<String>())))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The scale or offset of a channel: its own, or that of all channels of its type (`in_accel_x`, `in_accel`), or what
/// it is where the driver has none.
///
/// # Errors
/// It is there and can't be read: a value by another scale would be some other value.
pub(super) fn shared(dir: &Path, channel: &str, what: &str, otherwise: f64) -> io::Result<f64> {
    let mut name = channel;
    loop {
        let attribute = format!("{name}_{what}");
        match read_number(&dir.join(&attribute)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read.map_err(|error| io::Error::new(error.kind(), format!("{attribute}: {error}"))),
        }
        match name.rsplit_once('_') {
            Some((shorter, _)) if shorter != "in" => name = shorter,
            // A type that is numbered: in_illuminance0 has in_illuminance_scale, too.
            _ if name.ends_with(|c: char| c.is_ascii_digit()) => {
                name = name.trim_end_matches(|c: char| c.is_ascii_digit())
            }
            _ => return Ok(otherwise),
        }
    }
}
