//! What a door demands before it opens: numbers that an installer chose, checked once, so that the machine need not.

use serde::{Deserialize, Deserializer};

use crate::time::Duration;
use crate::units::Fmr;

/// Most frames that an attempt looks back on.
pub const MAX_OF: usize = 16;
/// The relay is never held longer than this, whatever the configuration says.
pub const MAX_PULSE: Duration = Duration::from_secs(30);

/// Whether faces alone are enough to start an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// 1:N: whoever stands there is searched for among everybody.
    Recognition,
    /// 1:1: somebody first claims a name, and only that person is looked for.
    Verification,
}

/// What liveness must say before a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LivenessPolicy {
    /// A live verdict, fresh.
    Required,
    /// None: the installer has said outright that a picture may open this door.
    NotRequired,
}

/// The demands and times of one door, as `[gate]` of the configuration states them. [`Policy::check`] sees to it that
/// every field obeys its stated range.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub mode: Mode,
    /// `[liveness]` states it.
    #[serde(skip)]
    pub liveness: LivenessPolicy,
    /// The false positive rate of a whole search (1:N). The gate goes by the threshold that the roster brings for it.
    #[serde(deserialize_with = "rate")]
    pub target_fmr: Fmr,
    /// The false match rate of the one comparison with the claimed person (1:1); the same.
    #[serde(deserialize_with = "rate")]
    pub verify_target_fmr: Fmr,
    /// The same person in so many … 1 to `of`.
    pub agree: u8,
    /// … of the last so many good frames. 1 to [`MAX_OF`].
    pub of: u8,
    /// How much the best person's similarity must exceed the runner-up's, 0 to 1.
    pub margin: f32,
    /// Evidence older than this counts for nothing. 100 ms to 10 s.
    #[serde(rename = "stale_after_ms", deserialize_with = "millis")]
    pub stale_after: Duration,
    /// An attempt without enough evidence ends after this. 500 ms to 60 s.
    #[serde(rename = "attempt_timeout_ms", deserialize_with = "millis")]
    pub attempt_timeout: Duration,
    /// Nobody seen for this long ends an attempt. 200 ms to 10 s.
    #[serde(rename = "absent_after_ms", deserialize_with = "millis")]
    pub absent_after: Duration,
    /// After an attempt has ended, no new one begins for this long; while a denied face stays, twice as long each time,
    /// up to half a minute. 500 ms to 60 s.
    #[serde(rename = "retry_after_ms", deserialize_with = "millis")]
    pub retry_after: Duration,
    /// A claim waits this long for its face. 1 s to 60 s.
    #[serde(rename = "claim_timeout_s", deserialize_with = "seconds")]
    pub claim_timeout: Duration,
    /// How long the strike is released. 100 ms to [`MAX_PULSE`].
    #[serde(rename = "pulse_ms", deserialize_with = "millis")]
    pub pulse: Duration,
    /// The opening of the door ends the release: the next person needs a release of their own.
    pub relock_on_open: bool,
    /// How long the ledger may take to confirm a grant. 100 ms to 10 s.
    #[serde(rename = "ledger_timeout_ms", deserialize_with = "millis")]
    pub ledger_timeout: Duration,
    /// So many denials of strangers and attacks, those that step back early included … 1 to 100.
    pub lockout_after: u8,
    /// … within this time … 1 s to 1 h.
    #[serde(rename = "lockout_window_s", deserialize_with = "seconds")]
    pub lockout_window: Duration,
    /// … close recognition for this long. 1 s to 1 h.
    #[serde(rename = "lockout_for_s", deserialize_with = "seconds")]
    pub lockout_for: Duration,
    /// An open door raises the held-open alarm after this. 1 s to 1 h.
    #[serde(rename = "held_open_after_s", deserialize_with = "seconds")]
    pub held_open_after: Duration,
    /// The pre-alert comes this long before the alarm. 0 to `held_open_after`.
    #[serde(rename = "held_open_prealert_s", deserialize_with = "seconds")]
    pub held_open_prealert: Duration,
}

impl Default for Policy {
    /// A front door: three frames of the last five within a second, five seconds to pull the handle.
    fn default() -> Self {
        Self {
            mode: Mode::Recognition,
            liveness: LivenessPolicy::Required,
            target_fmr: Fmr::new(1e-4).expect("1e-4 is a rate"),
            verify_target_fmr: Fmr::new(1e-4).expect("1e-4 is a rate"),
            agree: 3,
            of: 5,
            margin: 0.05,
            stale_after: Duration::from_millis(1500),
            attempt_timeout: Duration::from_secs(5),
            absent_after: Duration::from_secs(1),
            retry_after: Duration::from_secs(2),
            claim_timeout: Duration::from_secs(10),
            pulse: Duration::from_secs(5),
            relock_on_open: true,
            ledger_timeout: Duration::from_secs(2),
            lockout_after: 5,
            lockout_window: Duration::from_secs(60),
            lockout_for: Duration::from_secs(30),
            held_open_after: Duration::from_secs(30),
            held_open_prealert: Duration::from_secs(10),
        }
    }
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Fmr, D::Error> {
    let rate = f64::deserialize(from)?;
    Fmr::new(rate)
        .ok_or_else(|| serde::de::Error::custom(format!("{rate} is no rate: write one between 0 and 1, such as 1e-4")))
}

fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_secs)
}

/// A number outside its range, by the key of the configuration that sets it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{key}: {value} is out of range, {range}")]
pub struct PolicyError {
    /// With its section and unit, `gate.pulse_ms`.
    pub key: &'static str,
    pub value: String,
    pub range: &'static str,
}

impl Policy {
    /// Passes a policy whose numbers make sense together.
    ///
    /// # Errors
    /// The first number that doesn't.
    pub fn check(self) -> Result<Self, PolicyError> {
        fn within<T: PartialOrd + std::fmt::Debug>(
            key: &'static str,
            value: T,
            low: T,
            high: T,
            range: &'static str,
        ) -> Result<(), PolicyError> {
            // Written positively: NaN is out of every range.
            if low <= value && value <= high {
                Ok(())
            } else {
                Err(PolicyError { key, value: format!("{value:?}"), range })
            }
        }
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        within("gate.of", self.of, 1, MAX_OF as u8, "1 to 16 frames")?;
        within("gate.agree", self.agree, 1, self.of, "1 to gate.of frames")?;
        within("gate.margin", self.margin, 0.0, 1.0, "a similarity, 0 to 1")?;
        within("gate.stale_after_ms", self.stale_after, ms(100), s(10), "100 ms to 10 s")?;
        within("gate.attempt_timeout_ms", self.attempt_timeout, ms(500), s(60), "500 ms to 60 s")?;
        within("gate.absent_after_ms", self.absent_after, ms(200), s(10), "200 ms to 10 s")?;
        within("gate.retry_after_ms", self.retry_after, ms(500), s(60), "500 ms to 60 s")?;
        within("gate.claim_timeout_s", self.claim_timeout, s(1), s(60), "1 s to 60 s")?;
        within("gate.pulse_ms", self.pulse, ms(100), MAX_PULSE, "100 ms to 30 s")?;
        within("gate.ledger_timeout_ms", self.ledger_timeout, ms(100), s(10), "100 ms to 10 s")?;
        within("gate.lockout_after", self.lockout_after, 1, 100, "1 to 100 denials")?;
        within("gate.lockout_window_s", self.lockout_window, s(1), s(3600), "1 s to 1 h")?;
        within("gate.lockout_for_s", self.lockout_for, s(1), s(3600), "1 s to 1 h")?;
        within("gate.held_open_after_s", self.held_open_after, s(1), s(3600), "1 s to 1 h")?;
        within(
            "gate.held_open_prealert_s",
            self.held_open_prealert,
            s(0),
            self.held_open_after,
            "0 to gate.held_open_after_s",
        )?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_named() {
        let key = |p: Policy| p.check().unwrap_err().key;
        assert_eq!(key(Policy { agree: 6, ..Policy::default() }), "gate.agree");
        assert_eq!(key(Policy { of: 17, ..Policy::default() }), "gate.of");
        assert_eq!(key(Policy { margin: f32::NAN, ..Policy::default() }), "gate.margin");
        assert_eq!(key(Policy { pulse: MAX_PULSE * 2, ..Policy::default() }), "gate.pulse_ms");
        assert_eq!(key(Policy { pulse: Duration::ZERO, ..Policy::default() }), "gate.pulse_ms");
    }

    /// The key that a policy is refused for.
    fn refused(policy: Policy) -> Option<&'static str> {
        policy.check().err().map(|wrong| wrong.key)
    }

    #[test]
    fn each_count_and_the_margin_are_in_range_up_to_both_ends_and_out_of_it_beyond() {
        let beyond = |key| [Some(key), None, None, Some(key)];
        let of = |of| refused(Policy { of, agree: 1, ..Policy::default() });
        assert_eq!([0, 1, 16, 17].map(of), beyond("gate.of"));
        let agree = |agree| refused(Policy { agree, of: 5, ..Policy::default() });
        assert_eq!([0, 1, 5, 6].map(agree), beyond("gate.agree"));
        let lockout_after = |lockout_after| refused(Policy { lockout_after, ..Policy::default() });
        assert_eq!([0, 1, 100, 101].map(lockout_after), beyond("gate.lockout_after"));
        let margin = |margin| refused(Policy { margin, ..Policy::default() });
        assert_eq!([0_f32.next_down(), 0.0, 1.0, 1_f32.next_up()].map(margin), beyond("gate.margin"));
    }

    #[test]
    fn each_time_is_in_range_up_to_both_ends_and_out_of_it_a_millisecond_beyond() {
        type With = fn(Duration) -> Policy;
        let times: [(&str, With, [u64; 2]); 10] = [
            ("gate.stale_after_ms", |stale_after| Policy { stale_after, ..Policy::default() }, [100, 10_000]),
            (
                "gate.attempt_timeout_ms",
                |attempt_timeout| Policy { attempt_timeout, ..Policy::default() },
                [500, 60_000],
            ),
            ("gate.absent_after_ms", |absent_after| Policy { absent_after, ..Policy::default() }, [200, 10_000]),
            ("gate.retry_after_ms", |retry_after| Policy { retry_after, ..Policy::default() }, [500, 60_000]),
            ("gate.claim_timeout_s", |claim_timeout| Policy { claim_timeout, ..Policy::default() }, [1000, 60_000]),
            ("gate.pulse_ms", |pulse| Policy { pulse, ..Policy::default() }, [100, 30_000]),
            ("gate.ledger_timeout_ms", |ledger_timeout| Policy { ledger_timeout, ..Policy::default() }, [100, 10_000]),
            (
                "gate.lockout_window_s",
                |lockout_window| Policy { lockout_window, ..Policy::default() },
                [1000, 3_600_000],
            ),
            ("gate.lockout_for_s", |lockout_for| Policy { lockout_for, ..Policy::default() }, [1000, 3_600_000]),
            (
                "gate.held_open_after_s",
                |held_open_after| Policy { held_open_after, held_open_prealert: Duration::ZERO, ..Policy::default() },
                [1000, 3_600_000],
            ),
        ];
        for (key, with, [low, high]) in times {
            let refused = |ms| refused(with(Duration::from_millis(ms)));
            assert_eq!([low - 1, low, high, high + 1].map(refused), [Some(key), None, None, Some(key)]);
        }
        let prealert = |ms| {
            let (held_open_after, held_open_prealert) = (Duration::from_secs(30), Duration::from_millis(ms));
            refused(Policy { held_open_after, held_open_prealert, ..Policy::default() })
        };
        assert_eq!([0, 30_000, 30_001].map(prealert), [None, None, Some("gate.held_open_prealert_s")]);
    }
}
