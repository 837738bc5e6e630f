//! From stored bytes to bytes on the wire, by copying: objects, lists, watch events and bare metadata.
//!
//! A stored object has no `metadata.resourceVersion`; it is put in here, from the revision of the record.

use std::io::Write as _;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde_json::json;

use crate::scan;
use crate::status::ApiError;

/// Bytes that a resource version adds at most.
const VERSION_ROOM: usize = 48;
const METADATA: &[u8] = b"\"metadata\":{";
/// `apiVersion` and `kind` end within this many bytes.
const HEADER: usize = 512;

/// The position behind the brace that opens `metadata`.
fn inside_metadata(object: &[u8]) -> Option<usize> {
    let header = &object[..object.len().min(HEADER)];
    match header.windows(METADATA.len()).position(|w| w == METADATA) {
        Some(at) => Some(at + METADATA.len()),
        None => scan::field(object, "metadata").map(|range| range.start + 1),
    }
}

/// Appends a stored object with its resource version.
pub fn splice(object: &[u8], resource_version: u64, out: &mut Vec<u8>) {
    let Some(at) = inside_metadata(object) else {
        out.extend_from_slice(object);
        return;
    };
    out.extend_from_slice(&object[..at]);
    write_version(&object[at..], resource_version, out);
}

/// Appends the version and the rest, whose first bytes are inside `metadata`.
fn write_version(rest: &[u8], resource_version: u64, out: &mut Vec<u8>) {
    let comma = if rest.first() == Some(&b'}') { "" } else { "," };
    // Writing to a vector cannot fail.
    let _ = write!(out, "\"resourceVersion\":\"{resource_version}\"{comma}");
    out.extend_from_slice(rest);
}

/// A stored object with its resource version.
#[must_use]
pub fn object(object: &[u8], resource_version: u64) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + VERSION_ROOM);
    splice(object, resource_version, &mut out);
    out.into()
}

/// Appends a stored object's metadata alone, as `meta.k8s.io/v1` PartialObjectMetadata.
pub fn splice_metadata(object: &[u8], resource_version: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{",
    );
    let metadata = scan::get(object, &["metadata"]).unwrap_or(b"{}");
    write_version(&metadata[1..], resource_version, out);
    out.push(b'}');
}

/// A stored object's metadata alone, as PartialObjectMetadata.
#[must_use]
pub fn metadata_only(object: &[u8], resource_version: u64) -> Bytes {
    let mut out = Vec::new();
    splice_metadata(object, resource_version, &mut out);
    out.into()
}

/// The `metadata` of a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListMeta<'a> {
    /// Revision of the snapshot that the list shows.
    pub resource_version: u64,
    /// Token for the next page.
    pub continue_token: Option<&'a str>,
    /// Objects after this page, when known.
    pub remaining: Option<i64>,
}

/// Writes a list by concatenation.
#[derive(Debug)]
pub struct ListWriter {
    out: Vec<u8>,
    empty: bool,
}

impl ListWriter {
    /// Starts a list, for example of kind `PodList`; `room` is the expected size of all objects in bytes.
    #[must_use]
    pub fn new(list_kind: &str, api_version: &str, meta: ListMeta<'_>, room: usize) -> Self {
        let mut out = Vec::with_capacity(room + 256);
        let mut metadata = format!("{{\"resourceVersion\":\"{}\"", meta.resource_version);
        if let Some(token) = meta.continue_token.filter(|t| !t.is_empty()) {
            metadata.push_str(&format!(",\"continue\":{}", json!(token)));
        }
        if let Some(remaining) = meta.remaining.filter(|r| *r > 0) {
            metadata.push_str(&format!(",\"remainingItemCount\":{remaining}"));
        }
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata}}},\"items\":[",
            json!(list_kind),
            json!(api_version)
        );
        Self { out, empty: true }
    }

    fn comma(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        &mut self.out
    }

    /// Adds a stored object.
    pub fn push(&mut self, object: &[u8], resource_version: u64) {
        splice(object, resource_version, self.comma());
    }

    /// Adds a stored object's metadata alone.
    pub fn push_metadata(&mut self, object: &[u8], resource_version: u64) {
        splice_metadata(object, resource_version, self.comma());
    }

    /// The whole list.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.out.extend_from_slice(b"]}");
        self.out.into()
    }
}

/// What a watch event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// The object is new, or new among those that match.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone, or no longer matches.
    Deleted,
}

impl EventType {
    /// The type on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }
}

fn event_with(kind: EventType, room: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(room + VERSION_ROOM + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    write(&mut out);
    out.extend_from_slice(b"}\n");
    out.into()
}

/// A watch event with a line feed at its end.
#[must_use]
pub fn event(kind: EventType, object: &[u8], resource_version: u64) -> Bytes {
    event_with(kind, object.len(), |out| splice(object, resource_version, out))
}

/// A watch event that carries only metadata.
#[must_use]
pub fn metadata_event(kind: EventType, object: &[u8], resource_version: u64) -> Bytes {
    event_with(kind, 1024, |out| splice_metadata(object, resource_version, out))
}

/// A watch event around an object that is encoded already, such as a Table.
#[must_use]
pub fn raw_event(kind: EventType, object: &[u8]) -> Bytes {
    event_with(kind, object.len(), |out| out.extend_from_slice(object))
}

/// A watch event that only tells how far the watch is. `initial_end` marks the end of `sendInitialEvents`.
#[must_use]
pub fn bookmark(kind: &str, api_version: &str, resource_version: u64, initial_end: bool) -> Bytes {
    let mut metadata = json!({"resourceVersion": resource_version.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
    format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into()
}

/// The watch event that ends a watch with an error.
#[must_use]
pub fn error_event(error: &ApiError) -> Bytes {
    format!("{}\n", json!({"type": "ERROR", "object": status_value(&error.0)})).into()
}

/// A Status as it goes over the wire, with `metadata` as clients expect it.
#[must_use]
pub fn status(status: &Status) -> Bytes {
    status_value(status).to_string().into()
}

fn status_value(status: &Status) -> serde_json::Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["kind"] = "Status".into();
    value["apiVersion"] = "v1".into();
    if value.get("metadata").is_none_or(serde_json::Value::is_null) {
        value["metadata"] = json!({});
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{}}"#;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_resource_version_is_put_into_the_metadata() {
        assert_eq!(
            text(&object(POD, 7)),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#
        );
        assert_eq!(text(&object(br#"{"metadata":{}}"#, 7)), r#"{"metadata":{"resourceVersion":"7"}}"#);
    }

    #[test]
    fn a_list_is_its_objects_side_by_side() {
        let meta = ListMeta { resource_version: 9, continue_token: Some("t"), remaining: Some(3) };
        let mut list = ListWriter::new("PodList", "v1", meta, 100);
        list.push(POD, 7);
        list.push_metadata(POD, 8);
        let value: serde_json::Value = serde_json::from_slice(&list.finish()).unwrap();
        assert_eq!(
            value["metadata"],
            json!({"resourceVersion": "9", "continue": "t", "remainingItemCount": 3})
        );
        assert_eq!(value["items"][0]["metadata"]["resourceVersion"], "7");
        assert_eq!(value["items"][1]["kind"], "PartialObjectMetadata");
        let empty = ListWriter::new("PodList", "v1", ListMeta::default(), 0).finish();
        assert!(text(&empty).ends_with("\"items\":[]}"));
    }

    #[test]
    fn an_event_is_one_line() {
        let event = event(EventType::Added, POD, 7);
        assert!(text(&event).starts_with(r#"{"type":"ADDED","object":{"apiVersion":"v1""#));
        assert_eq!(text(&event).matches('\n').count(), 1);
        let bookmark: serde_json::Value = serde_json::from_slice(&bookmark("Pod", "v1", 5, true)).unwrap();
        assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        let error: serde_json::Value =
            serde_json::from_slice(&error_event(&ApiError::expired("too old"))).unwrap();
        assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    }
}
