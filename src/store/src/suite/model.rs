//! Random operations, compared with the simplest thing that could be right.

use std::collections::BTreeMap;

use super::{Fixture, RELAXED, events, text};
use crate::{Durability, Error, EventKind, Range, Revision, WriteOptions};

/// Every state there was: the keys with value, create and mod revision.
struct Model {
    states: Vec<BTreeMap<String, (String, Revision, Revision)>>,
    compacted: Revision,
}

impl Model {
    fn newest(&self) -> Revision {
        self.states.len() as Revision - 1
    }

    fn state(&self) -> &BTreeMap<String, (String, Revision, Revision)> {
        self.states.last().unwrap()
    }
}

pub(super) async fn random_operations_match_a_simple_model(fixture: &Fixture) {
    let seed = std::env::var("COPEPOD_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(fastrand::u64(..));
    eprintln!("COPEPOD_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = Model { states: vec![BTreeMap::new()], compacted: 0 };
    for step in 0..600 {
        match random.u32(..20) {
            0..=12 => write(fixture, &mut model, &mut random, step).await,
            13..=17 => range(fixture, &model, &mut random).await,
            18 => count_and_get(fixture, &model, &mut random).await,
            _ => compact(fixture, &mut model, &mut random).await,
        }
    }
    replay(fixture, &model).await;
}

fn key(random: &mut fastrand::Rng) -> String {
    format!("/{}/{}", ["a", "b", "bc"][random.usize(..3)], random.u32(..8))
}

async fn write(fixture: &Fixture, model: &mut Model, random: &mut fastrand::Rng, step: u32) {
    let key = key(random);
    let options = if random.bool() { RELAXED } else { WriteOptions::default() };
    let current = model.state().get(&key).cloned();
    // Mostly the right revision, sometimes any.
    let expected = match &current {
        Some((_, _, revision)) if random.u32(..8) > 0 => *revision,
        _ => random.u64(..=model.newest() + 1),
    };
    let value = format!("{step}:{}", "x".repeat(random.usize(..200)));
    let next = model.newest() + 1;
    let mut state = model.state().clone();
    let (result, refusal) = match random.u32(..3) {
        0 => {
            state.insert(key.clone(), (value.clone(), next, next));
            (fixture.store.create(&key, text(&value), options).await, current.is_some())
        }
        1 => {
            let created = current.as_ref().map_or(0, |(_, created, _)| *created);
            state.insert(key.clone(), (value.clone(), created, next));
            let refusal = current.as_ref().is_none_or(|(_, _, revision)| *revision != expected);
            (fixture.store.update(&key, text(&value), expected, options).await, refusal)
        }
        _ => {
            state.remove(&key);
            let refusal = current.as_ref().is_none_or(|(_, _, revision)| *revision != expected);
            (fixture.store.delete(&key, expected, options.durability).await, refusal)
        }
    };
    match result {
        Ok(revision) => {
            assert!(!refusal);
            assert_eq!(revision, next);
            model.states.push(state);
        }
        Err(Error::Exists(_) | Error::NotFound(_)) => assert!(refusal),
        Err(Error::Conflict(record)) => {
            assert!(refusal);
            assert_eq!(Some(record.mod_revision), current.map(|(_, _, revision)| revision));
        }
        Err(error) => panic!("{error}"),
    }
}

async fn range(fixture: &Fixture, model: &Model, random: &mut fastrand::Rng) {
    let newest = model.newest();
    let revision = random.bool().then(|| random.u64(newest.saturating_sub(20)..=newest + 1));
    let range = Range {
        prefix: ["", "/", "/a/", "/b", "/b/", "/bc/1"][random.usize(..6)].to_owned(),
        after: random.bool().then(|| key(random)),
        limit: random.usize(..6),
        revision,
    };
    let result = match fixture.store.range(range.clone()).await {
        Ok(result) => result,
        Err(Error::Future { .. }) => return assert_eq!(revision, Some(newest + 1)),
        Err(Error::Compacted { oldest, .. }) => {
            assert_eq!(oldest, model.compacted);
            return assert!(revision.unwrap() < oldest);
        }
        Err(error) => panic!("{error}"),
    };
    let state = &model.states[revision.unwrap_or(newest) as usize];
    let mut expected: Vec<_> = state
        .iter()
        .filter(|(key, _)| {
            key.starts_with(&range.prefix) && range.after.as_ref().is_none_or(|after| *key > after)
        })
        .map(|(key, (value, created, modified))| (key.clone(), value.clone(), *created, *modified))
        .collect();
    let total = expected.len();
    if range.limit > 0 {
        expected.truncate(range.limit);
    }
    let found: Vec<_> = result
        .records
        .iter()
        .map(|record| {
            let value = String::from_utf8(record.value.to_vec()).unwrap();
            (record.key.to_string(), value, record.create_revision, record.mod_revision)
        })
        .collect();
    assert_eq!(found, expected, "{range:?}");
    assert_eq!(result.revision, revision.unwrap_or(newest));
    assert_eq!(result.remaining, (total - expected.len()) as u64, "{range:?}");
}

async fn count_and_get(fixture: &Fixture, model: &Model, random: &mut fastrand::Rng) {
    let key = key(random);
    let (record, revision) = fixture.store.get(&key).await.unwrap();
    assert_eq!(revision, model.newest());
    let found = record.map(|record| (record.value, record.create_revision, record.mod_revision));
    let expected =
        model.state().get(&key).map(|(value, created, modified)| (text(value), *created, *modified));
    assert_eq!(found, expected);
    let prefix = &key[..random.usize(..=3)];
    let count = model.state().keys().filter(|key| key.starts_with(prefix)).count();
    assert_eq!(fixture.store.count(prefix).await.unwrap(), count as u64);
}

async fn compact(fixture: &Fixture, model: &mut Model, random: &mut fastrand::Rng) {
    let revision = random.u64(model.compacted..=model.newest());
    fixture.store.compact(revision).await.unwrap();
    model.compacted = revision;
}

/// What is left of the history, as the differences of the model's states.
async fn replay(fixture: &Fixture, model: &Model) {
    let mut watch = fixture.store.watch("", model.compacted).await.unwrap();
    let count = (model.newest() - model.compacted) as usize;
    let seen = events(&mut watch, count).await;
    assert_eq!(seen.len(), count);
    for event in seen {
        let before = &model.states[event.revision as usize - 1];
        let after = &model.states[event.revision as usize];
        let (old, new) = (before.get(&*event.key), after.get(&*event.key));
        assert_eq!(event.previous, old.map(|(value, ..)| text(value)));
        let (kind, now) = match (old, new) {
            (None, Some(new)) => (EventKind::Created, new),
            (Some(_), Some(new)) => (EventKind::Updated, new),
            (Some(old), None) => (EventKind::Deleted, old),
            (None, None) => panic!("{event:?}"),
        };
        assert_eq!((event.kind, event.value, event.create_revision), (kind, text(&now.0), now.1));
    }
    let gone = fixture.store.delete("/none", 1, Durability::Durable).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}
