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

/// One guarded change in steps, for callers that must await something (admission, for example) between reading and
/// writing: [`begin`](Attempt::begin), look at [`current`](Attempt::current), [`apply`](Attempt::apply) a decision,
/// and decide again when that lost a race.
pub struct Attempt<'a> {
    store: &'a dyn Store,
    key: &'a str,
    preconditions: Preconditions,
    current: Record,
}

impl<'a> Attempt<'a> {
    /// Reads the key.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the key does not exist, [`Error::Conflict`] when it is not at the demanded
    /// revision, and failures of the store.
    pub async fn begin(
        store: &'a dyn Store,
        key: &'a str,
        preconditions: Preconditions,
    ) -> Result<Self, Error> {
        let (record, _) = store.get(key).await?;
        let current = record.ok_or_else(|| Error::NotFound(key.to_owned()))?;
        let attempt = Self { store, key, preconditions, current };
        attempt.check()?;
        Ok(attempt)
    }

    /// The record to decide on.
    #[must_use]
    pub fn current(&self) -> &Record {
        &self.current
    }

    /// Writes under the condition that nobody wrote since [`current`](Self::current) was read. `None` says that
    /// somebody did: `current` is fresh then, decide again.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub async fn apply(&mut self, decision: Decision) -> Result<Option<Outcome>, Error> {
        let at = self.current.mod_revision;
        let result = match decision {
            Decision::Keep => return Ok(Some(Outcome::Kept(self.current.clone()))),
            Decision::Write(value, options) => {
                self.store.update(self.key, value.clone(), at, options).await.map(|revision| {
                    Outcome::Written(Record { value, mod_revision: revision, ..self.current.clone() })
                })
            }
            Decision::Delete(options) => self
                .store
                .delete(self.key, at, options.durability)
                .await
                .map(|revision| Outcome::Deleted(self.current.clone(), revision)),
        };
        match result {
            Err(Error::Conflict(fresh)) => {
                self.current = *fresh;
                self.check()?;
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(outcome) => Ok(Some(outcome)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self.preconditions.revision {
            Some(wanted) if wanted != self.current.mod_revision => {
                Err(Error::Conflict(Box::new(self.current.clone())))
            }
            _ => Ok(()),
        }
    }
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
    let mut attempt = Attempt::begin(store, key, preconditions).await?;
    loop {
        let decision = decide(attempt.current())?;
        if let Some(outcome) = attempt.apply(decision).await? {
            return Ok(outcome);
        }
    }
}
