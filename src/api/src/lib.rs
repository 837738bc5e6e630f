//! The object model of Kubernetes, without I/O: what a kind is, how its objects are read, defaulted, validated,
//! patched, selected and printed.
//!
//! * [`kind`]: resource descriptors; [`builtin`] has the table of all built-in ones.
//! * [`strategy`]: what a kind does to an object on its way to the store; one generic implementation for typed
//!   kinds, another for custom resources later.
//! * [`status`]: the errors that Kubernetes gives. [`field`]: paths and errors of single fields.
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
