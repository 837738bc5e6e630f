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
