//! Errors of single fields, as `kubectl` shows them under "is invalid".

use std::fmt;

/// The path of a field, such as `spec.containers[0].name` or `metadata.labels[app]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(String);

impl Path {
    /// The path of a top-level field.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The path of a field of this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The path of an element of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of an entry of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a field; the name is the `reason` of a Status cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A required field is missing.
    Required,
    /// Two list elements have the same key.
    Duplicate,
    /// The value is not allowed.
    Invalid,
    /// The value is not one of an enumeration.
    NotSupported,
    /// The field may not be set here.
    Forbidden,
    /// The text is too long.
    TooLong,
    /// The list has too many elements.
    TooMany,
    /// Another object that the field names does not exist.
    NotFound,
    /// The value has the wrong type.
    TypeInvalid,
    /// The server failed while validating.
    Internal,
}

impl Reason {
    /// The reason on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Required => "FieldValueRequired",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::NotFound => "FieldValueNotFound",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
            Reason::Internal => "InternalError",
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of wrong.
    pub reason: Reason,
    /// Where.
    pub path: Path,
    /// The message without the path: `Invalid value: "x": must be ...`.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A value as error messages show it: text in quotes, numbers bare, objects and lists as compact JSON.
#[must_use]
pub fn show(value: &serde_json::Value) -> String {
    value.to_string()
}

/// Everything that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    /// Nothing wrong so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, reason: Reason, path: &Path, message: String) {
        self.0.push(Error { reason, path: path.clone(), message });
    }

    /// `Required value: <detail>`; the detail may be empty.
    pub fn required(&mut self, path: &Path, detail: &str) {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        self.push(Reason::Required, path, message);
    }

    /// `Invalid value: <value>: <detail>`.
    pub fn invalid(&mut self, path: &Path, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(Reason::Invalid, path, format!("Invalid value: {}: {detail}", show(&value.into())));
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<serde_json::Value>) {
        self.push(Reason::Duplicate, path, format!("Duplicate value: {}", show(&value.into())));
    }

    /// `Unsupported value: <value>: supported values: "a", "b"`.
    pub fn not_supported(&mut self, path: &Path, value: impl Into<serde_json::Value>, supported: &[&str]) {
        let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        self.push(
            Reason::NotSupported,
            path,
            format!("Unsupported value: {}: supported values: {list}", show(&value.into())),
        );
    }

    /// `Forbidden: <detail>`.
    pub fn forbidden(&mut self, path: &Path, detail: &str) {
        self.push(Reason::Forbidden, path, format!("Forbidden: {detail}"));
    }

    /// `Too long: may not be more than <max> bytes`.
    pub fn too_long(&mut self, path: &Path, max: usize) {
        self.push(Reason::TooLong, path, format!("Too long: may not be more than {max} bytes"));
    }

    /// `Too many: <count>: must have at most <max> items`.
    pub fn too_many(&mut self, path: &Path, count: usize, max: usize) {
        self.push(Reason::TooMany, path, format!("Too many: {count}: must have at most {max} items"));
    }

    /// `Not found: <value>`.
    pub fn not_found(&mut self, path: &Path, value: impl Into<serde_json::Value>) {
        self.push(Reason::NotFound, path, format!("Not found: {}", show(&value.into())));
    }

    /// Adds the errors of another check.
    pub fn extend(&mut self, others: Errors) {
        self.0.extend(others.0);
    }
}
