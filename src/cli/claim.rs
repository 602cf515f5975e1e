//! `claim`: somebody says who they are, and the daemon looks for that person alone.

use super::context::Context;
use super::door;
use super::exit::{Failure, Verdict};
use crate::control::{Request, client};
use crate::gate::Outcome;

/// Waits until the attempt has ended; exits with 0 when it was granted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name that is claimed, or #NUMBER
    name: String,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let response = client::request(&ctx.config.control.socket, &Request::Claim { name: args.name.clone() })?;
    door::answer(response, Outcome::Granted.as_str(), ctx)
}
