//! How long to wait before a camera, a wire or a sensor that was lost is opened again.

#![forbid(unsafe_code)]

use crate::time::Duration;

/// Pauses that double from [`Backoff::FIRST`] to [`Backoff::MAX`]: what was plugged back in is found at once, what is
/// gone costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A cable that was jolted is back by then.
    pub const FIRST: Duration = Duration::from_millis(250);
    /// Whoever has plugged it in again waits no longer than this.
    pub const MAX: Duration = Duration::from_secs(10);

    /// Another attempt has failed: how long to wait before the next.
    pub fn failed(&mut self) -> Duration {
        let pause = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// It works: the next failure starts with the first pause again. Opening alone is no success, since a camera with
    /// too little power opens and dies.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Attempts that failed since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_a_success_ends_them() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(), Backoff::FIRST);
    }

    #[test]
    fn what_is_gone_for_years_overflows_nothing() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.failed(), Backoff::MAX);
        assert_eq!(backoff.failures(), u32::MAX);
    }
}
