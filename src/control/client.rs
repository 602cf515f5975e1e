//! The asking side: what `status`, `watch`, `claim` and `unlock` use.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{EventLine, MAX_LINE_BYTES, Request, Response};

/// An answer takes no longer: the longest claim and the ledger's time on top.
const ANSWER_MAX: Duration = Duration::from_secs(75);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {path}: {source}; is facelatch running, and is this its control.socket?")]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("{path}: this user may not ask the daemon ({source}): run as root (sudo), or as a member of control.group")]
    Denied { path: PathBuf, source: std::io::Error },
    #[error("the daemon at {path} hung up: {source}")]
    Lost { path: PathBuf, source: std::io::Error },
    #[error("what answers at {path} is no facelatch of this version: {line}")]
    Foreign { path: PathBuf, line: String },
}

/// Asks one thing and waits for the answer.
///
/// # Errors
/// [`ClientError`]; a refusal is an answer.
pub fn request(path: &Path, request: &Request) -> Result<Response, ClientError> {
    request_and_process(path, request).map(|(response, _)| response)
}

/// The same, and the number of the process that bound the socket, as the kernel knows it (SO_PEERCRED).
///
/// # Errors
/// As [`request`].
pub fn request_and_process(path: &Path, request: &Request) -> Result<(Response, Option<i32>), ClientError> {
    let mut line = String::new();
    let mut answers = open(path, request, Some(ANSWER_MAX))?;
    let peer = rustix::net::sockopt::socket_peercred(answers.get_ref());
    read_line(path, &mut answers, &mut line)?;
    Ok((parse(path, &line)?, peer.ok().map(|peer| peer.pid.as_raw_nonzero().get())))
}

/// Follows the events until `each` says `false` or the daemon ends, or answers something else, which is returned: a
/// refusal.
///
/// # Errors
/// [`ClientError`]; a refusal is an answer.
pub fn watch(path: &Path, mut each: impl FnMut(EventLine) -> bool) -> Result<Option<Response>, ClientError> {
    let mut lines = open(path, &Request::Watch, None)?;
    let mut line = String::new();
    loop {
        read_line(path, &mut lines, &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        match parse(path, &line)? {
            Response::Event(event) => {
                if !each(event) {
                    return Ok(None);
                }
            }
            other => return Ok(Some(other)),
        }
    }
}

fn open(path: &Path, request: &Request, timeout: Option<Duration>) -> Result<BufReader<UnixStream>, ClientError> {
    let connect = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::PermissionDenied => ClientError::Denied { path: path.to_owned(), source },
        _ => ClientError::Connect { path: path.to_owned(), source },
    };
    let mut stream = UnixStream::connect(path).map_err(connect)?;
    stream.set_read_timeout(timeout).map_err(connect)?;
    let mut line = serde_json::to_string(request).expect("a request is plain data");
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(|source| ClientError::Lost { path: path.to_owned(), source })?;
    Ok(BufReader::new(stream))
}

/// Reads a line of at most [`MAX_LINE_BYTES`]; empty at the end.
fn read_line(path: &Path, from: &mut BufReader<UnixStream>, line: &mut String) -> Result<(), ClientError> {
    line.clear();
    from.take(MAX_LINE_BYTES as u64)
        .read_line(line)
        .map_err(|source| ClientError::Lost { path: path.to_owned(), source })?;
    Ok(())
}

fn parse(path: &Path, line: &str) -> Result<Response, ClientError> {
    serde_json::from_str(line)
        .map_err(|_| ClientError::Foreign { path: path.to_owned(), line: line.trim_end().to_owned() })
}
