//! `man` and `completions`: what packages ship beside the binary, made from the command line itself.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap_complete::Shell;

use super::exit::{Failure, Verdict};

/// Where the pages go.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// A directory; it is made where only itself is missing
    dir: PathBuf,
}

/// Which shell.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    shell: Shell,
}

/// facelatch.1 and a page for each subcommand.
pub fn pages(args: &ManArgs) -> Result<Verdict, Failure> {
    match std::fs::create_dir(&args.dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(Failure::io(&args.dir)(error)),
        _ => {}
    }
    clap_mangen::generate_to(super::command(), &args.dir).map_err(Failure::io(&args.dir))?;
    Ok(Verdict::Yes)
}

pub fn completions(args: &CompletionsArgs) -> Result<Verdict, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "facelatch", &mut script);
    std::io::stdout().write_all(&script).map_err(Failure::output)?;
    Ok(Verdict::Yes)
}
