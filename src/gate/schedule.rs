//! When a person may come in: weekly spans of local time in a named zone.
//!
//! `Mon-Fri 07:00-19:00; Sat 08:00-12:00 Europe/Madrid`: days, a span, more of them behind semicolons, the zone (IANA)
//! last. A span that ends before it begins runs past midnight and belongs to the day it began on. `24:00` is the end of
//! a day. Daylight saving is the zone's: a span holds what the clock on the wall shows.

use std::fmt;

use jiff::tz::TimeZone;

use crate::time::Wall;

/// Most spans in one schedule.
pub const MAX_SPANS: usize = 16;
/// Longest text of a schedule, in bytes.
pub const MAX_TEXT_BYTES: usize = 512;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MINUTES_A_DAY: u16 = 24 * 60;

/// One span: the days it begins on, and minutes of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Bit 0 is Monday.
    days: u8,
    from_minute: u16,
    /// Exclusive; at most [`MINUTES_A_DAY`]. At or before `from_minute`: on the next day.
    to_minute: u16,
}

/// When somebody may come in.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Any time, with any clock.
    Always,
    /// Within the spans, by a plausible clock.
    Weekly { spans: heapless::Vec<Span, MAX_SPANS>, zone: TimeZone },
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("a schedule of more than {MAX_TEXT_BYTES} bytes")]
    Long,
    #[error("more than {MAX_SPANS} spans")]
    ManySpans,
    #[error("'{0}' is no day: write Mon, Tue, Wed, Thu, Fri, Sat, Sun, a span such as Mon-Fri, or daily")]
    Day(String),
    #[error("'{0}' is no span of time: write for example 07:00-19:00")]
    Time(String),
    #[error("'{0}' names no time zone: end the schedule with one such as Europe/Madrid or UTC")]
    Zone(String),
    #[error("'{0}' can't be looked up, since only UTC is known here: install tzdata")]
    NoZones(String),
}

impl Schedule {
    /// Reads `always` or spans and a zone.
    ///
    /// # Errors
    /// [`ScheduleError`] names the part that can't be read.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(ScheduleError::Long);
        }
        let text = text.trim();
        if text == "always" {
            return Ok(Self::Always);
        }
        let (spans_text, zone_name) =
            text.rsplit_once(char::is_whitespace).ok_or_else(|| ScheduleError::Zone(text.to_owned()))?;
        let zone = zone(zone_name, |name| TimeZone::get(name).ok())?;
        let mut spans = heapless::Vec::new();
        for part in spans_text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (days, times) = part.split_once(char::is_whitespace).ok_or_else(|| ScheduleError::Time(part.into()))?;
            let days = parse_days(days)?;
            let (from_minute, to_minute) =
                parse_times(times.trim()).ok_or_else(|| ScheduleError::Time(times.trim().to_owned()))?;
            spans.push(Span { days, from_minute, to_minute }).map_err(|_| ScheduleError::ManySpans)?;
        }
        if spans.is_empty() {
            return Err(ScheduleError::Time(spans_text.to_owned()));
        }
        Ok(Self::Weekly { spans, zone })
    }

    /// Whether `at` lies inside. A clock that was never set is inside nothing but [`Schedule::Always`].
    pub fn admits(&self, at: Wall) -> bool {
        match self {
            Self::Always => true,
            Self::Weekly { spans, zone } => {
                at.is_plausible()
                    && local_minute(at, zone)
                        .is_some_and(|(day, minute)| spans.iter().any(|span| span.contains(day, minute)))
            }
        }
    }
}

impl Span {
    fn on(&self, day: u8) -> bool {
        self.days & (1 << day) != 0
    }

    fn contains(&self, day: u8, minute: u16) -> bool {
        if self.from_minute < self.to_minute {
            return self.on(day) && (self.from_minute..self.to_minute).contains(&minute);
        }
        let yesterday = (day + 6) % 7;
        (self.on(day) && minute >= self.from_minute) || (self.on(yesterday) && minute < self.to_minute)
    }

    /// As briefly as can be, so that what is shown is never longer than what may be read: a week has three runs at
    /// most.
    fn write_days(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begins = |day: &u8| self.on(*day) && !self.on((day + 6) % 7);
        let mut comma = "";
        for first in (0..7).filter(begins) {
            let last = (first..first + 7).take_while(|day| self.on(day % 7)).last().unwrap_or(first) % 7;
            let [first, last] = [first, last].map(|day| DAYS[usize::from(day)]);
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        // A week without a beginning is one of seven days.
        if comma.is_empty() { f.write_str("daily") } else { Ok(()) }
    }
}

/// UTC needs no table of zones, which a small system may lack.
fn zone(name: &str, find: impl Fn(&str) -> Option<TimeZone>) -> Result<TimeZone, ScheduleError> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    let unknown = if find("Europe/Madrid").is_some() { ScheduleError::Zone } else { ScheduleError::NoZones };
    find(name).ok_or_else(|| unknown(name.to_owned()))
}

/// Day of the week (0 is Monday) and minute of the day, where the zone can tell.
fn local_minute(at: Wall, zone: &TimeZone) -> Option<(u8, u16)> {
    let local = zone.to_datetime(jiff::Timestamp::from_millisecond(at.unix_millis()).ok()?);
    let day = u8::try_from(local.weekday().to_monday_zero_offset()).ok()?;
    let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
    Some((day, minute))
}

fn parse_days(text: &str) -> Result<u8, ScheduleError> {
    let wrong = || ScheduleError::Day(text.to_owned());
    if text == "daily" {
        return Ok(0b111_1111);
    }
    let index = |name: &str| DAYS.iter().position(|day| *day == name).ok_or_else(wrong);
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first)?, index(last)?);
        // Fri-Mon wraps round the week's end.
        let length = (last + 7 - first) % 7;
        for day in first..=first + length {
            days |= 1 << (day % 7);
        }
    }
    Ok(days)
}

fn parse_times(text: &str) -> Option<(u16, u16)> {
    let minute = |clock: &str| {
        let (hour, minute) = clock.split_once(':')?;
        let digits = |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u16>().ok());
        let (hour, minute) = (digits(hour)??, digits(minute)??);
        let total = hour * 60 + minute;
        (minute < 60 && total <= MINUTES_A_DAY).then_some(total)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < MINUTES_A_DAY && from != to).then_some((from, to))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Weekly { spans, zone } = self else {
            return f.write_str("always");
        };
        for (i, span) in spans.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            span.write_days(f)?;
            let (from, to) = (span.from_minute, span.to_minute);
            write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)?;
        }
        write!(f, " {}", zone.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Wall {
        Wall::from_unix_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn office_hours_follow_the_zone_and_its_daylight_saving() {
        let office = Schedule::parse("Mon-Fri 07:00-19:00; Sat 08:00-12:00 Europe/Madrid").unwrap();
        // 2026-07-01 is a Wednesday; Madrid is two hours ahead in summer, one in winter.
        assert!(office.admits(at("2026-07-01T05:00:00Z")));
        assert!(!office.admits(at("2026-07-01T04:59:59Z")));
        assert!(!office.admits(at("2026-12-02T05:30:00Z")));
        assert!(office.admits(at("2026-12-02T06:00:00Z")));
        assert!(!office.admits(at("2026-12-06T10:00:00Z")), "a Sunday");
    }

    #[test]
    fn a_night_span_belongs_to_the_day_it_began_on() {
        let night = Schedule::parse("Fri 22:00-06:00 UTC").unwrap();
        assert!(night.admits(at("2026-07-03T23:00:00Z")));
        assert!(night.admits(at("2026-07-04T05:59:00Z")));
        assert!(!night.admits(at("2026-07-04T06:00:00Z")));
        assert!(!night.admits(at("2026-07-03T05:00:00Z")), "Thursday night");
    }

    #[test]
    fn an_unset_clock_is_inside_no_span() {
        let daily = Schedule::parse("daily 00:00-24:00 UTC").unwrap();
        assert!(daily.admits(at("2026-07-04T23:59:59Z")));
        assert!(!daily.admits(Wall::from_unix_millis(0)));
        assert!(!daily.admits(Wall::from_unix_millis(i64::MIN)));
        assert!(Schedule::Always.admits(Wall::from_unix_millis(0)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(matches!(Schedule::parse("Mon-Fri 07:00-19:00"), Err(ScheduleError::Zone(z)) if z == "07:00-19:00"));
        assert!(matches!(Schedule::parse("Mo 07:00-19:00 UTC"), Err(ScheduleError::Day(d)) if d == "Mo"));
        for times in ["7:00-19:00", "07:00-25:00", "07:00", "07:00-07:00", "07:61-08:00", "24:00-06:00", "+7:00-19:00"]
        {
            assert!(matches!(Schedule::parse(&format!("Mon {times} UTC")), Err(ScheduleError::Time(_))), "{times}");
        }
        assert!(Schedule::parse("").is_err());
        assert!(Schedule::parse(";;; UTC").is_err());
        assert_eq!(
            Schedule::parse(&"Mon 07:00-08:00;".repeat(17)).unwrap_err(),
            ScheduleError::Zone("07:00-08:00;".into())
        );
        let many = format!("{} UTC", "Mon 07:00-08:00;".repeat(17));
        assert_eq!(Schedule::parse(&many).unwrap_err(), ScheduleError::ManySpans);
    }

    #[test]
    fn without_a_table_of_zones_utc_is_known_and_for_another_the_package_is_named() {
        let none = |_: &str| None;
        assert_eq!(zone("UTC", none), Ok(TimeZone::UTC));
        let told = zone("Europe/Madrid", none).unwrap_err().to_string();
        assert!(told.contains("'Europe/Madrid'") && told.ends_with("install tzdata"), "{told}");
        let one = |name: &str| (name == "Europe/Madrid").then(|| TimeZone::fixed(jiff::tz::offset(1)));
        assert!(zone("Europe/Madrid", one).is_ok());
        assert_eq!(zone("US/Nowhere", one), Err(ScheduleError::Zone("US/Nowhere".into())));
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for text in ["always", "daily 00:00-24:00 UTC", "Fri-Mon,Wed 22:00-06:00; Tue 01:00-02:30 America/New_York"] {
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(Schedule::parse(&schedule.to_string()).unwrap(), schedule);
        }
        let shown = |text: &str| Schedule::parse(text).unwrap().to_string();
        assert_eq!(shown("Mon,Tue,Wed,Fri 07:00-19:00 UTC"), "Mon-Wed,Fri 07:00-19:00 UTC");
        assert_eq!(shown("Sun,Sat,Mon 07:00-19:00 UTC"), "Sat-Mon 07:00-19:00 UTC");
        assert_eq!(shown("Mon-Sun 07:00-19:00 UTC"), "daily 07:00-19:00 UTC");
    }

    #[test]
    fn the_longest_schedule_is_not_too_long_to_be_read_back() {
        let widest = format!("{} America/Argentina/Buenos_Aires", "Mon,Wed,Fri-Sat 07:00-19:00;".repeat(MAX_SPANS));
        let schedule = Schedule::parse(&widest).unwrap();
        assert!(schedule.to_string().len() <= MAX_TEXT_BYTES);
        assert_eq!(Schedule::parse(&schedule.to_string()).unwrap(), schedule);
    }
}
