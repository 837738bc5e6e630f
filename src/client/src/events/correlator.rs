//! Which notes become a new event, a higher count, or nothing. Pure; the caller gives the time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::ObjectReference;

use super::Note;

/// Different messages of one reason about one object before they are combined.
const SIMILAR: usize = 10;
/// Similar notes further apart than this are not combined.
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// Events about one object that may come at once.
const BURST: f64 = 25.0;
/// Time after which an object that used up its burst may have one more event.
const REFILL: Duration = Duration::from_secs(300);
/// Entries kept in each table.
const REMEMBERED: usize = 4096;
/// How long the server keeps an event; after that a repeat is a new event.
const LIFETIME: Duration = Duration::from_secs(3600);

/// An event as it should be at the server now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) message: String,
    pub(super) count: i32,
    pub(super) first: SystemTime,
}

struct Known {
    record: Record,
    last: SystemTime,
}

struct Similar {
    messages: Vec<u64>,
    last: SystemTime,
}

struct Tokens {
    left: f64,
    last: SystemTime,
}

/// What one recorder has written lately. Keys are hashes: the texts are at the server.
pub(super) struct Correlator {
    hasher: RandomState,
    known: HashMap<u64, Known>,
    similar: HashMap<u64, Similar>,
    tokens: HashMap<u64, Tokens>,
}

impl Correlator {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            known: HashMap::new(),
            similar: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// The event to write for a note; count 1 means a new one. `None` when the object floods.
    pub(super) fn observe(&mut self, note: &Note, now: SystemTime) -> Option<Record> {
        let object = self.hash_object(&note.component, &note.object);
        let group = self.hasher.hash_one((object, note.kind, &note.reason));
        let (key, message) = if self.is_combined(group, &note.message, now) {
            (group, format!("(combined from similar events): {}", note.message))
        } else {
            (self.hasher.hash_one((group, &note.message)), note.message.clone())
        };
        let record = self.count(key, &note.object, message, now);
        self.may_write(object, now).then_some(record)
    }

    fn hash_object(&self, component: &str, object: &ObjectReference) -> u64 {
        self.hasher.hash_one((
            component,
            &object.kind,
            &object.namespace,
            &object.name,
            &object.uid,
            &object.api_version,
            &object.field_path,
        ))
    }

    fn is_combined(&mut self, group: u64, message: &str, now: SystemTime) -> bool {
        let message = self.hasher.hash_one(message);
        trim(&mut self.similar, now, SIMILAR_WINDOW, |similar| similar.last);
        let similar =
            self.similar.entry(group).or_insert_with(|| Similar { messages: Vec::new(), last: now });
        if since(similar.last, now) > SIMILAR_WINDOW {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.contains(&message) {
            return similar.messages.len() >= SIMILAR;
        }
        if similar.messages.len() >= SIMILAR {
            return true;
        }
        similar.messages.push(message);
        similar.messages.len() >= SIMILAR
    }

    fn count(&mut self, key: u64, object: &ObjectReference, message: String, now: SystemTime) -> Record {
        trim(&mut self.known, now, LIFETIME, |known| known.last);
        let known = self.known.entry(key).or_insert_with(|| Known {
            record: Record { name: event_name(object), message: String::new(), count: 0, first: now },
            last: now,
        });
        if since(known.last, now) > LIFETIME {
            known.record = Record { name: event_name(object), message: String::new(), count: 0, first: now };
        }
        known.last = now;
        known.record.count = known.record.count.saturating_add(1);
        // The text itself is not remembered.
        Record { message, ..known.record.clone() }
    }

    fn may_write(&mut self, object: u64, now: SystemTime) -> bool {
        let full = REFILL.mul_f64(BURST);
        trim(&mut self.tokens, now, full, |tokens| tokens.last);
        let tokens = self.tokens.entry(object).or_insert(Tokens { left: BURST, last: now });
        let gained = since(tokens.last, now).as_secs_f64() / REFILL.as_secs_f64();
        tokens.left = (tokens.left + gained).min(BURST);
        tokens.last = now;
        let may = tokens.left >= 1.0;
        if may {
            tokens.left -= 1.0;
        }
        may
    }
}

/// `<object>.<16 hex digits>`; unique without asking, and short enough for any object name.
fn event_name(object: &ObjectReference) -> String {
    let name = object.name.as_deref().unwrap_or_default();
    // Event names are DNS subdomains of at most 253 characters.
    let mut end = name.len().min(253 - 17);
    while !name.is_char_boundary(end) || name[..end].ends_with(['.', '-']) {
        end -= 1;
    }
    format!("{}.{:016x}", &name[..end], fastrand::u64(..))
}

/// Keeps a table small: the entries of no more use go first, then everything.
fn trim<T>(table: &mut HashMap<u64, T>, now: SystemTime, useful: Duration, last: impl Fn(&T) -> SystemTime) {
    if table.len() < REMEMBERED {
        return;
    }
    table.retain(|_, entry| since(last(entry), now) <= useful);
    if table.len() >= REMEMBERED {
        table.clear();
    }
}

/// Zero when the clock was set back.
fn since(earlier: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventType;

    fn note(message: &str) -> Note {
        let object =
            ObjectReference { name: Some("web".into()), uid: Some("u1".into()), ..Default::default() };
        Note {
            component: "test".into(),
            object,
            kind: EventType::Normal,
            reason: "Pulled".into(),
            message: message.into(),
        }
    }

    #[test]
    fn a_repeat_raises_the_count_of_the_same_event() {
        let mut correlator = Correlator::new();
        let now = copepod_base::clock::now();
        let first = correlator.observe(&note("a"), now).unwrap();
        let second = correlator.observe(&note("a"), now).unwrap();
        assert_eq!((first.count, second.count), (1, 2));
        assert_eq!(first.name, second.name);
        assert_eq!(correlator.observe(&note("b"), now).unwrap().count, 1);
    }

    #[test]
    fn the_tenth_different_message_and_those_after_it_are_combined() {
        let mut correlator = Correlator::new();
        let now = copepod_base::clock::now();
        let records: Vec<_> =
            (0..12).map(|n| correlator.observe(&note(&n.to_string()), now).unwrap()).collect();
        assert_eq!(records[8].message, "8");
        assert_eq!(records[9].message, "(combined from similar events): 9");
        assert_eq!((records[9].count, records[11].count), (1, 3));
        assert_eq!(records[9].name, records[11].name);
        let later = now + SIMILAR_WINDOW + Duration::from_secs(1);
        assert_eq!(correlator.observe(&note("20"), later).unwrap().message, "20");
    }

    #[test]
    fn an_object_that_floods_is_cut_off_and_may_speak_again_later() {
        let mut correlator = Correlator::new();
        let now = copepod_base::clock::now();
        let written = (0..100).filter(|_| correlator.observe(&note("a"), now).is_some()).count();
        assert_eq!(written, 25);
        let record = correlator.observe(&note("a"), now + REFILL).unwrap();
        assert_eq!(record.count, 101);
    }

    #[test]
    fn long_object_names_give_valid_event_names() {
        let name = format!("{}.{}", "a".repeat(235), "b".repeat(17));
        let object = ObjectReference { name: Some(name), ..Default::default() };
        let event = event_name(&object);
        assert!(event.len() <= 253 && !event.contains(".."), "{event}");
    }
}
