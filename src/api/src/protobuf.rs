//! Kubernetes' protobuf form of requests, as JSON trees: one decoder for all kinds, driven by a table.
//!
//! The table `protobuf/schema.txt` is made from the Go types by `scripts/protobuf-schema`. A body is the four bytes
//! `k8s\0` and a `runtime.Unknown` (apimachinery, `pkg/runtime/generated.proto`): the object's apiVersion and kind, and
//! its own message. What Go's JSON leaves out because it is zero is left out here too.

mod special;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use wire::{Reader, Wire};

/// The first bytes of every body.
pub const MAGIC: &[u8] = b"k8s\0";
/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Messages may be nested this deeply, as JSON may.
const DEPTH_MAX: usize = 128;

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not start with the magic bytes.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// It ends in the middle of a field, or a number is too long.
    #[error("proto: illegal wireType or unexpected EOF")]
    Broken,
    /// A text is not UTF-8.
    #[error("proto: invalid UTF-8 in field {0}")]
    Text(String),
    /// Messages are nested too deeply.
    #[error("exceeded max depth")]
    Depth,
    /// There is no such kind in the table.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind {
        /// Group and version of the body.
        api_version: String,
        /// Kind of the body.
        kind: String,
    },
    /// JSON inside of the message is none.
    #[error("invalid JSON in field {0}")]
    Json(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Bool,
    Integer,
    Double,
    Bytes,
    Message(&'static str),
    /// A message with a list in field 1, which is only the list in JSON.
    ListOf(&'static Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Single,
    List,
    Map,
    /// The message's fields belong to the outer object.
    Inline,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: &'static str,
    number: u32,
    shape: Shape,
    /// Whether JSON shows a zero.
    zero_counts: bool,
    of: Type,
}

type Schema = HashMap<&'static str, Vec<Field>>;

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        include_str!("protobuf/schema.txt")
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                Some((words.next()?, words.filter_map(parse_field).collect()))
            })
            .collect()
    })
}

fn parse_field(text: &'static str) -> Option<Field> {
    let (name, rest) = text.split_once(':')?;
    let (number, mut of) = rest.split_once(':')?;
    let mut field = Field {
        name,
        number: number.parse().ok()?,
        shape: Shape::Single,
        zero_counts: false,
        of: Type::Text,
    };
    loop {
        match of.as_bytes().first()? {
            b'?' | b'!' => field.zero_counts = true,
            b'*' => field.shape = Shape::List,
            b'%' => field.shape = Shape::Map,
            b'^' => field.shape = Shape::Inline,
            _ => break,
        }
        of = &of[1..];
    }
    field.of = parse_type(of)?;
    Some(field)
}

fn parse_type(text: &'static str) -> Option<Type> {
    Some(match text.split_at_checked(1)? {
        ("s", _) => Type::Text,
        ("b", _) => Type::Bool,
        ("i", _) => Type::Integer,
        ("d", _) => Type::Double,
        ("y", _) => Type::Bytes,
        ("m", name) => Type::Message(name),
        ("w", element) => {
            let items = Field {
                name: "",
                number: 1,
                shape: Shape::List,
                zero_counts: true,
                of: parse_type(element)?,
            };
            // Once per such field of the table, which lives as long as the program.
            Type::ListOf(Box::leak(Box::new(items)))
        }
        _ => return None,
    })
}

/// The message of a kind: the first word of the group, the version, the kind.
fn message_of(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let name = if kind.ends_with("Options")
        && !kind.starts_with("Pod")
        && kind != "ServiceProxyOptions"
        && kind != "NodeProxyOptions"
    {
        // Options are the same in all groups.
        format!("meta.v1.{kind}")
    } else if kind == "Status" {
        "meta.v1.Status".to_owned()
    } else {
        format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default())
    };
    schema().get_key_value(name.as_str()).map(|(name, _)| *name)
}

/// Reads a body as a JSON tree with `apiVersion` and `kind`.
///
/// # Errors
/// What is wrong with the body, or a kind that is not in the table.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    object(body, 0)
}

fn object(body: &[u8], depth: usize) -> Result<Value, Error> {
    let body = body.strip_prefix(MAGIC).ok_or(Error::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut envelope = Reader::new(body);
    while let Some((number, wire)) = envelope.next()? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Reader::new(meta);
                while let Some((number, wire)) = meta.next()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => api_version = utf8(text, "apiVersion")?,
                        (2, Wire::Bytes(text)) => kind = utf8(text, "kind")?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(name) = message_of(&api_version, &kind) else { return Err(Error::Kind { api_version, kind }) };
    let mut value = message(name, raw, depth + 1)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("apiVersion".to_owned(), api_version.into());
        fields.insert("kind".to_owned(), kind.into());
    }
    Ok(value)
}

fn message(name: &'static str, bytes: &[u8], depth: usize) -> Result<Value, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::Depth);
    }
    if let Some(value) = special::message(name, bytes, depth)? {
        return Ok(value);
    }
    let mut out = Map::new();
    fields(name, bytes, depth, &mut out)?;
    Ok(Value::Object(out))
}

fn fields(name: &'static str, bytes: &[u8], depth: usize, out: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(known) = schema().get(name) else {
        return Err(Error::Kind { api_version: String::new(), kind: name.to_owned() });
    };
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        // A field of a newer client; Go's decoder drops it too.
        let Some(field) = known.iter().find(|field| field.number == number) else { continue };
        match (field.shape, field.of, wire) {
            (Shape::Inline, Type::Message(inner), Wire::Bytes(bytes)) => {
                if depth >= DEPTH_MAX {
                    return Err(Error::Depth);
                }
                fields(inner, bytes, depth + 1, out)?;
            }
            (Shape::Map, _, Wire::Bytes(entry)) => {
                let (key, value) = map_entry(field, entry, depth)?;
                let map = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            (Shape::List, _, wire) => {
                let value = single(field, &wire, depth)?;
                if let Value::Array(list) = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()))
                {
                    list.push(value);
                }
            }
            (_, _, wire) => {
                let value = single(field, &wire, depth)?;
                if field.zero_counts || !is_zero(&value) {
                    out.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        // Go never leaves out a struct.
        Value::Object(_) => false,
    }
}

fn map_entry(field: &Field, entry: &[u8], depth: usize) -> Result<(String, Value), Error> {
    let mut key = String::new();
    let mut value = None;
    let mut reader = Reader::new(entry);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(text)) => key = utf8(text, field.name)?,
            (2, wire) => value = Some(single(field, &wire, depth)?),
            _ => {}
        }
    }
    let value = match (value, field.of) {
        (Some(value), _) => value,
        (None, Type::Message(name)) => message(name, &[], depth + 1)?,
        (None, Type::Integer | Type::Double) => 0.into(),
        (None, Type::Bool) => false.into(),
        (None, Type::Text | Type::Bytes) => "".into(),
        (None, Type::ListOf(_)) => Value::Array(Vec::new()),
    };
    Ok((key, value))
}

fn single(field: &Field, wire: &Wire<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match (field.of, wire) {
        (Type::Text, Wire::Bytes(bytes)) => utf8(bytes, field.name)?.into(),
        (Type::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Type::Bool, Wire::Varint(number)) => (*number != 0).into(),
        // Negative numbers are in two's complement.
        (Type::Integer, Wire::Varint(number)) => number.cast_signed().into(),
        (Type::Double, Wire::Fixed(bits)) => f64::from_bits(*bits).into(),
        (Type::Message(name), Wire::Bytes(bytes)) => message(name, bytes, depth + 1)?,
        (Type::ListOf(items), Wire::Bytes(bytes)) => {
            let mut list = Vec::new();
            let mut reader = Reader::new(bytes);
            while let Some((number, wire)) = reader.next()? {
                if number == items.number {
                    list.push(single(items, &wire, depth + 1)?);
                }
            }
            Value::Array(list)
        }
        _ => return Err(Error::Broken),
    })
}

fn utf8(bytes: &[u8], field: &str) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Text(field.to_owned()))
}
