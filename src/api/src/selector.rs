//! Label and field selectors.

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector, Operation};
pub use label::{LabelSelector, Labels, Operator, Requirement};

/// Why a selector cannot be read; texts are those of Kubernetes. Answered with 400 BadRequest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
