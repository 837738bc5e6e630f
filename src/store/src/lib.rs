//! Revisioned key-value store with etcd's semantics: the only place where Copepod keeps state.
//!
//! * [`Store`] is the contract; [`types`] are its words.
//! * [`sqlite::Sqlite`] keeps it in a file, [`memory::MemoryStore`] only in memory (unit tests of other crates).
//! * [`guaranteed_update`] is the one read-modify-write loop of the program.
//!
//! Guarantees of every back end:
//! 1. One monotonic revision for all keys, persisted; each successful write raises it by one.
//! 2. A write that was acknowledged with [`Durability::Durable`] survives `kill -9` and a power cut.
//! 3. A watch delivers every event after its start revision exactly once, in revision order, or ends with
//!    [`Error::Compacted`] or [`Error::TooSlow`]; it never skips silently.
//! 4. A range at a revision sees all keys as they were at that revision, or fails with [`Error::Compacted`].
//!
//! The store knows bytes and keys, nothing of Kubernetes. It takes no time and makes no ids of its own.
#![warn(missing_docs)]

mod hub;
pub mod memory;
pub mod sqlite;
#[cfg(test)]
mod suite;
pub mod types;
mod update;

pub use types::*;
pub use update::{Attempt, Decision, Outcome, Preconditions, guaranteed_update};
