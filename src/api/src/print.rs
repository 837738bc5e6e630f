//! Server-side tables: what `kubectl get` shows of each kind.
//!
//! Rows are made from JSON trees, as objects come from the store: nothing is decoded for a list.

use serde_json::Value;

use crate::kind::Column;
use crate::strategy::Cell;

pub(crate) mod apps;
pub(crate) mod core;
pub mod duration;
pub(crate) mod network;
pub(crate) mod others;
pub(crate) mod pod;
pub(crate) mod storage;
mod tree;

#[cfg(test)]
mod tests;

use tree::{age, name};

/// Headings and rows of a kind's table.
pub struct Printer {
    /// Headings, the name first.
    pub columns: &'static [Column],
    /// The cells of an object; `now` is in seconds since 1970.
    pub row: fn(object: &Value, now: i64) -> Vec<Cell>,
}

/// For kinds of which nothing else is worth a column.
pub static NAME_AND_AGE: Printer =
    Printer { columns: &[NAME, AGE], row: |object, now| vec![name(object), age(object, now)] };

/// A column that is always shown.
pub(crate) const fn column(name: &'static str, kind: &'static str) -> Column {
    described(name, kind, 0)
}

/// A column of `-o wide`.
pub(crate) const fn wide(name: &'static str, kind: &'static str) -> Column {
    described(name, kind, 1)
}

const fn described(name: &'static str, kind: &'static str, priority: i32) -> Column {
    use std::borrow::Cow::Borrowed;
    Column {
        name: Borrowed(name),
        kind: Borrowed(kind),
        format: Borrowed(""),
        priority,
        description: Borrowed(""),
    }
}

/// The column of the object's name.
pub(crate) const NAME: Column = {
    use std::borrow::Cow::Borrowed;
    Column {
        name: Borrowed("Name"),
        kind: Borrowed("string"),
        format: Borrowed("name"),
        priority: 0,
        description: Borrowed("Name must be unique within a namespace."),
    }
};

/// The column of the time since creation.
pub(crate) const AGE: Column = {
    use std::borrow::Cow::Borrowed;
    Column {
        name: Borrowed("Age"),
        kind: Borrowed("string"),
        format: Borrowed(""),
        priority: 0,
        description: Borrowed(
            "CreationTimestamp is a timestamp representing the server time when this object was created.",
        ),
    }
};
