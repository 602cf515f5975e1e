//! `liveness`: recordings of what tells a person from a picture.

mod record;

use clap::Subcommand;

use super::context::Context;
use super::exit::{Failure, Verdict};

/// Sessions are CSV files of liveness' channels; there are no pixels in them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Record a session from the camera, or from a video
    Record(record::Args),
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    match &args.what {
        What::Record(args) => record::run(args, ctx),
    }
}
