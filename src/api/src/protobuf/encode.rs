//! From JSON to protobuf, byte for byte as Go's generated code writes it: fields in the order of their numbers, plain
//! fields even when they are zero, maps sorted by key.
//!
//! It writes from the end to the beginning, so that the length of a message is known when its head is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::special::SCHEMA;
use super::table::{Field, Shape, Type, fields_of, message_of};
use super::{Error, MAGIC};
use crate::quantity::Quantity;

/// Writes an object with its envelope, as `application/vnd.kubernetes.protobuf` has it.
///
/// # Errors
/// When the object has no kind of the table, or a field has another type than the table says.
pub fn encode(object: &Value) -> Result<Vec<u8>, Error> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let name = message_of(api_version, kind)
        .ok_or_else(|| Error::Kind { api_version: api_version.to_owned(), kind: kind.to_owned() })?;
    let mut out = Backwards::default();
    // The content's encoding and type, which are not used.
    out.text(4, "");
    out.text(3, "");
    out.nested(2, |out| message(name, object, out))?;
    out.nested(1, |out| {
        out.text(2, kind);
        out.text(1, api_version);
        Ok(())
    })?;
    out.bytes(MAGIC);
    Ok(out.finish())
}

fn message(name: &'static str, value: &Value, out: &mut Backwards) -> Result<(), Error> {
    if let Some(done) = special(name, value, out) {
        return done;
    }
    if !matches!(value, Value::Object(_) | Value::Null) {
        return Err(Error::Type(name.to_owned()));
    }
    for field in fields_of(name).unwrap_or_default().iter().rev() {
        let inner = match field.shape {
            Shape::Inline => value,
            _ => value.get(field.name).unwrap_or(&Value::Null),
        };
        self::field(field, inner, out)?;
    }
    Ok(())
}

fn field(field: &Field, value: &Value, out: &mut Backwards) -> Result<(), Error> {
    let wrong = || Error::Type(field.name.to_owned());
    match (field.shape, value) {
        (Shape::List | Shape::Map, Value::Null) => {}
        (Shape::List, Value::Array(items)) => {
            for item in items.iter().rev() {
                single(field, field.number, item, out)?;
            }
        }
        (Shape::Map, Value::Object(entries)) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by(|a, b| b.0.cmp(a.0));
            for (key, value) in entries {
                out.nested(field.number, |out| {
                    single(field, 2, value, out)?;
                    out.text(1, key);
                    Ok(())
                })?;
            }
        }
        (Shape::List | Shape::Map, _) => return Err(wrong()),
        (Shape::Single, Value::Null) if field.is_optional() => {}
        (Shape::Single | Shape::Inline, value) => single(field, field.number, value, out)?,
    }
    Ok(())
}

/// One value; `null` is the zero of its type.
fn single(field: &Field, number: u32, value: &Value, out: &mut Backwards) -> Result<(), Error> {
    let wrong = || Error::Type(field.name.to_owned());
    match (field.of, value) {
        (Type::Text, Value::Null) => out.text(number, ""),
        (Type::Text, Value::String(text)) => out.text(number, text),
        (Type::Bytes, Value::Null) => {}
        (Type::Bytes, Value::String(text)) => {
            out.whole(number, &STANDARD.decode(text).map_err(|_| wrong())?);
        }
        (Type::Bool, Value::Null) => out.number(number, 0),
        (Type::Bool, Value::Bool(flag)) => out.number(number, u64::from(*flag)),
        (Type::Integer, Value::Null) => out.number(number, 0),
        (Type::Integer, Value::Number(given)) => {
            out.number(number, given.as_i64().ok_or_else(wrong)?.cast_unsigned());
        }
        (Type::Double, Value::Null) => out.double(number, 0.0),
        (Type::Double, Value::Number(given)) => out.double(number, given.as_f64().ok_or_else(wrong)?),
        (Type::Message(name), value) => out.nested(number, |out| message(name, value, out))?,
        (Type::ListOf(items), value) => out.nested(number, |out| self::field(items, value, out))?,
        _ => return Err(wrong()),
    }
    Ok(())
}

/// Messages whose JSON is no object of their fields; `None` for an ordinary one.
fn special(name: &str, value: &Value, out: &mut Backwards) -> Option<Result<(), Error>> {
    let wrong = || Error::Type(name.to_owned());
    let done = match name {
        "api.resource.Quantity" => quantity(value, out).ok_or_else(wrong),
        "util.intstr.IntOrString" => int_or_string(value, out).ok_or_else(wrong),
        "meta.v1.Time" => time(value, false, out).ok_or_else(wrong),
        "meta.v1.MicroTime" => time(value, true, out).ok_or_else(wrong),
        "pkg.runtime.RawExtension" | "meta.v1.FieldsV1" | "apiextensions.v1.JSON" => {
            if !value.is_null() {
                out.whole(1, value.to_string().as_bytes());
            }
            Ok(())
        }
        "apiextensions.v1.JSONSchemaPropsOrArray" => match value {
            Value::Array(items) => items.iter().rev().try_for_each(|item| schema_at(2, item, out)),
            value => schema_at(1, value, out),
        },
        "apiextensions.v1.JSONSchemaPropsOrBool" => match value {
            Value::Bool(allowed) => {
                out.number(1, u64::from(*allowed));
                Ok(())
            }
            value => schema_at(2, value, out).map(|()| out.number(1, u64::from(!value.is_null()))),
        },
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => match value {
            Value::Array(items) => items.iter().rev().try_for_each(|item| {
                out.text(2, item.as_str().ok_or_else(wrong)?);
                Ok(())
            }),
            value => schema_at(1, value, out),
        },
        _ => return None,
    };
    Some(done)
}

fn schema_at(number: u32, value: &Value, out: &mut Backwards) -> Result<(), Error> {
    if value.is_null() {
        return Ok(());
    }
    out.nested(number, |out| message(SCHEMA, value, out))
}

fn quantity(value: &Value, out: &mut Backwards) -> Option<()> {
    let text = match value {
        Value::Null => "0".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    out.text(1, &Quantity::parse(&text).ok()?.to_string());
    Some(())
}

fn int_or_string(value: &Value, out: &mut Backwards) -> Option<()> {
    let (kind, number, text) = match value {
        Value::Null => (0, 0, ""),
        Value::Number(number) => (0, number.as_i64()?, ""),
        Value::String(text) => (1, 0, text.as_str()),
        _ => return None,
    };
    out.text(3, text);
    out.number(2, number.cast_unsigned());
    out.number(1, kind);
    Some(())
}

/// Seconds and nanoseconds since 1970; no time is an empty message.
fn time(value: &Value, micro: bool, out: &mut Backwards) -> Option<()> {
    let text = match value {
        Value::Null => return Some(()),
        Value::String(text) => text,
        _ => return None,
    };
    if text == "0001-01-01T00:00:00Z" {
        return Some(());
    }
    let at: Timestamp = text.parse().ok()?;
    let nanos = at.as_nanosecond().rem_euclid(1_000_000_000);
    let seconds = i64::try_from(at.as_nanosecond().div_euclid(1_000_000_000)).ok()?;
    let nanos = if micro { u64::try_from(nanos).ok()? / 1000 * 1000 } else { 0 };
    out.number(2, nanos);
    out.number(1, seconds.cast_unsigned());
    Some(())
}

/// Bytes in the reverse of their order.
#[derive(Default)]
struct Backwards {
    reversed: Vec<u8>,
}

impl Backwards {
    fn finish(mut self) -> Vec<u8> {
        self.reversed.reverse();
        self.reversed
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.reversed.extend(bytes.iter().rev());
    }

    fn varint(&mut self, mut value: u64) {
        let mut buffer = [0_u8; 10];
        let mut length = 0;
        loop {
            let more = value >> 7 != 0;
            // Seven bits at a time: the cut is meant.
            buffer[length] = (value & 0x7f) as u8 | if more { 0x80 } else { 0 };
            length += 1;
            value >>= 7;
            if !more {
                break;
            }
        }
        self.bytes(&buffer[..length]);
    }

    fn head(&mut self, number: u32, wire: u32) {
        self.varint(u64::from(number << 3 | wire));
    }

    fn number(&mut self, number: u32, value: u64) {
        self.varint(value);
        self.head(number, 0);
    }

    fn double(&mut self, number: u32, value: f64) {
        self.bytes(&value.to_le_bytes());
        self.head(number, 1);
    }

    fn whole(&mut self, number: u32, bytes: &[u8]) {
        self.bytes(bytes);
        self.varint(bytes.len() as u64);
        self.head(number, 2);
    }

    fn text(&mut self, number: u32, text: &str) {
        self.whole(number, text.as_bytes());
    }

    fn nested(
        &mut self,
        number: u32,
        fill: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = self.reversed.len();
        fill(self)?;
        let length = self.reversed.len() - before;
        self.varint(length as u64);
        self.head(number, 2);
        Ok(())
    }
}
