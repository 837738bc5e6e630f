//! The words of the store: records, requests, events, errors, and the [`Store`] trait.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A point in the store's history. 0 means "none"; the first write is 1.
pub type Revision = u64;

/// A key with its value at some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key, for example `/registry/core/pods/default/web-0`.
    pub key: Arc<str>,
    /// The value as it was written.
    pub value: Bytes,
    /// Revision of the write that created the key.
    pub create_revision: Revision,
    /// Revision of the write that gave it this value.
    pub mod_revision: Revision,
}

/// What a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Acknowledged means on disk: survives a power cut.
    #[default]
    Durable,
    /// Survives `kill -9` of the process, but may be lost (whole, never torn) by a power cut: Leases and Events.
    Relaxed,
}

/// How to write a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// What the write must survive.
    pub durability: Durability,
    /// The key is deleted by the store when it is older than this; a rewrite sets it anew.
    pub ttl: Option<Duration>,
}

/// Which keys to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// All keys that start with this.
    pub prefix: String,
    /// Only keys after this one (exclusive), for the next page.
    pub after: Option<String>,
    /// At most this many; 0 is all.
    pub limit: usize,
    /// As of this revision; `None` is the newest.
    pub revision: Option<Revision>,
}

/// The answer to a [`Range`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeResult {
    /// The records in key order.
    pub records: Vec<Record>,
    /// The store's revision at the snapshot that was read (the requested one, or the newest).
    pub revision: Revision,
    /// How many keys of the range come after the last one returned; 0 without a limit.
    pub remaining: u64,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The key did not exist before.
    Created,
    /// The key had another value before.
    Updated,
    /// The key is gone; the event's value is the last one.
    Deleted,
}

/// One write, as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key.
    pub key: Arc<str>,
    /// The new value; for a deletion the last one.
    pub value: Bytes,
    /// The value before an update or deletion.
    pub previous: Option<Bytes>,
    /// Revision of the write (for a deletion: of the deletion).
    pub revision: Revision,
    /// Revision that created the key.
    pub create_revision: Revision,
}

/// A running watch: call [`next`](Watch::next) until it fails or the receiver is dropped.
#[async_trait]
pub trait Watch: Send {
    /// The next events in revision order, never empty. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::TooSlow`] when this watcher fell behind its buffer, [`Error::Compacted`] when its start is no
    /// longer known, [`Error::Closed`] when the store shuts down. The watch is over then.
    async fn next(&mut self) -> Result<Arc<[Event]>, Error>;

    /// Every event at or below this revision has been delivered by [`next`](Watch::next).
    fn progress(&self) -> Revision;
}

/// Why the store refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The key to create exists.
    #[error("key {0} exists already")]
    Exists(String),
    /// The key to change does not exist.
    #[error("key {0} does not exist")]
    NotFound(String),
    /// The key's revision is not the expected one; the record is the current one.
    #[error("key {} is at revision {}, not at the expected one", .0.key, .0.mod_revision)]
    Conflict(Box<Record>),
    /// The revision is older than what is kept.
    #[error("revision {requested} has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} is in the future, the newest is {newest}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest there is.
        newest: Revision,
    },
    /// A watcher did not take its events in time.
    #[error("the watcher fell behind and was ended")]
    TooSlow,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The disk or the database failed.
    #[error("datastore failure: {0}")]
    Backend(Arc<str>),
    /// The database was written by a newer Copepod.
    #[error(
        "{path} was written by a newer version of Copepod (schema {found}, this one knows {known}): start that version, or restore a snapshot"
    )]
    Newer {
        /// The database file.
        path: String,
        /// Its schema version.
        found: u32,
        /// The newest schema version this program knows.
        known: u32,
    },
    /// The database file is damaged.
    #[error("{path} is damaged ({detail}); nothing was changed: restore a snapshot or move the file away")]
    Damaged {
        /// The database file.
        path: String,
        /// What the check found.
        detail: String,
    },
    /// Another process has the database open.
    #[error("{path} is in use by another process: stop that one first")]
    Locked {
        /// The database file.
        path: String,
    },
    /// The database or its folder cannot be written.
    #[error("{path} cannot be written: make the data directory writable or choose another one")]
    Unwritable {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

/// A revisioned key-value store. Object-safe; share it as `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync {
    /// The newest revision that readers see.
    async fn revision(&self) -> Result<Revision, Error>;

    /// Reads one key; also gives the store's revision at the read.
    async fn get(&self, key: &str) -> Result<(Option<Record>, Revision), Error>;

    /// Reads a range of keys in one snapshot.
    async fn range(&self, range: Range) -> Result<RangeResult, Error>;

    /// How many keys start with the prefix, now.
    async fn count(&self, prefix: &str) -> Result<u64, Error>;

    /// Writes a key that must not exist. Gives the write's revision.
    async fn create(&self, key: &str, value: Bytes, options: WriteOptions) -> Result<Revision, Error>;

    /// Replaces the value of a key that must be at `expected`. Gives the write's revision.
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, Error>;

    /// Deletes a key that must be at `expected`. Gives the deletion's revision.
    async fn delete(&self, key: &str, expected: Revision, durability: Durability) -> Result<Revision, Error>;

    /// All events of keys with the prefix after revision `after` (exclusive), old ones first, then live ones.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error>;

    /// Forgets history up to and including `revision`; current values stay.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;

    /// Size of the database on disk, in bytes.
    async fn size(&self) -> Result<u64, Error>;
}
