//! The file: restarts, refusals, sizes, group commit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use copepod_base::task::Shutdown;
use futures::future::join_all;
use tempfile::TempDir;

use super::{Fixture, PATIENCE, RELAXED, config, events, text};
use crate::sqlite::{Sqlite, SqliteConfig};
use crate::{Durability, Error, EventKind, Range, WriteOptions};

fn wal_bytes(folder: &TempDir) -> u64 {
    fs::metadata(folder.path().join("state.db-wal")).map_or(0, |meta| meta.len())
}

/// A cleanly closed database with some content.
async fn closed(keys: usize) -> TempDir {
    let mut fixture = Fixture::sqlite();
    for number in 0..keys {
        fixture.create(&format!("/k/{number}"), &"x".repeat(500)).await;
    }
    fixture.sqlite.take().unwrap().close().await.unwrap();
    fixture.folder.take().unwrap()
}

fn reopen(folder: &TempDir) -> Result<std::sync::Arc<Sqlite>, Error> {
    Sqlite::open(config(folder), &Shutdown::new())
}

/// The error of opening; asserts that no file was changed or removed.
fn refused(folder: &TempDir) -> Error {
    let content = || {
        // SQLite leaves an empty log where there was none.
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap_or_default();
        ["state.db", "state.db-wal"].map(read)
    };
    let before = content();
    let error = reopen(folder).err().expect("must be refused");
    assert!(before == content(), "the files were changed: {error}");
    error
}

fn overwrite(path: &Path, at: usize, with: &[u8]) {
    let mut content = fs::read(path).unwrap();
    content[at..at + with.len()].copy_from_slice(with);
    fs::write(path, content).unwrap();
}

async fn everything_is_there_after_a_restart(fixture: Fixture, change: fn(&mut SqliteConfig)) {
    let one = fixture.create("/a", "1").await;
    let two = fixture.store.update("/a", text("2"), one, RELAXED).await.unwrap();
    fixture.create("/b", "3").await;
    fixture.store.delete("/a", two, Durability::Relaxed).await.unwrap();
    let fixture = fixture.reopened(change).await;
    assert!(fs::metadata(fixture.folder.as_ref().unwrap().path().join("state.journal")).is_err());
    let list = fixture.store.range(Range::default()).await.unwrap();
    assert_eq!((list.revision, list.records.len(), &*list.records[0].key), (4, 1, "/b"));
    let mut watch = fixture.store.watch("/a", 0).await.unwrap();
    let seen = events(&mut watch, 3).await;
    let kinds: Vec<_> = seen.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Created, EventKind::Updated, EventKind::Deleted]);
    assert_eq!(seen[2].previous, Some(text("2")));
    assert_eq!(fixture.create("/c", "5").await, 5);
}

#[tokio::test]
async fn records_revision_and_history_are_there_after_a_restart() {
    everything_is_there_after_a_restart(Fixture::sqlite(), |_| {}).await;
}

#[tokio::test]
async fn journaled_writes_are_there_after_a_restart() {
    everything_is_there_after_a_restart(Fixture::journaled(), |_| {}).await;
}

#[tokio::test]
async fn a_clean_close_leaves_one_file_and_its_lock() {
    let folder = closed(10).await;
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["state.db", "state.db.lock"]);
}

#[tokio::test]
async fn the_revision_stays_after_compacting_all_and_a_restart() {
    let fixture = Fixture::sqlite();
    let one = fixture.create("/a", "1").await;
    let two = fixture.delete("/a", one).await;
    fixture.store.compact(two).await.unwrap();
    let fixture = fixture.reopened(|_| {}).await;
    assert_eq!(fixture.store.revision().await.unwrap(), 2);
    assert!(matches!(fixture.store.watch("/", 1).await.err(), Some(Error::Compacted { oldest: 2, .. })));
}

#[tokio::test]
async fn a_key_that_expired_while_the_store_was_closed_is_deleted_at_the_next_start() {
    let fixture = Fixture::journaled();
    let options = WriteOptions { ttl: Some(Duration::from_millis(1)), ..RELAXED };
    fixture.create("/stays", "1").await;
    fixture.store.create("/goes", text("1"), options).await.unwrap();
    let fixture = fixture.reopened(|_| {}).await;
    let mut watch = fixture.store.watch("/goes", 2).await.unwrap();
    assert_eq!(events(&mut watch, 1).await[0].kind, EventKind::Deleted);
}

#[tokio::test]
async fn a_database_in_use_is_refused() {
    let fixture = Fixture::sqlite();
    let error = reopen(fixture.folder.as_ref().unwrap()).err().unwrap();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_store_is_closed() {
    let mut fixture = Fixture::sqlite();
    fixture.create("/a", "1").await;
    let folder = fixture.folder.take().unwrap();
    drop(fixture);
    tokio::time::timeout(PATIENCE, async {
        while let Err(error) = reopen(&folder).map(drop) {
            assert!(matches!(error, Error::Locked { .. }), "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the store is still open");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = closed(10).await;
    overwrite(&folder.path().join("state.db"), 60, &7_u32.to_be_bytes());
    let error = refused(&folder);
    assert!(matches!(error, Error::Newer { found: 7, known: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let damage: [fn(&Path); 6] = [
        |path| overwrite(path, 0, b"not a database at all"),
        |path| overwrite(path, 3 * 4096, &[0x55; 4096]),
        |path| overwrite(path, 4096, &[0xff; 8 * 4096]),
        |path| fs::write(path, &fs::read(path).unwrap()[..5 * 4096]).unwrap(),
        |path| fs::write(path, "short").unwrap(),
        |path| {
            fs::write(path.with_extension("db-wal"), "something").unwrap();
            fs::write(path, "").unwrap();
        },
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let folder = closed(200).await;
        damage(&folder.path().join("state.db"));
        let error = refused(&folder);
        assert!(matches!(error, Error::Damaged { .. }), "{number}: {error}");
        assert!(error.to_string().contains("state.db"), "{error}");
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let folder = TempDir::new().unwrap();
    let other = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    other.execute_batch("CREATE TABLE notes (text)").unwrap();
    drop(other);
    let error = refused(&folder);
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    // Also root cannot make files there.
    let error = Sqlite::open(SqliteConfig::new("/sys/copepod/state.db"), &Shutdown::new()).err().unwrap();
    assert!(matches!(&error, Error::Unwritable { path, .. } if path == "/sys/copepod"), "{error}");
}

#[tokio::test]
async fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::sqlite();
    fixture.create("/a", "secret").await;
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"] {
        let meta = fs::metadata(fixture.folder.as_ref().unwrap().path().join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{name}");
    }
}

#[tokio::test]
async fn many_writers_share_commits_and_each_gets_its_own_answer() {
    let fixture = Fixture::sqlite();
    let writers = (0..100).map(|writer| {
        let store = &fixture.store;
        async move {
            for number in 0..20 {
                // Every second key is wanted by two writers: one of them is refused.
                let owner = if number % 2 == 0 { writer } else { writer / 2 };
                let key = format!("/{number}/{owner}");
                match store.create(&key, text("x"), WriteOptions::default()).await {
                    Ok(_) => {}
                    Err(Error::Exists(exists)) => assert_eq!(exists, key),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    join_all(writers).await;
    let stats = fixture.sqlite.as_ref().unwrap().stats();
    assert_eq!(stats.writes.get(), 1500);
    assert_eq!(fixture.store.count("/").await.unwrap(), 1500);
    assert!(stats.commits.get() <= 300, "{} commits", stats.commits.get());
    assert_eq!(stats.commits.get(), stats.fsyncs.get());
}

#[tokio::test]
async fn relaxed_writes_reach_the_database_with_the_next_durable_one_only() {
    let fixture = Fixture::journaled();
    let folder = fixture.folder.as_ref().unwrap();
    fixture.create("/durable", "1").await;
    let before = wal_bytes(folder);
    for number in 0..50 {
        fixture.store.create(&format!("/lease/{number}"), text("1"), RELAXED).await.unwrap();
    }
    assert_eq!(wal_bytes(folder), before);
    assert_eq!(fixture.store.count("/lease/").await.unwrap(), 50);
    fixture.create("/durable too", "1").await;
    assert!(wal_bytes(folder) > before);
    assert_eq!(fixture.sqlite.as_ref().unwrap().stats().fsyncs.get(), 2);
}

#[tokio::test]
async fn relaxed_writes_reach_the_database_after_the_delay() {
    let fixture = Fixture::configured(|config| {
        config.relaxed_journal = Some(config.path.with_extension("journal"));
        config.relaxed_delay = Duration::from_millis(20);
    });
    let journal = fixture.folder.as_ref().unwrap().path().join("state.journal");
    fixture.store.create("/lease", text("1"), RELAXED).await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while journal.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the journal is still there");
    assert_eq!(fixture.sqlite.as_ref().unwrap().stats().fsyncs.get(), 0);
    assert!(fixture.store.get("/lease").await.unwrap().0.is_some());
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_loses_nothing() {
    let fixture = Fixture::configured(|config| config.relaxed_journal = Some("/sys/copepod/journal".into()));
    fixture.store.create("/lease", text("1"), RELAXED).await.unwrap();
    let fixture = fixture.reopened(|_| {}).await;
    assert!(fixture.store.get("/lease").await.unwrap().0.is_some());
}

#[tokio::test]
async fn compaction_keeps_the_file_within_twice_the_live_size() {
    const KEYS: usize = 400;
    const BYTES: usize = 4000;
    let fixture = Fixture::sqlite();
    let value = "x".repeat(BYTES);
    let writers = (0..KEYS).map(|number| {
        let (fixture, value) = (&fixture, &value);
        async move {
            let key = format!("/registry/core/configmaps/default/map-{number}");
            let mut revision = fixture.create(&key, value).await;
            for _ in 0..20 {
                revision = fixture.update(&key, value, revision).await;
            }
            // Keys that come and go.
            let other = fixture.create(&format!("{key}-gone"), value).await;
            fixture.delete(&format!("{key}-gone"), other).await;
        }
    });
    join_all(writers).await;
    let folder = fixture.folder.as_ref().unwrap();
    assert!(wal_bytes(folder) <= 24 << 20, "the log has {} bytes", wal_bytes(folder));
    let full = fixture.store.size().await.unwrap();
    fixture.store.compact(fixture.store.revision().await.unwrap()).await.unwrap();
    let fixture = fixture.reopened(|_| {}).await;
    let compact = fixture.store.size().await.unwrap();
    assert!(full > (KEYS * BYTES * 10) as u64);
    assert!(compact <= (KEYS * BYTES * 2) as u64, "{compact} bytes for {} live ones", KEYS * BYTES);
    assert_eq!(fixture.store.count("").await.unwrap(), KEYS as u64);
}

#[tokio::test]
async fn history_is_compacted_by_itself_and_live_watches_go_on() {
    let fixture = Fixture::configured(|config| config.history = Some(Duration::from_millis(20)));
    let one = fixture.create("/a", "1").await;
    let mut live = fixture.store.watch("/", one).await.unwrap();
    let two = fixture.update("/a", "2", one).await;
    tokio::time::timeout(PATIENCE, async {
        while fixture.store.watch("/", one).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("history is not compacted");
    fixture.update("/a", "3", two).await;
    assert_eq!(events(&mut live, 2).await.len(), 2);
}
