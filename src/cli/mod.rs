//! The command line: one file a subcommand, a table of exit codes, JSON or sentences.
//!
//! A denial is an answer and not an error: `verify` says in a plain sentence that it isn't this person, and exits
//! with 1.

#![forbid(unsafe_code)]

mod bench;
mod calibrate;
mod claim;
mod compare;
mod context;
mod demo;
mod devices;
mod doctor;
mod door;
mod enroll;
mod eval;
mod events;
pub mod exit;
mod explain;
mod gallery;
mod identify;
mod known;
mod liveness;
mod man;
mod models;
mod outfile;
mod output;
mod people;
mod release;
mod run;
mod scratch;
mod setup;
mod status;
mod unlock;
mod verify;
mod watch;
mod when;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use context::Context;
pub use exit::{Code, Failure, Verdict};
pub use output::{Output, counted, note};

/// A door that knows its people: offline face recognition with liveness, from camera to strike.
#[derive(Debug, Parser)]
#[command(name = "facelatch", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// The configuration [default: /etc/facelatch/facelatch.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where people, templates and events are kept [default: the configuration's, else $STATE_DIRECTORY, else
    /// /var/lib/facelatch where it is, else $XDG_STATE_HOME/facelatch]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where networks are looked for first [also $FACELATCH_MODELS]
    #[arg(long, global = true, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// The network that encodes faces: a name of `facelatch models list`, or an ONNX file
    #[arg(long, global = true, value_name = "FILE|NAME")]
    pub model: Option<String>,
    /// The network that finds faces
    #[arg(long, global = true, value_name = "FILE|NAME")]
    pub detector: Option<String>,
    /// What places the points that faces are aligned by: a network, or second-look, or none
    #[arg(long, global = true, value_name = "FILE|NAME")]
    pub landmarks: Option<String>,
    /// Print JSON: one object, or one a line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole daemon with no hardware: a replayed camera, scripted sensors, a recording strike
    Demo(demo::Args),
    /// Set up a door: look, ask, write the configuration and the key, enrol somebody, check
    Setup(setup::Args),
    /// Run the daemon
    Run(run::Args),
    /// Enrol somebody by photographs, or by the camera
    Enroll(enroll::Args),
    /// List and change the people who are enrolled
    People(people::Args),
    /// Is this the claimed person? (1:1)
    Verify(verify::Args),
    /// Who is it, or nobody that is known? (1:N)
    Identify(identify::Args),
    /// How alike are two faces?
    Compare(compare::Args),
    /// Which parts of a face carried a decision?
    Explain(explain::Args),
    /// Measure accuracy by LFW's protocol, or of a search among many people
    Eval(eval::Args),
    /// Turn a folder of people into a table from score to false match rate
    Calibrate(calibrate::Args),
    /// Look after the gallery
    Gallery(gallery::Args),
    /// List and add networks
    Models(models::Args),
    /// Show or check the ledger
    Events(events::Args),
    /// What is the daemon doing?
    Status(status::Args),
    /// Follow what the daemon does
    Watch(watch::Args),
    /// Ask the daemon to release the door
    Unlock(unlock::Args),
    /// Claim a name at the door: the daemon then looks for this person alone (1:1)
    Claim(claim::Args),
    /// Record what tells a person from a picture, judge such sessions, and draw them
    Liveness(liveness::Args),
    /// Check what the door needs, and say what to do
    Doctor(doctor::Args),
    /// Print a drop-in for the service that allows exactly the devices that the configuration names
    Devices(devices::Args),
    /// Measure how long each stage takes
    Bench(bench::Args),
    /// Build, sign and check packages for others
    Release(release::Args),
    /// Write the man pages into a directory
    Man(man::ManArgs),
    /// Print completions for a shell
    Completions(man::CompletionsArgs),
}

/// Reads the arguments, does what they say, and tells how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Code {
    let cli = match command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _unread = error.print();
            return if error.use_stderr() { Code::Usage } else { Code::Yes };
        }
    };
    let ended = dispatch(cli);
    crate::hw::journal::flush();
    match ended {
        Ok(Verdict::Yes) => Code::Yes,
        Ok(Verdict::No) => Code::No,
        Err(failure) => {
            if !matches!(failure, Failure::ClosedPipe) {
                note(format_args!("facelatch: {failure}"));
            }
            failure.code()
        }
    }
}

/// The command line as clap sees it, with the table of exit codes.
fn command() -> clap::Command {
    Cli::command().after_help(Code::help())
}

fn dispatch(Cli { globals, command }: Cli) -> Result<Verdict, Failure> {
    let ctx = || Context::new(globals.clone());
    match &command {
        Command::Man(args) => man::pages(args),
        Command::Completions(args) => man::completions(args),
        // What is wrong with the configuration is among what the doctor tells.
        Command::Doctor(args) => doctor::run(args, globals),
        Command::Setup(args) => setup::run(args, globals),
        Command::Demo(args) => demo::run(args, &ctx()?),
        Command::Run(args) => run::run(args, &ctx()?),
        Command::Enroll(args) => enroll::run(args, &ctx()?),
        Command::People(args) => people::run(args, &ctx()?),
        Command::Verify(args) => verify::run(args, &ctx()?),
        Command::Identify(args) => identify::run(args, &ctx()?),
        Command::Compare(args) => compare::run(args, &ctx()?),
        Command::Explain(args) => explain::run(args, &ctx()?),
        Command::Eval(args) => eval::run(args, &ctx()?),
        Command::Calibrate(args) => calibrate::run(args, &ctx()?),
        Command::Gallery(args) => gallery::run(args, &ctx()?),
        Command::Models(args) => models::run(args, &ctx()?),
        Command::Events(args) => events::run(args, &ctx()?),
        Command::Status(args) => status::run(args, &ctx()?),
        Command::Watch(args) => watch::run(args, &ctx()?),
        Command::Unlock(args) => unlock::run(args, &ctx()?),
        Command::Claim(args) => claim::run(args, &ctx()?),
        Command::Liveness(args) => liveness::run(args, &ctx()?),
        Command::Devices(args) => devices::run(args, &ctx()?),
        Command::Bench(args) => bench::run(args, &ctx()?),
        Command::Release(args) => release::run(args, &ctx()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        command().debug_assert();
    }
}
