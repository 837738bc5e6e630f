//! The object model of Kubernetes, without I/O: what a kind is, how its objects are read, defaulted, validated,
//! patched, selected and printed.
//!
//! * [`kind`]: resource descriptors; [`builtin`] has the table of all built-in ones, [`registry`] finds them.
//! * [`strategy`]: what a kind does to an object on its way to the store; [`typed`] is the generic implementation for
//!   typed kinds, another for custom resources comes later.
//! * From the wire: [`codec`] reads bodies, [`patch`] patches, [`selector`] selectors; [`metadata`] and [`names`] have the
//!   rules that hold for all kinds.
//! * To the wire: [`encode`] puts stored bytes together, [`convert`] translates between versions, [`meta`] and [`scan`]
//!   look into bytes without decoding them, [`print`] makes tables, [`scale`] the scale subresource.
//! * What clients ask first: [`discovery`], [`openapi`].
//! * [`status`]: the errors that Kubernetes gives. [`field`]: paths and errors of single fields.
//! * Arithmetic that server and node share: [`quantity`], [`resources`], [`taints`], [`hash`].
//!
//! This is the only crate that knows `k8s-openapi`'s types one by one on the server side. It reads no clock and
//! makes no ids: callers pass them in.
#![warn(missing_docs)]

pub mod builtin;
pub mod codec;
pub mod convert;
mod defaults;
pub mod discovery;
pub mod encode;
pub mod field;
pub mod hash;
pub mod kind;
pub mod meta;
pub mod metadata;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod patch_schema;
mod prepare;
pub mod print;
pub mod protobuf;
pub mod quantity;
pub mod registry;
pub mod resources;
pub mod scale;
pub mod scan;
pub mod selector;
pub mod status;
pub mod strategy;
pub mod taints;
pub mod typed;
mod validate;
