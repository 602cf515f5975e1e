//! What `status`, `watch`, `unlock`, `claim` and `events` share: how an event and a refusal are shown.

use serde::Serialize;

use super::context::Context;
use super::exit::{Code, Failure, Verdict};
use crate::control::{EventLine, Refusal, Response};
use crate::hw::journal::one_line;

/// Shows one event: an object, or a line.
pub fn show(event: &EventLine, ctx: &Context) -> Result<(), Failure> {
    ctx.out.json(event)?;
    let seq = event.seq.map_or_else(|| "-".into(), |seq| seq.to_string());
    let person = event.person.as_deref().unwrap_or("");
    let similarity = event.similarity.map(|s| format!("{s:.3}")).unwrap_or_default();
    let reasons = event.reasons.join("; ");
    let line = format!("{seq:>6}  {}  {:<21} {person:<20} {similarity:>6}  {reasons}", event.at, event.outcome);
    ctx.out.line(one_line(line.trim_end()))
}

/// How the daemon answered to something that it does or refuses.
pub fn answer(response: Response, wanted: &str, ctx: &Context) -> Result<Verdict, Failure> {
    match response {
        Response::Event(event) => {
            show(&event, ctx)?;
            Ok((event.outcome == wanted).into())
        }
        other => unexpected(other, ctx),
    }
}

/// A refusal says why, and its exit code the same; an answer to some other question is another daemon's.
pub fn unexpected(response: Response, ctx: &Context) -> Result<Verdict, Failure> {
    #[derive(Serialize)]
    struct Refused<'a> {
        refused: &'a str,
        code: Refusal,
    }
    match response {
        Response::Refused { reason, code } => {
            ctx.out.json(&Refused { refused: &reason, code })?;
            let code = match code {
                Refusal::NoRequest => Code::Data,
                Refusal::Nobody => Code::NoInput,
                Refusal::NotAllowed => Code::NoPermission,
                Refusal::Busy => Code::Unavailable,
                Refusal::Other => {
                    ctx.out.line(format_args!("Refused: {}.", one_line(&reason)))?;
                    return Ok(Verdict::No);
                }
            };
            Err(Failure::said(code, format!("refused: {}", one_line(&reason))))
        }
        _ => {
            let sentence = format!(
                "{}: the daemon there answers something else; it is another version, restart it",
                ctx.config.control.socket.display()
            );
            Err(Failure::said(Code::Unavailable, sentence))
        }
    }
}
