//! A session: what liveness' channels measured while somebody stood there, as a file that people and recipes read.
//!
//! ```text
//! # facelatch liveness session 1
//! # label = "live"
//! # source = "recorded"
//! # note = "kitchen, evening"
//! t_s,face_size,face_x,skin_g
//! 0.0000,0.1012,,151.25
//! ```
//!
//! CSV in UTF-8. The lines that begin with `#` are TOML, `label` and `source` among them; a note is optional. Columns
//! are `t_s`, then channels in the order of their table, values in the table's units. Times never fall; an empty cell
//! is no sample. There are no pixels in it.

mod writer;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Channel, Sample};
use crate::time::Instant;
pub use writer::{MAX_HELD, WriteError, Writer};

/// The first line.
pub const TITLE: &str = "# facelatch liveness session 1";
/// Rows of a session at most: more than an hour at 50 a second.
pub const MAX_ROWS: usize = 200_000;
/// Samples of a session at most, 32 MB in memory.
pub const MAX_SAMPLES: usize = 2_000_000;
/// The longest line in bytes: a time and every channel take less than 700.
pub const MAX_LINE_BYTES: usize = 2048;
/// The longest note in bytes; escaped it fits a line.
pub const MAX_NOTE_BYTES: usize = 256;
/// The latest time: a day.
pub const MAX_SECONDS: f64 = 86_400.0;
const NANOS: f64 = 1e9;

named! {
    /// Who or what stood there, as files and tables name it.
    #[derive(PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Label {
        Live = "live",
        PrintFlat = "print_flat",
        PrintCurved = "print_curved",
        PrintCutEyes = "print_cut_eyes",
        Phone = "phone",
        Tablet = "tablet",
        ScreenVideo = "screen_video",
        MaskPaper = "mask_paper",
        MaskLatex = "mask_latex",
        MaskHeated = "mask_heated",
        Mannequin = "mannequin",
        PhotoWarmPerson = "photo_warm_person",
        SensorReplay = "sensor_replay",
        Unknown = "unknown",
    }
}

impl Label {
    /// Neither a living person nor unknown.
    pub const fn is_attack(self) -> bool {
        !matches!(self, Self::Live | Self::Unknown)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

named! {
    /// Whether sensors measured it or a program made it up. Every figure from simulation has to say so.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Origin {
        Simulated = "simulated",
        Recorded = "recorded",
    }
}

/// A whole session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub label: Label,
    pub origin: Origin,
    /// Free text of at most [`MAX_NOTE_BYTES`] bytes, perhaps empty.
    pub note: String,
    /// By time, and of one time in the channels' order. Its start is [`Instant::BOOT`]. Every value is finite; one
    /// outside of its channel's limits is kept, for the window to drop.
    pub samples: Vec<Sample>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("a session's first line is {TITLE:?}")]
    Title,
    #[error("{0}")]
    Head(String),
    #[error("the head lacks {0}")]
    Missing(&'static str),
    #[error("the first column is t_s, not {0:?}")]
    NoTime(String),
    #[error("there is no channel {0:?}")]
    NoChannel(String),
    #[error("column {0} stands twice or out of the table's order")]
    ColumnOrder(&'static str),
    #[error("{got} cells instead of {expected}")]
    Cells { got: usize, expected: usize },
    #[error("{column}: {cell:?} is no finite number; where there is no sample the cell is empty")]
    Number { column: &'static str, cell: String },
    #[error("time falls, or is not 0 to {MAX_SECONDS} s")]
    Time,
    #[error("more than {MAX_ROWS} rows or {MAX_SAMPLES} samples")]
    TooMany,
    #[error("longer than {MAX_LINE_BYTES} bytes")]
    Long,
    #[error("not UTF-8")]
    NotText,
    #[error("cut off in the middle of the line")]
    Cut,
}

/// Why a session can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {error}", path.display())]
    Line { path: PathBuf, line: usize, error: LineError },
}

/// Why text is no session; [`SessionError`] adds the file.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error(transparent)]
    Read(io::Error),
    /// Lines count from 1.
    #[error("line {0}: {1}")]
    Line(usize, LineError),
}

/// The instant so many seconds after a session's start; `None` for NaN and what is outside 0 to [`MAX_SECONDS`].
pub fn instant(t_s: f64) -> Option<Instant> {
    (0.0..=MAX_SECONDS).contains(&t_s).then(|| Instant::from_nanos((t_s * NANOS).round() as u64))
}

/// The seconds from a session's start to `at`.
pub fn seconds(start: Instant, at: Instant) -> f64 {
    at.since(start).as_nanos() as f64 / NANOS
}

impl Session {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SessionError`] names the file and, where its content is wrong, the line.
    pub fn read(path: &Path) -> Result<Self, SessionError> {
        let read = |source| SessionError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        Self::parse(BufReader::new(file)).map_err(|error| match error {
            ParseError::Read(source) => read(source),
            ParseError::Line(line, error) => SessionError::Line { path: path.to_owned(), line, error },
        })
    }

    /// Reads text.
    ///
    /// # Errors
    /// [`ParseError`] has the first line that is wrong. A last line without its end was cut off.
    pub fn parse(text: impl BufRead) -> Result<Self, ParseError> {
        let mut lines = Lines { text, number: 0, line: Vec::new() };
        let title = lines.next()?;
        if title != Some(TITLE) {
            return Err(lines.wrong(LineError::Title));
        }
        let (mut head, mut columns) = (Head::default(), None);
        while columns.is_none() {
            let taken = match lines.next()? {
                None => Err(LineError::Missing("the line of columns")),
                Some(line) => match line.strip_prefix('#') {
                    Some(toml) => head.take(toml),
                    None => parse_columns(line).map(|found| columns = Some(found)),
                },
            };
            taken.map_err(|error| lines.wrong(error))?;
        }
        let (label, origin) = head.whole().map_err(|error| lines.wrong(error))?;
        let mut rows =
            Rows { columns: columns.unwrap_or_default(), last: Instant::BOOT, samples: Vec::new(), count: 0 };
        while let Some(line) = lines.next()? {
            rows.take(line).map_err(|error| lines.wrong(error))?;
        }
        Ok(Self { label, origin, note: head.note.unwrap_or_default(), samples: rows.samples })
    }

    /// The channels that have samples, in the table's order.
    pub fn channels(&self) -> Vec<Channel> {
        Channel::all().filter(|channel| self.samples.iter().any(|sample| sample.channel == *channel)).collect()
    }

    /// Writes the whole session.
    ///
    /// # Errors
    /// As [`Writer::new`] and [`Writer::write`].
    pub fn write(&self, out: impl io::Write) -> Result<(), WriteError> {
        let mut writer = Writer::new(out, self.label, self.origin, &self.note, &self.channels(), Instant::BOOT)?;
        writer.write(&self.samples)?;
        writer.finish().map(drop)
    }
}

/// Lines of bounded length, counted.
struct Lines<R> {
    text: R,
    number: usize,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end; `None` after the last.
    fn next(&mut self) -> Result<Option<&str>, ParseError> {
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.text.by_ref().take(limit).read_until(b'\n', &mut self.line).map_err(ParseError::Read)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let Some(b'\n') = self.line.pop() else {
            let error = if read > MAX_LINE_BYTES { LineError::Long } else { LineError::Cut };
            return Err(ParseError::Line(self.number, error));
        };
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        std::str::from_utf8(line).map(Some).map_err(|_| ParseError::Line(self.number, LineError::NotText))
    }

    fn wrong(&self, error: LineError) -> ParseError {
        ParseError::Line(self.number.max(1), error)
    }
}

/// What the lines with `#` say, each a line of TOML.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Head {
    label: Option<Label>,
    #[serde(rename = "source")]
    origin: Option<Origin>,
    note: Option<String>,
}

impl Head {
    fn take(&mut self, line: &str) -> Result<(), LineError> {
        let said: Self = toml::from_str(line).map_err(|error| LineError::Head(error.message().to_owned()))?;
        let twice = |is: bool, key: &str| if is { Err(LineError::Head(format!("{key} stands twice"))) } else { Ok(()) };
        twice(self.label.is_some() && said.label.is_some(), "label")?;
        twice(self.origin.is_some() && said.origin.is_some(), "source")?;
        twice(self.note.is_some() && said.note.is_some(), "note")?;
        if said.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE_BYTES) {
            return Err(LineError::Head(format!("a note has at most {MAX_NOTE_BYTES} bytes")));
        }
        self.label = self.label.or(said.label);
        self.origin = self.origin.or(said.origin);
        self.note = self.note.take().or(said.note);
        Ok(())
    }

    fn whole(&self) -> Result<(Label, Origin), LineError> {
        Ok((self.label.ok_or(LineError::Missing("label"))?, self.origin.ok_or(LineError::Missing("source"))?))
    }
}

fn parse_columns(line: &str) -> Result<Vec<Channel>, LineError> {
    let mut names = line.split(',');
    let first = names.next().unwrap_or_default();
    if first != "t_s" {
        return Err(LineError::NoTime(first.to_owned()));
    }
    let mut columns: Vec<Channel> = Vec::new();
    for name in names {
        let channel = Channel::parse(name).ok_or_else(|| LineError::NoChannel(name.to_owned()))?;
        if columns.last().is_some_and(|last| *last >= channel) {
            return Err(LineError::ColumnOrder(channel.name()));
        }
        columns.push(channel);
    }
    Ok(columns)
}

struct Rows {
    columns: Vec<Channel>,
    last: Instant,
    samples: Vec<Sample>,
    count: usize,
}

impl Rows {
    fn take(&mut self, line: &str) -> Result<(), LineError> {
        self.count += 1;
        let (got, expected) = (line.split(',').count(), self.columns.len() + 1);
        if got != expected {
            return Err(LineError::Cells { got, expected });
        }
        let mut cells = line.split(',');
        let t_s = number(cells.next().unwrap_or_default(), "t_s")?;
        let at = instant(t_s).filter(|at| *at >= self.last).ok_or(LineError::Time)?;
        self.last = at;
        for (&channel, cell) in self.columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let value = number(cell, channel.name())?;
            self.samples.push(Sample { at, channel, value });
        }
        let fits = self.count <= MAX_ROWS && self.samples.len() <= MAX_SAMPLES;
        if fits { Ok(()) } else { Err(LineError::TooMany) }
    }
}

/// A finite number.
fn number<T: std::str::FromStr + Copy + Into<f64>>(cell: &str, column: &'static str) -> Result<T, LineError> {
    let value = cell.parse::<T>().ok().filter(|value| (*value).into().is_finite());
    value.ok_or_else(|| LineError::Number { column, cell: cell.to_owned() })
}

#[cfg(test)]
mod tests;
