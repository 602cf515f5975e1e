//! Who somebody is to the door: an identifier that never comes back and a name that a person can read.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::RangeInclusive;

/// A person's number. The store gives them out in order and never twice, not even after an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(u32);

impl PersonId {
    pub const fn new(id: u32) -> Self {
        Self(id)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
    /// As it is shown: `#3`.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix('#')?.parse().ok().map(Self)
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Longest name, in bytes of UTF-8.
pub const NAME_MAX_BYTES: usize = 96;

/// What shows nothing: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt) but for the joiners U+200C
/// and U+200D, and the breaks of lines and paragraphs and Braille's blank. Marks and overrides of the direction are
/// among them.
const INVISIBLE: [RangeInclusive<char>; 19] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200b}',
    '\u{200e}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// A name: 1 to [`NAME_MAX_BYTES`] bytes, trimmed, without control characters, so that it can't forge a line of a log,
/// and without a `#` in front, so that it can't pass for somebody's number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name needs at least one visible character")]
    Empty,
    #[error("a name of {0} bytes is longer than {NAME_MAX_BYTES}")]
    Long(usize),
    #[error("a name can't contain control characters such as line breaks")]
    Control,
    #[error("a name can't contain invisible characters, by which two would look the same: write it anew without them")]
    Invisible,
    #[error("a name can't begin with #, by which numbers are told from names, as in #3")]
    Number,
}

impl Name {
    /// A new name, or one to look for. Blanks of whatever width and number are one, so that no two look the same.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match Self::kept(text) {
            Ok(name) if name.as_str().starts_with('#') => Err(NameError::Number),
            Ok(name) if hides_something(name.as_str()) => Err(NameError::Invisible),
            Ok(name) => Ok(Self(name.as_str().split_whitespace().collect::<Vec<_>>().join(" ").into())),
            Err(error) => Err(error),
        }
    }

    /// A name that a store has kept. It may have been given when names could still begin with `#`, or contain invisible
    /// characters or several blanks; such a person goes by their number until they are renamed.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn kept(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX_BYTES {
            return Err(NameError::Long(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether some of it shows nothing, or turns round what follows. Joiners (U+200C, U+200D) are spelling in Persian and
/// in scripts of India, so they may stand between two letters beyond ASCII.
fn hides_something(name: &str) -> bool {
    let is_invisible = |c: char| INVISIBLE.iter().any(|range| range.contains(&c));
    let pieces: Vec<&str> = name.split(['\u{200c}', '\u{200d}']).collect();
    let joins = |pair: &[&str]| match pair {
        [before, after] => before.ends_with(|c: char| !c.is_ascii()) && after.starts_with(|c: char| !c.is_ascii()),
        _ => false,
    };
    name.contains(is_invisible) || !pieces.windows(2).all(joins)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_number_is_no_name_unless_it_was_kept_as_one() {
        assert_eq!(Name::new(" #2"), Err(NameError::Number));
        assert_eq!(Name::new("Ana #2").unwrap().as_str(), "Ana #2");
        assert_eq!(Name::kept("#2").unwrap().as_str(), "#2");
        assert_eq!(Name::kept("a\nb"), Err(NameError::Control));
    }

    #[test]
    fn what_nobody_sees_is_in_no_new_name_and_stays_in_one_that_was_kept() {
        for twin in [
            "Ana\u{200b}",
            "Ana\u{200d}",
            "A\u{200c}na",
            "\u{202e}anA",
            "An\u{2060}a",
            "\u{feff}Ana",
            "Zoë\u{200d}",
            "é\u{200d}\u{200d}é",
            "\u{3164}",
            "\u{115f}",
            "\u{2800}",
            "An\u{ad}a",
            "An\u{34f}a",
            "\u{61c}Ana",
            "An\u{180e}a",
            "Ana\u{fe0f}",
            "Ana\u{e0041}",
        ] {
            assert_eq!(Name::new(twin), Err(NameError::Invisible), "{twin:?}");
            assert_eq!(Name::kept(twin).unwrap().as_str(), twin);
        }
        for spelt_so in ["علی\u{200c}رضا", "ශ්\u{200d}රී", "Zoë", "O’Neill", "Jean‐Luc"] {
            assert_eq!(Name::new(spelt_so).unwrap().as_str(), spelt_so);
        }
    }

    #[test]
    fn blanks_of_every_kind_are_one_in_a_new_name_and_stay_in_one_that_was_kept() {
        for twin in ["Ana  Ruiz", "Ana\u{a0}Ruiz", "Ana \u{3000} Ruiz", "\u{2003}Ana\u{202f}Ruiz "] {
            assert_eq!(Name::new(twin).unwrap().as_str(), "Ana Ruiz", "{twin:?}");
        }
        assert_eq!(Name::kept("Ana  Ruiz").unwrap().as_str(), "Ana  Ruiz");
    }

    #[test]
    fn a_number_is_read_as_it_is_shown() {
        assert_eq!(PersonId::parse("#3"), Some(PersonId::new(3)));
        assert_eq!(["3", "#", "#x", "# 3"].map(PersonId::parse), [None; 4]);
    }

    #[test]
    fn a_name_is_trimmed_and_bounded_and_never_breaks_a_line() {
        assert_eq!(Name::new("  Ana Ruiz ").unwrap().as_str(), "Ana Ruiz");
        assert_eq!(Name::new(" \t "), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(97)), Err(NameError::Long(97)));
        assert_eq!(Name::new("a\nGRANTED b"), Err(NameError::Control));
    }
}
