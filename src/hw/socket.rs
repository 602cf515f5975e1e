//! A place for a socket of ours: what an earlier run left there is taken out of the way, and nothing else.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::owner;
use crate::draft::parent;

/// Clears the way for a socket at `path`. The service's directory below /run goes with the service: a missing one is
/// made.
///
/// # Errors
/// Somebody uses the socket that is there, or it is no socket; or the directory can't be made.
pub fn make_way(path: &Path) -> io::Result<()> {
    let dir = parent(path);
    // One that is there may be behind a link, as /var/run is.
    if !dir.is_dir() {
        owner::made_dir(dir)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {}
        Ok(_) => {
            let why = "what lies there is no socket, and was left alone: move it away, or name another place";
            return Err(io::Error::new(ErrorKind::AlreadyExists, why));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // A datagram socket never waits for who listens, and is told of a stream in use that it is of the wrong kind.
    match UnixDatagram::unbound()?.connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another program has its socket there")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_that_nobody_has_any_more_goes_whatever_kind_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let [stream, datagram] = ["stream", "datagram"].map(|name| dir.path().join(name));
        drop(UnixListener::bind(&stream).unwrap());
        drop(UnixDatagram::bind(&datagram).unwrap());
        for path in [&stream, &datagram] {
            make_way(path).unwrap();
            assert!(!path.exists(), "{path:?}");
        }
        make_way(&stream).unwrap();
    }

    #[test]
    fn a_socket_in_use_a_file_and_a_link_stay() {
        let dir = tempfile::tempdir().unwrap();
        let [stream, datagram, file, link] = ["stream", "datagram", "file", "link"].map(|name| dir.path().join(name));
        let _in_use = (UnixListener::bind(&stream).unwrap(), UnixDatagram::bind(&datagram).unwrap());
        std::fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for (path, kind) in [
            (&stream, ErrorKind::AddrInUse),
            (&datagram, ErrorKind::AddrInUse),
            (&file, ErrorKind::AlreadyExists),
            (&link, ErrorKind::AlreadyExists),
        ] {
            assert_eq!(make_way(path).unwrap_err().kind(), kind, "{path:?}");
            assert!(std::fs::symlink_metadata(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn a_missing_directory_is_made_and_not_the_one_above_it() {
        let run = tempfile::tempdir().unwrap();
        make_way(&run.path().join("facelatch/control.sock")).unwrap();
        assert!(run.path().join("facelatch").is_dir());
        assert_eq!(make_way(&run.path().join("no/where/control.sock")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
