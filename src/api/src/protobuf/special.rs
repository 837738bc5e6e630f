//! Messages whose JSON is no object of their fields: times, quantities, JSON in JSON.

use jiff::Timestamp;
use serde_json::Value;

use super::decode::{message as any, object, utf8};
use super::wire::{Reader, Wire};
use super::{Error, MAGIC};

/// What [`JSONSchemaPropsOrArray` and its like](message) hold.
pub(super) const SCHEMA: &str = "apiextensions.v1.JSONSchemaProps";

/// The value of such a message; `None` for an ordinary one.
pub(super) fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Option<Value>, Error> {
    let short = name.rsplit('.').next().unwrap_or_default();
    Ok(Some(match name {
        "api.resource.Quantity" => match text(bytes, 1, short)? {
            none if none.is_empty() => "0".into(),
            quantity => quantity.into(),
        },
        "util.intstr.IntOrString" => match varint(bytes, 1)? {
            0 => varint(bytes, 2)?.cast_signed().into(),
            _ => text(bytes, 3, short)?.into(),
        },
        "meta.v1.Time" => time(bytes, false)?,
        "meta.v1.MicroTime" => time(bytes, true)?,
        "pkg.runtime.RawExtension" => {
            let raw = field(bytes, 1)?.unwrap_or_default();
            if raw.starts_with(MAGIC) { object(raw, depth + 1)? } else { json(raw, short)? }
        }
        "meta.v1.FieldsV1" | "apiextensions.v1.JSON" => json(field(bytes, 1)?.unwrap_or_default(), short)?,
        "apiextensions.v1.JSONSchemaPropsOrArray" => match field(bytes, 1)? {
            Some(schema) => any(SCHEMA, schema, depth + 1)?,
            None => list(bytes, |item| any(SCHEMA, item, depth + 1))?,
        },
        "apiextensions.v1.JSONSchemaPropsOrBool" => match field(bytes, 2)? {
            Some(schema) => any(SCHEMA, schema, depth + 1)?,
            None => (varint(bytes, 1)? != 0).into(),
        },
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => match field(bytes, 1)? {
            Some(schema) => any(SCHEMA, schema, depth + 1)?,
            None => list(bytes, |item| utf8(item, short).map(Value::from))?,
        },
        _ => return Ok(None),
    }))
}

/// The last value of a field that has bytes.
fn field(bytes: &[u8], wanted: u32) -> Result<Option<&[u8]>, Error> {
    let mut found = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let (true, Wire::Bytes(bytes)) = (number == wanted, wire) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

/// All values of field 2; `null` without any.
fn list(bytes: &[u8], mut item: impl FnMut(&[u8]) -> Result<Value, Error>) -> Result<Value, Error> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let (2, Wire::Bytes(bytes)) = (number, wire) {
            items.push(item(bytes)?);
        }
    }
    Ok(if items.is_empty() { Value::Null } else { Value::Array(items) })
}

fn text(bytes: &[u8], wanted: u32, name: &str) -> Result<String, Error> {
    utf8(field(bytes, wanted)?.unwrap_or_default(), name)
}

fn varint(bytes: &[u8], wanted: u32) -> Result<u64, Error> {
    let mut found = 0;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let (true, Wire::Varint(value)) = (number == wanted, wire) {
            found = value;
        }
    }
    Ok(found)
}

/// Seconds and nanoseconds since 1970; an empty message, as well as Go's zero time, is no time at all.
fn time(bytes: &[u8], micro: bool) -> Result<Value, Error> {
    const GO_ZERO: i64 = -62_135_596_800;
    let seconds = varint(bytes, 1)?.cast_signed();
    let nanos = if micro { varint(bytes, 2)?.cast_signed() } else { 0 };
    if bytes.is_empty() || (seconds == GO_ZERO && nanos == 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| Error::Time)?;
    let at = Timestamp::new(seconds, nanos).map_err(|_| Error::Time)?;
    let form = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(at.strftime(form).to_string().into())
}

/// JSON inside of a message; nothing is `null`.
pub(super) fn json(raw: &[u8], name: &str) -> Result<Value, Error> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|_| Error::Json(name.to_owned()))
}
