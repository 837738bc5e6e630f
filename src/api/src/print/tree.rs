//! Short ways through JSON trees for rows.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::human;
use crate::strategy::Cell;

/// What kubectl shows for nothing.
pub(crate) const NONE: &str = "<none>";

/// The value at a path of fields separated by dots; null when there is none.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, field| value.get(field).unwrap_or(&Value::Null))
}

/// The text at a path, empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The number at a path, 0 when there is none.
pub(crate) fn number(object: &Value, path: &str) -> i64 {
    at(object, path).as_i64().unwrap_or_default()
}

/// The flag at a path, false when there is none.
pub(crate) fn flag(object: &Value, path: &str) -> bool {
    at(object, path).as_bool().unwrap_or_default()
}

/// The list at a path, empty when there is none.
pub(crate) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Entries of the map at a path, sorted by key.
pub(crate) fn entries<'a>(object: &'a Value, path: &str) -> Vec<(&'a String, &'a Value)> {
    at(object, path).as_object().map(|map| map.iter().collect()).unwrap_or_default()
}

/// The text, or `<none>`.
pub(crate) fn or_none(text: &str) -> Cell {
    Cell::from(if text.is_empty() { NONE } else { text })
}

/// Texts with commas between, or `<none>`.
pub(crate) fn joined<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Cell {
    let texts: Vec<T> = texts.into_iter().collect();
    or_none(&texts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(","))
}

/// The object's name.
pub(crate) fn name(object: &Value) -> Cell {
    Cell::from(text(object, "metadata.name"))
}

/// Seconds since 1970 of the timestamp at a path.
pub(crate) fn seconds(object: &Value, path: &str) -> Option<i64> {
    text(object, path).parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// The time since the timestamp at a path, or `<unknown>`.
pub(crate) fn since(object: &Value, path: &str, now: i64) -> String {
    seconds(object, path).map_or_else(|| "<unknown>".to_owned(), |then| human(now - then))
}

/// The time since the object was created.
pub(crate) fn age(object: &Value, now: i64) -> Cell {
    Cell::from(since(object, "metadata.creationTimestamp", now))
}

/// Labels as `a=b,c=d`, or `<none>`.
pub(crate) fn labels(map: &Value) -> Cell {
    joined(
        map.as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())),
    )
}

/// A LabelSelector as text: `a=b,c in (d,e)`, `<none>` when empty.
pub(crate) fn selector(selector: &Value) -> Cell {
    let equal = entries(selector, "matchLabels")
        .into_iter()
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    let expressions = list(selector, "matchExpressions").iter().map(|expression| {
        let key = text(expression, "key");
        let mut values: Vec<&str> = list(expression, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let written = match text(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        (key.to_owned(), written)
    });
    let mut all: Vec<(String, String)> = equal.chain(expressions).collect();
    all.sort();
    joined(all.into_iter().map(|(_, written)| written))
}
