//! How controllers, scheduler and agent talk to the API.
//!
//! * [`in_process`]: a `kube::Client` whose transport is a tower service of this process.
//! * [`Informers`] and [`Informer`]: one shared, indexed cache per kind, filled by list and watch.
//! * [`queue::Queue`]: keyed work queue with delays and per-key back-off.
//! * [`controller`]: workers that reconcile keys, and the wiring from informers to queues.
//! * [`events::Recorder`]: core/v1 Events about objects, aggregated and sent in the background.
//! * [`time`]: the current time in the API's types.
//! * `fake` (feature of that name): an API in memory for tests.
//! * [`error`], [`patch`], [`owner`], [`finalizer`]: small helpers around requests.
#![warn(missing_docs)]

pub mod controller;
pub mod error;
pub mod events;
#[cfg(feature = "fake")]
pub mod fake;
pub mod finalizer;
pub mod informer;
mod informers;
mod key;
pub mod owner;
pub mod patch;
pub mod queue;
pub mod time;
mod transport;

pub use controller::Action;
pub use informer::{Change, Informer, Object, Subscription};
pub use informers::{Informers, Scope};
pub use key::ObjectKey;
pub use kube::Client;
pub use owner::controller_ref;
pub use patch::patch_status;
pub use queue::Queue;
pub use transport::in_process;

#[cfg(test)]
mod test_server;
