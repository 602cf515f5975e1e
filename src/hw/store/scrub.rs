//! What is left of somebody erased: the files are rewritten without it, at once or as soon as that can be done.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

use super::error::{StoreError, Trouble};
use super::{BUSY_SECONDS, Store, WAL_PAUSE, truncate_log};

impl Store {
    /// The event of the last erasure whose bytes may still be in the files; `None` where nothing is left of anybody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unscrubbed(&self) -> Result<Option<u64>, StoreError> {
        unscrubbed(&self.conn).map_err(|what| what.at(&self.path))
    }

    /// Rewrites the file without what was deleted, and cuts the log. `secure_delete` overwrites a deleted row where it
    /// lies, but not the copies that SQLite leaves behind when it moves rows between pages; rewriting does.
    ///
    /// # Errors
    /// [`StoreError`]: no space is left for it, or another process was in the way. The log is cut then as far as that
    /// can be done, and [`Store::unscrubbed`] goes on telling of it.
    pub fn scrub(&self) -> Result<(), StoreError> {
        self.rewrite(Duration::from_secs(BUSY_SECONDS)).map_err(|what| what.at(&self.path))
    }

    /// Completes an erasure that could not be; whether there was one. Waits for nobody: whoever keeps the files locked
    /// is not to hold up a door.
    ///
    /// # Errors
    /// As [`Store::scrub`].
    pub fn scrub_rest(&self) -> Result<bool, StoreError> {
        let inner = || {
            if unscrubbed(&self.conn)?.is_none() {
                return Ok(false);
            }
            self.conn.busy_timeout(Duration::ZERO)?;
            let done = self.rewrite(Duration::ZERO);
            self.conn.busy_timeout(Duration::from_secs(BUSY_SECONDS))?;
            done.map(|()| true)
        };
        inner().map_err(|what: Trouble| what.at(&self.path))
    }

    /// Cutting the log is tried for so long: whoever moves it into the database just then is not waited for by SQLite.
    fn rewrite(&self, patience: Duration) -> Result<(), Trouble> {
        let erasure = unscrubbed(&self.conn)?;
        let rewritten = self.conn.execute_batch("VACUUM");
        // Whatever came of that: the log has the deleted rows as they were, and the database still until the log is
        // moved into it. A log that is cut needs no room.
        let is_cut = cut_log(&self.conn, patience);
        rewritten?;
        if !is_cut? {
            return Err(Trouble::Busy);
        }
        // Of this erasure alone: somebody else may have been erased since.
        let erasure = erasure.map(|seq| seq.cast_signed());
        self.conn.execute("UPDATE gallery SET unscrubbed = NULL WHERE unscrubbed = ?1", [erasure])?;
        Ok(())
    }
}

fn cut_log(conn: &Connection, patience: Duration) -> Result<bool, Trouble> {
    let until = Instant::now() + patience;
    loop {
        match truncate_log(conn) {
            Ok(false) | Err(Trouble::Busy) if Instant::now() < until => std::thread::sleep(WAL_PAUSE),
            cut => return cut,
        }
    }
}

/// Within the transaction that deletes, so that neither a full disk nor a power cut forgets what is left to do.
pub(super) fn owe(tx: &Transaction<'_>, erasure: u64) -> Result<(), Trouble> {
    tx.execute("UPDATE gallery SET unscrubbed = ?1", [erasure.cast_signed()])?;
    Ok(())
}

fn unscrubbed(conn: &Connection) -> Result<Option<u64>, Trouble> {
    let seq: Option<i64> = conn.query_row("SELECT unscrubbed FROM gallery", [], |row| row.get(0))?;
    Ok(seq.map(i64::cast_unsigned))
}
