//! The store in one SQLite file: the default.
//!
//! * One thread commits, many writes at a time; readers have connections of their own.
//! * A value is written once, into the log; a small table maps each key to its newest row.
//! * The write-ahead log is flushed for durable writes only. Relaxed writes wait in a journal on a memory file
//!   system, if there is one, and reach the disk with the next durable write or once a minute.
//! * Expiry, compaction and giving space back run by themselves, see [`SqliteConfig`].

mod compact;
mod entry;
mod failure;
mod journal;
mod maintenance;
mod query;
mod read;
mod schema;
mod stats;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use copepod_base::task::Shutdown;
use tokio::sync::{oneshot, watch};

use crate::hub::{Hub, HubWatch, Limits};
use crate::types::{Durability, Error, Range, RangeResult, Record, Revision, Store, Watch, WriteOptions};
use entry::Pending;
use failure::Failures;
use journal::Journal;
use read::{History, Readers};
pub use stats::Stats;
use writer::{Change, Request, Signals, Write, Writer};

/// Where the database is and how much it may use.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The database file; its folder is made when missing. `-wal`, `-shm` and `.lock` files appear beside it.
    pub path: PathBuf,
    /// Where relaxed writes wait for their commit; must be on a memory file system (`/run`) to be of use.
    /// Without it they are committed at once, still without flushing the disk.
    pub relaxed_journal: Option<PathBuf>,
    /// How long relaxed writes may wait in the journal.
    pub relaxed_delay: Duration,
    /// Deletions by TTL are gathered: after one round the next is not sooner than this.
    pub expiry_pause: Duration,
    /// Compact by itself: keep at least this much history, at most twice as much. `None`: only when asked.
    pub history: Option<Duration>,
    /// Bytes of recent events kept in memory for new watchers.
    pub watch_ring: usize,
    /// Bytes that a watcher may be behind before it is ended.
    pub watch_backlog: usize,
    /// How many reads run at the same time.
    pub readers: u32,
}

impl SqliteConfig {
    /// The usual limits: a minute for relaxed writes (but no journal), five minutes of history, 4 MiB each for
    /// recent events and backlog, four readers.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            relaxed_journal: None,
            relaxed_delay: Duration::from_secs(60),
            expiry_pause: Duration::from_secs(60),
            history: Some(Duration::from_secs(300)),
            watch_ring: 4 << 20,
            watch_backlog: 4 << 20,
            readers: 4,
        }
    }
}

/// A store in an SQLite file. [`close`](Self::close) it at the end; dropping it closes it too, but in the background.
pub struct Sqlite {
    inner: Arc<Inner>,
    maintenance: Shutdown,
}

/// What the store and its maintenance share.
struct Inner {
    path: PathBuf,
    requests: Sender<Request>,
    readers: Arc<Readers>,
    hub: Arc<Hub>,
    signals: Arc<Signals>,
    stats: Stats,
}

impl Sqlite {
    /// Opens the database, or makes a new one. Maintenance runs until `shutdown`; the store itself until
    /// [`close`](Self::close). Must be called within a tokio runtime; blocks while a damaged-looking file is checked.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Unwritable`], [`Error::Newer`], [`Error::Damaged`] (the file is not changed
    /// then), [`Error::Backend`].
    pub fn open(config: SqliteConfig, shutdown: &Shutdown) -> Result<Arc<Self>, Error> {
        let failures = Failures::new(&config.path);
        let database = schema::open(&config.path, &failures)?;
        let left = match (&config.relaxed_journal, database.crashed) {
            (Some(path), Some(session)) => Journal::read(path, session)
                .map_err(|error| failures.backend(format!("journal {}: {error}", path.display())))?,
            _ => Vec::new(),
        };
        let pending = Arc::new(Pending::default());
        let limits = Limits { ring: config.watch_ring, backlog: config.watch_backlog };
        let signals =
            Arc::new(Signals { expiry: watch::Sender::new(None), pending: watch::Sender::new(false) });
        let stats = Stats::default();
        let stored = database.revision;
        let hub = Arc::new(Hub::new(stored, database.compacted, limits));
        let mut writer = Writer {
            connection: database.connection,
            failures: failures.clone(),
            hub: Arc::clone(&hub),
            signals: Arc::clone(&signals),
            stats: stats.clone(),
            pending: Arc::clone(&pending),
            journal: config.relaxed_journal.as_ref().map(|path| Journal::new(path, database.session)),
            overlay: HashMap::new(),
            revision: stored,
            stored,
            unsynced: 0,
            synchronous: true,
            log_pages: Arc::new(AtomicUsize::new(0)),
            vacuuming: false,
            lock: database.lock,
        };
        writer.prepare(left)?;
        let (requests, queue) = channel();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| failures.backend(format!("cannot start the writer: {error}")))?;
        let readers = Arc::new(Readers::new(config.path.clone(), failures, pending, config.readers.max(1)));
        let inner = Arc::new(Inner { path: config.path.clone(), requests, readers, hub, signals, stats });
        let maintenance = shutdown.child();
        maintenance::start(&inner, &maintenance, &config);
        Ok(Arc::new(Self { inner, maintenance }))
    }

    /// Ends all watches, commits what waits, and leaves a clean file, so that the next start is fast. Later calls
    /// fail with [`Error::Closed`].
    ///
    /// # Errors
    /// Failures of the database; it is released all the same.
    pub async fn close(&self) -> Result<(), Error> {
        self.maintenance.cancel();
        self.inner.readers.close().await;
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(Request::Close(reply)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// The store's counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.maintenance.cancel();
    }
}

impl Writer {
    /// Takes over what the last session's journal had, and finds the next expiry.
    fn prepare(&mut self, left: Vec<entry::Entry>) -> Result<(), Error> {
        let pages = Arc::clone(&self.log_pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        let sql = |error| self.failures.of(error);
        self.connection.wal_hook(Some(hook)).map_err(sql)?;
        let mut left: Vec<_> = left.into_iter().filter(|entry| entry.event.revision > self.stored).collect();
        let gap = left.iter().zip(self.stored + 1..).position(|(entry, next)| entry.event.revision != next);
        if let Some(gap) = gap {
            tracing::warn!(
                entries = left.len() - gap,
                "the journal of relaxed writes has a gap; the rest is left out"
            );
            left.truncate(gap);
        }
        let found = left.len();
        if found > 0 {
            self.commit(left, true)?;
            // The journal does not have what the events replaced; the tables do.
            self.hub.forget(self.revision);
            tracing::info!(writes = found, "took over relaxed writes of the last run");
        }
        self.announce_next_expiry().map_err(|error| self.failures.of(error))
    }
}

impl Inner {
    async fn write(&self, key: &str, change: Change) -> Result<Revision, Error> {
        let (reply, answer) = oneshot::channel();
        let write = Write { key: key.into(), change };
        self.requests.send(Request::Write(write, reply)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Runs `work` on the writer's thread, between two commits.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |writer: &mut Writer| {
            // The caller may be gone.
            let _ = reply.send(work(writer));
        });
        self.requests.send(Request::Run(work)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn revision(&self) -> Result<Revision, Error> {
        self.inner.readers.revision().await
    }

    async fn get(&self, key: &str) -> Result<(Option<Record>, Revision), Error> {
        self.inner.readers.get(key).await
    }

    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        self.inner.readers.range(range).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, Error> {
        self.inner.readers.count(prefix).await
    }

    async fn create(&self, key: &str, value: Bytes, options: WriteOptions) -> Result<Revision, Error> {
        self.inner.write(key, Change::Create(value, options)).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, Error> {
        self.inner.write(key, Change::Update(value, expected, options)).await
    }

    async fn delete(&self, key: &str, expected: Revision, durability: Durability) -> Result<Revision, Error> {
        self.inner.write(key, Change::Delete(expected, durability)).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error> {
        let inner = &self.inner;
        if after > inner.hub.revision() {
            // Readers may be a moment ahead of the hub.
            let newest = self.revision().await?;
            if after > newest {
                return Err(Error::Future { requested: after, newest });
            }
        }
        let history = Arc::new(History(Arc::clone(&inner.readers)));
        Ok(Box::new(HubWatch::start(Arc::clone(&inner.hub), history, prefix, after)?))
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.inner.run(move |writer| writer.compact(revision)).await?;
        maintenance::rounds(&self.inner, Writer::sweep).await
    }

    async fn size(&self) -> Result<u64, Error> {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        Ok(bytes(&self.inner.path) + bytes(&schema::beside(&self.inner.path, "-wal")))
    }
}
