//! Who somebody is to the door: an identifier that never comes back and a name that a person can read.

#![forbid(unsafe_code)]

use std::fmt;

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
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Longest name, in bytes of UTF-8.
pub const NAME_MAX_BYTES: usize = 96;

/// A name: 1 to [`NAME_MAX_BYTES`] bytes, trimmed, without control characters, so that it can't forge a line of a log, and without
/// a `#` in front, so that it can't pass for somebody's number.
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
    #[error("a name can't begin with #, by which numbers are told from names, as in #3")]
    Number,
}

impl Name {
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match Self::kept(text) {
            Ok(name) if name.as_str().starts_with('#') => Err(NameError::Number),
            name => name,
        }
    }

    /// A name that a store has kept. It may have been given when names could still begin with `#`; such a person goes by their
    /// number until they are renamed.
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
    fn a_name_is_trimmed_and_bounded_and_never_breaks_a_line() {
        assert_eq!(Name::new("  Ana Ruiz ").unwrap().as_str(), "Ana Ruiz");
        assert_eq!(Name::new(" \t "), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(97)), Err(NameError::Long(97)));
        assert_eq!(Name::new("a\nGRANTED b"), Err(NameError::Control));
    }
}
