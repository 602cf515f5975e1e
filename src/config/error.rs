//! Why a configuration is refused, said with the file, the line and the key.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// Keys whose values have to suit those of others.
const SUITS: [(&str, &[&str]); 4] = [
    ("gate.agree", &["gate.of"]),
    ("gate.held_open_prealert_s", &["gate.held_open_after_s"]),
    ("gate.stale_after_ms", &["gate.agree", "camera.fps"]),
    ("faces.max_luminance", &["faces.min_luminance"]),
];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: there is no configuration; sudo facelatch setup writes one", path.display())]
    Missing { path: PathBuf },
    #[error("{}: the configuration can't be read ({source}); check that it is a file and who may read it", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: a configuration has at most {max} bytes; is this the right file?", path.display())]
    Long { path: PathBuf, max: u64 },
    #[error("{}{}: {}{why}; correct it, the sample configuration explains every key", path.display(), place(*line), prefix(key))]
    Wrong { path: PathBuf, line: Option<usize>, key: String, why: String },
}

/// A value that can be read and makes no sense: the key with its section, and what is wrong.
#[derive(Debug)]
pub(super) struct Nonsense {
    pub key: String,
    pub why: String,
}

impl Nonsense {
    pub fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), why: why.into() }
    }
}

fn place(line: Option<usize>) -> String {
    line.map(|n| format!(", line {n}")).unwrap_or_default()
}

fn prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

impl ConfigError {
    /// What the parser says, placed where it says it.
    pub(super) fn parse(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span();
        let table = DeTable::parse(text).ok();
        let key = span.as_ref().zip(table).and_then(|(span, table)| key_at(table.get_ref(), span)).unwrap_or_default();
        let why = match error.message().strip_prefix("unknown field ") {
            Some(rest) => match rest.split_once(", expected ") {
                Some((_, known)) => format!("there is no such key here, only {}", known.trim_start_matches("one of ")),
                None => "there is no such key".to_owned(),
            },
            None if (key.is_empty() || key.starts_with("sensor"))
                && error.message() == "invalid type: map, expected a sequence" =>
            {
                "a door may have several: write [[sensor]]".to_owned()
            }
            None => error.message().to_owned(),
        };
        Self::Wrong { path: path.to_owned(), line: span.map(|span| line_at(text, span.start)), key, why }
    }

    /// A file that is no text at this byte.
    pub(super) fn no_text(path: &Path, bytes: &[u8], offset: usize) -> Self {
        let why = "a character here isn't UTF-8: save the file as UTF-8".to_owned();
        Self::Wrong { path: path.to_owned(), line: Some(line_at(bytes, offset)), key: String::new(), why }
    }

    /// What the check says, placed at the key's line where the file has it; else, as the key has its default, at that
    /// of one that it must suit, or of its section.
    pub(super) fn nonsense(path: &Path, text: &str, Nonsense { key, why }: Nonsense) -> Self {
        let table = DeTable::parse(text).ok();
        let place = |key: &str| {
            let span = span_of(table.as_ref()?.get_ref(), key)?;
            Some(line_at(text, span.start))
        };
        if let Some(line) = place(&key) {
            return Self::Wrong { path: path.to_owned(), line: Some(line), key, why };
        }
        let others = SUITS.iter().filter(|(of, _)| *of == key).flat_map(|(_, others)| others.iter().copied());
        let section = key.rsplit_once('.').map(|(section, _)| section);
        let line = others.chain(section).find_map(place);
        Self::Wrong { path: path.to_owned(), line, key: format!("{key} (its default)"), why }
    }
}

/// The dotted key that stands at, or whose value covers, the start of `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    for (key, value) in table {
        let name = key.get_ref();
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(deeper) = key_at(inner, span)
        {
            return Some(format!("{name}.{deeper}"));
        }
        if let DeValue::Array(sections) = value.get_ref() {
            for (i, section) in sections.iter().enumerate() {
                if let DeValue::Table(inner) = section.get_ref()
                    && let Some(deeper) = key_at(inner, span)
                {
                    return Some(format!("{name}.{}.{deeper}", i + 1));
                }
            }
        }
        if key.span().contains(&span.start) || value.span().contains(&span.start) {
            return Some(name.to_string());
        }
    }
    None
}

fn span_of(table: &DeTable<'_>, dotted: &str) -> Option<Range<usize>> {
    let (name, rest) = dotted.split_once('.').unwrap_or((dotted, ""));
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => span_of(inner, rest),
        DeValue::Array(sections) if !rest.is_empty() => {
            let (number, key) = rest.split_once('.')?;
            let section = sections.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
            match section.get_ref() {
                // A key that has its default stands nowhere: the section's beginning is shown.
                DeValue::Table(inner) => span_of(inner, key).or_else(|| Some(section.span())),
                _ => Some(section.span()),
            }
        }
        _ => Some(key.span()),
    }
}

/// The line, counted from 1, in which the byte at `offset` stands.
pub fn line_at(text: impl AsRef<[u8]>, offset: usize) -> usize {
    text.as_ref().iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
}
