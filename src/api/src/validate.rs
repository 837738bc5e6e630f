//! What Kubernetes refuses, in its own words, one module per API group.
//!
//! Texts and rules are those of kube-apiserver's validation; objects come here defaulted.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::names;

pub(crate) mod apps;
pub(crate) mod batch;
pub(crate) mod container;
pub(crate) mod core;
pub(crate) mod environment;
pub(crate) mod extensions;
pub(crate) mod networking;
pub(crate) mod others;
pub(crate) mod pod;
pub(crate) mod pod_update;
pub(crate) mod probe;
pub(crate) mod rbac;
pub(crate) mod resources;
pub(crate) mod scheduling;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod storage;
pub(crate) mod volume;

#[cfg(test)]
mod tests;

const IMMUTABLE: &str = "field is immutable";
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const POSITIVE: &str = "must be greater than 0";
const IP_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// One error for each message.
fn all_invalid(errors: &mut Errors, path: &Path, value: &str, messages: names::Messages) {
    for message in messages {
        errors.invalid(path, value, &message);
    }
}

/// A text that must be there; gives it when it is.
fn required<'a>(errors: &mut Errors, path: &Path, value: &'a str) -> Option<&'a str> {
    if value.is_empty() {
        errors.required(path, "");
        return None;
    }
    Some(value)
}

/// A text that must be one of a few; an absent one is an error too.
fn one_of(errors: &mut Errors, path: &Path, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !supported.contains(&value) {
        errors.not_supported(path, value, supported);
    }
}

/// A text that, when it is there, must be one of a few.
fn optional_one_of(errors: &mut Errors, path: &Path, value: Option<&str>, supported: &[&str]) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        one_of(errors, path, value, supported);
    }
}

/// A number that is not below zero.
fn not_negative(errors: &mut Errors, path: &Path, value: Option<impl Into<i64>>) {
    if let Some(value) = value.map(Into::into).filter(|value| *value < 0) {
        errors.invalid(path, value, NOT_NEGATIVE);
    }
}

/// A text as it is in an option, empty when there is none.
fn plain(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

/// Labels, also as node selectors.
fn labels(errors: &mut Errors, path: &Path, labels: Option<&BTreeMap<String, String>>) {
    for (key, value) in labels.into_iter().flatten() {
        all_invalid(errors, path, key, names::qualified_name(key));
        all_invalid(errors, path, value, names::label_value(value));
    }
}

/// Metadata of a pod template.
fn template_metadata(errors: &mut Errors, path: &Path, metadata: Option<&ObjectMeta>) {
    let Some(metadata) = metadata else { return };
    labels(errors, &path.child("labels"), metadata.labels.as_ref());
    for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
        let lower = key.to_lowercase();
        all_invalid(errors, &path.child("annotations"), key, names::qualified_name(&lower));
    }
}

/// A label selector.
fn selector(errors: &mut Errors, path: &Path, selector: &LabelSelector) {
    labels(errors, &path.child("matchLabels"), selector.match_labels.as_ref());
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = expression.values.as_ref().is_some_and(|values| !values.is_empty());
        match expression.operator.as_str() {
            "In" | "NotIn" if !values => {
                errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
            }
            "Exists" | "DoesNotExist" if values => errors.forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        let key = &expression.key;
        all_invalid(errors, &path.child("key"), key, names::qualified_name(key));
        for (index, value) in expression.values.iter().flatten().enumerate() {
            all_invalid(errors, &path.child("values").index(index), value, names::label_value(value));
        }
    }
}

/// Whether a selector selects everything.
fn is_empty_selector(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Number or percentage as JSON.
fn value_of(value: &IntOrString) -> Value {
    match value {
        IntOrString::Int(number) => Value::from(*number),
        IntOrString::String(text) => Value::from(text.as_str()),
    }
}

/// The number before a percent sign.
fn percent(value: &IntOrString) -> Option<i64> {
    let IntOrString::String(text) = value else { return None };
    let digits = text.strip_suffix('%')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A count that is a number or a percentage.
fn count_or_percent(errors: &mut Errors, path: &Path, value: Option<&IntOrString>) {
    match value {
        Some(IntOrString::Int(number)) => not_negative(errors, path, Some(*number)),
        Some(text @ IntOrString::String(_)) if percent(text).is_none() => errors.invalid(
            path,
            value_of(text),
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
             used for validation is '[0-9]+%')",
        ),
        _ => {}
    }
}

/// A percentage of at most a hundred.
fn at_most_all(errors: &mut Errors, path: &Path, value: Option<&IntOrString>) {
    if let Some(value) = value
        && percent(value).is_some_and(|percent| percent > 100)
    {
        errors.invalid(path, value_of(value), "must not be greater than 100%");
    }
}

/// Whether a count is certainly none.
fn is_zero(value: Option<&IntOrString>) -> bool {
    match value {
        Some(IntOrString::Int(number)) => *number == 0,
        Some(text) => percent(text) == Some(0),
        None => true,
    }
}

/// A value that stays for ever.
fn immutable<T: PartialEq + serde::Serialize>(errors: &mut Errors, path: &Path, new: &T, old: &T) {
    if new != old {
        errors.invalid(path, crate::typed::encode::to_value(new), IMMUTABLE);
    }
}

/// What differs between two trees, one line for each, as an error message shows it.
fn difference(new: &Value, old: &Value) -> String {
    fn walk(path: &str, new: &Value, old: &Value, out: &mut Vec<String>) {
        match (new, old) {
            (Value::Object(new), Value::Object(old)) => {
                for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                    let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let get =
                        |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    walk(&inner, &get(new), &get(old), out);
                }
            }
            (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
                for (index, (new, old)) in new.iter().zip(old).enumerate() {
                    walk(&format!("{path}[{index}]"), new, old, out);
                }
            }
            (new, old) if new != old => {
                out.push(format!("- \t{path}: {old},"));
                out.push(format!("+ \t{path}: {new},"));
            }
            _ => {}
        }
    }
    let mut lines = Vec::new();
    walk("", new, old, &mut lines);
    lines.join("\n")
}

/// A port by number or name.
fn port(errors: &mut Errors, path: &Path, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => {
            for message in names::port_number(i64::from(*number)) {
                errors.invalid(path, *number, &message);
            }
        }
        IntOrString::String(name) => all_invalid(errors, path, name, names::port_name(name)),
    }
}

/// A port by number; 0 is missing.
fn port_number(errors: &mut Errors, path: &Path, number: i32) {
    for message in names::port_number(i64::from(number)) {
        errors.invalid(path, number, &message);
    }
}
