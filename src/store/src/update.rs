//! The one read-modify-write loop.

use bytes::Bytes;

use crate::types::{Error, Record, Revision, Store, WriteOptions};

/// What must hold of the stored record before a change; checked against each fresh read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// The record must be at this revision; then a lost race is an error, not a retry.
    pub revision: Option<Revision>,
}

/// What the caller's function makes of the current record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write this value.
    Write(Bytes, WriteOptions),
    /// Delete the key.
    Delete(WriteOptions),
    /// Leave the record as it is: no write, no event.
    Keep,
}

/// What [`guaranteed_update`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The record as it now is.
    Written(Record),
    /// The record as it last was, and the revision of its deletion.
    Deleted(Record, Revision),
    /// Nothing was written; the record as it is.
    Kept(Record),
}

/// Reads `key`, lets `decide` choose, and writes under the condition that nobody wrote in between; tries again
/// from a fresh read when somebody did, unless the caller demanded a revision.
///
/// # Errors
/// [`Error::NotFound`] when the key does not exist, [`Error::Conflict`] when the demanded revision is not the
/// current one, whatever `decide` fails with, and failures of the store.
pub async fn guaranteed_update<E, F>(
    store: &dyn Store,
    key: &str,
    preconditions: Preconditions,
    mut decide: F,
) -> Result<Outcome, E>
where
    E: From<Error>,
    F: FnMut(&Record) -> Result<Decision, E>,
{
    let mut current = read(store, key).await?;
    loop {
        if preconditions.revision.is_some_and(|wanted| wanted != current.mod_revision) {
            return Err(Error::Conflict(Box::new(current)).into());
        }
        let result = match decide(&current)? {
            Decision::Keep => return Ok(Outcome::Kept(current)),
            Decision::Write(value, options) => {
                store.update(key, value.clone(), current.mod_revision, options).await.map(|revision| {
                    Outcome::Written(Record { value, mod_revision: revision, ..current.clone() })
                })
            }
            Decision::Delete(options) => store
                .delete(key, current.mod_revision, options.durability)
                .await
                .map(|revision| Outcome::Deleted(current.clone(), revision)),
        };
        match result {
            Err(Error::Conflict(fresh)) => current = *fresh,
            Err(error) => return Err(error.into()),
            Ok(outcome) => return Ok(outcome),
        }
    }
}

async fn read(store: &dyn Store, key: &str) -> Result<Record, Error> {
    let (record, _) = store.get(key).await?;
    record.ok_or_else(|| Error::NotFound(key.to_owned()))
}
