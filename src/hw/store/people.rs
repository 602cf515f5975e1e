//! People: who is enrolled, until when, and how they are forgotten.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::error::{StoreError, Trouble};
use super::{Store, events, scrub, templates};
use crate::gallery::person::{CONSENT_MAX_BYTES, Changes, NewPerson, Person};
use crate::gallery::seal::DataKey;
use crate::gallery::template::NewTemplate;
use crate::gate::record::{Outcome, Reason, Record};
use crate::gate::schedule::MAX_TEXT_BYTES as SCHEDULE_MAX_BYTES;
use crate::person::{Name, PersonId};
use crate::time::Wall;

/// When something was done to the gallery, and by whom. Goes into the event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    pub at: Wall,
    /// The user that asked, as the kernel vouches.
    pub by_uid: Option<u32>,
}

/// What came of an erasure.
#[derive(Debug)]
pub struct Erased {
    /// How many templates went with the person.
    pub templates: usize,
    /// Why the file was not rewritten without them and its log cut (another process was reading, or no space is left).
    /// What was deleted may still be found in the files then, until [`Store::scrub`] succeeds; `None` where it did.
    pub remains: Option<StoreError>,
}

/// All that is kept about a person, for that person (data portability, GDPR Article 20).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    pub person: u32,
    pub name: String,
    pub created_unix_ms: i64,
    pub expires_unix_ms: Option<i64>,
    pub schedule: String,
    pub consent: String,
    pub templates: Vec<ExportedTemplate>,
}

/// One template in an [`Export`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportedTemplate {
    pub template: u32,
    pub created_unix_ms: i64,
    /// 64 hexadecimal digits.
    pub model_sha256: String,
    pub quality: f32,
    /// Unit length.
    pub encoding: Vec<f32>,
}

const PEOPLE: &str = "SELECT id, name, expires, schedule, consent, created,
    (SELECT count(*) FROM templates WHERE person = people.id) FROM people";

impl Store {
    /// Enrols somebody new with their first templates, of which at most `cap` stay (`gallery::keep`).
    ///
    /// # Errors
    /// [`StoreError`]: the name is taken, a text too long, no template, or the store fails; nothing was changed then.
    pub fn enrol(
        &mut self,
        new: &NewPerson,
        templates: &[NewTemplate],
        cap: usize,
        act: Act,
    ) -> Result<(PersonId, templates::Kept), StoreError> {
        let key = self.key.clone();
        self.change(|tx| {
            let master = key.as_ref().ok_or(Trouble::NoKey)?;
            check_length("a schedule", &new.schedule, SCHEDULE_MAX_BYTES)?;
            check_length("a consent note", &new.consent, CONSENT_MAX_BYTES)?;
            check_name_is_free(tx, &new.name)?;
            // The wrapped key names the person, whose number the insertion gives.
            tx.execute(
                "INSERT INTO people (name, expires, schedule, consent, created, data_key) VALUES (?1, ?2, ?3, ?4, ?5, x'')",
                params![
                    new.name.as_str(),
                    new.expires.map(Wall::unix_millis),
                    new.schedule,
                    new.consent,
                    act.at.unix_millis()
                ],
            )?;
            let id = PersonId::new(row_number(tx.last_insert_rowid(), "person")?);
            let data_key = DataKey::generate()?;
            let wrapped = data_key.wrap(master, id)?;
            tx.execute("UPDATE people SET data_key = ?2 WHERE id = ?1", params![id.get(), wrapped])?;
            let kept = templates::add(tx, master, id, templates, cap)?;
            events::append(tx, &act.record(Outcome::Enrolled, id))?;
            Ok((id, kept))
        })
    }

    /// Enrols somebody again: further templates, and whatever is said anew about them. Beyond `cap` the least useful
    /// templates are dropped, new or old (`gallery::keep`). Older ones of another model make room: a person is known by
    /// one model at a time. Its event is that of an enrolment, of which a consent is a part, and one more for each of
    /// expiry and schedule.
    ///
    /// # Errors
    /// [`StoreError`]: nobody has this number, a text is too long, no template was given, or the store fails; nothing
    /// was changed then.
    pub fn enrol_again(
        &mut self,
        id: PersonId,
        changes: &Changes,
        new: &[NewTemplate],
        cap: usize,
        act: Act,
    ) -> Result<templates::Kept, StoreError> {
        let key = self.key.clone();
        self.change(|tx| {
            let master = key.as_ref().ok_or(Trouble::NoKey)?;
            let Changes { expires, schedule, consent } = changes;
            check_length("a schedule", schedule.as_deref().unwrap_or_default(), SCHEDULE_MAX_BYTES)?;
            check_length("a consent note", consent.as_deref().unwrap_or_default(), CONSENT_MAX_BYTES)?;
            let kept = templates::add(tx, master, id, new, cap)?;
            if let Some(consent) = consent {
                update(tx, id, "consent", consent)?;
            }
            events::append(tx, &act.record(Outcome::Enrolled, id))?;
            if let Some(expires) = expires {
                update(tx, id, "expires", expires.map(Wall::unix_millis))?;
                events::append(tx, &act.record(Outcome::ExpiryChanged, id))?;
            }
            if let Some(schedule) = schedule {
                update(tx, id, "schedule", schedule)?;
                events::append(tx, &act.record(Outcome::ScheduleChanged, id))?;
            }
            Ok(kept)
        })
    }

    /// Everybody, by number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn people(&self) -> Result<Vec<Person>, StoreError> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&format!("{PEOPLE} ORDER BY id"))?;
            let mut rows = statement.query([])?;
            let mut people = Vec::new();
            while let Some(row) = rows.next()? {
                people.push(person(row)?);
            }
            Ok(people)
        })
    }

    /// `None` where nobody has this number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn person(&self, id: PersonId) -> Result<Option<Person>, StoreError> {
        self.read(|tx| find(tx, "id = ?1", params![id.get()]))
    }

    /// `None` where nobody is called so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn person_named(&self, name: &Name) -> Result<Option<Person>, StoreError> {
        self.read(|tx| find(tx, "name = ?1", params![name.as_str()]))
    }

    /// # Errors
    /// [`StoreError`]: nobody has this number, or the name is taken.
    pub fn rename(&mut self, id: PersonId, name: &Name, act: Act) -> Result<(), StoreError> {
        self.change(|tx| {
            if find(tx, "id = ?1", params![id.get()])?.is_some_and(|person| person.name != *name) {
                check_name_is_free(tx, name)?;
            }
            update(tx, id, "name", name.as_str())?;
            events::append(tx, &act.record(Outcome::Renamed, id)).map(drop)
        })
    }

    /// `None`: never.
    ///
    /// # Errors
    /// [`StoreError`]: nobody has this number.
    pub fn set_expiry(&mut self, id: PersonId, expires: Option<Wall>, act: Act) -> Result<(), StoreError> {
        self.change(|tx| {
            update(tx, id, "expires", expires.map(Wall::unix_millis))?;
            events::append(tx, &act.record(Outcome::ExpiryChanged, id)).map(drop)
        })
    }

    /// That the text is a schedule is the caller's to see to, with `gate::schedule`.
    ///
    /// # Errors
    /// [`StoreError`]: nobody has this number, or the text is longer than [`SCHEDULE_MAX_BYTES`].
    pub fn set_schedule(&mut self, id: PersonId, schedule: &str, act: Act) -> Result<(), StoreError> {
        self.change(|tx| {
            check_length("a schedule", schedule, SCHEDULE_MAX_BYTES)?;
            update(tx, id, "schedule", schedule)?;
            events::append(tx, &act.record(Outcome::ScheduleChanged, id)).map(drop)
        })
    }

    /// Its event is that of an enrolment, of which the consent is a part.
    ///
    /// # Errors
    /// [`StoreError`]: nobody has this number, or the note is longer than [`CONSENT_MAX_BYTES`].
    pub fn set_consent(&mut self, id: PersonId, consent: &str, act: Act) -> Result<(), StoreError> {
        self.change(|tx| {
            check_length("a consent note", consent, CONSENT_MAX_BYTES)?;
            update(tx, id, "consent", consent)?;
            events::append(tx, &act.record(Outcome::Enrolled, id)).map(drop)
        })
    }

    /// Forgets somebody: their key, templates and name are deleted in one transaction with the event of it, which knows
    /// their number alone; then the file is rewritten without them.
    ///
    /// What flash memory keeps of overwritten blocks is beyond any program; it is noise without the master key.
    ///
    /// # Errors
    /// [`StoreError`]: nobody has this number. A rewriting that fails is no error: see [`Erased::remains`].
    pub fn erase(&mut self, id: PersonId, act: Act) -> Result<Erased, StoreError> {
        let templates = self.change(|tx| {
            let templates = tx.execute("DELETE FROM templates WHERE person = ?1", [id.get()])?;
            if tx.execute("DELETE FROM people WHERE id = ?1", [id.get()])? != 1 {
                return Err(Trouble::NoPerson(id));
            }
            scrub::owe(tx, events::append(tx, &act.record(Outcome::Erased, id))?)?;
            Ok(templates)
        })?;
        Ok(Erased { templates, remains: self.scrub().err() })
    }

    /// All that is kept about a person, their encodings readable.
    ///
    /// # Errors
    /// [`StoreError`]: nobody has this number, or a template can't be opened.
    pub fn export(&self, id: PersonId) -> Result<Export, StoreError> {
        self.read(|tx| {
            let person = find(tx, "id = ?1", params![id.get()])?.ok_or(Trouble::NoPerson(id))?;
            let templates = templates::of(tx, self.master()?, Some(id))?;
            let templates = templates.iter().map(|template| ExportedTemplate {
                template: template.id.get(),
                created_unix_ms: template.created.unix_millis(),
                model_sha256: template.model_sha256.to_string(),
                quality: template.quality,
                encoding: template.encoding.as_slice().to_vec(),
            });
            Ok(Export {
                person: id.get(),
                name: person.name.to_string(),
                created_unix_ms: person.created.unix_millis(),
                expires_unix_ms: person.expires.map(Wall::unix_millis),
                schedule: person.schedule,
                consent: person.consent,
                templates: templates.collect(),
            })
        })
    }
}

impl Act {
    pub(super) fn record(self, outcome: Outcome, person: PersonId) -> Record {
        let record = Record::new(self.at, outcome).person(person);
        match self.by_uid {
            Some(uid) => record.because(Reason::ByUid(uid)),
            None => record,
        }
    }
}

fn find(tx: &Transaction<'_>, condition: &str, value: impl rusqlite::Params) -> Result<Option<Person>, Trouble> {
    let mut statement = tx.prepare_cached(&format!("{PEOPLE} WHERE {condition}"))?;
    let mut rows = statement.query(value)?;
    rows.next()?.map(person).transpose()
}

fn person(row: &Row<'_>) -> Result<Person, Trouble> {
    let name: String = row.get(1)?;
    Ok(Person {
        id: PersonId::new(row.get(0)?),
        name: Name::kept(&name).map_err(|error| Trouble::Damaged(error.to_string()))?,
        expires: row.get::<_, Option<i64>>(2)?.map(Wall::from_unix_millis),
        schedule: row.get(3)?,
        consent: row.get(4)?,
        created: Wall::from_unix_millis(row.get(5)?),
        templates: row.get(6)?,
    })
}

fn update(tx: &Transaction<'_>, id: PersonId, column: &str, value: impl rusqlite::ToSql) -> Result<(), Trouble> {
    match tx.execute(&format!("UPDATE people SET {column} = ?2 WHERE id = ?1"), params![id.get(), value])? {
        1 => Ok(()),
        _ => Err(Trouble::NoPerson(id)),
    }
}

fn check_name_is_free(tx: &Transaction<'_>, name: &Name) -> Result<(), Trouble> {
    let taken = tx.query_row("SELECT id FROM people WHERE name = ?1", [name.as_str()], |row| row.get(0)).optional()?;
    taken.map_or(Ok(()), |id| Err(Trouble::NameTaken { name: name.clone(), id: PersonId::new(id) }))
}

fn check_length(what: &'static str, text: &str, max: usize) -> Result<(), Trouble> {
    let bytes = text.len();
    if bytes > max { Err(Trouble::Long { what, bytes, max }) } else { Ok(()) }
}

/// A row's number as an id; 2³² of them are more than any door enrols.
pub(super) fn row_number(row: i64, what: &str) -> Result<u32, Trouble> {
    u32::try_from(row).map_err(|_| Trouble::Damaged(format!("{what} number {row}")))
}
