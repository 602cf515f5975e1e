//! Writing a session as it happens.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Label, MAX_NOTE_BYTES, MAX_ROWS, MAX_SAMPLES, MAX_SECONDS, Origin, TITLE};
use crate::liveness::channels::CHANNELS;
use crate::liveness::{Channel, Sample};
use crate::time::Instant;

/// Times are written in steps of 0.1 ms.
const TICK_NANOS: u64 = 100_000;
const TICKS_A_SECOND: u64 = 10_000;
const MAX_TICKS: u64 = MAX_SECONDS as u64 * TICKS_A_SECOND;
/// A row is held back so long, so that a slower sensor's sample of the same time finds its place: 1 s.
const HOLD_TICKS: u64 = TICKS_A_SECOND;
/// Rows held back at most; beyond that the oldest is written.
pub const MAX_HELD: usize = 1024;

/// Why a session isn't written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a note has at most {MAX_NOTE_BYTES} bytes and no line end")]
    Note,
    #[error("{} has no column in this session", .0.name())]
    NoColumn(Channel),
    #[error("a sample of {} came more than a second late, or before the session's start", .0.name())]
    Late(Channel),
    #[error("a session has at most {MAX_ROWS} rows, {MAX_SAMPLES} samples and {MAX_SECONDS} s")]
    Full,
}

/// Writes samples as they come, those of one time (to 0.1 ms) in one row. They may come up to a second late.
pub struct Writer<W: Write> {
    out: W,
    /// Which channels have a column.
    columns: [bool; CHANNELS],
    start: Instant,
    /// By time in ticks; NaN is an empty cell.
    held: BTreeMap<u64, [f32; CHANNELS]>,
    /// Rows before this tick are written.
    written_to: u64,
    /// Rows that are written.
    rows: usize,
    samples: usize,
}

impl<W: Write> Writer<W> {
    /// Writes the head. `channels` may come in any order; the columns are in the table's. Times count from `start`.
    ///
    /// # Errors
    /// The note is too long, or `out` fails.
    pub fn new(
        mut out: W,
        label: Label,
        origin: Origin,
        note: &str,
        channels: &[Channel],
        start: Instant,
    ) -> Result<Self, WriteError> {
        if note.len() > MAX_NOTE_BYTES || note.contains(['\n', '\r']) {
            return Err(WriteError::Note);
        }
        writeln!(out, "{TITLE}\n# label = \"{}\"\n# source = \"{}\"", label.as_str(), origin.as_str())?;
        if !note.is_empty() {
            // TOML's own escapes for quotes and controls, on one line.
            writeln!(out, "# note = {}", quoted(note))?;
        }
        let mut columns = [false; CHANNELS];
        channels.iter().for_each(|channel| columns[channel.index()] = true);
        write!(out, "t_s")?;
        for channel in Channel::all().filter(|channel| columns[channel.index()]) {
            write!(out, ",{}", channel.name())?;
        }
        writeln!(out)?;
        Ok(Self { out, columns, start, held: BTreeMap::new(), written_to: 0, rows: 0, samples: 0 })
    }

    /// Takes samples. What is not finite is no sample; of two of one channel and time the later counts.
    ///
    /// # Errors
    /// A channel without a column, a sample that is too late or before the start, or for which there is no room, `out`
    /// fails. The samples before it were taken.
    pub fn write(&mut self, samples: &[Sample]) -> Result<(), WriteError> {
        for sample in samples {
            let channel = sample.channel;
            if !self.columns[channel.index()] {
                return Err(WriteError::NoColumn(channel));
            }
            let since = sample.at.checked_since(self.start).ok_or(WriteError::Late(channel))?;
            let tick = u64::try_from(since.as_nanos()).map_or(u64::MAX, |nanos| (nanos + TICK_NANOS / 2) / TICK_NANOS);
            if tick > MAX_TICKS {
                return Err(WriteError::Full);
            }
            if tick < self.written_to {
                return Err(WriteError::Late(channel));
            }
            if sample.value.is_finite() {
                self.hold(tick, channel, sample.value)?;
            }
            self.write_older_than(tick.saturating_sub(HOLD_TICKS))?;
        }
        Ok(())
    }

    /// Writes what is held back, and gives the output back.
    ///
    /// # Errors
    /// The output fails. What was taken has room.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.write_older_than(u64::MAX)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Rows so far, those held back among them.
    pub fn rows(&self) -> usize {
        self.rows + self.held.len()
    }

    /// Samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    fn hold(&mut self, tick: u64, channel: Channel, value: f32) -> Result<(), WriteError> {
        let row = self.held.get(&tick);
        let is_another = row.is_none_or(|row| row[channel.index()].is_nan());
        let has_room = (row.is_some() || self.rows() < MAX_ROWS) && (!is_another || self.samples < MAX_SAMPLES);
        if !has_room {
            return Err(WriteError::Full);
        }
        self.held.entry(tick).or_insert([f32::NAN; CHANNELS])[channel.index()] = value;
        self.samples += usize::from(is_another);
        Ok(())
    }

    fn write_older_than(&mut self, tick: u64) -> Result<(), WriteError> {
        while let Some((&at, _)) = self.held.first_key_value() {
            if at >= tick && self.held.len() <= MAX_HELD {
                break;
            }
            let Some((_, row)) = self.held.pop_first() else { break };
            self.write_row(at, &row)?;
        }
        Ok(())
    }

    fn write_row(&mut self, tick: u64, row: &[f32; CHANNELS]) -> Result<(), WriteError> {
        write!(self.out, "{}.{:04}", tick / TICKS_A_SECOND, tick % TICKS_A_SECOND)?;
        for (value, _) in row.iter().zip(&self.columns).filter(|(_, has_column)| **has_column) {
            match value.is_finite() {
                // The shortest decimal that reads back as the same number.
                true => write!(self.out, ",{value}")?,
                false => write!(self.out, ",")?,
            }
        }
        writeln!(self.out)?;
        self.written_to = tick + 1;
        self.rows += 1;
        Ok(())
    }
}

/// A string of TOML on one line.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
