//! The tables, and how an older database becomes one of today.
//!
//! `user_version` counts the migrations that were done. They only go forward: a database with more of them than this
//! program knows is refused as it is.

use rusqlite::{Connection, TransactionBehavior};

use super::error::Trouble;

/// "FLch" in SQLite's `application_id`, by which `file` and [`recognise`] know our databases.
const APPLICATION_ID: i64 = 0x464c_6368;

/// Each brings the schema from the version of its index to the next. Never change one that was released.
///
/// `gallery` and `ledger` hold one row each. `people.id`, `templates.id` are AUTOINCREMENT: a number never comes back.
/// `events.person` references nobody, for events outlive an erased person. `gallery.unscrubbed` is the number of the
/// last erasure's event until the file was rewritten after it; of those before there was such a column nobody knows.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE gallery (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        version INTEGER NOT NULL,
        key_check BLOB
    ) STRICT;
    INSERT INTO gallery VALUES (1, 0, NULL);

    CREATE TABLE people (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        expires INTEGER,
        schedule TEXT NOT NULL,
        consent TEXT NOT NULL,
        created INTEGER NOT NULL,
        data_key BLOB NOT NULL
    ) STRICT;

    CREATE TABLE templates (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        person INTEGER NOT NULL REFERENCES people(id),
        model_sha256 BLOB NOT NULL CHECK (length(model_sha256) = 32),
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX templates_of_person ON templates(person);

    CREATE TABLE ledger (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        anchor_seq INTEGER NOT NULL,
        anchor_hash BLOB NOT NULL CHECK (length(anchor_hash) = 32),
        head_seq INTEGER NOT NULL,
        head_hash BLOB NOT NULL CHECK (length(head_hash) = 32)
    ) STRICT;
    INSERT INTO ledger VALUES (1, 0, zeroblob(32), 0, zeroblob(32));

    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        person INTEGER,
        similarity REAL,
        reasons TEXT NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT;
",
    "
    ALTER TABLE gallery ADD COLUMN unscrubbed INTEGER;
    UPDATE gallery SET unscrubbed = 0 WHERE EXISTS (SELECT 1 FROM events WHERE outcome = 'erased');
",
];

/// The version that this program writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Refuses what is not ours to read: another program's database, or a newer facelatch's. Returns the version found.
pub(super) fn recognise(conn: &Connection) -> Result<i64, Trouble> {
    // One moment for all three: another process may be making this database, and half of what it does is nobody's.
    let now = conn.unchecked_transaction()?;
    let found = version(&now)?;
    let application: i64 = now.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = now.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = found == 0 && application == 0 && tables == 0;
    if !empty && application != APPLICATION_ID {
        return Err(Trouble::Foreign);
    }
    if found > VERSION {
        return Err(Trouble::Newer { found, known: VERSION });
    }
    Ok(found)
}

/// Brings the schema up to date, all of it or nothing.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), Trouble> {
    run(conn, MIGRATIONS)
}

fn run(conn: &mut Connection, migrations: &[&str]) -> Result<(), Trouble> {
    if usize::try_from(version(conn)?).is_ok_and(|done| done >= migrations.len()) {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again under the lock: another process may have been first.
    let found = version(&tx)?;
    let done = usize::try_from(found).map_err(|_| Trouble::Damaged(format!("schema {found}")))?;
    for migration in migrations.iter().skip(done) {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", migrations.len().max(done) as i64)?;
    Ok(tx.commit()?)
}

fn version(conn: &Connection) -> Result<i64, Trouble> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_database_becomes_one_of_today_and_stays_one() {
        let mut conn = Connection::open_in_memory().unwrap();
        assert_eq!(recognise(&conn).unwrap(), 0);
        migrate(&mut conn).unwrap();
        migrate(&mut conn).unwrap();
        assert_eq!(recognise(&conn).unwrap(), VERSION);
    }

    #[test]
    fn a_database_of_the_version_before_keeps_its_rows() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn, &["CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)"]).unwrap();
        run(&mut conn, &["never run again", "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 8"]).unwrap();
        let row = conn.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok((7, 8)));
    }

    #[test]
    fn a_gallery_of_before_scrubbing_was_owed_is_scrubbed_once_if_somebody_was_ever_erased() {
        for (outcome, owed) in [("erased", Some(0)), ("enrolled", None)] {
            let mut conn = Connection::open_in_memory().unwrap();
            run(&mut conn, &MIGRATIONS[..1]).unwrap();
            let event = "INSERT INTO events VALUES (1, 0, ?1, 1, NULL, '[]', zeroblob(32))";
            conn.execute(event, [outcome]).unwrap();
            migrate(&mut conn).unwrap();
            let found = conn.query_row("SELECT unscrubbed FROM gallery", [], |row| row.get::<_, Option<i64>>(0));
            assert_eq!(found, Ok(owed), "{outcome}");
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing_of_itself() {
        let mut conn = Connection::open_in_memory().unwrap();
        assert!(run(&mut conn, &["CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense"]).is_err());
        assert_eq!(version(&conn).unwrap(), 0);
        assert_eq!(recognise(&conn).unwrap(), 0, "no table stays either");
    }

    #[test]
    fn a_newer_or_foreign_database_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        conn.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert!(matches!(recognise(&conn), Err(Trouble::Newer { .. })));
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
        assert!(matches!(recognise(&conn), Err(Trouble::Foreign)));
    }
}
