//! Events: appended durably and chained, never changed, removed by age alone.

use std::time::Duration;

use rusqlite::{Row, Transaction, params};

use super::Store;
use super::error::{StoreError, Trouble};
use crate::gallery::chain::{Entry, Hash, Link};
use crate::gate::record::{Outcome, Record};
use crate::person::PersonId;
use crate::ports::Ledger;
use crate::time::Wall;
use crate::units::Similarity;

/// The most events that one query returns.
pub const MAX_EVENTS_A_QUERY: usize = 10_000;

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    pub seq: u64,
    pub at: Wall,
    /// An `Outcome`'s name.
    pub outcome: String,
    pub person: Option<PersonId>,
    pub similarity: Option<Similarity>,
    /// Each as `gate::record::Reason` shows it.
    pub reasons: Vec<String>,
    /// What the next event stands on; see `gallery::chain`.
    pub hash: Hash,
}

/// Which events, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventQuery {
    /// The first number that is wanted.
    pub from: u64,
    /// At most so many, and never more than [`MAX_EVENTS_A_QUERY`].
    pub limit: usize,
    /// The last `limit` events rather than the first.
    pub last: bool,
    pub outcome: Option<Outcome>,
    pub person: Option<PersonId>,
}

impl Default for EventQuery {
    /// All of them, as far as one query goes.
    fn default() -> Self {
        Self { from: 0, limit: MAX_EVENTS_A_QUERY, last: false, outcome: None, person: None }
    }
}

/// What checking the whole chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainReport {
    /// What the oldest event stands on.
    pub anchor: Link,
    /// When the oldest event was, where it holds.
    pub oldest: Option<Wall>,
    /// How many events hold.
    pub intact: u64,
    /// The last event that holds; the anchor where there is none.
    pub head: Link,
    /// The first number whose event was changed, removed, added or put elsewhere.
    pub broken: Option<u64>,
}

const COLUMNS: &str = "seq, at, outcome, person, similarity, reasons, hash";

impl Ledger for Store {
    fn append(&mut self, record: &Record) -> Result<u64, String> {
        self.append_event(record).map_err(|error| error.to_string())
    }
}

impl Store {
    /// Appends an event durably: once this returns it survives a power cut. Returns its number.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn append_event(&mut self, record: &Record) -> Result<u64, StoreError> {
        self.write(|tx| append(tx, record))
    }

    /// # Errors
    /// [`StoreError`]; also where an event is no event, having been changed from outside.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
        self.read(|tx| {
            let order = if query.last { "DESC" } else { "ASC" };
            let mut statement = tx.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events WHERE seq >= ?1 AND (?2 IS NULL OR outcome = ?2)
                 AND (?3 IS NULL OR person = ?3) ORDER BY seq {order} LIMIT ?4"
            ))?;
            let from = i64::try_from(query.from).unwrap_or(i64::MAX);
            let (outcome, person) = (query.outcome.map(Outcome::as_str), query.person.map(PersonId::get));
            let limit = query.limit.min(MAX_EVENTS_A_QUERY) as i64;
            let mut rows = statement.query(params![from, outcome, person, limit])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                let event = stored(row).and_then(|(entry, hash)| event_row(entry, hash));
                events.push(event.ok_or_else(|| Trouble::Event(row.get(0).unwrap_or(-1)))?);
            }
            if query.last {
                events.reverse();
            }
            Ok(events)
        })
    }

    /// Checks every event against the chain, from the anchor to the head.
    ///
    /// # Errors
    /// [`StoreError`] where the database can't be read; a broken chain is no error but a finding.
    pub fn verify_chain(&self) -> Result<ChainReport, StoreError> {
        self.walk_chain(|_| ())
    }

    /// The same, and shows the anchor and each event that holds to `see`.
    ///
    /// # Errors
    /// As [`Store::verify_chain`].
    pub fn walk_chain(&self, mut see: impl FnMut(Link)) -> Result<ChainReport, StoreError> {
        self.read(|tx| {
            let (anchor, head) = ends(tx)?;
            let mut report = ChainReport { anchor, oldest: None, intact: 0, head: anchor, broken: None };
            see(anchor);
            let mut statement = tx.prepare(&format!("SELECT {COLUMNS} FROM events ORDER BY seq"))?;
            let mut rows = statement.query([])?;
            let mut ends_well = true;
            while let Some(row) = rows.next()? {
                let Some((at, link)) = follow(report.head, row) else {
                    ends_well = false;
                    break;
                };
                see(link);
                report.oldest = report.oldest.or(Some(at));
                report.head = link;
                report.intact += 1;
            }
            if !ends_well || report.head != head {
                report.broken = Some(report.head.seq.saturating_add(1));
            }
            Ok(report)
        })
    }

    /// Removes the events older than `keep`, from the oldest on, and anchors the chain at the last one removed. An
    /// event whose stamp can't be believed (the clock was never set, or ran ahead) goes when a believable one after it
    /// goes. With `max_gap`, nothing goes where more than that lies between the last that would and what comes next, an
    /// event or `now`: so it looks where the clock has jumped ahead, by which everything from before is old. Returns
    /// how many went.
    ///
    /// # Errors
    /// [`StoreError`]: also where `now` itself can't be believed, or the chain is broken where it would be cut.
    pub fn retain_events(&mut self, keep: Duration, now: Wall, max_gap: Option<Duration>) -> Result<u64, StoreError> {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let cutoff = now.unix_millis().saturating_sub(millis(keep));
        let max_gap = max_gap.map_or(i64::MAX, millis);
        let removed = self.write(|tx| {
            if !now.is_plausible() {
                return Err(Trouble::ClockNotSet);
            }
            let Some(cut) = last_older(tx, cutoff, now, max_gap)? else { return Ok(0) };
            tx.execute("UPDATE ledger SET anchor_seq = ?1, anchor_hash = ?2", params![cut.seq, cut.hash])?;
            Ok(tx.execute("DELETE FROM events WHERE seq <= ?1", [cut.seq])? as u64)
        })?;
        if removed > 0 {
            // Held up or failed, it is done by the next one: the events are gone from the ledger all the same.
            let _cut = self.checkpoint();
        }
        Ok(removed)
    }
}

/// The last event of the run of old ones at the ledger's beginning, the chain being whole up to there: what a cut
/// removes can no longer be found changed. `None` also where it is more than `max_gap` milliseconds older than what
/// comes next.
fn last_older(tx: &Transaction<'_>, cutoff: i64, now: Wall, max_gap: i64) -> Result<Option<Link>, Trouble> {
    let (mut before, _) = ends(tx)?;
    let mut statement = tx.prepare(&format!("SELECT {COLUMNS} FROM events ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    let (mut last, mut next) = (None, now);
    while let Some(row) = rows.next()? {
        let (at, link) = follow(before, row).ok_or(Trouble::BrokenChain(before.seq + 1))?;
        before = link;
        if at.is_plausible() && at <= now {
            if at.unix_millis() >= cutoff {
                next = at;
                break;
            }
            last = Some((at, link));
        }
    }
    let follows = |at: Wall| next.unix_millis().saturating_sub(at.unix_millis()) <= max_gap;
    Ok(last.filter(|(at, _)| follows(*at)).map(|(_, link)| link))
}

/// Appends within a transaction that something else may be part of.
pub(super) fn append(tx: &Transaction<'_>, record: &Record) -> Result<u64, Trouble> {
    let (_, head) = ends(tx)?;
    let entry = Entry::after(head, record);
    let link = entry.link(head).ok_or_else(|| Trouble::Damaged(format!("no event follows event {}", head.seq)))?;
    let seq = i64::try_from(link.seq).map_err(|_| Trouble::Damaged(format!("event {}", link.seq)))?;
    let mut insert =
        tx.prepare_cached(&format!("INSERT INTO events ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"))?;
    let inserted = insert.execute(params![
        seq,
        entry.at.unix_millis(),
        entry.outcome,
        entry.person.map(PersonId::get),
        entry.similarity.map(f64::from),
        json(&entry.reasons),
        link.hash
    ])?;
    let mut advance = tx.prepare_cached("UPDATE ledger SET head_seq = ?1, head_hash = ?2")?;
    let advanced = advance.execute(params![seq, link.hash])?;
    // A schema that another hand made may leave a row out without an error, by ON CONFLICT IGNORE.
    if (inserted, advanced) != (1, 1) {
        return Err(Trouble::Damaged(format!("event {seq} found no place in it")));
    }
    Ok(link.seq)
}

/// The anchor and the head.
fn ends(tx: &Transaction<'_>) -> Result<(Link, Link), Trouble> {
    let link = |row: &Row<'_>, at| Ok::<_, rusqlite::Error>(Link { seq: row.get(at)?, hash: row.get(at + 1)? });
    let mut statement = tx.prepare_cached("SELECT anchor_seq, anchor_hash, head_seq, head_hash FROM ledger")?;
    Ok(statement.query_row([], |row| Ok((link(row, 0)?, link(row, 2)?)))?)
}

/// The time and link of a row that follows `before`; `None` where it is not what once followed it.
fn follow(before: Link, row: &Row<'_>) -> Option<(Wall, Link)> {
    let (entry, hash) = stored(row)?;
    let link = entry.link(before).filter(|link| link.hash == hash)?;
    Some((entry.at, link))
}

/// What a row says was hashed, and its hash; `None` where it can't be what was written.
fn stored(row: &Row<'_>) -> Option<(Entry, Hash)> {
    let cosine = row.get::<_, Option<f64>>(4).ok()?;
    let similarity = cosine.map(|cosine| cosine as f32);
    // What was written was single precision: anything finer was put there by another hand.
    if cosine.is_some_and(|cosine| similarity.map(f64::from) != Some(cosine)) {
        return None;
    }
    let reasons_text = row.get_ref(5).ok()?.as_str().ok()?;
    let reasons: Vec<String> = serde_json::from_str(reasons_text).ok()?;
    if json(&reasons) != reasons_text {
        return None;
    }
    let entry = Entry {
        seq: row.get(0).ok()?,
        at: Wall::from_unix_millis(row.get(1).ok()?),
        outcome: row.get(2).ok()?,
        person: row.get::<_, Option<u32>>(3).ok()?.map(PersonId::new),
        similarity,
        reasons,
    };
    Some((entry, row.get(6).ok()?))
}

fn json(reasons: &[String]) -> String {
    serde_json::Value::from(reasons).to_string()
}

fn event_row(entry: Entry, hash: Hash) -> Option<EventRow> {
    let Entry { seq, at, outcome, person, similarity, reasons } = entry;
    let similarity = match similarity {
        Some(cosine) => Some(Similarity::new(cosine)?),
        None => None,
    };
    Some(EventRow { seq, at, outcome, person, similarity, reasons, hash })
}
