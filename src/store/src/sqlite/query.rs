//! The reading statements.

use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::entry::{Over, bytes};
use super::schema::newest;
use crate::hub::Replayed;
use crate::types::{Event, EventKind, Record, Revision};

/// Rows of the log and bytes of values that one stretch of history reads.
const STRETCH_ROWS: usize = 2000;
const STRETCH_BYTES: usize = 1 << 20;

/// A range of keys, as SQL sees it: from (inclusive) to (exclusive).
pub(crate) struct Bounds {
    from: String,
    to: End,
}

enum End {
    Before(String),
    /// Every text sorts before a blob.
    Open,
}

impl ToSql for End {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Before(key) => key.to_sql(),
            Self::Open => Ok(ToSqlOutput::Owned(Value::Blob(Vec::new()))),
        }
    }
}

impl Bounds {
    /// The keys with the prefix, after the given one.
    pub(crate) fn new(prefix: &str, after: Option<&str>) -> Self {
        // The smallest string after a key is the key with a zero byte.
        let from = after.map(|after| format!("{after}\0")).filter(|after| **after > *prefix);
        Self { from: from.unwrap_or_else(|| prefix.to_owned()), to: end_of(prefix) }
    }
}

/// The smallest string that is greater than all with the prefix.
fn end_of(prefix: &str) -> End {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // Skips the surrogates, which are no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            end.push(next);
            return End::Before(end);
        }
    }
    End::Open
}

pub(crate) fn get(tables: &Connection, key: &Arc<str>) -> rusqlite::Result<Option<Record>> {
    tables
        .prepare_cached(
            "SELECT c.revision, c.created, l.value FROM current c JOIN log l ON l.revision = c.revision
             WHERE c.key = ?1",
        )?
        .query_row([&**key], |row| record(Arc::clone(key), row))
        .optional()
}

/// The first records of the range, now or at a past revision.
pub(crate) fn records(
    tables: &Connection,
    bounds: &Bounds,
    past: Option<Revision>,
    limit: usize,
) -> rusqlite::Result<Vec<Record>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let Some(past) = past else {
        return tables
            .prepare_cached(
                "SELECT c.revision, c.created, l.value, c.key
                 FROM current c CROSS JOIN log l ON l.revision = c.revision
                 WHERE c.key >= ?1 AND c.key < ?2 ORDER BY c.key LIMIT ?3",
            )?
            .query_map(params![bounds.from, bounds.to, limit], |row| record(key(row, 3)?, row))?
            .collect();
    };
    // A version was the newest at a revision when it still is and is old enough, or when it was replaced later.
    let mut versions = tables.prepare_cached(
        "SELECT key, revision FROM current WHERE key >= ?1 AND key < ?2 AND revision <= ?3
         UNION ALL
         SELECT key, previous FROM log INDEXED BY log_changes
         WHERE key >= ?1 AND key < ?2 AND previous > 0 AND previous <= ?3 AND revision > ?3
         ORDER BY 1 LIMIT ?4",
    )?;
    let mut version =
        tables.prepare_cached("SELECT revision, created, value FROM log WHERE revision = ?1")?;
    let mut rows = versions.query(params![bounds.from, bounds.to, past.cast_signed(), limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let key = key(row, 0)?;
        records.push(version.query_row([row.get::<_, i64>(1)?], |row| record(key, row))?);
    }
    Ok(records)
}

/// How many keys the range has, now or at a past revision.
pub(crate) fn count(tables: &Connection, bounds: &Bounds, past: Option<Revision>) -> rusqlite::Result<u64> {
    let counted: i64 = match past {
        None => tables
            .prepare_cached("SELECT count(*) FROM current WHERE key >= ?1 AND key < ?2")?
            .query_row(params![bounds.from, bounds.to], |row| row.get(0))?,
        Some(past) => tables
            .prepare_cached(
                "SELECT (SELECT count(*) FROM current WHERE key >= ?1 AND key < ?2 AND revision <= ?3)
                      + (SELECT count(*) FROM log INDEXED BY log_changes
                         WHERE key >= ?1 AND key < ?2 AND previous > 0 AND previous <= ?3 AND revision > ?3)",
            )?
            .query_row(params![bounds.from, bounds.to, past.cast_signed()], |row| row.get(0))?,
    };
    Ok(counted.cast_unsigned())
}

/// A count of the tables, corrected by the changes that lie over them.
pub(crate) fn adjusted<'a>(counted: u64, changes: impl Iterator<Item = &'a Over>) -> u64 {
    changes.fold(counted, |count, change| match (change.stored, change.record.is_some()) {
        (false, true) => count + 1,
        (true, false) => count.saturating_sub(1),
        _ => count,
    })
}

/// The next stretch of history after a revision.
pub(crate) fn events(tables: &Connection, prefix: &str, after: Revision) -> rusqlite::Result<Replayed> {
    let mut log = tables.prepare_cached(
        "SELECT revision, key, created, previous, value FROM log WHERE revision > ?1 ORDER BY revision LIMIT ?2",
    )?;
    let mut before = tables.prepare_cached("SELECT value FROM log WHERE revision = ?1")?;
    let mut rows = log.query(params![after.cast_signed(), STRETCH_ROWS as i64])?;
    let mut stretch = Replayed { events: Vec::new(), through: after };
    let (mut seen, mut size) = (0, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        let revision = row.get::<_, i64>(0)?.cast_unsigned();
        stretch.through = revision;
        if !row.get_ref(1)?.as_str()?.starts_with(prefix) {
            continue;
        }
        let previous: i64 = row.get(3)?;
        let previous = match previous {
            0 => None,
            revision => Some(before.query_row([revision], |row| bytes(row, 0))?),
        };
        let event = event(row, revision, previous)?;
        size += event.value.len() + event.previous.as_ref().map_or(0, bytes::Bytes::len);
        stretch.events.push(event);
        if size >= STRETCH_BYTES {
            return Ok(stretch);
        }
    }
    if seen < STRETCH_ROWS {
        // Nothing more: also revisions without a row, after a power cut, are done.
        stretch.through = stretch.through.max(newest(tables)?);
    }
    Ok(stretch)
}

fn event(row: &Row<'_>, revision: Revision, previous: Option<bytes::Bytes>) -> rusqlite::Result<Event> {
    let create_revision = row.get::<_, i64>(2)?.cast_unsigned();
    let value = row.get_ref(4)?.as_blob_or_null()?.map(bytes::Bytes::copy_from_slice);
    let kind = match &value {
        None => EventKind::Deleted,
        Some(_) if create_revision == revision => EventKind::Created,
        Some(_) => EventKind::Updated,
    };
    let value = value.or_else(|| previous.clone()).unwrap_or_default();
    Ok(Event { kind, key: key(row, 1)?, value, previous, revision, create_revision })
}

/// A record from revision, create revision and value, the first columns of the row.
fn record(key: Arc<str>, row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        key,
        value: bytes(row, 2)?,
        create_revision: row.get::<_, i64>(1)?.cast_unsigned(),
        mod_revision: row.get::<_, i64>(0)?.cast_unsigned(),
    })
}

fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(row.get_ref(column)?.as_str()?.into())
}
