//! What the service manager is told (sd_notify(3)). Without one, every call does nothing.
//!
//! None waits: the gate's thread must not hang because the manager does. What finds no room is lost, but for [`ready`]
//! and [`alive`], which say so.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

use crate::time::Duration;

/// The door works. `false` where the manager had no room for that, and has to be told again.
#[must_use]
pub fn ready() -> bool {
    send(&[NotifyState::Ready])
}

/// The work gets done: it feeds the manager's watchdog, and so belongs where frames have really passed through. `false`
/// as in [`ready`].
#[must_use]
pub fn alive() -> bool {
    send(&[NotifyState::Watchdog])
}

/// How often [`alive`] must be called at least, as the unit's `WatchdogSec=` asks through the environment; `None` where
/// nobody watches.
pub fn watchdog_period() -> Option<Duration> {
    period(sd_notify::watchdog_enabled())
}

/// Half the time after which the manager gives up, as sd_watchdog_enabled(3) recommends.
fn period(limit: Option<Duration>) -> Option<Duration> {
    limit.map(|limit| limit / 2).filter(|period| !period.is_zero())
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    // A line break would begin another assignment, such as WATCHDOG=1.
    match line.contains('\n') {
        false => send(&[NotifyState::Status(line)]),
        true => send(&[NotifyState::Status(&line.replace('\n', " "))]),
    };
}

/// The configuration is read anew; [`ready`] follows. Since systemd 253 the time must come with it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    };
}

/// The door is locked and stays so until the next start.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// `false` where there was no room.
fn send(states: &[NotifyState<'_>]) -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_none_or(|socket| had_room(send_to(&socket, states)))
}

fn had_room(sent: io::Result<()>) -> bool {
    if let Err(error) = &sent {
        log::debug!("the service manager was not told: {error}");
    }
    !sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// To a socket by its path, or of the abstract ones by an @ and its name. Never waits.
fn send_to(socket: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_limit_and_never_where_nobody_watches() {
        let limits = [Some(Duration::from_secs(8)), Some(Duration::ZERO), None];
        assert_eq!(limits.map(period), [Some(Duration::from_secs(4)), None, None]);
    }

    #[test]
    fn a_service_manager_that_does_not_read_is_told_what_it_has_room_for_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("facelatch-test-{}", std::process::id());
        let hidden = SocketAddr::from_abstract_name(&name).unwrap();
        let managers = [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&hidden).unwrap(), format!("@{name}").into()),
        ];
        for (manager, socket) in managers {
            let sent = (0..10_000).map(|_| send_to(&socket, &[NotifyState::Ready, NotifyState::Watchdog]));
            let lost =
                sent.filter_map(Result::err).inspect(|error| assert_eq!(error.kind(), io::ErrorKind::WouldBlock));
            assert!((1..10_000).contains(&lost.count()));
            let is_told = || had_room(send_to(&socket, &[NotifyState::Watchdog]));
            assert!(!is_told());
            let mut first = [0; 64];
            let length = manager.recv(&mut first).unwrap();
            assert_eq!(&first[..length], b"READY=1\nWATCHDOG=1\n");
            assert!(is_told(), "once something was read there is room");
        }
    }
}
