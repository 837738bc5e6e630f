//! What Kubernetes fills in where a client says nothing, one module per API group.
//!
//! Go's empty text and plain zero count as nothing; where Go has a pointer only an absent field does. The numbers and
//! names are those of the API reference.

pub(crate) mod admission;
pub(crate) mod apps;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod container;
pub(crate) mod core;
pub(crate) mod networking;
pub(crate) mod others;
pub(crate) mod pod;
pub(crate) mod storage;
pub(crate) mod volume;

#[cfg(test)]
mod tests;

/// Sets a text that is absent or empty.
fn text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

/// Sets what is absent (a pointer in Go).
fn absent<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// Sets a number that is absent or zero (a plain number in Go).
fn zero(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}

/// Elements of a list that may be absent.
fn each<T>(list: &mut Option<Vec<T>>) -> impl Iterator<Item = &mut T> {
    list.iter_mut().flatten()
}

/// Whether a list or map is absent or empty.
fn is_empty<T>(field: Option<&T>, empty: impl Fn(&T) -> bool) -> bool {
    field.is_none_or(empty)
}
