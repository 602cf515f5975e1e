//! The Unix socket through which a running daemon is asked: status, events as they happen, a claim, a release.
//!
//! One JSON object a line in each direction. Root, the daemon's own user, and the uids or the group that the
//! configuration names may ask; the kernel vouches for who does (SO_PEERCRED, unix(7)), so no password crosses the
//! socket.

#![forbid(unsafe_code)]

pub mod client;
pub mod server;

use std::io::{self, BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

use crate::gate::Fault;

/// Longest line in either direction, in bytes.
pub const MAX_LINE_BYTES: usize = 4096;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    // With braces, because a unit variant would pass over whatever else stands in the object.
    /// How the door is.
    Status {},
    /// Every event from now on, a line each.
    Watch {},
    /// Release the strike for one pulse.
    Unlock {},
    /// Somebody claims to be this person; the answer is how the attempt ended.
    Claim { name: String },
}

/// Reads one request, a line of at most [`MAX_LINE_BYTES`]; the inner error says why the line is none.
///
/// # Errors
/// What is read from fails, or gives no UTF-8.
pub fn read_request(from: impl Read) -> io::Result<serde_json::Result<Request>> {
    let mut line = String::new();
    BufReader::new(from.take(MAX_LINE_BYTES as u64)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line))
}

/// What is answered, besides the lines of [`Request::Watch`], which are [`EventLine`]s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "snake_case")]
pub enum Response {
    Status(StatusLine),
    Event(EventLine),
    /// It wasn't done; a sentence that says why, and the same for programs.
    Refused {
        reason: String,
        /// Not told by daemons before this field.
        #[serde(default)]
        code: Refusal,
    },
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// What was asked is no request.
    NoRequest,
    /// Nobody here is called so.
    Nobody,
    NotAllowed,
    /// Too many ask, or there is no answer yet, or in time.
    Busy,
    /// Something that this version doesn't know.
    #[default]
    #[serde(other)]
    Other,
}

/// `status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusLine {
    /// `idle`, `observing`, `recording`, `unlocked`, `locked_out` or `faulted`.
    pub state: String,
    /// Seconds that it has been so.
    pub since_s: f64,
    /// When it became so, RFC 3339.
    pub since: String,
    /// `ok`, `lost` or `ended` (a replay).
    pub camera: String,
    /// Why it is lost, where it is.
    pub camera_lost: Option<String>,
    /// The channels that liveness listens to.
    pub sensors: Vec<String>,
    /// `unknown`, `closed` or `open`.
    pub door: String,
    /// `silent`, `held_open_soon`, `held_open` or `forced`.
    pub alarm: String,
    pub faults: Vec<String>,
    pub people: usize,
    /// The similarities that a search and a claim must reach now; `null` where no table reaches the rate.
    pub identify: Option<f32>,
    pub verify: Option<f32>,
    pub frames_seen: u64,
    pub version: String,
}

impl StatusLine {
    /// Whether this fault stands.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|standing| standing == fault.as_str())
    }
}

/// One event, as `events --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// `null` where the ledger could not take it, or has not in time.
    pub seq: Option<u64>,
    /// RFC 3339, UTC, milliseconds.
    pub at: String,
    pub outcome: String,
    /// The person's name, or their number where they have been erased since.
    pub person: Option<String>,
    pub similarity: Option<f32>,
    pub reasons: Vec<String>,
    /// 64 hex digits; `null` on a live line, which the ledger hashes later.
    pub hash: Option<String>,
}

/// RFC 3339 in UTC with milliseconds; what the clock can't express is given as the nearest that it can.
pub fn rfc3339(at: crate::time::Wall) -> String {
    /// The years 1 to 9998, which RFC 3339 can write.
    const RANGE_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_370_764_799_999;
    let clamped = at.unix_millis().clamp(*RANGE_MS.start(), *RANGE_MS.end());
    jiff::Timestamp::from_millisecond(clamped).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    #[test]
    fn requests_read_back_and_unknown_ones_do_not() {
        for request in
            [Request::Status {}, Request::Watch {}, Request::Unlock {}, Request::Claim { name: "Ana".into() }]
        {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        }
        for line in [
            "",
            "{}",
            r#"{"op":"open"}"#,
            r#"{"op":"claim"}"#,
            r#"{"op":"claim","name":1}"#,
            r#"{"op":"unlock","door":"back"}"#,
            r#"{"op":"status","verbose":true}"#,
            r#"{"op":"watch","from":1}"#,
            r#"{"op":"claim","name":"Ana","door":"back"}"#,
            "[]",
            "null",
        ] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_refusal_reads_back_with_its_code_and_one_that_is_not_known_is_some_other() {
        let refused = |code| Response::Refused { reason: "no".into(), code };
        let line = serde_json::to_string(&refused(Refusal::NotAllowed)).unwrap();
        assert_eq!(line, r#"{"re":"refused","reason":"no","code":"not_allowed"}"#);
        let read = |line: &str| serde_json::from_str::<Response>(line).unwrap();
        assert_eq!(read(&line), refused(Refusal::NotAllowed));
        for older_or_newer in [r#"{"re":"refused","reason":"no"}"#, r#"{"re":"refused","reason":"no","code":"moon"}"#] {
            assert_eq!(read(older_or_newer), refused(Refusal::Other), "{older_or_newer}");
        }
    }

    #[test]
    fn times_are_rfc_3339_whatever_the_clock_says() {
        assert_eq!(rfc3339(Wall::from_unix_millis(1_790_000_000_123)), "2026-09-21T14:13:20.123Z");
        assert_eq!(rfc3339(Wall::from_unix_millis(0)), "1970-01-01T00:00:00.000Z");
        assert!(!rfc3339(Wall::from_unix_millis(i64::MAX)).is_empty());
        assert!(!rfc3339(Wall::from_unix_millis(i64::MIN)).is_empty());
    }
}
