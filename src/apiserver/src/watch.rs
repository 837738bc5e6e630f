//! Watches: one store watch for all keys feeds a [`Hub`]; each client's [`Watcher`] takes from it what it selects.

mod filter;
mod hub;
mod watcher;

pub(crate) use filter::Filter;
pub(crate) use hub::{Delivery, Hub};
pub(crate) use watcher::{Initial, Rendering, Watcher, WatcherConfig, random_share};
