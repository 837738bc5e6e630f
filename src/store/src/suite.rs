//! Tests of the store. `contract` holds for every back end; the others are about one.

mod contract;
mod crash;
mod model;
mod sqlite;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copepod_base::task::Shutdown;
use tempfile::TempDir;

use crate::memory::MemoryStore;
use crate::sqlite::{Sqlite, SqliteConfig};
use crate::{Durability, Event, Revision, Store, Watch, WriteOptions};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

const RELAXED: WriteOptions = WriteOptions { durability: Durability::Relaxed, ttl: None };

/// A store with what it needs; gone at the end.
struct Fixture {
    store: Arc<dyn Store>,
    sqlite: Option<Arc<Sqlite>>,
    shutdown: Shutdown,
    folder: Option<TempDir>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Fixture {
    fn memory() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self { store, sqlite: None, shutdown: Shutdown::new(), folder: None }
    }

    fn sqlite() -> Self {
        Self::configured(|_| {})
    }

    fn journaled() -> Self {
        Self::configured(|config| config.relaxed_journal = Some(config.path.with_extension("journal")))
    }

    /// A ring so small that watchers must replay from the file.
    fn ringless() -> Self {
        Self::configured(|config| config.watch_ring = 0)
    }

    fn configured(change: impl FnOnce(&mut SqliteConfig)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = config(&folder);
        change(&mut config);
        let shutdown = Shutdown::new();
        let sqlite = Sqlite::open(config, &shutdown).unwrap();
        Self {
            store: Arc::clone(&sqlite) as Arc<dyn Store>,
            sqlite: Some(sqlite),
            shutdown,
            folder: Some(folder),
        }
    }

    /// Closes and opens again.
    async fn reopened(mut self, change: impl FnOnce(&mut SqliteConfig)) -> Self {
        self.sqlite.take().unwrap().close().await.unwrap();
        let folder = self.folder.take().unwrap();
        let mut config = config(&folder);
        change(&mut config);
        let shutdown = Shutdown::new();
        let sqlite = Sqlite::open(config, &shutdown).unwrap();
        Self {
            store: Arc::clone(&sqlite) as Arc<dyn Store>,
            sqlite: Some(sqlite),
            shutdown,
            folder: Some(folder),
        }
    }

    async fn create(&self, key: &str, value: &str) -> Revision {
        self.store.create(key, text(value), WriteOptions::default()).await.unwrap()
    }

    async fn update(&self, key: &str, value: &str, expected: Revision) -> Revision {
        self.store.update(key, text(value), expected, WriteOptions::default()).await.unwrap()
    }

    async fn delete(&self, key: &str, expected: Revision) -> Revision {
        self.store.delete(key, expected, Durability::Durable).await.unwrap()
    }
}

fn config(folder: &TempDir) -> SqliteConfig {
    let mut config = SqliteConfig::new(folder.path().join("state.db"));
    config.history = None;
    config.expiry_pause = Duration::from_millis(10);
    config
}

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

/// The next `count` events of a watch.
async fn events(watch: &mut Box<dyn Watch>, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let more = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event is missing").unwrap();
        assert!(!more.is_empty());
        seen.extend(more.iter().cloned());
    }
    seen
}

macro_rules! on_every_back_end {
    ($($module:ident: $($name:ident),+;)+) => {
        on_every_back_end!(@ memory: $($module: $($name),+;)+);
        on_every_back_end!(@ sqlite: $($module: $($name),+;)+);
        on_every_back_end!(@ journaled: $($module: $($name),+;)+);
        on_every_back_end!(@ ringless: $($module: $($name),+;)+);
    };
    (@ $back_end:ident: $($module:ident: $($name:ident),+;)+) => {
        mod $back_end {
            use super::super::Fixture;
            $($(
                #[tokio::test]
                async fn $name() {
                    super::super::$module::$name(&Fixture::$back_end()).await;
                }
            )+)+
        }
    };
}

mod on {
    on_every_back_end! {
        contract:
            a_created_key_is_read_back_with_its_revisions,
            creating_an_existing_key_is_refused,
            a_write_with_an_old_revision_is_refused_with_the_current_record,
            changing_a_missing_key_is_refused,
            an_empty_value_is_a_value,
            a_range_has_all_keys_of_the_prefix_in_order,
            prefixes_with_special_characters_are_taken_literally,
            pages_of_one_revision_are_a_consistent_list_while_others_write,
            a_range_at_an_old_revision_has_the_deleted_keys,
            a_range_in_the_future_is_refused,
            a_range_at_a_compacted_revision_is_refused,
            a_range_at_the_compacted_revision_itself_works,
            compaction_of_the_future_is_refused,
            compacting_twice_does_nothing,
            the_revision_stays_after_deleting_and_compacting_all,
            a_key_with_a_ttl_is_deleted_when_its_time_is_over,
            a_rewrite_without_a_ttl_keeps_the_key,
            guaranteed_updates_from_many_tasks_lose_none,
            a_failed_precondition_is_not_retried,
            counting_sees_what_a_range_sees;
        watching:
            a_watch_tells_creation_update_and_deletion_apart,
            a_deleted_key_is_reported_with_its_last_value,
            a_recreated_key_is_created_anew,
            a_watch_from_an_old_revision_begins_with_history,
            a_watch_from_a_compacted_revision_is_refused,
            a_watch_from_the_future_is_refused,
            a_watch_sees_only_its_prefix,
            a_watch_under_concurrent_writes_sees_everything_once_in_order,
            progress_goes_on_with_other_keys_revisions,
            a_next_that_was_dropped_loses_nothing,
            a_watch_from_a_range_revision_misses_nothing;
        model:
            random_operations_match_a_simple_model;
    }
}
