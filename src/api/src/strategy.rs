//! What a kind does to an object between the wire and the store.
//!
//! The pipeline calls, for a write: [`Strategy::decode`], [`Strategy::default`], [`Strategy::prepare_create`] or
//! [`Strategy::prepare_update`], admission, then [`Strategy::validate_create`] or [`Strategy::validate_update`], and
//! stores [`Object::encode`]. Reading decodes nothing.

use std::any::Any;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::field::Errors;
use crate::status::ApiError;

/// A decoded object: a typed one, or the tree of a custom resource.
pub trait Object: Any + Send + Sync {
    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// The object's metadata, to change.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    /// The object as a JSON tree, `apiVersion` and `kind` included.
    fn to_value(&self) -> Value;
    /// Canonical JSON as it is stored: `apiVersion`, `kind`, `metadata` first, without `metadata.resourceVersion`.
    fn encode(&self) -> Bytes;
    /// A copy.
    fn boxed_clone(&self) -> Box<dyn Object>;
    /// For strategies, to get at their own type.
    fn as_any(&self) -> &dyn Any;
    /// For strategies, to get at their own type.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// A decoded object, and what decoding dropped.
pub struct Decoded {
    /// The object.
    pub object: Box<dyn Object>,
    /// Paths of fields that the kind does not have, such as `spec.replicsa`, in document order.
    pub unknown: Vec<String>,
    /// Paths of fields that the document gives twice; of trees there are none.
    pub duplicates: Vec<String>,
}

/// Which part of an object an update is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The object itself: `.status` is kept from the old one where the kind has a status subresource.
    Main,
    /// `/status`: everything but `.status` is kept from the old one.
    Status,
    /// Another subresource ([`crate::kind::Access::Part`]).
    Other(&'a str),
}

/// A cell of a table row: any JSON scalar.
pub type Cell = Value;

/// What a kind does to its objects. One generic implementation serves all typed kinds.
pub trait Strategy: Send + Sync {
    /// Reads an object from JSON, dropping what the kind does not know; Go's `null` counts as absent.
    ///
    /// # Errors
    /// 400 BadRequest with the text of the API server when a field has the wrong type.
    fn decode(&self, json: &[u8]) -> Result<Decoded, ApiError>;

    /// As [`decode`](Self::decode), from a tree (the result of a patch).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_value(&self, value: Value) -> Result<Decoded, ApiError>;

    /// Fills in defaults.
    fn default(&self, object: &mut dyn Object);

    /// Clears what a client may not set at creation (usually the status).
    fn prepare_create(&self, object: &mut dyn Object);

    /// Takes from `old` what a write of `part` may not change.
    fn prepare_update(&self, new: &mut dyn Object, old: &dyn Object, part: Part<'_>);

    /// All that is wrong with a new object. Metadata is validated by the pipeline for all kinds alike.
    fn validate_create(&self, object: &dyn Object) -> Errors;

    /// All that is wrong with a change.
    fn validate_update(&self, new: &dyn Object, old: &dyn Object, part: Part<'_>) -> Errors;

    /// Whether anything but metadata and status differs: then the generation moves.
    fn spec_differs(&self, new: &dyn Object, old: &dyn Object) -> bool;

    /// What is valid as a name of this kind.
    fn name_rule(&self) -> NameRule {
        NameRule::DnsSubdomain
    }

    /// Headings of the kind's table, with the name column first.
    fn columns(&self) -> &[crate::kind::Column];

    /// The cells of an object's row. `now` is in seconds since 1970, for ages.
    fn row(&self, object: &Value, now: i64) -> Vec<Cell>;
}

/// What is valid as an object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 characters: most kinds.
    DnsSubdomain,
    /// RFC 1123 label, at most 63 characters: namespaces.
    DnsLabel,
    /// RFC 1035 label, at most 63 characters: services.
    Dns1035Label,
    /// Any path segment: roles and bindings of RBAC.
    PathSegment,
}
