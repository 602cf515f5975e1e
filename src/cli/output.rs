//! Standard output: either sentences for people or JSON for programs, never both; and progress on standard error.
//!
//! Nothing that a file, a device or another host says steers the terminal: see [`harmless`].

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::exit::Failure;
use crate::hw::journal::harmless;

/// Which of the two a command's answer goes to.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// A line for people; nothing under `--json`.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn line(self, line: impl fmt::Display) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write(&harmless(&line.to_string())) }
    }

    /// The same with a sign in front, in the colour of this number (ECMA-48) where a terminal shows colours.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn signed(self, sign: &str, colour: u8, line: impl fmt::Display) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let line = harmless(&line.to_string());
        let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        write(&if is_coloured { format!("\x1b[{colour}m{sign}\x1b[0m  {line}") } else { format!("{sign}  {line}") })
    }

    /// One JSON object on one line; nothing without `--json`.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        // Only maps with keys that are no strings fail, and paths that are none, which `eval::spelt` spells.
        let text = serde_json::to_string(value).map_err(io::Error::from).map_err(Failure::Output)?;
        write(&text)
    }

    /// A bar on standard error where somebody watches it: a terminal, and no `--json`.
    pub fn progress(self, total: usize, what: &'static str) -> ProgressBar {
        let watched = !self.json && io::stderr().is_terminal();
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(total as u64), target).with_style(style).with_message(what)
    }
}

/// Writes and flushes: what was answered is out, even if the process is killed right after.
fn write(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::output)
}

/// `1 person`, `2 people`.
pub fn counted(n: usize, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// Standard error, for what a person should know beside the answer. That it can't be written is nobody's concern.
pub fn note(line: impl fmt::Display) {
    let _unread = writeln!(io::stderr(), "{}", harmless(&line.to_string()));
}
