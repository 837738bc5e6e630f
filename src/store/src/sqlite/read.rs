//! Reading: a few read-only connections, used from blocking threads; no reader waits for the writer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction};
use tokio::sync::Semaphore;

use super::entry::{Entry, Pending, overlay};
use super::failure::Failures;
use super::query;
use super::schema::{meta, newest};
use crate::hub::{Replay, Replayed};
use crate::types::{Error, Range, RangeResult, Record, Revision};

/// The reading half of the database.
pub(crate) struct Readers {
    path: PathBuf,
    failures: Failures,
    pending: Arc<Pending>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    limit: u32,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, failures: Failures, pending: Arc<Pending>, limit: u32) -> Self {
        let permits = Arc::new(Semaphore::new(limit as usize));
        Self { path, failures, pending, idle: Mutex::default(), permits, limit }
    }

    /// Waits for the running reads, then refuses new ones.
    pub(crate) async fn close(&self) {
        // Refused only when it was closed before.
        if let Ok(all) = self.permits.acquire_many(self.limit).await {
            self.permits.close();
            drop(all);
        }
        self.idle.lock().clear();
    }

    /// Runs `read` on a snapshot of the tables.
    async fn snapshot<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let result = this.with_connection(read);
            drop(permit);
            result.map_err(|error| this.failures.of(error))
        });
        task.await.map_err(|error| self.failures.backend(error))?
    }

    fn with_connection<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let mut connection = idle.map_or_else(|| self.connect(), Ok)?;
        let transaction = connection.transaction()?;
        let output = read(&transaction)?;
        transaction.finish()?;
        self.idle.lock().push(connection);
        Ok(output)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.execute_batch("PRAGMA cache_size = -256; PRAGMA query_only = TRUE;")?;
        Ok(connection)
    }

    pub(crate) async fn revision(self: &Arc<Self>) -> Result<Revision, Error> {
        let pending = self.pending.newest();
        Ok(self.snapshot(|tables| newest(tables)).await?.max(pending))
    }

    pub(crate) async fn get(self: &Arc<Self>, key: &str) -> Result<(Option<Record>, Revision), Error> {
        let (entry, pending) = self.pending.get(key);
        if let Some(entry) = entry {
            return Ok((entry.record(), pending));
        }
        let key: Arc<str> = key.into();
        let (record, stored) =
            self.snapshot(move |tables| Ok((query::get(tables, &key)?, newest(tables)?))).await?;
        Ok((record, stored.max(pending)))
    }

    pub(crate) async fn count(self: &Arc<Self>, prefix: &str) -> Result<u64, Error> {
        let (entries, pending) = self.pending.matching(prefix);
        let prefix = prefix.to_owned();
        self.snapshot(move |tables| {
            let stored = newest(tables)?;
            let bounds = query::Bounds::new(&prefix, None);
            let counted = query::count(tables, &bounds, None)?;
            let changes = overlay(&entries, None, stored, pending.max(stored));
            Ok(query::adjusted(counted, changes.values()))
        })
        .await
    }

    pub(crate) async fn range(self: &Arc<Self>, range: Range) -> Result<RangeResult, Error> {
        let (entries, pending) = self.pending.matching(&range.prefix);
        self.snapshot(move |tables| read_range(tables, &range, &entries, pending)).await?
    }
}

/// Reads a range from the tables with the pending writes laid over them.
fn read_range(
    tables: &Transaction<'_>,
    range: &Range,
    entries: &[Entry],
    pending: Revision,
) -> rusqlite::Result<Result<RangeResult, Error>> {
    let stored = newest(tables)?;
    let now = stored.max(pending);
    let revision = range.revision.unwrap_or(now);
    if revision > now {
        return Ok(Err(Error::Future { requested: revision, newest: now }));
    }
    let oldest = meta::<i64>(tables, "compacted")?.cast_unsigned();
    if revision < oldest {
        return Ok(Err(Error::Compacted { requested: revision, oldest }));
    }
    let bounds = query::Bounds::new(&range.prefix, range.after.as_deref());
    let past = (revision < stored).then_some(revision);
    let changes = overlay(entries, range.after.as_deref(), stored, revision);
    let wanted = if range.limit == 0 { usize::MAX } else { range.limit };
    let mut records = query::records(tables, &bounds, past, wanted.saturating_add(changes.len()))?;
    if !changes.is_empty() {
        records.retain(|record| !changes.contains_key(&record.key));
        records.extend(changes.values().filter_map(|change| change.record.clone()));
        records.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    }
    records.truncate(wanted);
    let mut remaining = 0;
    if records.len() == wanted
        && let Some(last) = records.last()
    {
        let counted = query::count(tables, &query::Bounds::new(&range.prefix, Some(&last.key)), past)?;
        let behind = changes.iter().filter(|(key, _)| **key > last.key).map(|(_, change)| change);
        remaining = query::adjusted(counted, behind);
    }
    Ok(Ok(RangeResult { records, revision, remaining }))
}

/// History for watchers, from the log.
pub(crate) struct History(pub(crate) Arc<Readers>);

#[async_trait]
impl Replay for History {
    async fn replay(&self, prefix: &str, after: Revision) -> Result<Replayed, Error> {
        let prefix = prefix.to_owned();
        self.0
            .snapshot(move |tables| {
                let oldest = meta::<i64>(tables, "compacted")?.cast_unsigned();
                if after < oldest {
                    return Ok(Err(Error::Compacted { requested: after, oldest }));
                }
                query::events(tables, &prefix, after).map(Ok)
            })
            .await?
    }
}
