//! Forgetting history and giving space back, in steps that are short enough for writers to pass between them.

use rusqlite::params;

use super::schema::{meta, set_meta};
use super::writer::{Change, Write, Writer};
use crate::types::{Durability, Error, Revision};

/// Rows of the log that one step looks at, and keys that one step expires.
const STEP_ROWS: i64 = 500;
/// Pages that one step gives back.
const STEP_PAGES: i64 = 256;
/// Free pages are given back when they are more than a quarter of the file and more than 1 MiB, until they are
/// less than a tenth.
const FREE_START: i64 = 4;
const FREE_STOP: i64 = 10;
const FREE_PAGES: i64 = 256;

impl Writer {
    /// Declares history up to and including `revision` forgotten; [`sweep`](Self::sweep) removes it.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        if revision > self.revision {
            return Err(Error::Future { requested: revision, newest: self.revision });
        }
        if revision <= self.hub.compacted() {
            return Ok(());
        }
        if revision > self.stored {
            self.commit(Vec::new(), false)?;
        }
        self.relaxed(|writer| {
            let transaction = writer.connection.transaction()?;
            set_meta(&transaction, "compacted", revision.cast_signed())?;
            // The newest row may be a deletion that the sweep removes.
            let floor: i64 = meta(&transaction, "floor")?;
            set_meta(&transaction, "floor", floor.max(revision.cast_signed()))?;
            transaction.commit()
        })?;
        self.hub.set_compacted(revision);
        Ok(())
    }

    /// One step of removing what was declared forgotten; true when there is more to do.
    pub(crate) fn sweep(&mut self) -> Result<bool, Error> {
        let (swept, more) = self.relaxed(Self::sweep_rows)?;
        self.stats.compacted.inc_by(swept);
        if more {
            return Ok(true);
        }
        self.relaxed(Self::vacuum)
    }

    fn sweep_rows(&mut self) -> rusqlite::Result<(u64, bool)> {
        let transaction = self.connection.transaction()?;
        let compacted: i64 = meta(&transaction, "compacted")?;
        let swept: i64 = meta(&transaction, "swept")?;
        if swept >= compacted {
            return Ok((0, false));
        }
        let mut removed = 0;
        let mut seen = 0;
        let mut through = compacted;
        {
            let mut rows = transaction.prepare_cached(
                "SELECT revision, previous, value IS NULL FROM log
                 WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3",
            )?;
            let mut remove = transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
            let step: Vec<(i64, i64, bool)> = rows
                .query_map(params![swept, compacted, STEP_ROWS], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            for (revision, previous, deletion) in step {
                if previous > 0 {
                    removed += remove.execute([previous])?;
                }
                if deletion {
                    removed += remove.execute([revision])?;
                }
                seen += 1;
                if seen == STEP_ROWS {
                    through = revision;
                }
            }
        }
        set_meta(&transaction, "swept", through)?;
        transaction.commit()?;
        Ok((removed as u64, through < compacted))
    }

    /// Gives free pages back. Stops well below what starts it, so that a file in steady use is not rewritten
    /// for nothing.
    fn vacuum(&mut self) -> rusqlite::Result<bool> {
        let free: i64 = self.connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        let pages: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let share = if self.vacuuming { FREE_STOP } else { FREE_START };
        self.vacuuming = free > FREE_PAGES && free * share > pages;
        if !self.vacuuming {
            return Ok(false);
        }
        let step = STEP_PAGES.min(free);
        let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({step})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(true)
    }

    /// Deletes keys whose time is over at `now` (milliseconds since the Unix epoch); true when there are more.
    pub(crate) fn expire(&mut self, now: i64) -> Result<bool, Error> {
        if !self.pending.is_empty() {
            self.commit(Vec::new(), false)?;
        }
        let failures = self.failures.clone();
        let find = || -> rusqlite::Result<Vec<(String, i64)>> {
            self.connection
                .prepare_cached(
                    "SELECT key, revision FROM current
                     WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT ?2",
                )?
                .query_map(params![now, STEP_ROWS], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let due = find().map_err(|error| failures.of(error))?;
        let more = due.len() as i64 == STEP_ROWS;
        let mut entries = Vec::with_capacity(due.len());
        for (key, revision) in due {
            let change = Change::Delete(revision.cast_unsigned(), Durability::Relaxed);
            let write = Write { key: key.into(), change };
            entries.push(self.check(&write, self.revision + 1 + entries.len() as u64)?);
        }
        if !entries.is_empty() {
            self.commit(entries, false)?;
        }
        self.announce_next_expiry().map_err(|error| failures.of(error))?;
        Ok(more)
    }

    /// Looks up when the next key expires.
    pub(crate) fn announce_next_expiry(&mut self) -> rusqlite::Result<()> {
        let next: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(expires) FROM current WHERE expires IS NOT NULL")?
            .query_row([], |row| row.get(0))?;
        self.signals.expiry.send_replace(next);
        Ok(())
    }

    /// Runs a transaction that a power cut may undo as a whole.
    fn relaxed<T>(&mut self, work: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.set_synchronous(false).and_then(|()| work(self)).map_err(|error| self.failures.of(error))
    }
}
