//! Strategic merge patch: as a merge patch, but lists of a type's choice are merged element by element.
//!
//! Directives in the patch: `$patch: replace|delete|merge` on objects and list elements, `$retainKeys`,
//! `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`
//! (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/> and the
//! "strategic-merge-patch" page of the Kubernetes developer guide).

use serde_json::{Map, Value};

use crate::patch_schema::{Merge, Type};
use crate::status::ApiError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Why a patch cannot be applied; texts are those of Kubernetes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum StrategicError {
    #[error("map: {element} does not contain declared merge key: {key}")]
    NoMergeKey { element: Value, key: String },
    #[error("unknown patch type: {0}")]
    Directive(String),
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("{0} must be a list")]
    NoList(String),
    #[error("The order in patch list:\n{patch}\n doesn't match {directive} list:\n{order}\n")]
    Order { patch: Value, directive: String, order: Value },
    #[error("list element types are not identical: a list of objects is merged with other values")]
    Mixed,
}

impl From<StrategicError> for ApiError {
    fn from(error: StrategicError) -> Self {
        match error {
            StrategicError::Mixed => super::unfit(error),
            other => ApiError::bad_request(other.to_string()),
        }
    }
}

type Result<T> = std::result::Result<T, StrategicError>;
type Object = Map<String, Value>;

/// The object with the patch applied.
pub(super) fn apply(object: Value, patch: Value, schema: &Type) -> Result<Value> {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            merge_object(object, patch, Some(schema)).map(Value::Object)
        }
        (_, patch) => Ok(patch),
    }
}

fn merge_object(mut original: Object, mut patch: Object, schema: Option<&Type>) -> Result<Object> {
    match patch.remove(PATCH) {
        None => {}
        Some(Value::String(directive)) => match directive.as_str() {
            "replace" => return Ok(without_directives(patch)),
            "delete" => return Ok(Object::new()),
            "merge" => {}
            other => return Err(StrategicError::Directive(other.to_owned())),
        },
        Some(other) => return Err(StrategicError::Directive(other.to_string())),
    }
    retain_keys(&mut original, &mut patch)?;
    let orders = take_prefixed(&mut patch, ORDER)?;
    for (name, gone) in take_prefixed(&mut patch, DELETE)? {
        if let Some(Value::Array(list)) = original.get_mut(&name) {
            list.retain(|value| !gone.contains(value));
        }
    }
    for (name, order) in &orders {
        check_order(name, order, patch.get(name), merge_of(schema, name))?;
    }
    for (name, value) in patch {
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let merge = merge_of(schema, &name);
        let merged = match (original.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if merge != Merge::Replace => {
                Value::Object(merge_object(old, new, schema.and_then(|s| s.child(&name)))?)
            }
            (Some(Value::Array(old)), Value::Array(new)) if merge.is_list() => {
                Value::Array(merge_list(old, new, merge, schema.and_then(|s| s.child(&name)))?)
            }
            // An object that is only a directive says nothing about what is not there.
            (_, new) if new.get(PATCH).is_some() => continue,
            (_, new) => clean(new),
        };
        original.insert(name, merged);
    }
    for (name, order) in orders {
        let merge = merge_of(schema, &name);
        if let Some(Value::Array(list)) = original.get_mut(&name) {
            let server = list.clone();
            *list = in_order(std::mem::take(list), &order, &server, merge);
        }
    }
    Ok(original)
}

fn merge_of(schema: Option<&Type>, name: &str) -> Merge {
    schema.map_or(Merge::Default, |s| s.merge(name))
}

/// Drops the fields of the original that `$retainKeys` does not name.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(StrategicError::RetainKeys) };
    let keys: Vec<&str> =
        keys.iter().map(Value::as_str).collect::<Option<_>>().ok_or(StrategicError::RetainKeys)?;
    let directive = |name: &str| name.starts_with(ORDER) || name.starts_with(DELETE);
    let stray =
        patch.iter().any(|(name, value)| !value.is_null() && !directive(name) && !keys.contains(&&**name));
    if stray {
        return Err(StrategicError::RetainKeys);
    }
    original.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

/// Takes the directives with a prefix out of a patch: list name and list.
fn take_prefixed(patch: &mut Object, prefix: &str) -> Result<Vec<(String, Vec<Value>)>> {
    let names: Vec<String> = patch.keys().filter(|k| k.starts_with(prefix)).cloned().collect();
    let mut taken = Vec::with_capacity(names.len());
    for name in names {
        match patch.remove(&name) {
            Some(Value::Array(list)) => taken.push((name[prefix.len()..].to_owned(), list)),
            _ => return Err(StrategicError::NoList(name)),
        }
    }
    Ok(taken)
}

/// The elements of a patch's list must come in the order of its `$setElementOrder`, which names them all.
fn check_order(name: &str, order: &[Value], patch: Option<&Value>, merge: Merge) -> Result<()> {
    let Some(Value::Array(list)) = patch else { return Ok(()) };
    let mut last = 0;
    for element in list.iter().filter(|e| e.get(PATCH).is_none()) {
        match position(order, element, merge) {
            Some(at) if at >= last => last = at,
            _ => {
                return Err(StrategicError::Order {
                    patch: Value::Array(list.clone()),
                    directive: format!("{ORDER}{name}"),
                    order: Value::Array(order.to_vec()),
                });
            }
        }
    }
    Ok(())
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    merge: Merge,
    element: Option<&Type>,
) -> Result<Vec<Value>> {
    let Merge::Key(key) = merge else {
        if original.iter().chain(&patch).any(Value::is_object) {
            return Err(StrategicError::Mixed);
        }
        let mut merged = original.clone();
        for value in &patch {
            if !merged.contains(value) {
                merged.push(value.clone());
            }
        }
        return Ok(in_order(merged, &patch, &original, merge));
    };

    let mut merged = original.clone();
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for value in patch {
        let Value::Object(mut value) = value else { return Err(StrategicError::Mixed) };
        match value.get(PATCH).and_then(Value::as_str) {
            Some("delete") => {
                let wanted = value.remove(key).ok_or_else(|| no_key(&value, key))?;
                merged.retain(|old| old.get(key).is_none_or(|have| !same(have, &wanted)));
            }
            Some("replace") => replace = true,
            None if !value.contains_key(PATCH) => rest.push(value),
            _ => return Err(StrategicError::Directive(value[PATCH].to_string())),
        }
    }
    if replace {
        return Ok(rest.into_iter().map(|value| clean(Value::Object(value))).collect());
    }
    let order: Vec<Value> = rest.iter().cloned().map(Value::Object).collect();
    for value in rest {
        let wanted = value.get(key).ok_or_else(|| no_key(&value, key))?;
        let at = merged.iter().position(|old| old.get(key).is_some_and(|have| same(have, wanted)));
        match at.map(|at| (at, merged[at].take())) {
            Some((at, Value::Object(old))) => {
                merged[at] = Value::Object(merge_object(old, value, element)?);
            }
            _ => merged.push(clean(Value::Object(value))),
        }
    }
    Ok(in_order(merged, &order, &original, merge))
}

fn no_key(element: &Object, key: &str) -> StrategicError {
    StrategicError::NoMergeKey { element: Value::Object(element.clone()), key: key.to_owned() }
}

/// Keys are compared as text: a port may be given as a number or as a string.
fn same(a: &Value, b: &Value) -> bool {
    fn text(v: &Value) -> String {
        v.as_str().map_or_else(|| v.to_string(), str::to_owned)
    }
    a == b || text(a) == text(b)
}

fn position(list: &[Value], element: &Value, merge: Merge) -> Option<usize> {
    match merge {
        Merge::Key(key) => {
            let wanted = element.get(key)?;
            list.iter().position(|e| e.get(key).is_some_and(|have| same(have, wanted)))
        }
        _ => list.iter().position(|e| e == element),
    }
}

/// Brings a merged list into the order that the patch wants; elements that only the server knows stay beside those
/// they followed.
fn in_order(merged: Vec<Value>, order: &[Value], server: &[Value], merge: Merge) -> Vec<Value> {
    let (mut wanted, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|e| position(order, e, merge).is_some());
    wanted.sort_by_key(|e| position(order, e, merge));
    let (mut wanted, mut others) = (wanted.into_iter().peekable(), others.into_iter().peekable());
    let mut list = Vec::new();
    while let (Some(left), Some(right)) = (wanted.peek(), others.peek()) {
        let left_first = match (position(server, left, merge), position(server, right, merge)) {
            (None, _) => true,
            (_, None) => false,
            (Some(left), Some(right)) => left < right,
        };
        list.extend(if left_first { wanted.next() } else { others.next() });
    }
    list.extend(wanted);
    list.extend(others);
    list
}

/// A value of a patch that replaces or is new: without directives and nulls.
fn clean(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(without_directives(object)),
        Value::Array(list) => {
            Value::Array(list.into_iter().filter(|e| e.get(PATCH).is_none()).map(clean).collect())
        }
        scalar => scalar,
    }
}

fn without_directives(object: Object) -> Object {
    object
        .into_iter()
        .filter(|(name, value)| {
            let directive = name == PATCH || name == RETAIN_KEYS;
            let inside = directive || name.starts_with(ORDER) || name.starts_with(DELETE);
            !inside && !value.is_null() && value.get(PATCH).is_none()
        })
        .map(|(name, value)| (name, clean(value)))
        .collect()
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
