//! `unlock`: a manual release, through the daemon and into its ledger.

use super::context::Context;
use super::door;
use super::exit::{Failure, Verdict};
use crate::control::{Request, client};
use crate::gate::Outcome;

/// Only root, the daemon's own user and those that control.allowed_uids or control.group name may.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let response = client::request(&ctx.config.control.socket, &Request::Unlock {})?;
    door::answer(response, Outcome::ManualRelease.as_str(), ctx)
}
