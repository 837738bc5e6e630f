//! Where a value is in its document, and what Go calls it.

use std::fmt;

use serde_json::Value;

/// Where in the document a value is: a list from the value to the root, on the stack.
pub(super) enum Path<'p> {
    Root,
    /// A field of a struct.
    Field {
        parent: &'p Path<'p>,
        owner: &'static str,
        name: &'p str,
    },
    Key {
        parent: &'p Path<'p>,
        key: &'p str,
    },
    Index {
        parent: &'p Path<'p>,
        index: usize,
    },
}

impl Path<'_> {
    /// The names of fields only, as Go's decoder gives them.
    pub(super) fn fields(&self, out: &mut String) {
        match self {
            Path::Root => {}
            Path::Field { parent, name, .. } => {
                parent.fields(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Path::Key { parent, .. } | Path::Index { parent, .. } => parent.fields(out),
        }
    }

    /// The struct nearest to the value.
    pub(super) fn owner(&self) -> &'static str {
        match self {
            Path::Root => "",
            Path::Field { owner, .. } => owner,
            Path::Key { parent, .. } | Path::Index { parent, .. } => parent.owner(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field { parent: Path::Root, name, .. } | Path::Key { parent: Path::Root, key: name } => {
                f.write_str(name)
            }
            Path::Field { parent, name, .. } | Path::Key { parent, key: name } => {
                write!(f, "{parent}.{name}")
            }
            Path::Index { parent, index } => write!(f, "{parent}[{index}]"),
        }
    }
}

/// What a value is in the words of Go's decoder.
pub(super) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// `[]v1.Container` for `alloc::vec::Vec<k8s_openapi::...::Container>`.
pub(super) fn go_type(rust: &str) -> String {
    let last = |name: &str| name.trim_end_matches('>').rsplit("::").next().unwrap_or_default().to_owned();
    let element = |name: &str| {
        let plain = last(name);
        match plain.as_str() {
            "String" => "string".to_owned(),
            "i32" => "int32".to_owned(),
            "i64" => "int64".to_owned(),
            "ByteString" => "[]uint8".to_owned(),
            "Quantity" => "resource.Quantity".to_owned(),
            _ => format!("v1.{plain}"),
        }
    };
    if let Some(inner) = rust.strip_prefix("alloc::vec::Vec<") {
        return format!("[]{}", element(inner));
    }
    if rust.contains("BTreeMap<") {
        return format!("map[string]{}", element(rust.rsplit(", ").next().unwrap_or_default()));
    }
    element(rust)
}
