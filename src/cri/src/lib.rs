//! The container runtime, spoken to over CRI v1, and the private containerd behind it.
//!
//! * [`runtime`], [`images`]: the two services as object-safe traits; everything above uses only these.
//! * [`client`]: their implementation over a unix socket, [`connect`].
//! * [`events`]: what happens to containers, as it happens.
//! * [`containerd`]: configuration and supervision of our own containerd.
//! * [`import`]: image archives into containerd without a registry.
//! * `fake`: an in-memory runtime for unit tests (feature `fake`).
#![warn(missing_docs)]

pub mod client;
pub mod containerd;
pub mod error;
pub mod events;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod images;
pub mod import;
pub mod runtime;

pub use client::connect;
pub use error::Error;
pub use events::{EventKind, RuntimeEvent};
pub use images::Images;
/// The CRI v1 messages.
pub use k8s_cri::v1;
pub use runtime::Runtime;

/// Result of a call to the runtime.
pub type Result<T> = std::result::Result<T, Error>;
