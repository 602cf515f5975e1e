//! Templates: sealed one by one, at most the cap a person.

use rusqlite::{OptionalExtension, Transaction, params};

use super::Store;
use super::error::{StoreError, Trouble};
use super::people::row_number;
use crate::digest::Digest;
use crate::gallery::keep::{self, Candidate};
use crate::gallery::seal::{DataKey, MasterKey};
use crate::gallery::search::MAX_TEMPLATES;
use crate::gallery::template::{NewTemplate, Template, TemplateId};
use crate::person::PersonId;

/// What became of new templates under the cap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The new ones that stay, in the order they were given.
    pub added: Vec<TemplateId>,
    /// How many of the new ones were the least useful.
    pub not_needed: usize,
    /// Older ones that were less useful than the new ones, or of another model.
    pub replaced: Vec<TemplateId>,
}

impl Store {
    /// Everybody's templates, by person and number, of whatever model: `gallery::search` sorts the models apart.
    ///
    /// # Errors
    /// [`StoreError`]: the store fails, or one can't be opened; the error names whose.
    pub fn templates(&self) -> Result<Vec<Template>, StoreError> {
        self.read(|tx| of(tx, self.master()?, None))
    }

    /// One person's templates, by number.
    ///
    /// # Errors
    /// [`StoreError`], as [`Store::templates`].
    pub fn templates_of(&self, person: PersonId) -> Result<Vec<Template>, StoreError> {
        self.read(|tx| of(tx, self.master()?, Some(person)))
    }
}

/// The templates of one person, or of everybody.
pub(super) fn of(tx: &Transaction<'_>, master: &MasterKey, person: Option<PersonId>) -> Result<Vec<Template>, Trouble> {
    let mut statement = tx.prepare_cached(
        "SELECT id, person, model_sha256, sealed FROM templates WHERE ?1 IS NULL OR person = ?1 ORDER BY person, id",
    )?;
    let mut rows = statement.query([person.map(PersonId::get)])?;
    let mut found = Vec::new();
    let mut key: Option<(PersonId, DataKey)> = None;
    while let Some(row) = rows.next()? {
        let (id, person) = (TemplateId::new(row.get(0)?), PersonId::new(row.get(1)?));
        if key.as_ref().is_none_or(|(whose, _)| *whose != person) {
            key = Some((person, data_key(tx, master, person)?));
        }
        let Some((_, key)) = &key else { continue };
        let sealed = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let template = key.open(id, person, Digest(row.get(2)?), sealed);
        found.push(template.map_err(|source| Trouble::Template { person, template: id, source })?);
    }
    Ok(found)
}

/// Seals and inserts what of `new` stays, and deletes what it replaces.
pub(super) fn add(
    tx: &Transaction<'_>,
    master: &MasterKey,
    person: PersonId,
    new: &[NewTemplate],
    cap: usize,
) -> Result<Kept, Trouble> {
    let model = new.first().ok_or(Trouble::NoTemplate)?.model_sha256;
    if new.iter().any(|template| template.model_sha256 != model) {
        return Err(Trouble::SeveralModels);
    }
    let data_key = data_key(tx, master, person)?;
    let (old, outdated): (Vec<_>, Vec<_>) =
        of(tx, master, Some(person))?.into_iter().partition(|template| template.model_sha256 == model);
    let got = old.len() + new.len();
    if got > keep::MAX_CANDIDATES {
        return Err(Trouble::ManyTemplates { got, max: keep::MAX_CANDIDATES });
    }
    let candidates: Vec<_> = old
        .iter()
        .map(|t| Candidate { encoding: &t.encoding, quality: t.quality, created: t.created })
        .chain(new.iter().map(|t| Candidate { encoding: &t.encoding, quality: t.quality, created: t.created }))
        .collect();
    let dropped = keep::dropped(&candidates, cap.min(keep::MAX_CAP));
    let replaced = outdated.iter().chain(dropped.iter().filter_map(|&at| old.get(at))).map(|template| template.id);
    let mut kept = Kept { replaced: replaced.collect(), ..Kept::default() };
    for id in &kept.replaced {
        tx.execute("DELETE FROM templates WHERE id = ?1", [id.get()])?;
    }
    for (at, template) in (old.len()..).zip(new) {
        if dropped.contains(&at) {
            kept.not_needed += 1;
        } else {
            kept.added.push(insert(tx, person, &data_key, template)?);
        }
    }
    let total: i64 = tx.query_row("SELECT count(*) FROM templates", [], |row| row.get(0))?;
    if total > MAX_TEMPLATES as i64 {
        return Err(Trouble::GalleryFull(MAX_TEMPLATES));
    }
    Ok(kept)
}

fn insert(tx: &Transaction<'_>, person: PersonId, key: &DataKey, new: &NewTemplate) -> Result<TemplateId, Trouble> {
    // The seal names the template, whose number the insertion gives.
    tx.execute(
        "INSERT INTO templates (person, model_sha256, sealed) VALUES (?1, ?2, x'')",
        params![person.get(), new.model_sha256.0],
    )?;
    let id = TemplateId::new(row_number(tx.last_insert_rowid(), "template")?);
    let template = Template {
        id,
        person,
        encoding: new.encoding.clone(),
        model_sha256: new.model_sha256,
        quality: if new.quality.is_finite() { new.quality } else { 0.0 },
        created: new.created,
    };
    tx.execute("UPDATE templates SET sealed = ?2 WHERE id = ?1", params![id.get(), key.seal(&template)?])?;
    Ok(id)
}

fn data_key(tx: &Transaction<'_>, master: &MasterKey, person: PersonId) -> Result<DataKey, Trouble> {
    let mut statement = tx.prepare_cached("SELECT data_key FROM people WHERE id = ?1")?;
    let wrapped: Option<Vec<u8>> = statement.query_row([person.get()], |row| row.get(0)).optional()?;
    let wrapped = wrapped.ok_or(Trouble::NoPerson(person))?;
    DataKey::unwrap(master, person, &wrapped).map_err(|source| Trouble::DataKey { person, source })
}
