//! Kinds that share their objects with another group or version, and the translations between them.
//!
//! Events are stored as core/v1, autoscalers as autoscaling/v2.

mod autoscaler;
mod event;

pub use autoscaler::AutoscalerV1;
pub use event::EventsV1;

use serde_json::{Map, Value};

/// The value at a path of object fields.
fn get<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name)).filter(|v| !v.is_null())
}

/// Sets the value at a path, making the objects on the way.
fn set(object: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => {
            object.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner = object.entry((*name).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::registry::Registry;

    /// Reads a sample of upstream as one version of a kind, stores it and reads it as the other versions.
    fn across(sample: &str, served: (&str, &str), others: &[(&str, &str)], plural: &str) {
        let registry = Registry::builtin();
        let kind = registry.resource(served.0, served.1, plural).unwrap();
        let decoded = kind.strategy.decode(sample.as_bytes()).unwrap();
        assert_eq!(decoded.unknown, [""; 0]);
        let stored = kind.to_storage(decoded.object.encode()).unwrap();
        for (group, version) in others {
            let other = registry.resource(group, version, plural).unwrap();
            let bytes = other.from_storage(stored.clone()).unwrap();
            let decoded = other.strategy.decode(&bytes).unwrap();
            assert_eq!(decoded.unknown, [""; 0], "{group}/{version}");
            assert_eq!(decoded.object.to_value()["apiVersion"], *other.gvk.api_version());
            let again = other.to_storage(decoded.object.encode()).unwrap();
            let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            assert_eq!(value(&again), value(&stored), "{group}/{version}");
        }
    }

    #[test]
    fn an_event_of_upstream_is_read_in_both_groups_without_loss() {
        let sample = include_str!("testdata/events.k8s.io.v1.Event.json");
        across(sample, ("events.k8s.io", "v1"), &[("", "v1"), ("events.k8s.io", "v1")], "events");
    }
}
