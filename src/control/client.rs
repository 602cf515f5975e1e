//! The asking side: what `status`, `watch`, `claim` and `unlock` use.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{EventLine, MAX_LINE_BYTES, Request, Response};

/// An answer takes no longer: the longest claim and the ledger's time on top.
const MAX_ANSWER_WAIT: Duration = Duration::from_secs(75);
/// The status is there already.
const MAX_STATUS: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {path}: {source}; is facelatch running, and is this its control.socket?")]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("{path}: this user may not ask the daemon ({source}): run as root (sudo), or as a member of control.group")]
    Denied { path: PathBuf, source: std::io::Error },
    #[error("the daemon at {path} hung up: {source}")]
    Lost { path: PathBuf, source: std::io::Error },
    #[error("the daemon at {path} doesn't answer; see whether it hangs: systemctl status facelatch")]
    Silent { path: PathBuf },
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
    let patience = if matches!(request, Request::Status {}) { MAX_STATUS } else { MAX_ANSWER_WAIT };
    let mut answers = open(path, request, Some(patience))?;
    let peer = rustix::net::sockopt::socket_peercred(answers.get_ref());
    read_line(path, &mut answers, &mut line)?;
    if line.is_empty() {
        return Err(ClientError::Lost { path: path.to_owned(), source: ErrorKind::UnexpectedEof.into() });
    }
    Ok((parse(path, &line)?, peer.ok().map(|peer| peer.pid.as_raw_nonzero().get())))
}

/// Follows the events until `each` says `false` or the daemon ends, or answers something else, which is returned: a
/// refusal.
///
/// # Errors
/// [`ClientError`]; a refusal is an answer.
pub fn watch(path: &Path, mut each: impl FnMut(EventLine) -> bool) -> Result<Option<Response>, ClientError> {
    let mut lines = open(path, &Request::Watch {}, None)?;
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
        ErrorKind::PermissionDenied => ClientError::Denied { path: path.to_owned(), source },
        _ => ClientError::Connect { path: path.to_owned(), source },
    };
    let stream = UnixStream::connect(path).map_err(connect)?;
    stream.set_read_timeout(timeout).map_err(connect)?;
    asked(path, stream, request)
}

fn asked(path: &Path, mut stream: UnixStream, request: &Request) -> Result<BufReader<UnixStream>, ClientError> {
    let mut line = serde_json::to_string(request).expect("a request is plain data");
    line.push('\n');
    match stream.write_all(line.as_bytes()) {
        // Whoever is refused before they could ask finds why in the stream all the same.
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            Err(ClientError::Lost { path: path.to_owned(), source })
        }
        _ => Ok(BufReader::new(stream)),
    }
}

/// Reads a line of at most [`MAX_LINE_BYTES`]; empty at the end.
fn read_line(path: &Path, from: &mut BufReader<UnixStream>, line: &mut String) -> Result<(), ClientError> {
    line.clear();
    match from.take(MAX_LINE_BYTES as u64).read_line(line) {
        Ok(_) => Ok(()),
        Err(source) if matches!(source.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(ClientError::Silent { path: path.to_owned() })
        }
        Err(source) => Err(ClientError::Lost { path: path.to_owned(), source }),
    }
}

fn parse(path: &Path, line: &str) -> Result<Response, ClientError> {
    serde_json::from_str(line)
        .map_err(|_| ClientError::Foreign { path: path.to_owned(), line: line.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_that_dies_has_hung_up_and_one_that_hangs_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        let dies = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&mut stream).read_line(&mut String::new()).unwrap();
            listener
        });
        let lost = request(&path, &Request::Unlock {}).unwrap_err();
        assert!(
            matches!(&lost, ClientError::Lost { source, .. } if source.kind() == ErrorKind::UnexpectedEof),
            "{lost}"
        );
        let _hangs = dies.join().unwrap();
        let mut answers = open(&path, &Request::Status {}, Some(Duration::from_millis(50))).unwrap();
        let silent = read_line(&path, &mut answers, &mut String::new()).unwrap_err();
        assert!(matches!(silent, ClientError::Silent { .. }), "{silent}");
    }

    #[test]
    fn whoever_is_refused_before_they_could_ask_is_told_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        let (accepted, is_accepted) = std::sync::mpsc::channel();
        let refuses = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"re\":\"refused\",\"reason\":\"no\"}\n").unwrap();
            drop(stream);
            accepted.send(()).unwrap();
        });
        let mut stream = UnixStream::connect(&path).unwrap();
        is_accepted.recv().unwrap();
        assert_eq!(stream.write_all(b"{}").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut answer = asked(&path, stream, &Request::Unlock {}).unwrap();
        let mut line = String::new();
        read_line(&path, &mut answer, &mut line).unwrap();
        assert!(matches!(parse(&path, &line).unwrap(), Response::Refused { .. }));
        refuses.join().unwrap();
    }
}
