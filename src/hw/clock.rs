//! The board's clocks.

#![forbid(unsafe_code)]

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::ports::Clock;
use crate::time::{Instant, Now, Wall};

/// CLOCK_BOOTTIME, which goes on while the board sleeps and never jumps, and CLOCK_REALTIME.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Now {
        let mono = Instant::from_nanos(nanos(clock_gettime(ClockId::Boottime)));
        let wall = clock_gettime(ClockId::Realtime);
        let millis = wall.tv_sec.saturating_mul(1000).saturating_add(wall.tv_nsec / 1_000_000);
        Now { mono, wall: Wall::from_unix_millis(millis) }
    }
}

/// CLOCK_MONOTONIC and CLOCK_BOOTTIME in nanoseconds, read as close together as the kernel allows. They differ by the
/// time that the board has slept; drivers stamp with the first, everything here counts in the second.
pub(crate) fn monotonic_and_boottime() -> (u64, u64) {
    (nanos(clock_gettime(ClockId::Monotonic)), nanos(clock_gettime(ClockId::Boottime)))
}

/// Both clocks count from boot, so they are never negative.
fn nanos(t: Timespec) -> u64 {
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_never_runs_backwards_and_includes_sleep() {
        let clock = BootClock;
        let (a, b) = (clock.now().mono, clock.now().mono);
        assert!(b >= a);
        let (monotonic, boottime) = monotonic_and_boottime();
        assert!(boottime >= monotonic);
    }

    #[test]
    fn wall_time_agrees_with_the_standard_library() {
        let ours = BootClock.now().wall.unix_millis();
        let std = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        assert!((std - ours).abs() < 60_000);
    }
}
