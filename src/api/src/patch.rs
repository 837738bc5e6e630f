//! Patches of the three old kinds: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

mod strategic;

use json_patch::jsonptr::resolve::Resolve as _;
use json_patch::{PatchOperation, jsonptr};
use serde_json::Value;

use crate::codec;
use crate::field::{Errors, Path};
use crate::patch_schema::Type;
use crate::status::ApiError;

/// A JSON patch may have this many operations.
pub const MAX_OPERATIONS: usize = 10_000;
/// What all `copy` operations of a JSON patch together may copy, in bytes.
const MAX_COPIED: usize = 3 << 20;

/// The kind of a patch, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl PatchType {
    /// The kind of patch of a `Content-Type`; parameters are ignored.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }

    /// The media type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// A patch that was read and can be applied, more than once when the write meets a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    content: Content,
    complaints: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Json(Vec<PatchOperation>),
    Merge(Value),
    Strategic(Value, &'static Type),
}

impl Patch {
    /// Reads a JSON patch.
    ///
    /// # Errors
    /// 400 when the body is none, 413 when it has too many operations.
    pub fn json(body: &[u8]) -> Result<Self, ApiError> {
        let parsed = decode(body)?;
        let operations: Vec<PatchOperation> = serde_json::from_value(parsed.value)
            .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
        if operations.len() > MAX_OPERATIONS {
            let message = format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                operations.len()
            );
            return Err(ApiError::new(413, "RequestEntityTooLarge", message));
        }
        Ok(Self { content: Content::Json(operations), complaints: parsed.complaints })
    }

    /// Reads a merge patch.
    ///
    /// # Errors
    /// 400 when the body is no JSON object.
    pub fn merge(body: &[u8]) -> Result<Self, ApiError> {
        let parsed = decode_object(body)?;
        Ok(Self { content: Content::Merge(parsed.value), complaints: parsed.complaints })
    }

    /// Reads a strategic merge patch for objects of a type.
    ///
    /// # Errors
    /// 400 when the body is no JSON object.
    pub fn strategic(body: &[u8], object: &'static Type) -> Result<Self, ApiError> {
        let parsed = decode_object(body)?;
        Ok(Self { content: Content::Strategic(parsed.value, object), complaints: parsed.complaints })
    }

    /// What strict validation says of the patch itself: duplicate fields.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The object with the patch applied.
    ///
    /// # Errors
    /// 422 when the patch does not fit the object, 400 when its directives are wrong.
    pub fn apply(&self, mut object: Value) -> Result<Value, ApiError> {
        match &self.content {
            Content::Json(operations) => {
                apply_operations(&mut object, operations)?;
                Ok(object)
            }
            Content::Merge(patch) => {
                json_patch::merge(&mut object, patch);
                Ok(object)
            }
            Content::Strategic(patch, schema) => {
                strategic::apply(object, patch.clone(), schema).map_err(Into::into)
            }
        }
    }
}

fn decode(body: &[u8]) -> Result<codec::Parsed, ApiError> {
    codec::parse_json(body).map_err(|why| ApiError::bad_request(format!("error decoding patch: {why}")))
}

fn decode_object(body: &[u8]) -> Result<codec::Parsed, ApiError> {
    let parsed = decode(body)?;
    if parsed.value.is_object() {
        return Ok(parsed);
    }
    Err(ApiError::bad_request(
        "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}",
    ))
}

/// 422 for a patch that does not fit; the cause says why.
fn unfit(why: impl std::fmt::Display) -> ApiError {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, StatusDetails};

    let message = "the server rejected our request due to an error in our request";
    let mut error = ApiError::new(422, "Invalid", message);
    error.0.details = Some(StatusDetails {
        causes: Some(vec![StatusCause {
            reason: Some("UnexpectedServerResponse".to_owned()),
            message: Some(why.to_string()),
            field: None,
        }]),
        ..StatusDetails::default()
    });
    error
}

fn apply_operations(object: &mut Value, operations: &[PatchOperation]) -> Result<(), ApiError> {
    let mut copied = 0;
    for operation in operations {
        // A copy of a copy of a copy grows without end.
        if let PatchOperation::Copy(copy) = operation {
            copied += size(object, &copy.from);
            if copied > MAX_COPIED {
                return Err(unfit(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the \
                     limit {MAX_COPIED}"
                )));
            }
        }
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(unfit)?;
    }
    Ok(())
}

fn size(object: &Value, pointer: &jsonptr::Pointer) -> usize {
    object.resolve(pointer).map_or(0, |value| value.to_string().len())
}

/// 422 for a patched object that does not decode, or not strictly.
#[must_use]
pub fn invalid_result(patched: &Value, why: &str) -> ApiError {
    let mut errors = Errors::new();
    errors.invalid(&Path::new("patch"), patched.to_string(), why);
    ApiError::invalid_named("", "", "", &errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_json_patch_is_applied_in_order() {
        let patch = Patch::json(
            br#"[{"op":"test","path":"/a","value":1},{"op":"add","path":"/l/-","value":3},{"op":"remove","path":"/a"},
                {"op":"move","from":"/b","path":"/c"}]"#,
        )
        .unwrap();
        let object = json!({"a": 1, "l": [1, 2], "b": "x"});
        assert_eq!(patch.apply(object).unwrap(), json!({"l": [1, 2, 3], "c": "x"}));
    }

    #[test]
    fn a_json_patch_that_does_not_fit_is_422() {
        for operation in [
            r#"{"op":"test","path":"/a","value":2}"#,
            r#"{"op":"remove","path":"/b"}"#,
            r#"{"op":"replace","path":"/b","value":1}"#,
        ] {
            let patch = Patch::json(format!("[{operation}]").as_bytes()).unwrap();
            let error = patch.apply(json!({"a": 1})).unwrap_err();
            assert_eq!((error.code(), error.reason()), (422, "Invalid"), "{operation}");
        }
        assert_eq!(Patch::json(b"{}").unwrap_err().code(), 400);
        assert_eq!(Patch::json(br#"[{"op":"fly","path":"/a"}]"#).unwrap_err().code(), 400);
    }

    #[test]
    fn a_patch_that_copies_without_end_is_refused() {
        let copies = vec![r#"{"op":"copy","from":"/l","path":"/l/-"}"#; 64].join(",");
        let patch = Patch::json(format!("[{copies}]").as_bytes()).unwrap();
        assert_eq!(patch.apply(json!({"l": ["x"]})).unwrap_err().code(), 422);
        let many = vec![r#"{"op":"remove","path":"/a"}"#; MAX_OPERATIONS + 1].join(",");
        assert_eq!(Patch::json(format!("[{many}]").as_bytes()).unwrap_err().code(), 413);
    }

    #[test]
    fn a_merge_patch_deletes_with_null_and_replaces_lists() {
        let patch = Patch::merge(br#"{"a":null,"m":{"x":2},"l":[9]}"#).unwrap();
        let object = json!({"a": 1, "m": {"x": 1, "y": 1}, "l": [1, 2]});
        assert_eq!(patch.apply(object).unwrap(), json!({"m": {"x": 2, "y": 1}, "l": [9]}));
        assert!(Patch::merge(b"[]").unwrap_err().to_string().starts_with("error decoding patch: json: "));
        assert_eq!(
            Patch::merge(b"{").unwrap_err().to_string(),
            "error decoding patch: unexpected end of JSON input"
        );
    }

    #[test]
    fn an_undecodable_result_names_the_patch() {
        let error = invalid_result(&json!({"a": 1}), "why");
        assert_eq!(error.to_string(), r#" "" is invalid: patch: Invalid value: "{\"a\":1}": why"#);
    }
}
