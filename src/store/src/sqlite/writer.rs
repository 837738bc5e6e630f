//! The one thread that writes.
//!
//! All writes that queue up while a commit runs go into the next one: each is checked and answered by itself,
//! and the disk is flushed once for all of them. A batch of relaxed writes does not flush; with a journal it does
//! not even reach the database until the next durable write or the delay is over.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;
use copepod_base::Chain;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::{oneshot, watch};

use super::entry::{Entry, Pending, bytes};
use super::failure::Failures;
use super::journal::Journal;
use super::stats::Stats;
use crate::hub::Hub;
use crate::types::{Durability, Error, Event, EventKind, Record, Revision, WriteOptions};

/// Most writes of one commit.
const BATCH_WRITES: usize = 1024;
/// Most bytes of values of one commit.
const BATCH_BYTES: usize = 4 << 20;
/// Pages in the write-ahead log that start a checkpoint: 8 MiB.
const CHECKPOINT_PAGES: usize = 2048;
/// Most bytes and writes that wait in the journal.
const PENDING_BYTES: usize = 512 << 10;
const PENDING_WRITES: usize = 1000;
/// Relaxed writes without a flush of the disk. Bounds what a power cut takes, see `schema::LOST_REVISIONS`.
const UNSYNCED_WRITES: usize = 8192;

/// What a write does.
pub(crate) enum Change {
    Create(Bytes, WriteOptions),
    Update(Bytes, Revision, WriteOptions),
    Delete(Revision, Durability),
}

pub(crate) struct Write {
    pub(crate) key: Arc<str>,
    pub(crate) change: Change,
}

impl Write {
    fn durability(&self) -> Durability {
        match &self.change {
            Change::Create(_, options) | Change::Update(_, _, options) => options.durability,
            Change::Delete(_, durability) => *durability,
        }
    }

    fn bytes(&self) -> usize {
        match &self.change {
            Change::Create(value, _) | Change::Update(value, ..) => value.len(),
            Change::Delete(..) => 0,
        }
    }
}

type Reply = oneshot::Sender<Result<Revision, Error>>;

pub(crate) enum Request {
    Write(Write, Reply),
    /// Maintenance, between two commits.
    Run(Box<dyn FnOnce(&mut Writer) + Send>),
    /// The last request.
    Close(oneshot::Sender<Result<(), Error>>),
}

/// What the maintenance tasks wait for.
pub(crate) struct Signals {
    /// When the next key expires, in milliseconds since the Unix epoch.
    pub(crate) expiry: watch::Sender<Option<i64>>,
    /// Whether relaxed writes wait for a commit.
    pub(crate) pending: watch::Sender<bool>,
}

pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) failures: Failures,
    pub(crate) hub: Arc<Hub>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) stats: Stats,
    pub(crate) pending: Arc<Pending>,
    pub(crate) journal: Option<Journal>,
    /// Keys as pending writes and those of the batch in work leave them.
    pub(crate) overlay: HashMap<Arc<str>, Option<Record>>,
    /// The newest revision, with the pending ones.
    pub(crate) revision: Revision,
    /// The newest revision in the tables.
    pub(crate) stored: Revision,
    pub(crate) unsynced: usize,
    /// Whether `PRAGMA synchronous` is FULL now.
    pub(crate) synchronous: bool,
    /// Pages in the write-ahead log after the last commit.
    pub(crate) log_pages: Arc<AtomicUsize>,
    /// Whether free pages are being given back.
    pub(crate) vacuuming: bool,
    pub(crate) lock: File,
}

impl Writer {
    /// Serves requests until the last sender is gone or one asks to close.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            let other = loop {
                match next {
                    Some(Request::Write(write, reply)) => {
                        bytes += write.bytes();
                        batch.push((write, reply));
                    }
                    other => break other,
                }
                if batch.len() >= BATCH_WRITES || bytes >= BATCH_BYTES {
                    break None;
                }
                next = requests.try_recv().ok();
            };
            self.write(batch);
            match other {
                Some(Request::Run(work)) => work(&mut self),
                Some(Request::Close(reply)) => {
                    // The caller may have given up waiting.
                    let _ = reply.send(self.close());
                    return;
                }
                Some(Request::Write(..)) | None => {}
            }
            self.checkpoint_when_due();
        }
        if let Err(error) = self.close() {
            tracing::warn!(error = %Chain(&error), "the datastore was not closed cleanly");
        }
    }

    /// Checks, commits, publishes and answers the writes.
    fn write(&mut self, batch: Vec<(Write, Reply)>) {
        if batch.is_empty() {
            return;
        }
        // The checks read in the transaction that then writes: one lock for all, and SQLite takes the flushing
        // mode only before it begins.
        let flush = batch.iter().any(|(write, _)| write.durability() == Durability::Durable);
        let mut failure = self.begin(flush, batch.len()).err();
        let mut entries = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        let mut durable = false;
        for (write, reply) in batch {
            let revision = self.revision + 1 + entries.len() as u64;
            let answer = self.check(&write, revision).map(|entry| {
                durable |= write.durability() == Durability::Durable;
                self.overlay.insert(Arc::clone(&write.key), entry.record());
                entries.push(entry);
                revision
            });
            answers.push((reply, answer));
        }
        if failure.is_none() && !entries.is_empty() {
            failure = self.persist(entries, durable).err();
        }
        self.roll_back();
        if let Some(error) = &failure {
            self.rebuild_overlay();
            tracing::error!(error = %Chain(error), "cannot write to the datastore");
        }
        for (reply, answer) in answers {
            // Even a refusal may rest on a write that failed. The caller may be gone; its write stands.
            let _ = reply.send(failure.clone().map_or(answer, Err));
        }
    }

    /// Checks a write against the newest state, and makes its event.
    pub(crate) fn check(&self, write: &Write, revision: Revision) -> Result<Entry, Error> {
        let current = self.current(&write.key)?;
        let expected = match &write.change {
            Change::Create(..) => None,
            Change::Update(_, expected, _) | Change::Delete(expected, _) => Some(*expected),
        };
        match (&current, expected) {
            (Some(_), None) => return Err(Error::Exists(write.key.to_string())),
            (None, Some(_)) => return Err(Error::NotFound(write.key.to_string())),
            (Some(current), Some(expected)) if current.mod_revision != expected => {
                return Err(Error::Conflict(Box::new(current.clone())));
            }
            _ => {}
        }
        let (kind, value, ttl) = match &write.change {
            Change::Create(value, options) => (EventKind::Created, Some(value), options.ttl),
            Change::Update(value, _, options) => (EventKind::Updated, Some(value), options.ttl),
            Change::Delete(..) => (EventKind::Deleted, None, None),
        };
        let previous = current.as_ref().map(|current| current.value.clone());
        Ok(Entry {
            event: Event {
                kind,
                key: Arc::clone(&write.key),
                value: value.or(previous.as_ref()).cloned().unwrap_or_default(),
                previous,
                revision,
                create_revision: current.as_ref().map_or(revision, |current| current.create_revision),
            },
            replaces: current.map_or(0, |current| current.mod_revision),
            expires: ttl.map(deadline),
        })
    }

    fn current(&self, key: &Arc<str>) -> Result<Option<Record>, Error> {
        if let Some(record) = self.overlay.get(key) {
            return Ok(record.clone());
        }
        let read = || {
            self.connection
                .prepare_cached(
                    "SELECT c.revision, c.created, l.value FROM current c JOIN log l ON l.revision = c.revision
                     WHERE c.key = ?1",
                )?
                .query_row([&**key], |row| {
                    Ok(Record {
                        key: Arc::clone(key),
                        value: bytes(row, 2)?,
                        create_revision: row.get::<_, i64>(1)?.cast_unsigned(),
                        mod_revision: row.get::<_, i64>(0)?.cast_unsigned(),
                    })
                })
                .optional()
        };
        read().map_err(|error| self.failures.of(error))
    }

    fn persist(&mut self, entries: Vec<Entry>, durable: bool) -> Result<(), Error> {
        if !durable && let Some(journal) = &mut self.journal {
            let room = self.pending.len() + entries.len() <= PENDING_WRITES
                && self.pending.weight() + entries.iter().map(Entry::weight).sum::<usize>() <= PENDING_BYTES;
            if room {
                match journal.append(&entries) {
                    Ok(()) => {
                        self.pend(entries);
                        return Ok(());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot write the journal of relaxed writes, committing at once");
                    }
                }
            }
        }
        self.commit(entries, durable)
    }

    fn pend(&mut self, entries: Vec<Entry>) {
        self.revision += entries.len() as u64;
        self.unsynced += entries.len();
        self.announce_expiry(&entries);
        let events = entries.iter().map(|entry| entry.event.clone()).collect();
        self.stats.writes.inc_by(entries.len() as u64);
        self.pending.extend(entries);
        self.hub.publish(events, self.stored);
        self.signals.pending.send_if_modified(|pending| !std::mem::replace(pending, true));
    }

    /// Puts the pending writes and these into the tables, and publishes these. Flushes the disk when `durable`;
    /// within a transaction that [`begin`](Self::begin) opened, when that was told so. On failure nothing has
    /// changed.
    pub(crate) fn commit(&mut self, entries: Vec<Entry>, durable: bool) -> Result<(), Error> {
        if self.connection.is_autocommit() {
            self.begin(durable, entries.len())?;
        }
        let stored = self
            .pending
            .with(|pending| {
                pending.iter().chain(&entries).try_for_each(|entry| entry.store(&self.connection))
            })
            .and_then(|()| self.execute("COMMIT"));
        if let Err(error) = stored {
            self.roll_back();
            self.rebuild_overlay();
            return Err(self.failures.of(error));
        }
        self.stats.commits.inc();
        if self.synchronous {
            self.stats.fsyncs.inc();
            self.unsynced = 0;
        } else {
            self.unsynced += entries.len();
        }
        self.revision += entries.len() as u64;
        self.stored = self.revision;
        self.overlay.clear();
        if !self.pending.is_empty() {
            self.pending.clear();
            self.signals.pending.send_replace(false);
        }
        if let Some(journal) = &mut self.journal {
            journal.clear();
        }
        self.announce_expiry(&entries);
        self.stats.writes.inc_by(entries.len() as u64);
        self.hub.publish(entries.into_iter().map(|entry| entry.event).collect(), self.stored);
        Ok(())
    }

    /// Opens a transaction for about so many writes; its commit flushes the disk when `durable`, and when much
    /// was written since the last flush.
    fn begin(&mut self, durable: bool, writes: usize) -> Result<(), Error> {
        let flush = durable || self.unsynced + writes > UNSYNCED_WRITES;
        self.set_synchronous(flush)
            .and_then(|()| self.execute("BEGIN"))
            .map_err(|error| self.failures.of(error))
    }

    /// Ends a transaction that is still open.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::warn!(%error, "cannot end a transaction of the datastore");
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Whether commits flush the disk from now on. SQLite calls the two FULL and NORMAL.
    pub(crate) fn set_synchronous(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.synchronous != full {
            self.connection.execute_batch(if full {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.synchronous = full;
        }
        Ok(())
    }

    fn rebuild_overlay(&mut self) {
        self.overlay = self.pending.with(|pending| {
            pending.iter().map(|entry| (Arc::clone(&entry.event.key), entry.record())).collect()
        });
    }

    fn announce_expiry(&self, entries: &[Entry]) {
        let Some(first) = entries.iter().filter_map(|entry| entry.expires).min() else {
            return;
        };
        self.signals.expiry.send_if_modified(|next| {
            let earlier = next.is_none_or(|next| first < next);
            if earlier {
                *next = Some(first);
            }
            earlier
        });
    }

    /// Moves the write-ahead log into the database when it has grown. After the answers, so that they need not wait.
    fn checkpoint_when_due(&mut self) {
        if self.log_pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES {
            return;
        }
        // Also when it did not get through because of a reader: the next commit tells how much is left.
        self.log_pages.store(0, Ordering::Relaxed);
        self.unsynced = 0;
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!(%error, "cannot checkpoint the datastore");
        }
    }

    /// Leaves a database without a log beside it, marked as closed cleanly.
    fn close(mut self) -> Result<(), Error> {
        self.hub.close();
        self.commit(Vec::new(), true)?;
        let failures = self.failures.clone();
        let sql = |error| failures.of(error);
        super::schema::set_meta(&self.connection, "session", 0).map_err(sql)?;
        let busy: bool = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(sql)?;
        if busy {
            tracing::warn!("a reader kept the datastore's log from being merged; the next start does it");
        }
        self.connection.close().map_err(|(_, error)| failures.of(error))?;
        drop(self.lock);
        Ok(())
    }
}

/// Milliseconds since the Unix epoch, `ttl` from now.
fn deadline(ttl: Duration) -> i64 {
    i64::try_from((copepod_base::clock::since_epoch() + ttl).as_millis()).unwrap_or(i64::MAX)
}
