//! One write as it goes into the tables, and the writes that are not there yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rusqlite::{Connection, params};

use crate::types::{Event, EventKind, Record, Revision};

/// A write that passed its checks.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    /// Revision of the key's value before; 0 for a creation.
    pub(crate) replaces: Revision,
    /// When the store deletes the key, in milliseconds since the Unix epoch.
    pub(crate) expires: Option<i64>,
}

impl Entry {
    /// Puts it into the tables.
    pub(crate) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let event = &self.event;
        let (key, revision) = (&*event.key, event.revision.cast_signed());
        let created = event.create_revision.cast_signed();
        let value = (event.kind != EventKind::Deleted).then_some(&*event.value);
        connection
            .prepare_cached(
                "INSERT INTO log (revision, key, created, previous, value) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![revision, key, created, self.replaces.cast_signed(), value])?;
        match event.kind {
            EventKind::Created => connection
                .prepare_cached(
                    "INSERT INTO current (key, revision, created, expires) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![key, revision, created, self.expires])?,
            EventKind::Updated => connection
                .prepare_cached("UPDATE current SET revision = ?2, expires = ?3 WHERE key = ?1")?
                .execute(params![key, revision, self.expires])?,
            EventKind::Deleted => {
                connection.prepare_cached("DELETE FROM current WHERE key = ?1")?.execute([key])?
            }
        };
        Ok(())
    }

    /// Memory it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        128 + self.event.key.len() + self.event.value.len()
    }

    /// The record it leaves behind.
    pub(crate) fn record(&self) -> Option<Record> {
        let event = &self.event;
        (event.kind != EventKind::Deleted).then(|| Record {
            key: Arc::clone(&event.key),
            value: event.value.clone(),
            create_revision: event.create_revision,
            mod_revision: event.revision,
        })
    }
}

/// Relaxed writes that were acknowledged and published and wait for the next commit. Readers lay them over what
/// they find in the tables; they must look here first and begin their transaction then.
#[derive(Debug, Default)]
pub(crate) struct Pending(RwLock<Vec<Entry>>);

impl Pending {
    pub(crate) fn extend(&self, entries: Vec<Entry>) {
        self.0.write().extend(entries);
    }

    pub(crate) fn clear(&self) {
        *self.0.write() = Vec::new();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().len()
    }

    pub(crate) fn weight(&self) -> usize {
        self.0.read().iter().map(Entry::weight).sum()
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.0.read())
    }

    /// The newest pending revision, or 0.
    pub(crate) fn newest(&self) -> Revision {
        self.0.read().last().map_or(0, |entry| entry.event.revision)
    }

    /// The newest pending write of the key, and the newest pending revision.
    pub(crate) fn get(&self, key: &str) -> (Option<Entry>, Revision) {
        let entries = self.0.read();
        let newest = entries.last().map_or(0, |entry| entry.event.revision);
        (entries.iter().rev().find(|entry| &*entry.event.key == key).cloned(), newest)
    }

    /// The pending writes to keys with the prefix, and the newest pending revision.
    pub(crate) fn matching(&self, prefix: &str) -> (Vec<Entry>, Revision) {
        let entries = self.0.read();
        let newest = entries.last().map_or(0, |entry| entry.event.revision);
        (entries.iter().filter(|entry| entry.event.key.starts_with(prefix)).cloned().collect(), newest)
    }
}

/// What a key is, seen through writes that lie over the tables.
#[derive(Debug)]
pub(crate) struct Over {
    /// Whether the tables have the key.
    pub(crate) stored: bool,
    /// The key now.
    pub(crate) record: Option<Record>,
}

/// The writes after revision `base` up to `until`, as changes of the keys after `after`.
pub(crate) fn overlay(
    entries: &[Entry],
    after: Option<&str>,
    base: Revision,
    until: Revision,
) -> BTreeMap<Arc<str>, Over> {
    let mut changes: BTreeMap<Arc<str>, Over> = BTreeMap::new();
    for entry in entries {
        let event = &entry.event;
        if event.revision <= base || event.revision > until || after.is_some_and(|after| *event.key <= *after)
        {
            continue;
        }
        changes
            .entry(Arc::clone(&event.key))
            .or_insert(Over { stored: event.kind != EventKind::Created, record: None })
            .record = entry.record();
    }
    changes
}

/// The value of a row as shared bytes.
pub(crate) fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}
