//! Points of time as people write them on the command line.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, ZonedDateTime};

use super::exit::Failure;
use crate::time::Wall;

/// When somebody stops being admitted: `never`, the last day that counts (`2026-12-31`, local time), or an instant
/// (RFC 3339).
pub fn parse_expiry(text: &str) -> Result<Option<Wall>, Failure> {
    if text == "never" {
        return Ok(None);
    }
    let Some(day) = day(text) else { return instant(text).map(Some) };
    let after = day.checked_add(1.day()).and_then(|after| after.to_zoned_datetime(TimeZone::system()));
    let too_late = |_| Failure::Usage(format!("'{text}' is too late to be told from never: write never"));
    after.map(|at| Some(wall(at.timestamp()))).map_err(too_late)
}

/// The beginning of a span that ends now: a day (its start, local time), an instant (RFC 3339), or how long ago (`2h`,
/// `7d`, and as well `2h ago`, which a span's parser takes for a negative one).
pub fn parse_since(text: &str, now: Wall) -> Result<Wall, Failure> {
    if let Some(day) = day(text) {
        return day.to_zoned_datetime(TimeZone::system()).map(|at| wall(at.timestamp())).map_err(|_| unreadable(text));
    }
    if let Ok(ago) = text.parse::<jiff::Span>() {
        let now = Timestamp::from_millisecond(now.unix_millis()).unwrap_or(Timestamp::UNIX_EPOCH);
        let then = ZonedDateTime::new(now, TimeZone::system()).checked_sub(ago.abs()).map_err(|_| unreadable(text))?;
        return Ok(wall(then.timestamp()));
    }
    instant(text)
}

/// A day written as `2026-12-31` and in no other way: of a time, which it would take as well, a date's parser drops the
/// hours.
fn day(text: &str) -> Option<Date> {
    text.parse::<Date>().ok().filter(|day| day.to_string() == text)
}

fn instant(text: &str) -> Result<Wall, Failure> {
    text.parse::<Timestamp>().map(wall).map_err(|_| unreadable(text))
}

fn wall(at: Timestamp) -> Wall {
    Wall::from_unix_millis(at.as_millisecond())
}

fn unreadable(text: &str) -> Failure {
    Failure::Usage(format!(
        "'{text}' is no time: write a day such as 2026-12-31, or an instant with its offset from UTC such as \
         2026-12-31T18:00:00+01:00 or 2026-12-31T17:00:00Z"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_day_ends_with_that_day() {
        let day = parse_expiry("2026-12-31").unwrap().unwrap();
        let midnight = "2027-01-01".parse::<Date>().unwrap().to_zoned_datetime(TimeZone::system()).unwrap();
        assert_eq!(day, wall(midnight.timestamp()));
        assert_eq!(parse_expiry("never").unwrap(), None);
        assert_eq!(parse_expiry("1970-01-01T00:00:01Z").unwrap(), Some(Wall::from_unix_millis(1000)));
        assert!(parse_expiry("tomorrow").is_err());
        let late = parse_expiry("9999-12-31").unwrap_err().to_string();
        assert!(late.contains("too late") && late.ends_with("write never"), "{late}");
    }

    #[test]
    fn the_hours_of_an_instant_count_and_without_an_offset_it_is_none() {
        let now = Wall::from_unix_millis(0);
        let at = Wall::from_unix_millis(1_795_935_600_000);
        for text in ["2026-11-29T08:00:00+01:00", "2026-11-29T07:00:00Z", "2026-11-29 07:00Z"] {
            assert_eq!((parse_expiry(text).unwrap(), parse_since(text, now).unwrap()), (Some(at), at), "{text}");
        }
        for text in ["2026-12-31T18:00", "2026-12-31T18:00[Europe/Madrid]", "20261231", "2026-12-31 "] {
            let refused = parse_expiry(text).unwrap_err().to_string();
            assert!(refused.contains("offset") && parse_since(text, now).is_err(), "{text}: {refused}");
        }
    }

    #[test]
    fn a_span_counts_back_from_now() {
        let now = Wall::from_unix_millis(1_790_000_000_000);
        for text in ["2h", "2h ago", "2 hours ago", "-2h"] {
            assert_eq!(parse_since(text, now).unwrap().unix_millis(), 1_790_000_000_000 - 7_200_000, "{text}");
        }
        assert!(parse_since("7d", now).unwrap() < now);
        assert!(parse_since("soon", now).is_err());
    }
}
