//! Where the daemon's lines go: the systemd journal with fields, or standard error as plain sentences.
//!
//! Every outcome has a MESSAGE_ID of its own that never changes, so that `journalctl MESSAGE_ID=…` finds, say, every
//! forced door of a year. The fields are OUTCOME, PERSON (the number), NAME, SIMILARITY and REASONS.

#![forbid(unsafe_code)]

mod behind;

use std::fmt::Write as _;
use std::io::Write as _;

use behind::Behind;

use log::kv::Value;
use log::{Level, LevelFilter, Log, Metadata};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::gate::{Fault, Outcome, Reason, Record};

/// Overrides the level that the program asks for: `off`, `error`, `warn`, `info`, `debug` or `trace`.
pub const LEVEL_VARIABLE: &str = "FACELATCH_LOG";
/// MESSAGE_ID of the complaint that a configuration opens a real door without liveness.
pub const INSECURE: &str = "c25614b2f4fc4bcabb1f4c76e3ce31ab";
/// MESSAGE_ID of a fault that says that somebody moves the housing.
pub const TAMPER: &str = "765657e79d994992aa2de20cd343bd30";
/// Fields that a line about an outcome carries at most.
const MAX_FIELDS: usize = 6;

/// Sets logging up, once a process: to the journal where standard error is connected to it, which systemd sees to, else
/// to standard error. A second call changes the level and nothing else.
pub fn init(level: LevelFilter) {
    match connected_to_journal().then(JournalLog::new) {
        Some(Ok(journal)) => install(journal.with_syslog_identifier("facelatch".to_owned())),
        _ => install(StandardError),
    }
    log::set_max_level(level);
    if let Ok(wish) = std::env::var(LEVEL_VARIABLE) {
        match wish.parse() {
            Ok(level) => log::set_max_level(level),
            // As an error, which is told at any level that the program asks for.
            Err(_) => log::error!("{LEVEL_VARIABLE}={wish}: a level is off, error, warn, info, debug or trace"),
        }
    }
}

/// Lets a thread of its own write the lines. Without a thread to be had, no daemon will run, and standard error says
/// why.
fn install(to: impl Log + 'static) {
    let _already_set = match Behind::new(to) {
        Ok(behind) => log::set_boxed_logger(Box::new(behind)),
        Err(_) => log::set_logger(&StandardError),
    };
}

/// Waits, a second at most, until the lines so far are written.
pub fn flush() {
    log::logger().flush();
}

/// Writes an outcome with its fields. `name` is the person's, where there is one and it is known.
pub fn outcome(record: &Record, name: Option<&str>) {
    let level = level_of(record.outcome);
    if level > log::max_level() {
        return;
    }
    let reasons = joined(record);
    let sentence = sentence(record, name, &reasons);
    let person = record.person.map(|p| p.get());
    let mut fields = heapless::Vec::<(&str, Value<'_>), MAX_FIELDS>::new();
    let mut add = |key, value| {
        let _six_fit = fields.push((key, value));
    };
    let is_tampering = record.outcome == Outcome::Fault && record.reasons.contains(&Reason::Fault(Fault::Tamper));
    add("MESSAGE_ID", Value::from(if is_tampering { TAMPER } else { message_id(record.outcome) }));
    add("OUTCOME", Value::from(record.outcome.as_str()));
    if let Some(person) = person {
        add("PERSON", Value::from(person));
    }
    if let Some(name) = name {
        add("NAME", Value::from(name));
    }
    if let Some(similarity) = record.similarity {
        add("SIMILARITY", Value::from(similarity.get()));
    }
    if !reasons.is_empty() {
        add("REASONS", Value::from(reasons.as_str()));
    }
    emit(level, &sentence, &fields.as_slice());
}

/// Complains, with [`INSECURE`], about a configuration that opens a real door more easily than it should.
pub fn insecure(sentence: &str) {
    emit(Level::Warn, sentence, &[("MESSAGE_ID", Value::from(INSECURE))].as_slice());
}

fn emit(level: Level, sentence: &str, fields: &dyn log::kv::Source) {
    if level > log::max_level() {
        return;
    }
    log::logger().log(
        &log::Record::builder()
            .level(level)
            .target("facelatch")
            .args(format_args!("{sentence}"))
            .key_values(&fields)
            .build(),
    );
}

/// `granted: Ana Ruiz (#3), similarity 0.712, frames_agreed 3, needed 3`
fn sentence(record: &Record, name: Option<&str>, reasons: &str) -> String {
    let mut text = record.outcome.as_str().replace('_', " ");
    let mut separator = ": ";
    let mut add = |part: std::fmt::Arguments<'_>| {
        let _infallible = write!(text, "{separator}{part}");
        separator = ", ";
    };
    match (name, record.person) {
        (Some(name), Some(person)) => add(format_args!("{name} ({person})")),
        (Some(name), None) => add(format_args!("{name}")),
        (None, Some(person)) => add(format_args!("{person}")),
        (None, None) => {}
    }
    if let Some(similarity) = record.similarity {
        add(format_args!("similarity {similarity}"));
    }
    if !reasons.is_empty() {
        add(format_args!("{reasons}"));
    }
    text
}

fn joined(record: &Record) -> String {
    let mut text = String::new();
    for (i, reason) in record.reasons.iter().enumerate() {
        let _infallible = write!(text, "{}{reason}", if i == 0 { "" } else { ", " });
    }
    text
}

/// How loud an outcome is: what somebody should look into is a warning, what stops the door from working an error.
const fn level_of(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Fault => Level::Error,
        Outcome::Spoof
        | Outcome::LockedOut
        | Outcome::DoorForced
        | Outcome::DoorHeldOpenSoon
        | Outcome::DoorHeldOpen => Level::Warn,
        _ => Level::Info,
    }
}

/// The MESSAGE_ID of an outcome: 128 random bits (version 4, as `systemd-id128 new` makes them), fixed for ever.
pub const fn message_id(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Granted => "b69f6a3fe65d4aa2abecb66d39248e33",
        Outcome::NotRecognised => "88d7c3849eb74804bc8d4745f1de5abb",
        Outcome::Ambiguous => "b31c8db807194f0c926a1e1690e29259",
        Outcome::Spoof => "d22bbb4493dc4e668e174144ac246b51",
        Outcome::LivenessInconclusive => "dc4dd8acdd39446abccec2ce53fc0fc5",
        Outcome::PoorQuality => "ec201cd339174d2cb390e3651b89b386",
        Outcome::Expired => "e3f50645089c4f6582343d5b2e8bfe8e",
        Outcome::OutOfSchedule => "09ad5183827c454bbee1760252647af0",
        Outcome::LockedOut => "a163c12ca29545678c5f9888925845f9",
        Outcome::Fault => "e26220b3356e423993b6c65da03d1614",
        Outcome::Exit => "338d31685e9741fb83f3eb36a990535d",
        Outcome::ManualRelease => "f88ebfb4b1a54992858ce35178e04750",
        Outcome::DoorForced => "0a2b2b8a9dc242a1a693ebca5e29e799",
        Outcome::DoorHeldOpenSoon => "4c77999121934ce695d5e6084b4dd458",
        Outcome::DoorHeldOpen => "97770464fd6d4216ad58d16eef05fec5",
        Outcome::DoorClosed => "9351c64a15e04eb5932df250bfd924ce",
        Outcome::FaultCleared => "4205c5c2b7d6445b917057f13a9c9d6d",
        Outcome::Started => "ce76115a238b4d3a896223f1c5da1986",
        Outcome::Stopped => "7b1c6051d74a4312bb13d1d241cc0f4d",
        Outcome::Enrolled => "90fc688805be4a72873eee889738c127",
        Outcome::Renamed => "d87a2af4e80b40539df02ac24df406ec",
        Outcome::ExpiryChanged => "0229578c34274260bd8eee3c1a79635c",
        Outcome::ScheduleChanged => "d1f23fce027a4bdc8500f2d4d39d03d6",
        Outcome::Erased => "c5c345bb57304451bce8b51848673efd",
    }
}

/// Plain sentences on standard error.
struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr().lock(), "{}", line(record));
        }
    }

    fn flush(&self) {}
}

/// `warning: the camera was unplugged`; what is only for who looks for it says where it comes from.
fn line(record: &log::Record<'_>) -> String {
    harmless(&match record.level() {
        Level::Error => format!("error: {}", record.args()),
        Level::Warn => format!("warning: {}", record.args()),
        Level::Info => record.args().to_string(),
        Level::Debug | Level::Trace => format!("{}: {}", record.target(), record.args()),
    })
}

/// A text as a terminal may have it: control characters but a line's end and a tab are spelt out, as `\u{1b}`. Names of
/// files, of devices and of whatever else another chose could move the cursor, and erase what stands there.
pub fn harmless(text: &str) -> String {
    spelt_out(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// The same of what another chose within a line: it begins no line of its own.
pub fn one_line(text: &str) -> String {
    spelt_out(text, char::is_control)
}

fn spelt_out(text: &str, is_harmful: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::PersonId;
    use crate::time::Wall;
    use crate::units::Similarity;
    use std::collections::HashSet;

    #[test]
    fn every_outcome_has_an_id_of_its_own_that_the_journal_accepts() {
        let ids: HashSet<_> = Outcome::ALL.into_iter().map(message_id).chain([INSECURE, TAMPER]).collect();
        assert_eq!(ids.len(), Outcome::ALL.len() + 2);
        for id in ids {
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
        }
    }

    #[test]
    fn an_id_that_was_published_stays() {
        let page = include_str!("../../docs/outcomes.md");
        let published = |outcome: Outcome| {
            let first = format!("| `{outcome}` |");
            let row = page.lines().find(|row| row.starts_with(&first))?;
            row.trim_end_matches([' ', '|']).rsplit('|').next().map(|id| id.trim().trim_matches('`'))
        };
        for outcome in Outcome::ALL {
            // What people do to the gallery is not in the journal.
            let by_people = ["enrolled", "renamed", "expiry_changed", "schedule_changed", "erased"];
            let expected = (!by_people.contains(&outcome.as_str())).then(|| message_id(outcome));
            assert_eq!(published(outcome), expected, "{outcome}");
        }
        for id in [INSECURE, TAMPER] {
            assert!(page.contains(&format!("`{id}`")), "{id}");
        }
    }

    #[test]
    fn an_outcome_reads_as_a_sentence() {
        let record = Record::new(Wall::default(), Outcome::NotRecognised)
            .similarity(Similarity::new(0.25))
            .because(Reason::OutsideSchedule)
            .because(Reason::EmptyGallery);
        assert_eq!(
            sentence(&record, None, &joined(&record)),
            "not recognised: similarity 0.250, outside_schedule, nobody_enrolled"
        );
        let granted = Record::new(Wall::default(), Outcome::Granted).person(PersonId::new(3));
        assert_eq!(sentence(&granted, Some("Ana"), ""), "granted: Ana (#3)");
        assert_eq!(sentence(&Record::new(Wall::default(), Outcome::Started), None, ""), "started");
    }

    #[test]
    fn standard_error_says_how_bad_it_is_and_no_more() {
        let show = |level| line(&log::Record::builder().level(level).target("x").args(format_args!("text")).build());
        assert_eq!([show(Level::Error), show(Level::Info)], ["error: text", "text"]);
        assert_eq!([show(Level::Warn), show(Level::Debug)], ["warning: text", "x: text"]);
    }

    #[test]
    fn what_another_chose_moves_no_cursor_and_begins_no_line() {
        let camera = "Cam\u{1b}[1A\u{9b}2K\r\n\tok";
        assert_eq!(harmless(camera), "Cam\\u{1b}[1A\\u{9b}2K\\r\n\tok");
        assert_eq!(one_line(camera), "Cam\\u{1b}[1A\\u{9b}2K\\r\\n\\tok");
        assert_eq!(harmless("Zoë, 60°"), "Zoë, 60°");
        let logged = line(&log::Record::builder().level(Level::Warn).args(format_args!("{camera}")).build());
        assert!(!logged.contains('\u{1b}'), "{logged}");
    }

    #[test]
    fn logging_an_outcome_works_before_and_after_setting_up() {
        let record = Record::new(Wall::default(), Outcome::Exit);
        outcome(&record, None);
        init(LevelFilter::Off);
        insecure("this is said by nobody");
        outcome(&record, Some("Ana"));
    }
}
