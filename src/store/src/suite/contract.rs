//! Reading, writing, compacting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Fixture, PATIENCE, RELAXED, events, text};
use crate::{
    Decision, Durability, Error, EventKind, Outcome, Preconditions, Range, Revision, WriteOptions,
    guaranteed_update,
};

fn all(prefix: &str) -> Range {
    Range { prefix: prefix.to_owned(), ..Range::default() }
}

fn at(prefix: &str, revision: Revision) -> Range {
    Range { revision: Some(revision), ..all(prefix) }
}

async fn keys(fixture: &Fixture, range: Range) -> Vec<String> {
    fixture.store.range(range).await.unwrap().records.iter().map(|record| record.key.to_string()).collect()
}

pub(super) async fn a_created_key_is_read_back_with_its_revisions(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    let two = fixture.update("/a", "2", one).await;
    let (record, revision) = fixture.store.get("/a").await.unwrap();
    let record = record.unwrap();
    assert_eq!((one, two, revision), (1, 2, 2));
    assert_eq!((&*record.key, &*record.value), ("/a", b"2".as_slice()));
    assert_eq!((record.create_revision, record.mod_revision), (1, 2));
    assert_eq!(fixture.store.get("/b").await.unwrap(), (None, 2));
    assert_eq!(fixture.store.revision().await.unwrap(), 2);
}

pub(super) async fn creating_an_existing_key_is_refused(fixture: &Fixture) {
    fixture.create("/a", "1").await;
    let error = fixture.store.create("/a", text("2"), RELAXED).await.unwrap_err();
    assert!(matches!(error, Error::Exists(key) if key == "/a"));
    assert_eq!(fixture.store.revision().await.unwrap(), 1);
}

pub(super) async fn a_write_with_an_old_revision_is_refused_with_the_current_record(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    fixture.store.update("/a", text("2"), one, RELAXED).await.unwrap();
    let update = fixture.store.update("/a", text("3"), one, WriteOptions::default()).await.unwrap_err();
    let delete = fixture.store.delete("/a", one, Durability::Relaxed).await.unwrap_err();
    for error in [update, delete] {
        let Error::Conflict(current) = error else { panic!("{error}") };
        assert_eq!((current.mod_revision, &*current.value), (2, b"2".as_slice()));
    }
}

pub(super) async fn changing_a_missing_key_is_refused(fixture: &Fixture) {
    let update = fixture.store.update("/a", text("3"), 1, RELAXED).await.unwrap_err();
    let delete = fixture.store.delete("/a", 1, Durability::Durable).await.unwrap_err();
    assert!(matches!(update, Error::NotFound(_)));
    assert!(matches!(delete, Error::NotFound(_)));
}

pub(super) async fn an_empty_value_is_a_value(fixture: &Fixture) {
    let one = fixture.create("/a", "").await;
    assert_eq!(fixture.store.get("/a").await.unwrap().0.unwrap().value.len(), 0);
    fixture.update("/a", "", one).await;
    let mut watch = fixture.store.watch("/", 0).await.unwrap();
    let seen = events(&mut watch, 2).await;
    assert_eq!((seen[0].kind, seen[1].kind), (EventKind::Created, EventKind::Updated));
}

pub(super) async fn a_range_has_all_keys_of_the_prefix_in_order(fixture: &Fixture) {
    for key in ["/b/2", "/a/9", "/b/1", "/b/10", "/c/1", "/b"] {
        fixture
            .store
            .create(key, text("x"), if key.len() > 3 { RELAXED } else { WriteOptions::default() })
            .await
            .unwrap();
    }
    assert_eq!(keys(fixture, all("/b/")).await, ["/b/1", "/b/10", "/b/2"]);
    assert_eq!(keys(fixture, all("")).await.len(), 6);
    let after = Range { after: Some("/b/1".to_owned()), ..all("/b/") };
    assert_eq!(keys(fixture, after).await, ["/b/10", "/b/2"]);
    let before = Range { after: Some("/a".to_owned()), ..all("/b/") };
    assert_eq!(keys(fixture, before).await.len(), 3);
    let result = fixture.store.range(all("/none/")).await.unwrap();
    assert_eq!((result.records.len(), result.revision, result.remaining), (0, 6, 0));
}

pub(super) async fn prefixes_with_special_characters_are_taken_literally(fixture: &Fixture) {
    for key in ["a%b", "a_b", "axb", "a\u{10ffff}b", "a\u{10ffff}", "b\u{d7ff}1", "b\u{e000}1", "é"] {
        fixture.create(key, "x").await;
    }
    assert_eq!(keys(fixture, all("a%")).await, ["a%b"]);
    assert_eq!(keys(fixture, all("a_")).await, ["a_b"]);
    assert_eq!(keys(fixture, all("a\u{10ffff}")).await.len(), 2);
    assert_eq!(keys(fixture, all("b\u{d7ff}")).await, ["b\u{d7ff}1"]);
    assert_eq!(keys(fixture, all("\u{10ffff}")).await.len(), 0);
    assert_eq!(keys(fixture, all("é")).await, ["é"]);
}

pub(super) async fn pages_of_one_revision_are_a_consistent_list_while_others_write(fixture: &Fixture) {
    let mut revisions = BTreeMap::new();
    for number in 0..50 {
        let key = format!("/k/{number:03}");
        revisions.insert(key.clone(), fixture.create(&key, "old").await);
    }
    let snapshot = fixture.store.revision().await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    for page in 0.. {
        let range = Range { prefix: "/k/".to_owned(), after, limit: 7, revision: Some(snapshot) };
        let result = fixture.store.range(range).await.unwrap();
        assert_eq!(result.revision, snapshot);
        assert_eq!(result.remaining, 50 - (seen.len() + result.records.len()) as u64);
        seen.extend(result.records.iter().map(|record| (record.key.to_string(), record.value.clone())));
        if result.remaining == 0 {
            break;
        }
        after = seen.last().map(|(key, _)| key.clone());
        // Between the pages: one key goes, one comes, one changes; some of it waits in the journal.
        let (gone, changed) = (format!("/k/{:03}", 49 - page), format!("/k/{:03}", 20 + page));
        fixture.store.delete(&gone, revisions[&gone], Durability::Relaxed).await.unwrap();
        fixture.store.create(&format!("/k/{page:03}x"), text("new"), RELAXED).await.unwrap();
        let options = WriteOptions {
            durability: if page % 2 == 0 { Durability::Durable } else { Durability::Relaxed },
            ttl: None,
        };
        fixture.store.update(&changed, text("new"), revisions[&changed], options).await.unwrap();
    }
    let expected: Vec<_> = revisions.keys().map(|key| (key.clone(), text("old"))).collect();
    assert_eq!(seen, expected);
}

pub(super) async fn a_range_at_an_old_revision_has_the_deleted_keys(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    let two = fixture.update("/a", "2", one).await;
    let three = fixture.delete("/a", two).await;
    fixture.create("/a", "4").await;
    let value = |result: crate::RangeResult| {
        result
            .records
            .first()
            .map(|record| (record.value.clone(), record.create_revision, record.mod_revision))
    };
    let mut found = Vec::new();
    for revision in [0, one, two, three, three + 1] {
        found.push(value(fixture.store.range(at("/", revision)).await.unwrap()));
    }
    assert_eq!(
        found,
        [None, Some((text("1"), 1, 1)), Some((text("2"), 1, 2)), None, Some((text("4"), 4, 4))]
    );
}

pub(super) async fn a_range_in_the_future_is_refused(fixture: &Fixture) {
    fixture.create("/a", "1").await;
    let error = fixture.store.range(at("/", 2)).await.unwrap_err();
    assert!(matches!(error, Error::Future { requested: 2, newest: 1 }), "{error}");
}

pub(super) async fn a_range_at_a_compacted_revision_is_refused(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    let two = fixture.update("/a", "2", one).await;
    fixture.store.compact(two).await.unwrap();
    let error = fixture.store.range(at("/", one)).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { requested: 1, oldest: 2 }), "{error}");
}

pub(super) async fn a_range_at_the_compacted_revision_itself_works(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    let two = fixture.create("/b", "2").await;
    let three = fixture.update("/a", "3", one).await;
    let four = fixture.delete("/b", two).await;
    fixture.store.compact(three).await.unwrap();
    assert_eq!(keys(fixture, at("/", three)).await, ["/a", "/b"]);
    assert_eq!(keys(fixture, at("/", four)).await, ["/a"]);
    let mut watch = fixture.store.watch("/", three).await.unwrap();
    assert_eq!(events(&mut watch, 1).await[0].previous, Some(text("2")));
}

pub(super) async fn compaction_of_the_future_is_refused(fixture: &Fixture) {
    let error = fixture.store.compact(1).await.unwrap_err();
    assert!(matches!(error, Error::Future { requested: 1, newest: 0 }), "{error}");
}

pub(super) async fn compacting_twice_does_nothing(fixture: &Fixture) {
    fixture.create("/a", "1").await;
    fixture.create("/b", "1").await;
    for revision in [2, 2, 1] {
        fixture.store.compact(revision).await.unwrap();
    }
    assert_eq!(keys(fixture, at("/", 2)).await.len(), 2);
}

pub(super) async fn the_revision_stays_after_deleting_and_compacting_all(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    let two = fixture.delete("/a", one).await;
    fixture.store.compact(two).await.unwrap();
    assert_eq!(fixture.store.revision().await.unwrap(), 2);
    assert_eq!(fixture.create("/a", "1").await, 3);
}

pub(super) async fn a_key_with_a_ttl_is_deleted_when_its_time_is_over(fixture: &Fixture) {
    let options = WriteOptions { ttl: Some(Duration::from_millis(50)), ..RELAXED };
    fixture.create("/stays", "1").await;
    let mut watch = fixture.store.watch("/", 1).await.unwrap();
    fixture.store.create("/goes", text("1"), options).await.unwrap();
    fixture.store.create("/goes too", text("1"), options).await.unwrap();
    let seen = events(&mut watch, 4).await;
    assert!(seen[2..].iter().all(|event| event.kind == EventKind::Deleted));
    assert_eq!(keys(fixture, all("/")).await, ["/stays"]);
}

pub(super) async fn a_rewrite_without_a_ttl_keeps_the_key(fixture: &Fixture) {
    let short = WriteOptions { ttl: Some(Duration::from_millis(100)), ..WriteOptions::default() };
    let one = fixture.store.create("/a", text("1"), short).await.unwrap();
    let two = fixture.update("/a", "2", one).await;
    // Due after the first deadline of /a, and gone in the same round at the earliest.
    let later = WriteOptions { ttl: Some(Duration::from_millis(100)), ..WriteOptions::default() };
    fixture.store.create("/b", text("1"), later).await.unwrap();
    let mut watch = fixture.store.watch("/", two + 1).await.unwrap();
    let seen = events(&mut watch, 1).await;
    assert_eq!(&*seen[0].key, "/b");
    assert_eq!(keys(fixture, all("/")).await, ["/a"]);
}

pub(super) async fn guaranteed_updates_from_many_tasks_lose_none(fixture: &Fixture) {
    fixture.create("/counter", "0").await;
    let tasks = (0..20).map(|_| {
        guaranteed_update::<Error, _>(&*fixture.store, "/counter", Preconditions::default(), |record| {
            let count: u32 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
            Ok(Decision::Write(text(&(count + 1).to_string()), WriteOptions::default()))
        })
    });
    for outcome in futures::future::join_all(tasks).await {
        assert!(matches!(outcome.unwrap(), Outcome::Written(_)));
    }
    assert_eq!(fixture.store.get("/counter").await.unwrap().0.unwrap().value, "20");
}

pub(super) async fn a_failed_precondition_is_not_retried(fixture: &Fixture) {
    let one = fixture.create("/a", "1").await;
    fixture.update("/a", "2", one).await;
    let preconditions = Preconditions { revision: Some(one) };
    let outcome =
        guaranteed_update::<Error, _>(&*fixture.store, "/a", preconditions, |_| panic!("must not be asked"));
    assert!(matches!(outcome.await.unwrap_err(), Error::Conflict(current) if current.mod_revision == 2));
}

pub(super) async fn counting_sees_what_a_range_sees(fixture: &Fixture) {
    for number in 0..10 {
        fixture.store.create(&format!("/k/{number}"), text("x"), RELAXED).await.unwrap();
    }
    fixture.create("/l", "x").await;
    fixture.store.delete("/k/3", 4, Durability::Relaxed).await.unwrap();
    assert_eq!(fixture.store.count("/k/").await.unwrap(), 9);
    assert_eq!(fixture.store.count("").await.unwrap(), 10);
    assert_eq!(fixture.store.count("/z").await.unwrap(), 0);
    let page = tokio::time::timeout(PATIENCE, fixture.store.range(Range { limit: 4, ..all("/k/") })).await;
    assert_eq!(page.unwrap().unwrap().remaining, 5);
}
