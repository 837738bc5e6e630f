//! From types to JSON with Go's habits: what `omitempty` leaves out is left out.
//!
//! The types only know whether a field is set; Go also leaves out empty texts, lists and maps, but never structs.
//! This serialiser can tell a map from a struct, which a tree cannot; `zeros` has the exceptions.

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{self, SerializeMap, SerializeSeq, SerializeStruct};
use serde_json::{Map, Value};

use super::zeros;

/// A built-in object as a JSON tree.
///
/// # Panics
/// Never: the types of Kubernetes have string keys and no numbers outside JSON.
#[must_use]
pub fn to_value<T: Serialize>(object: &T) -> Value {
    object.serialize(Tree).map(|node| node.value).unwrap_or_default()
}

/// The tree as it is stored: `apiVersion`, `kind` and `metadata` first, the rest sorted, without
/// `metadata.resourceVersion`.
#[must_use]
pub fn canonical(object: &Value) -> Bytes {
    const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
    let Some(fields) = object.as_object() else { return Bytes::from(object.to_string()) };
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for key in FIRST.into_iter().chain(fields.keys().map(String::as_str).filter(|k| !FIRST.contains(k))) {
        let Some(value) = fields.get(key) else { continue };
        if out.len() > 1 {
            out.push(b',');
        }
        append(&mut out, &key);
        out.push(b':');
        match value {
            Value::Object(metadata) if key == "metadata" && metadata.contains_key("resourceVersion") => {
                let mut metadata = metadata.clone();
                metadata.remove("resourceVersion");
                append(&mut out, &metadata);
            }
            other => append(&mut out, other),
        }
    }
    out.push(b'}');
    Bytes::from(out)
}

fn append<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a JSON tree can be written to memory");
}

/// Whether two trees differ apart from metadata and status.
pub(super) fn spec_differs(mut new: Value, mut old: Value) -> bool {
    for tree in [&mut new, &mut old] {
        if let Some(fields) = tree.as_object_mut() {
            fields.remove("metadata");
            fields.remove("status");
        }
    }
    new != old
}

/// A value, and whether it is a struct or free-form JSON, which stays even when empty.
struct Node {
    value: Value,
    stays: bool,
}

impl Node {
    fn plain(value: Value) -> Result<Self, Failure> {
        Ok(Self { value, stays: false })
    }
}

#[derive(Debug)]
struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl ser::Error for Failure {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Tree;

struct Fields {
    owner: &'static str,
    fields: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, name: &'static str, node: Node) {
        let keep = match &node.value {
            Value::Null => false,
            Value::String(text) => !text.is_empty() || zeros::keeps_empty_text(self.owner, name),
            Value::Array(list) => !list.is_empty() || zeros::keeps_empty_list(self.owner, name),
            Value::Object(map) => node.stays || !map.is_empty(),
            Value::Bool(true) => true,
            Value::Bool(false) => !zeros::drops_zero(self.owner, name),
            Value::Number(number) => number.as_i64() != Some(0) || !zeros::drops_zero(self.owner, name),
        };
        if keep {
            self.fields.insert(name.to_owned(), node.value);
        }
    }
}

impl SerializeStruct for Fields {
    type Ok = Node;
    type Error = Failure;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        let node = value.serialize(Tree)?;
        self.put(name, node);
        Ok(())
    }

    fn end(self) -> Result<Node, Failure> {
        Ok(Node { value: Value::Object(self.fields), stays: true })
    }
}

#[derive(Default)]
struct Entries {
    key: String,
    entries: Map<String, Value>,
}

impl SerializeMap for Entries {
    type Ok = Node;
    type Error = Failure;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Failure> {
        match key.serialize(Tree)?.value {
            Value::String(text) => self.key = text,
            other => return Err(Failure(format!("{other} as the key of a map"))),
        }
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        let node = value.serialize(Tree)?;
        self.entries.insert(std::mem::take(&mut self.key), node.value);
        Ok(())
    }

    fn end(self) -> Result<Node, Failure> {
        Node::plain(Value::Object(self.entries))
    }
}

struct List(Vec<Value>);

impl SerializeSeq for List {
    type Ok = Node;
    type Error = Failure;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.0.push(value.serialize(Tree)?.value);
        Ok(())
    }

    fn end(self) -> Result<Node, Failure> {
        Node::plain(Value::Array(self.0))
    }
}

type Never = ser::Impossible<Node, Failure>;

fn foreign<T>() -> Result<T, Failure> {
    Err(Failure("a type that Kubernetes does not have".to_owned()))
}

macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<Node, Failure> {
            Node::plain(Value::from(value))
        })*
    };
}

impl ser::Serializer for Tree {
    type Ok = Node;
    type Error = Failure;
    type SerializeSeq = List;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Entries;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Never;

    scalars!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_str: &str
    );

    fn serialize_char(self, value: char) -> Result<Node, Failure> {
        Node::plain(Value::from(value.to_string()))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Node, Failure> {
        foreign()
    }

    fn serialize_none(self) -> Result<Node, Failure> {
        Node::plain(Value::Null)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Node, Failure> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Node, Failure> {
        Node::plain(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Node, Failure> {
        Node::plain(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Node, Failure> {
        Node::plain(Value::from(variant))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Node, Failure> {
        if zeros::is_free_form(name) {
            let value = value.serialize(serde_json::value::Serializer).map_err(ser::Error::custom)?;
            return Ok(Node { value, stays: true });
        }
        let node = value.serialize(self)?;
        if name == "Time" && node.value == zeros::ZERO_TIME {
            return Node::plain(Value::Null);
        }
        Ok(node)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Node, Failure> {
        foreign()
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, Failure> {
        Ok(List(Vec::with_capacity(length.unwrap_or_default())))
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, Failure> {
        foreign()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, Failure> {
        foreign()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, Failure> {
        foreign()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries, Failure> {
        Ok(Entries::default())
    }

    fn serialize_struct(self, owner: &'static str, _: usize) -> Result<Fields, Failure> {
        Ok(Fields { owner, fields: Map::new() })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, Failure> {
        foreign()
    }
}
