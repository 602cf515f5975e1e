//! The quiet after an attempt: who was denied and stays, tries again ever more rarely, and fills no ledger.

use super::policy::Policy;
use crate::time::{Duration, Instant};

/// The quiet grows no longer than this, unless the policy's own is longer.
pub(super) const MAX_RETRY: Duration = Duration::from_secs(30);
/// Doubling any policy's half second so often reaches [`MAX_RETRY`].
const MAX_DOUBLINGS: u32 = 6;

/// Since when no attempt may begin by itself, and what that depends on.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    since: Option<Instant>,
    last_face: Option<Instant>,
    /// Denials since the doorstep was last empty.
    denials: u32,
}

impl Quiet {
    /// A face is there at `now`: whether an attempt may begin with it.
    pub(super) fn is_over(&mut self, now: Instant, policy: &Policy) -> bool {
        if self.last_face.is_some_and(|at| now.since(at) >= policy.absent_after) {
            self.denials = 0;
        }
        self.last_face = Some(now);
        let doublings = self.denials.saturating_sub(1).min(MAX_DOUBLINGS);
        let pause = (policy.retry_after * (1 << doublings)).min(MAX_RETRY.max(policy.retry_after));
        self.since.is_none_or(|since| now >= since + pause)
    }

    /// An attempt has been denied.
    pub(super) fn denied(&mut self, now: Instant) {
        self.begin(now);
        self.denials = self.denials.saturating_add(1);
    }

    /// The door has just been locked: whoever went through may still be seen.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Somebody was admitted.
    pub(super) fn forgive(&mut self) {
        self.denials = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a face that stays, and is denied as soon as it may try, waits each time.
    fn waits(quiet: &mut Quiet, policy: &Policy, now: &mut Instant) -> Vec<u128> {
        let mut waits = Vec::new();
        for _ in 0..7 {
            quiet.denied(*now);
            let denied = *now;
            while !quiet.is_over(*now, policy) {
                *now = *now + Duration::from_millis(100);
            }
            waits.push(now.since(denied).as_millis());
        }
        waits
    }

    #[test]
    fn a_denied_face_that_stays_waits_twice_as_long_each_time_and_one_that_left_does_not() {
        let (policy, mut quiet, mut now) = (Policy::default(), Quiet::default(), Instant::from_millis(1000));
        assert!(quiet.is_over(now, &policy));
        let grown = [2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
        assert_eq!(waits(&mut quiet, &policy, &mut now), grown);
        now = now + policy.absent_after;
        assert!(quiet.is_over(now, &policy));
        assert_eq!(waits(&mut quiet, &policy, &mut now), grown);
    }

    #[test]
    fn the_policys_own_quiet_is_never_shortened() {
        let policy = Policy { retry_after: Duration::from_secs(60), ..Policy::default() };
        let (mut quiet, mut now) = (Quiet::default(), Instant::from_millis(1000));
        assert_eq!(waits(&mut quiet, &policy, &mut now), [60_000; 7]);
    }
}
