//! Tells systemd that the door is alive, and only while it is.
//!
//! Alive means that frames really pass through: since the last sign, vision has judged a frame. A camera that is known to
//! be lost is the one exception, as long as capture keeps trying to open it: the gate holds the fault, the door is locked,
//! and a restart would take the exit button away for nothing. A hung driver, network or disk is no exception.

use super::shared::{Health, Shared};
use crate::hw::notify;
use crate::time::{Duration, Instant};

/// Capture tries again at least this often: its longest pause, and a slow driver's opening.
const CAPTURE_MAX: Duration = Duration::from_secs(20);

/// Feeds the service manager's watchdog as often as it asks.
pub struct Watchdog {
    systemd: notify::Watchdog,
    fed_at: Instant,
    look_at: Instant,
    is_ready: bool,
}

impl Watchdog {
    /// As $WATCHDOG_USEC says; idle without it.
    pub fn from_environment() -> Self {
        Self { systemd: notify::Watchdog::from_env(), fed_at: Instant::BOOT, look_at: Instant::BOOT, is_ready: false }
    }

    /// When [`Watchdog::look`] is wanted next.
    pub fn poll_at(&self) -> Option<Instant> {
        self.systemd.interval().map(|_| self.look_at)
    }

    /// Says that the daemon is ready, at first, and from then on in every period that it is alive.
    pub fn look(&mut self, shared: &Shared, now: Instant) {
        if !std::mem::replace(&mut self.is_ready, true) {
            notify::ready();
        }
        let Some(period) = self.systemd.interval().filter(|_| now >= self.look_at) else { return };
        self.look_at = now + period;
        if is_alive(shared, self.fed_at, now) {
            self.systemd.alive(now);
            self.fed_at = now;
        }
    }

    /// The configuration was read again (Type=notify-reload).
    pub fn reloaded(&mut self) {
        notify::ready();
    }
}

fn is_alive(shared: &Shared, since: Instant, now: Instant) -> bool {
    let has_seen = shared.last_beat(Health::Vision) >= since;
    let is_trying = shared.is_camera_lost() && now.since(shared.last_beat(Health::Capture)) <= CAPTURE_MAX;
    has_seen || is_trying || shared.has_recording_ended()
}
