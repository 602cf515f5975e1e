//! `status`: what the daemon is doing.

use super::context::Context;
use super::door;
use super::exit::{Failure, Verdict};
use crate::control::{Request, Response, StatusLine, client};

/// Exits with 1 while a fault stands.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    match client::request(&ctx.config.control.socket, &Request::Status {})? {
        Response::Status(status) => {
            ctx.out.json(&status)?;
            ctx.out.line(describe(&status))?;
            Ok(status.faults.is_empty().into())
        }
        other => door::unexpected(other, ctx),
    }
}

fn describe(status: &StatusLine) -> String {
    let alarm = if status.alarm == "silent" { String::new() } else { format!(", alarm {}", status.alarm) };
    let faults =
        if status.faults.is_empty() { String::new() } else { format!("\nfaults: {}", status.faults.join(", ")) };
    let why = status.camera_lost.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let sensors = if status.sensors.is_empty() { "none".into() } else { status.sensors.join(", ") };
    format!(
        "{} for {:.0} s; door {}{alarm}{faults}\ncamera {}{why}, {} frames; sensors: {sensors}\n{} people; facelatch {}",
        status.state, status.since_s, status.door, status.camera, status.frames_seen, status.people, status.version
    )
}
