//! How the tests start a program of this build.

use std::ffi::OsStr;
use std::process::Command;

/// What runs programs that this machine can't run itself, with its arguments: an emulator. cross/suite.sh sets it.
const RUNNER: &str = "FACELATCH_RUNNER";

/// Whether programs of this build run by an emulator, whom the kernel takes for the program.
pub fn is_emulated() -> bool {
    std::env::var_os(RUNNER).is_some()
}

/// A command that starts `program`.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    match words.next() {
        None => Command::new(program),
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.args(words).arg(program);
            command
        }
    }
}
