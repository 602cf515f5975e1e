//! What the service manager is told (sd_notify(3)). Without one, every call does nothing.

#![forbid(unsafe_code)]

use sd_notify::NotifyState;

use crate::time::{Duration, Instant};

/// The door works.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    // A line break would begin another assignment, such as WATCHDOG=1.
    match line.contains('\n') {
        false => send(&[NotifyState::Status(line)]),
        true => send(&[NotifyState::Status(&line.replace('\n', " "))]),
    }
}

/// The configuration is read anew; [`ready`] follows. Since systemd 253 the time must come with it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The door is locked and stays so until the next start.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager was not told: {error}");
    }
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

    /// The work gets done. May be called with every frame: it passes on what is due.
    pub fn alive(&mut self, now: Instant) {
        if self.due(now) {
            send(&[NotifyState::Watchdog]);
        }
    }

    fn due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every else { return false };
        let due = self.fed.is_none_or(|fed| now.since(fed) >= every / 2);
        if due {
            self.fed = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_four_times_in_its_limit_however_often_we_are_alive() {
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(8)));
        assert_eq!(watchdog.interval(), Some(Duration::from_secs(4)));
        let fed = (0..8_000).step_by(33).filter(|ms| watchdog.due(Instant::from_millis(*ms))).count();
        assert_eq!(fed, 4);
    }

    #[test]
    fn nobody_watching_is_never_fed() {
        let mut idle = Watchdog::new(None);
        assert!(!idle.due(Instant::from_millis(1)));
        assert_eq!(idle.interval(), None);
    }

    #[test]
    fn without_a_service_manager_every_call_is_harmless() {
        // The test's own environment may have one; it accepts these only from the main process.
        status("two\nlines");
        reloading();
    }
}
