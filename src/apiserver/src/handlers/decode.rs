//! From a request's body to an object, with field validation.

use copepod_api::codec::{self, FieldValidation, Format};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_api::strategy::{Decoded, Object};
use serde_json::Value;

use crate::request::Context;
use crate::request::content;

/// Reads the body of a write as an object of the kind.
///
/// # Errors
/// 415 for a media type that is not read, 400 for a body that is no object of the kind.
pub(crate) fn object(
    cx: &Context,
    kind: &Kind,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Box<dyn Object>, ApiError> {
    let parsed = codec::parse(body, format(cx)?, &kind.gvk.kind)?;
    let decoded = kind.strategy.decode_value(parsed.value)?;
    complain(cx, kind, &parsed.complaints, &decoded, validation)?;
    Ok(decoded.object)
}

/// The format of the request's body.
///
/// # Errors
/// 415 for a media type that is not read.
pub(crate) fn format(cx: &Context) -> Result<Format, ApiError> {
    Format::of(Some(content::media_type(&cx.headers)))
        .ok_or_else(|| ApiError::unsupported_media_type(codec::OBJECT_MEDIA_TYPES))
}

/// Deals with fields that are given twice or that the kind does not have.
///
/// # Errors
/// 400 under strict validation.
pub(crate) fn complain(
    cx: &Context,
    kind: &Kind,
    duplicates: &[String],
    decoded: &Decoded,
    validation: FieldValidation,
) -> Result<(), ApiError> {
    if validation == FieldValidation::Ignore || (duplicates.is_empty() && decoded.unknown.is_empty()) {
        return Ok(());
    }
    let complaints = codec::complaints(duplicates, &decoded.unknown);
    if validation == FieldValidation::Strict {
        return Err(codec::refuse_strictly(kind, &complaints));
    }
    for complaint in &complaints {
        cx.warn(complaint);
    }
    Ok(())
}

/// Reads the body of a write that is no stored kind: an Eviction, a TokenRequest.
///
/// # Errors
/// 415 for a media type that is not read, 400 for a body of another kind or with wrong types.
pub(crate) fn plain<T: serde::de::DeserializeOwned>(
    cx: &Context,
    body: &[u8],
    kind: &str,
) -> Result<T, ApiError> {
    let refuse = |why: String| {
        ApiError::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}"))
    };
    let mut value = codec::parse(body, format(cx)?, kind)?.value;
    match value.get("kind").and_then(Value::as_str) {
        None | Some("") => {}
        Some(given) if given == kind => {}
        Some(given) => return Err(refuse(format!("it is of kind {given}"))),
    }
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| refuse(error.to_string()))
}

/// Go's `null` is an absent field.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
