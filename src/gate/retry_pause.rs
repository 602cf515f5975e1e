//! The pause after an attempt: who was denied and stays, tries again ever more rarely, and fills no ledger.

use super::policy::Policy;
use crate::person::PersonId;
use crate::time::{Duration, Instant};

/// The pause grows no longer than this, unless the policy's own is longer.
pub(super) const MAX_RETRY: Duration = Duration::from_secs(30);
/// Doubling any policy's half second so often reaches [`MAX_RETRY`].
const MAX_DOUBLINGS: u32 = 6;

/// Since when no attempt may begin by itself, and what that depends on.
#[derive(Debug, Default)]
pub(super) struct RetryPause {
    begun: Option<Instant>,
    /// The last denial, and whom it named.
    denied: Option<(Instant, Option<PersonId>)>,
    last_face: Option<Instant>,
    /// Denials since the doorstep was last empty.
    denials: u32,
}

impl RetryPause {
    /// A face is there at `now`, and it may be known whose: whether an attempt may begin with it.
    pub(super) fn is_over(&mut self, now: Instant, person: Option<PersonId>, policy: &Policy) -> bool {
        if self.last_face.is_some_and(|at| now.since(at) >= policy.absent_after) {
            self.denials = 0;
        }
        self.last_face = Some(now);
        self.begun.is_none_or(|since| now >= since + policy.retry_after)
            && self.denied.is_none_or(|(since, denied)| now >= since + self.pause(denied, person, policy))
    }

    /// How long a face waits after a denial: whoever is known to be another than the one denied waits for none of what
    /// that one's staying has cost. Two who are both denied, and take turns, are no more frequent than the policy has
    /// it.
    fn pause(&self, denied: Option<PersonId>, person: Option<PersonId>, policy: &Policy) -> Duration {
        match (denied, person) {
            (None, Some(_)) => Duration::ZERO,
            (Some(denied), Some(person)) if denied != person => policy.retry_after,
            _ => {
                let doublings = self.denials.saturating_sub(1).min(MAX_DOUBLINGS);
                (policy.retry_after * (1 << doublings)).min(MAX_RETRY.max(policy.retry_after))
            }
        }
    }

    /// An attempt has been denied, of this person where that is known.
    pub(super) fn denied(&mut self, now: Instant, person: Option<PersonId>) {
        self.denied = Some((now, person));
        self.denials = self.denials.saturating_add(1);
    }

    /// The door has just been locked, and whoever went through may still be seen; or something failed, which is
    /// nobody's doing.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
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
    fn waits(pause: &mut RetryPause, policy: &Policy, now: &mut Instant) -> Vec<u128> {
        let mut waits = Vec::new();
        for _ in 0..7 {
            pause.denied(*now, None);
            let denied = *now;
            while !pause.is_over(*now, None, policy) {
                *now = *now + Duration::from_millis(100);
            }
            waits.push(now.since(denied).as_millis());
        }
        waits
    }

    #[test]
    fn a_denied_face_that_stays_waits_twice_as_long_each_time_and_one_that_left_does_not() {
        let (policy, mut pause, mut now) = (Policy::default(), RetryPause::default(), Instant::from_millis(1000));
        assert!(pause.is_over(now, None, &policy));
        let grown = [2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
        assert_eq!(waits(&mut pause, &policy, &mut now), grown);
        now = now + policy.absent_after;
        assert!(pause.is_over(now, None, &policy));
        assert_eq!(waits(&mut pause, &policy, &mut now), grown);
    }

    #[test]
    fn somebody_else_who_is_known_waits_for_no_stranger_and_for_another_person_as_briefly_as_the_policy_has_it() {
        let (ana, ben) = (Some(PersonId::new(1)), Some(PersonId::new(2)));
        for (denied, seconds) in [(None, 0), (ben, 2), (ana, 8)] {
            let (policy, mut pause, began) = (Policy::default(), RetryPause::default(), Instant::from_millis(1000));
            (0..3).for_each(|_| pause.denied(began, denied));
            let half = Duration::from_millis(500);
            let waited = (0..100).find(|halves| pause.is_over(began + half * *halves, ana, &policy));
            assert_eq!(waited, Some(2 * seconds), "{denied:?}");
        }
    }

    #[test]
    fn the_policys_own_pause_is_never_shortened() {
        let policy = Policy { retry_after: Duration::from_secs(60), ..Policy::default() };
        let (mut pause, mut now) = (RetryPause::default(), Instant::from_millis(1000));
        assert_eq!(waits(&mut pause, &policy, &mut now), [60_000; 7]);
    }
}
