//! Watches.

use std::sync::Arc;

use futures::FutureExt;

use super::{Fixture, PATIENCE, RELAXED, events, text};
use crate::memory::MemoryStore;
use crate::{Durability, Error, Event, EventKind, Range, Store, WriteOptions};

pub(super) async fn a_watch_tells_creation_update_and_deletion_apart(fixture: &Fixture) {
    let mut watch = fixture.store.watch("/", 0).await.unwrap();
    let one = fixture.create("/a", "1").await;
    let two = fixture.update("/a", "2", one).await;
    fixture.delete("/a", two).await;
    let event = |kind, value: &str, previous: Option<&str>, revision| Event {
        kind,
        key: "/a".into(),
        value: text(value),
        previous: previous.map(text),
        revision,
        create_revision: 1,
    };
    let expected = [
        event(EventKind::Created, "1", None, 1),
        event(EventKind::Updated, "2", Some("1"), 2),
        event(EventKind::Deleted, "2", Some("2"), 3),
    ];
    assert_eq!(events(&mut watch, 3).await, expected);
    assert_eq!(watch.progress(), 3);
    // History tells the same.
    let mut replayed = fixture.store.watch("/", 0).await.unwrap();
    assert_eq!(events(&mut replayed, 3).await, expected);
}

pub(super) async fn a_deleted_key_is_reported_with_its_last_value(fixture: &Fixture) {
    fixture.create("/a", "last").await;
    fixture.store.delete("/a", 1, Durability::Relaxed).await.unwrap();
    let mut watch = fixture.store.watch("/", 1).await.unwrap();
    let seen = events(&mut watch, 1).await;
    assert_eq!((seen[0].value.clone(), seen[0].revision), (text("last"), 2));
}

pub(super) async fn a_recreated_key_is_created_anew(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    fixture.delete("/a", one).await;
    fixture.create("/a", "3").await;
    let mut watch = fixture.store.watch("/a", 2).await.unwrap();
    let seen = events(&mut watch, 1).await;
    assert_eq!(
        (seen[0].kind, seen[0].create_revision, seen[0].previous.clone()),
        (EventKind::Created, 3, None)
    );
}

pub(super) async fn a_watch_from_an_old_revision_begins_with_history(fixture: &Fixture) {
    for number in 0..100 {
        let options = if number % 3 == 0 { RELAXED } else { WriteOptions::default() };
        fixture.store.create(&format!("/k/{number}"), text("x"), options).await.unwrap();
    }
    let mut watch = fixture.store.watch("/k/", 40).await.unwrap();
    fixture.create("/k/live", "x").await;
    let revisions: Vec<u64> = events(&mut watch, 61).await.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (41..=101).collect::<Vec<_>>());
}

pub(super) async fn a_watch_from_a_compacted_revision_is_refused(fixture: &Fixture) {
    for key in ["/a", "/b", "/c"] {
        fixture.create(key, "x").await;
    }
    fixture.store.compact(2).await.unwrap();
    let error = fixture.store.watch("/", 1).await.err().unwrap();
    assert!(matches!(error, Error::Compacted { requested: 1, oldest: 2 }), "{error}");
    let mut watch = fixture.store.watch("/", 2).await.unwrap();
    assert_eq!(events(&mut watch, 1).await[0].revision, 3);
}

pub(super) async fn a_watch_from_the_future_is_refused(fixture: &Fixture) {
    let error = fixture.store.watch("/", 7).await.err().unwrap();
    assert!(matches!(error, Error::Future { requested: 7, newest: 0 }), "{error}");
}

pub(super) async fn a_watch_sees_only_its_prefix(fixture: &Fixture) {
    let mut pods = fixture.store.watch("/pods/", 0).await.unwrap();
    let mut one = fixture.store.watch("/pods/b", 0).await.unwrap();
    let mut all = fixture.store.watch("", 0).await.unwrap();
    for key in ["/pods/a", "/nodes/b", "/pods/b", "/podsx", "/pod"] {
        fixture.create(key, "x").await;
    }
    let keys = |events: Vec<Event>| events.iter().map(|event| event.key.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(events(&mut pods, 2).await), ["/pods/a", "/pods/b"]);
    assert_eq!(keys(events(&mut one, 1).await), ["/pods/b"]);
    assert_eq!(events(&mut all, 5).await.len(), 5);
    assert!(pods.next().now_or_never().is_none());
}

pub(super) async fn a_watch_under_concurrent_writes_sees_everything_once_in_order(fixture: &Fixture) {
    const WRITERS: usize = 8;
    const WRITES: usize = 60;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move {
                for number in 0..WRITES {
                    let options = if number % 2 == 0 { RELAXED } else { WriteOptions::default() };
                    store.create(&format!("/k/{writer}/{number}"), text("x"), options).await.unwrap();
                }
            })
        })
        .collect();
    let mut watchers = Vec::new();
    for start in 0..20_u64 {
        // Watches start at all moments, from the beginning and from the newest revision.
        let after = if start % 2 == 0 { 0 } else { fixture.store.revision().await.unwrap() };
        let mut watch = fixture.store.watch("/k/", after).await.unwrap();
        watchers.push(tokio::spawn(async move {
            let total = (WRITERS * WRITES) as u64;
            let count = usize::try_from(total - after).unwrap();
            let seen: Vec<u64> = events(&mut watch, count).await.iter().map(|event| event.revision).collect();
            assert_eq!(seen, (after + 1..=total).collect::<Vec<_>>());
        }));
        tokio::task::yield_now().await;
    }
    for task in writers.into_iter().chain(watchers) {
        task.await.unwrap();
    }
}

pub(super) async fn progress_goes_on_with_other_keys_revisions(fixture: &Fixture) {
    let mut watch = fixture.store.watch("/a/", 0).await.unwrap();
    fixture.create("/b/1", "x").await;
    fixture.create("/a/1", "x").await;
    fixture.create("/b/2", "x").await;
    assert!(watch.progress() < 2, "the event of revision 2 was not taken yet");
    events(&mut watch, 1).await;
    // A watch that replays history gets there with its next look.
    assert!(watch.next().now_or_never().is_none() || watch.progress() == 3);
    tokio::time::timeout(PATIENCE, async {
        while watch.progress() < 3 {
            let _ = tokio::time::timeout(std::time::Duration::from_millis(10), watch.next()).await;
        }
    })
    .await
    .expect("progress stands still");
}

pub(super) async fn a_next_that_was_dropped_loses_nothing(fixture: &Fixture) {
    let mut watch = fixture.store.watch("/", 0).await.unwrap();
    let mut seen: Vec<u64> = Vec::new();
    for number in 0..50 {
        fixture.create(&format!("/k/{number}"), "x").await;
        // Polled a few times, then dropped wherever it is.
        let polled = tokio::select! {
            biased;
            more = watch.next() => Some(more.unwrap()),
            () = tokio::task::yield_now() => None,
        };
        seen.extend(polled.iter().flat_map(|events| events.iter()).map(|event| event.revision));
    }
    seen.extend(events(&mut watch, 50 - seen.len()).await.iter().map(|event| event.revision));
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
}

pub(super) async fn a_watch_from_a_range_revision_misses_nothing(fixture: &Fixture) {
    let store = Arc::clone(&fixture.store);
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            store.create(&format!("/k/{number}"), text("x"), RELAXED).await.unwrap();
        }
    });
    for _ in 0..10 {
        let range = Range { prefix: "/k/".to_owned(), ..Range::default() };
        let list = fixture.store.range(range).await.unwrap();
        assert_eq!(list.records.len() as u64, list.revision);
        let mut watch = fixture.store.watch("/k/", list.revision).await.unwrap();
        let rest = 200 - list.records.len();
        if rest > 0 {
            assert_eq!(events(&mut watch, 1).await[0].revision, list.revision + 1);
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_ended_and_the_others_go_on() {
    let store = MemoryStore::with_backlog(10_000);
    let mut slow = store.watch("/", 0).await.unwrap();
    let mut quick = store.watch("/", 0).await.unwrap();
    for number in 0..100 {
        store.create(&format!("/{number}"), text(&"x".repeat(200)), RELAXED).await.unwrap();
        assert_eq!(events(&mut quick, 1).await.len(), 1);
    }
    assert!(matches!(slow.next().await, Err(Error::TooSlow)));
    assert!(matches!(slow.next().await, Err(Error::TooSlow)));
}

#[tokio::test]
async fn closing_the_store_ends_its_watches() {
    let fixture = Fixture::sqlite();
    let mut watch = fixture.store.watch("/", 0).await.unwrap();
    fixture.sqlite.as_ref().unwrap().close().await.unwrap();
    assert!(matches!(watch.next().await, Err(Error::Closed)));
    assert!(matches!(fixture.store.watch("/", 0).await.err(), Some(Error::Closed)));
    assert!(matches!(fixture.store.get("/").await.err(), Some(Error::Closed)));
    assert!(matches!(fixture.store.create("/a", text(""), RELAXED).await.err(), Some(Error::Closed)));
}

#[tokio::test]
async fn a_compaction_during_a_replay_ends_the_watch() {
    let fixture = Fixture::ringless();
    let big = "x".repeat(300 << 10);
    for number in 0..10 {
        fixture.create(&format!("/{number}"), &big).await;
    }
    let mut watch = fixture.store.watch("/", 0).await.unwrap();
    assert!(watch.next().await.unwrap().len() < 10, "a replay goes in stretches");
    fixture.store.compact(10).await.unwrap();
    assert!(matches!(watch.next().await, Err(Error::Compacted { oldest: 10, .. })));
}
