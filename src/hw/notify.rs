//! What the service manager is told (sd_notify(3)). Without one, every call does nothing.
//!
//! None waits: the gate's thread must not hang because the manager does. What finds no room is lost, but for [`ready`] and
//! [`Watchdog::alive`], which say so.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

use crate::time::{Duration, Instant};

/// The door works. `false` where the manager had no room for that, and has to be told again.
#[must_use]
pub fn ready() -> bool {
    send(&[NotifyState::Ready])
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

/// The service manager's watchdog. It is fed by whoever calls [`Watchdog::alive`] and by nobody else, so that call
/// belongs where frames have really passed through.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    fed: Option<Instant>,
}

impl Watchdog {
    /// As the unit's `WatchdogSec=` asks, through the environment; idle without.
    pub fn from_env() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    /// With the time after which the service manager gives up.
    pub fn new(limit: Option<Duration>) -> Self {
        // Half, as sd_watchdog_enabled(3) recommends.
        Self { every: limit.map(|limit| limit / 2).filter(|d| !d.is_zero()), fed: None }
    }

    /// How often [`Watchdog::alive`] must be called at least; `None` where nobody watches.
    pub fn interval(&self) -> Option<Duration> {
        self.every
    }

    /// The work gets done. May be called with every frame: it passes on what is due. `false` where the manager had no room for
    /// that, and has to be told again.
    #[must_use]
    pub fn alive(&mut self, now: Instant) -> bool {
        self.feed(now, || send(&[NotifyState::Watchdog]))
    }

    fn feed(&mut self, now: Instant, send: impl FnOnce() -> bool) -> bool {
        let Some(every) = self.every else { return true };
        if self.fed.is_some_and(|fed| now.since(fed) < every / 2) {
            return true;
        }
        let is_sent = send();
        if is_sent {
            self.fed = Some(now);
        }
        is_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_four_times_in_its_limit_however_often_we_are_alive() {
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(8)));
        assert_eq!(watchdog.interval(), Some(Duration::from_secs(4)));
        let mut fed = 0;
        for ms in (0..8_000).step_by(33) {
            let feeds = || {
                fed += 1;
                true
            };
            assert!(watchdog.feed(Instant::from_millis(ms), feeds));
        }
        assert_eq!(fed, 4);
    }

    #[test]
    fn nobody_watching_is_never_fed() {
        let mut idle = Watchdog::new(None);
        assert!(idle.feed(Instant::from_millis(1), || panic!("nobody watches")));
        assert_eq!(idle.interval(), None);
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
            let mut watchdog = Watchdog::new(Some(Duration::from_secs(8)));
            let mut is_fed = |ms| {
                let feeds = || had_room(send_to(&socket, &[NotifyState::Watchdog]));
                watchdog.feed(Instant::from_millis(ms), feeds)
            };
            assert!(!is_fed(0));
            let mut first = [0; 64];
            let length = manager.recv(&mut first).unwrap();
            assert_eq!(&first[..length], b"READY=1\nWATCHDOG=1\n");
            assert!(is_fed(1000), "what was lost is told again, once there is room");
            assert!(is_fed(1001), "and is not due for a while then");
        }
    }
}
