//! The store: people, templates and events in one SQLite file that a power cut at any instant leaves whole.
//!
//! Write-ahead log, `synchronous=FULL`: what a method acknowledged is on the disk. Any number of processes may have it
//! open; the command line enrols while the daemon runs, and the daemon hears of it through [`Store::changed`].
//! Templates are sealed (`gallery::seal`), events chained (`gallery::chain`), and every change of the gallery appends
//! its event in the same transaction. What is erased is overwritten, and the log that may still hold it cut; where that
//! fails it is tried again, here and by the daemon, until it is done.

#![forbid(unsafe_code)]

mod error;
mod events;
mod people;
mod schema;
mod scrub;
mod templates;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use error::{StoreError, Trouble};
pub use events::{ChainReport, EventQuery, EventRow, MAX_EVENTS_A_QUERY};
pub use people::{Act, Erased, Export, ExportedTemplate};
pub use templates::Kept;

use crate::draft::parent;
use crate::gallery::seal::MasterKey;
use crate::hw::owner;

/// How long a statement waits for another process's transaction. None of ours takes a tenth of it.
const BUSY_SECONDS: u64 = 5;
/// How often the switch to the write-ahead log is tried while another process is making the same file.
const WAL_TRIES: u32 = 50;
const WAL_PAUSE: Duration = Duration::from_millis(20);

/// The open database.
pub struct Store {
    conn: Connection,
    path: PathBuf,
    file: FileId,
    key: Option<MasterKey>,
    seen: Seen,
    /// See [`Store::only_as_seen`].
    only_as_seen: bool,
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What this connection last knew of others' changes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    /// SQLite's count of commits by other connections; cheap to ask.
    data_version: i64,
    /// Our count of changes of people and templates.
    gallery_version: i64,
}

impl Store {
    /// Opens the database for reading and writing, and makes it where there is none. Checks that it is whole, ours, of
    /// a schema that can be brought up to date, and sealed under `key`.
    ///
    /// # Errors
    /// [`StoreError`], with the path and what to do. Nothing was changed then.
    pub fn open(path: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        make_if_missing(path).map_err(|what| what.at(path))?;
        Self::open_there(path, key, |_| Ok(()))
    }

    /// As [`Store::open`], and makes none: where a file system isn't mounted, an empty gallery would stand in its
    /// place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_existing(path: &Path, key: &MasterKey) -> Result<Self, StoreError> {
        let is_made = |version| if version == 0 { Err(Trouble::Gone) } else { Ok(()) };
        Self::open_there(path, key, is_made).map_err(|error| match error.what {
            Trouble::Missing => Trouble::Gone.at(path),
            _ => error,
        })
    }

    /// Opens what is there, where `suits` says so of the version of its schema; 0 is an empty file's.
    fn open_there(
        path: &Path,
        key: &MasterKey,
        suits: impl FnOnce(i64) -> Result<(), Trouble>,
    ) -> Result<Self, StoreError> {
        let open = || {
            let (mut conn, file) = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            if conn.is_readonly(rusqlite::MAIN_DB)? {
                return Err(Trouble::ReadOnly);
            }
            suits(examine(&conn)?)?;
            make_durable(&conn)?;
            schema::migrate(&mut conn)?;
            bind(&mut conn, key)?;
            Self::with(conn, path, file, Some(key.clone()))
        };
        let store = open().map_err(|what| what.at(path))?;
        // What can't be done now either is no reason not to open; `doctor` tells of it.
        let _next_time = store.scrub_rest();
        Ok(store)
    }

    /// Opens an existing database for reading alone. Without the key everything but templates can be read.
    ///
    /// # Errors
    /// [`StoreError`]; also where the schema is older, and [`Store::open`] must bring it up to date first.
    pub fn open_read_only(path: &Path, key: Option<&MasterKey>) -> Result<Self, StoreError> {
        let open = || {
            let (conn, file) = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            match examine(&conn)? {
                0 => return Err(Trouble::Missing),
                schema::VERSION => {}
                found => return Err(Trouble::Older { found }),
            }
            match key {
                Some(key) if key_check(&conn)?.is_none_or(|check| !key.made(&check)) => Err(Trouble::WrongKey),
                _ => Self::with(conn, path, file, key.cloned()),
            }
        };
        open().map_err(|what| what.at(path))
    }

    fn with(conn: Connection, path: &Path, file: FileId, key: Option<MasterKey>) -> Result<Self, Trouble> {
        let seen = Seen { data_version: data_version(&conn)?, gallery_version: gallery_version(&conn)? };
        Ok(Self { conn, path: path.to_owned(), file, key, seen, only_as_seen: false })
    }

    /// Whether the open file is the one that its path names: with a write-ahead log SQLite doesn't look, and goes on
    /// writing into one that was moved away.
    pub fn is_there(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|meta| FileId::of(&meta) == self.file)
    }

    /// What opens whatever is at its path once this is dropped, under the same key. Dropping leaves the log as it is
    /// then: SQLite would delete the log by its name, and that may be another file's by now.
    ///
    /// # Errors
    /// What is returned: [`StoreError`], as [`Store::open_existing`], as often as it is called.
    pub fn to_reopen(&self) -> impl FnMut() -> Result<Self, StoreError> + Send + use<> {
        if let Err(error) = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            log::warn!("{}: {error}", self.path.display());
        }
        let (path, key) = (self.path.clone(), self.key.clone());
        move || match &key {
            Some(key) => Self::open_existing(&path, key),
            None => Err(Trouble::NoKey.at(&path)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another connection has changed people or templates since this was last asked, or since opening. Costs
    /// microseconds where nothing was written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn changed(&mut self) -> Result<bool, StoreError> {
        self.changed_inner().map_err(|what| what.at(&self.path))
    }

    fn changed_inner(&mut self) -> Result<bool, Trouble> {
        let data_version = data_version(&self.conn)?;
        if data_version == self.seen.data_version {
            return Ok(false);
        }
        // Most commits are events, which leave the gallery as it is.
        let now = Seen { data_version, gallery_version: gallery_version(&self.conn)? };
        let before = std::mem::replace(&mut self.seen, now);
        Ok(now.gallery_version != before.gallery_version)
    }

    /// From now on nothing is changed in a gallery that another connection has changed since this one opened it, or
    /// since [`Store::changed`] was last asked: for whoever decides by what they have read what to write.
    pub fn only_as_seen(&mut self) {
        self.only_as_seen = true;
    }

    /// Moves the write-ahead log into the database and cuts it. `false` where a reader or writer held it up; the next
    /// call, or opening, does it then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn checkpoint(&self) -> Result<bool, StoreError> {
        truncate_log(&self.conn).map_err(|what| what.at(&self.path))
    }

    /// Reads within one snapshot.
    fn read<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let inner = || f(&self.conn.unchecked_transaction()?);
        inner().map_err(|what| what.at(&self.path))
    }

    /// Writes all of it durably or nothing.
    fn write<T>(&mut self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let inner = || {
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = f(&tx)?;
            tx.commit()?;
            Ok(done)
        };
        inner().map_err(|what: Trouble| what.at(&self.path))
    }

    /// Like [`Store::write`], and tells the other connections that people or templates have changed.
    fn change<T>(&mut self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let as_seen = self.only_as_seen.then_some(self.seen.gallery_version);
        let done = self.write(|tx| {
            if let Some(seen) = as_seen
                && gallery_version(tx)? != seen
            {
                return Err(Trouble::ChangedMeanwhile);
            }
            let done = f(tx)?;
            tx.execute("UPDATE gallery SET version = version + 1", [])?;
            let now = gallery_version(tx)?;
            Ok((done, now))
        });
        let (done, now) = done?;
        // Only our own change in between is known: any more is another's, and stays unseen.
        if now == self.seen.gallery_version + 1 {
            self.seen.gallery_version = now;
        }
        Ok(done)
    }

    fn master(&self) -> Result<&MasterKey, Trouble> {
        self.key.as_ref().ok_or(Trouble::NoKey)
    }
}

/// An empty file of mode 0600, which is an empty database; SQLite gives its log the same mode and owner.
fn make_if_missing(path: &Path) -> Result<(), Trouble> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            let dir = parent(path);
            owner::hand_over(&file, dir)?;
            Ok(File::open(dir)?.sync_all()?)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl FileId {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// A connection, and to which file: looked at before it is opened, so that one that is replaced in between shows as
/// replaced.
fn connect(path: &Path, mode: OpenFlags) -> Result<(Connection, FileId), Trouble> {
    let file = match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => FileId::of(&meta),
        Ok(_) => return Err(Trouble::NotAFile),
        Err(error) => {
            return Err(match std::fs::read_link(path) {
                Ok(leads_to) if error.kind() == io::ErrorKind::NotFound => Trouble::Dangling(leads_to),
                _ => Trouble::unseen(error),
            });
        }
    };
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::from_secs(BUSY_SECONDS))?;
    // A damaged or forged file must neither run code of its own nor lead SQLite astray: a trigger in it could keep
    // events out of the ledger, a view show another's in their place.
    for (config, is_on) in [
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    ] {
        conn.set_db_config(config, is_on)?;
    }
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    Ok((conn, file))
}

/// Refuses what is foreign, newer or damaged; returns the schema's version.
fn examine(conn: &Connection) -> Result<i64, Trouble> {
    let version = schema::recognise(conn)?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Trouble::Damaged(verdict));
    }
    Ok(version)
}

fn make_durable(conn: &Connection) -> Result<(), Trouble> {
    // SQLite does not wait where two processes make the same new file at once, so the wait is here.
    for tries in 1.. {
        match conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => break,
            Ok(mode) => return Err(Trouble::Damaged(format!("no write-ahead log is possible here, only {mode}"))),
            Err(error) => match Trouble::from(error) {
                Trouble::Busy if tries < WAL_TRIES => std::thread::sleep(WAL_PAUSE),
                trouble => return Err(trouble),
            },
        }
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    Ok(())
}

fn truncate_log(conn: &Connection) -> Result<bool, Trouble> {
    Ok(conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))? == 0)
}

/// Ties a new database to its key, and knows that of an old one.
fn bind(conn: &mut Connection, key: &MasterKey) -> Result<(), Trouble> {
    if key_check(conn)?.is_none() {
        let value = key.check_value()?;
        conn.execute("UPDATE gallery SET key_check = ?1 WHERE key_check IS NULL", [value])?;
    }
    match key_check(conn)? {
        Some(value) if key.made(&value) => Ok(()),
        _ => Err(Trouble::WrongKey),
    }
}

fn key_check(conn: &Connection) -> Result<Option<Vec<u8>>, Trouble> {
    Ok(conn.query_row("SELECT key_check FROM gallery", [], |row| row.get(0))?)
}

fn data_version(conn: &Connection) -> Result<i64, Trouble> {
    Ok(conn.pragma_query_value(None, "data_version", |row| row.get(0))?)
}

fn gallery_version(conn: &Connection) -> Result<i64, Trouble> {
    Ok(conn.query_row("SELECT version FROM gallery", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests;
