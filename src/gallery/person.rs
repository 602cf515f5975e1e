//! What the gallery keeps about a person besides their templates.

use crate::person::{Name, PersonId};
use crate::time::Wall;

/// Longest consent note, in bytes of UTF-8.
pub const CONSENT_MAX_BYTES: usize = 1024;

/// Somebody who is enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub name: Name,
    /// Not admitted from this moment on; `None` never expires.
    pub expires: Option<Wall>,
    /// When they may come in, as `gate::schedule` reads it.
    pub schedule: String,
    /// How and when they agreed to be recognised; free text for whoever answers for the door.
    pub consent: String,
    pub created: Wall,
    /// How many templates they have, of whatever model.
    pub templates: u32,
}

/// What is said anew about somebody; what isn't said stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// `Some(None)`: never.
    pub expires: Option<Option<Wall>>,
    /// As in [`NewPerson`].
    pub schedule: Option<String>,
    /// As in [`NewPerson`].
    pub consent: Option<String>,
}

/// Somebody about to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPerson {
    pub name: Name,
    pub expires: Option<Wall>,
    /// That it can be read is the caller's to see to, with `gate::schedule`, which says how long it may be, too.
    pub schedule: String,
    /// At most [`CONSENT_MAX_BYTES`].
    pub consent: String,
}

impl NewPerson {
    /// Somebody who never expires and may always come in.
    pub fn new(name: Name) -> Self {
        Self { name, expires: None, schedule: "always".into(), consent: String::new() }
    }
}
