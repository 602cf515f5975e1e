//! From the driver's time stamps to ours.

#![forbid(unsafe_code)]

/// When a buffer was filled, in nanoseconds of CLOCK_BOOTTIME.
///
/// `stamp` is the driver's, of CLOCK_MONOTONIC, or `None` where the driver says that it isn't; the two clocks were read
/// together when the buffer was taken. A stamp that is missing or lies in the future can't be true: the time of taking
/// stands for it, which is the latest that it can have been. One that is too old is kept, so that the frame is judged
/// stale.
pub(super) fn to_boottime(stamp: Option<u64>, monotonic_now: u64, boottime_now: u64) -> u64 {
    let age = stamp.and_then(|stamp| monotonic_now.checked_sub(stamp)).unwrap_or(0);
    boottime_now.saturating_sub(age)
}

/// The nanoseconds of a `timeval`; `None` where it is zero or malformed, as drivers that stamp nothing leave it.
pub(super) fn nanos(seconds: i64, micros: i64) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let micros = u64::try_from(micros).ok().filter(|us| *us < 1_000_000)?;
    let nanos = seconds.checked_mul(1_000_000_000)? + micros * 1_000;
    (nanos > 0).then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_age_of_a_stamp_carries_over_a_sleep_of_the_board() {
        let slept = 3_600 * S;
        assert_eq!(to_boottime(Some(99 * S), 100 * S, 100 * S + slept), 99 * S + slept);
    }

    #[test]
    fn a_stamp_that_is_missing_or_from_the_future_is_the_time_of_taking() {
        assert_eq!(to_boottime(None, 100 * S, 200 * S), 200 * S);
        assert_eq!(to_boottime(Some(101 * S), 100 * S, 200 * S), 200 * S);
    }

    #[test]
    fn an_ancient_stamp_stays_ancient() {
        assert_eq!(to_boottime(Some(1), 100 * S, 100 * S), 1);
    }

    #[test]
    fn a_malformed_or_empty_timeval_is_no_stamp() {
        assert_eq!(nanos(2, 500_000), Some(2_500_000_000));
        for (seconds, micros) in [(0, 0), (-1, 0), (1, -1), (1, 1_000_000), (i64::MAX, 0)] {
            assert_eq!(nanos(seconds, micros), None, "{seconds} s {micros} us");
        }
    }
}
