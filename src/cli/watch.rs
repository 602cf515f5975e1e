//! `watch`: the daemon's events as they happen.

use super::context::Context;
use super::door;
use super::exit::{Failure, Verdict};
use crate::control::client;

/// Ends with the daemon, or with Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let mut shown = Ok(());
    let answer = client::watch(&ctx.config.control.socket, |event| {
        shown = door::show(&event, ctx);
        shown.is_ok()
    })?;
    shown?;
    answer.map_or(Ok(Verdict::Yes), |other| door::unexpected(other, ctx))
}
