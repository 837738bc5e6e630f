//! From protobuf to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::table::{Field, Shape, Type, fields_of, message_of};
use super::wire::{Reader, Wire};
use super::{Error, MAGIC, special};

/// Objects, lists and maps may be nested this deeply, as in JSON.
const DEPTH_MAX: usize = 127;

/// Reads a body as a JSON tree with `apiVersion` and `kind`.
///
/// # Errors
/// What is wrong with the body, or a kind that is not in the table.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    object(body, 0)
}

/// An object in its envelope, which may itself be inside of another.
pub(super) fn object(body: &[u8], depth: usize) -> Result<Value, Error> {
    if body.is_empty() {
        return Err(Error::Empty);
    }
    let envelope = Envelope::read(body.strip_prefix(MAGIC).ok_or(Error::Magic)?)?;
    envelope.object(depth).map_err(|why| match why {
        Error::Kind { .. } => why,
        why => Error::Object { api_version: envelope.api_version, kind: envelope.kind, why: Box::new(why) },
    })
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    content_type: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::EmptyBody);
        }
        let mut this = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.next()? {
            match (number, wire) {
                (1, Wire::Bytes(meta)) => {
                    let mut meta = Reader::new(meta);
                    while let Some((number, wire)) = meta.next()? {
                        match (number, wire) {
                            (1, Wire::Bytes(text)) => this.api_version = utf8(text, "apiVersion")?,
                            (2, Wire::Bytes(text)) => this.kind = utf8(text, "kind")?,
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(bytes)) => this.raw = bytes,
                (4, Wire::Bytes(bytes)) => this.content_type = bytes,
                _ => {}
            }
        }
        Ok(this)
    }

    fn object(&self, depth: usize) -> Result<Value, Error> {
        let name = message_of(&self.api_version, &self.kind)
            .ok_or_else(|| Error::Kind { api_version: self.api_version.clone(), kind: self.kind.clone() })?;
        let mut value = if self.content_type == b"application/json" {
            special::json(self.raw, "raw")?
        } else {
            message(name, self.raw, depth + 1)?
        };
        if let Value::Object(fields) = &mut value {
            fields.insert("apiVersion".to_owned(), self.api_version.as_str().into());
            fields.insert("kind".to_owned(), self.kind.as_str().into());
        }
        Ok(value)
    }
}

/// A message of the table as Go's JSON of it.
pub(super) fn message(name: &'static str, bytes: &[u8], depth: usize) -> Result<Value, Error> {
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
    if depth > DEPTH_MAX {
        return Err(Error::Depth);
    }
    let known = fields_of(name).unwrap_or_default();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        // A field of a newer client; Go's decoder drops it too.
        let Ok(at) = known.binary_search_by_key(&number, |field| field.number) else { continue };
        let field = &known[at];
        match (field.shape, field.of, wire) {
            (Shape::Inline, Type::Message(inner), Wire::Bytes(bytes)) => {
                fields(inner, bytes, depth + 1, out)?;
            }
            (Shape::Map, _, Wire::Bytes(entry)) => {
                let (key, value) = map_entry(field, entry, depth + 1)?;
                let map = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            (Shape::List, _, wire) => {
                let list = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    elements(field, &wire, depth + 1, list)?;
                }
            }
            (_, _, wire) => {
                let value = single(field, &wire, depth)?;
                // Go never leaves out a struct.
                let counts = field.zero_counts || matches!(field.of, Type::Message(_));
                if !value.is_null() && (counts || !is_zero(&value)) {
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

/// An element of a list, or several numbers in one piece ("packed"), which decoders must understand.
fn elements(field: &Field, wire: &Wire<'_>, depth: usize, list: &mut Vec<Value>) -> Result<(), Error> {
    match (field.of, wire) {
        (Type::Integer | Type::Bool | Type::Double, Wire::Bytes(packed)) => {
            let mut reader = Reader::new(packed);
            while !reader.is_at_end() {
                let number = match field.of {
                    Type::Double => Wire::Fixed64(reader.fixed64()?),
                    _ => Wire::Varint(reader.varint()?),
                };
                list.push(single(field, &number, depth)?);
            }
        }
        _ => list.push(single(field, wire, depth)?),
    }
    Ok(())
}

fn single(field: &Field, wire: &Wire<'_>, depth: usize) -> Result<Value, Error> {
    let wrong = || Error::Type(field.name.to_owned());
    Ok(match (field.of, wire) {
        (Type::Text, Wire::Bytes(bytes)) => utf8(bytes, field.name)?.into(),
        (Type::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Type::Bool, Wire::Varint(number)) => (*number != 0).into(),
        // Negative numbers are in two's complement.
        (Type::Integer, Wire::Varint(number)) => number.cast_signed().into(),
        (Type::Double, Wire::Fixed64(bits)) => double(f64::from_bits(*bits)).ok_or_else(wrong)?,
        (Type::Message(name), Wire::Bytes(bytes)) => message(name, bytes, depth + 1)?,
        (Type::ListOf(items), Wire::Bytes(bytes)) => {
            let mut list = Vec::new();
            let mut reader = Reader::new(bytes);
            while let Some((number, wire)) = reader.next()? {
                if number == items.number {
                    elements(items, &wire, depth + 1, &mut list)?;
                }
            }
            Value::Array(list)
        }
        _ => return Err(wrong()),
    })
}

/// Go's JSON writes 18, not 18.0; it has no infinity.
fn double(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        // Within the bounds of exact integers nothing is cut off.
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}

pub(super) fn utf8(bytes: &[u8], field: &str) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Text(field.to_owned()))
}
