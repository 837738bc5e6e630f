//! `events.k8s.io/v1` over stored `v1` events: the same object with other field names.

use serde_json::Value;

use crate::kind::Conversion;

/// Name in core/v1, name in events.k8s.io/v1.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Translates `events.k8s.io/v1` events.
pub struct EventsV1;

fn rename<'a>(mut event: Value, api_version: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    if let Value::Object(fields) = &mut event {
        for (from, to) in names {
            if let Some(value) = fields.remove(from) {
                fields.insert(to.to_owned(), value);
            }
        }
        fields.insert("apiVersion".to_owned(), api_version.into());
    }
    event
}

impl Conversion for EventsV1 {
    fn to_storage(&self, object: Value) -> Value {
        rename(object, "v1", NAMES.iter().map(|(core, events)| (*events, *core)))
    }

    fn to_served(&self, object: Value) -> Value {
        rename(object, "events.k8s.io/v1", NAMES.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_the_same_in_both_groups() {
        let served = serde_json::json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "Pod"}, "note": "n", "reportingController": "c", "reason": "r",
            "deprecatedCount": 2});
        let stored = EventsV1.to_storage(served.clone());
        assert_eq!(
            (&stored["apiVersion"], &stored["message"], &stored["count"]),
            (&"v1".into(), &"n".into(), &2.into())
        );
        assert_eq!(EventsV1.to_served(stored), served);
    }
}
