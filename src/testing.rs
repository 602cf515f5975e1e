//! What tests know of where they run: how much to try, what they must leave out, and whether an emulator runs them.
//!
//! A part of the library's own tests, and by its path of those in tests/.

#![cfg(test)]
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each of the two uses a part")]

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

use proptest::test_runner::Config;

/// The share of the usual random cases, `0.1` or `20`; without it, all of them once.
const SHARE: &str = "FACELATCH_CASES";
/// Gives a test's random numbers once more.
pub const SEED: &str = "FACELATCH_SEED";
/// What runs programs that this machine can't run itself, with its arguments: an emulator. cross/suite.sh sets it.
const RUNNER: &str = "FACELATCH_RUNNER";

/// So many of the usual `full` cases as this run tries: one at least.
///
/// # Panics
/// `FACELATCH_CASES` is no positive number.
pub fn cases(full: u64) -> u64 {
    let Ok(text) = std::env::var(SHARE) else { return full };
    let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && share.is_finite());
    let share = share.unwrap_or_else(|| panic!("{SHARE}={text} is no positive number"));
    (full as f64 * share).ceil().max(1.0) as u64
}

/// The same for properties.
pub fn properties(full: u32) -> Config {
    Config::with_cases(u32::try_from(cases(full.into())).unwrap_or(u32::MAX))
}

/// What chooses a test's random numbers: the clock, unless `FACELATCH_SEED` does. Whoever asks prints it.
///
/// # Panics
/// `FACELATCH_SEED` is no number.
pub fn seed() -> u64 {
    number(SEED).unwrap_or_else(|| UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64))
}

/// The number that the environment gives this name.
///
/// # Panics
/// It gives something else.
pub fn number(name: &str) -> Option<u64> {
    std::env::var_os(name).map(|text| parse(name, &text))
}

fn parse(name: &str, text: &OsStr) -> u64 {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{name}={} is no number", text.display()))
}

/// Whether an emulator runs this, whom the kernel takes for the program, and which passes on only the ioctls that it
/// knows.
pub fn is_emulated() -> bool {
    std::env::var_os(RUNNER).is_some()
}

/// A command that starts a program of this build.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else { return Command::new(program) };
    let mut command = Command::new(emulator);
    command.args(words).arg(program);
    command
}

/// What a program of this machine answers; `None` where it isn't there.
///
/// # Panics
/// It can't be started for another reason.
pub fn answer(command: &mut Command) -> Option<Output> {
    /// By which an emulator tells what it could not start: its fork leaves no other way.
    const NOT_FOUND: i32 = 127;
    match command.output() {
        Ok(output) if is_emulated() && output.status.code() == Some(NOT_FOUND) => None,
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// Says what a test leaves out, to the terminal itself: of a test that passes libtest shows nothing that was printed.
/// `.ci/run` counts these lines.
pub fn skipped(why: impl Display) {
    let _unheard = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Gives a file to this user and their group; says so where this may not, who isn't root, or root of a container
/// without that user.
pub fn give_away(path: &Path, to: u32) -> bool {
    let given = std::os::unix::fs::chown(path, Some(to), Some(to));
    if let Err(error) = &given {
        skipped(format_args!("only root can give files away ({error})"));
    }
    given.is_ok()
}

mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "FACELATCH_SEED=12x is no number")]
    fn a_seed_that_is_no_number_is_refused() {
        parse(SEED, OsStr::new("12x"));
    }

    #[test]
    fn a_seed_that_is_a_number_is_that_number() {
        assert_eq!(parse(SEED, OsStr::new("20260921")), 20_260_921);
    }
}
