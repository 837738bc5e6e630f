//! The API server: one pipeline for every request, no handler per kind.
//!
//! A request goes through [`pipeline`]: route, authenticate, take a seat, authorize, then a handler of its verb
//! ([`handlers`]), which decodes, lets [`admission`] change and refuse, defaults, validates and writes by the store's one
//! guarded update. What a kind is and does comes from its descriptor in `copepod_api`. Over TLS and in process
//! ([`Server::service`]) it is the same pipeline.
//!
//! * [`request`]: what a request says; [`respond`] and [`body`]: what is answered.
//! * [`storage`]: keys, lists, errors of the store. Objects at rest are bytes; reading copies them.
//! * [`watch`]: one watch on the store, shared by all watchers; an event is encoded once.
//! * [`authenticate`], [`authorize`], [`admission`]: chains of trait objects; RBAC, webhooks and quotas join them.
//! * [`subresources`], [`reviews`]: the few things that Kubernetes itself treats one by one.
//! * [`node`]: streams of pods, over byte streams that the nodes' agents opened.
//! * [`bootstrap`]: objects that every cluster has.
#![warn(missing_docs)]

mod admission;
mod authenticate;
mod authorize;
mod body;
mod bootstrap;
mod config;
mod discovery;
mod flow;
mod handlers;
mod health;
mod identity;
mod listen;
mod metrics;
mod node;
mod object_meta;
mod pipeline;
mod request;
mod respond;
mod reviews;
mod server;
mod state;
mod storage;
mod subresources;
mod watch;

pub use authenticate::{StaticToken, TokenAuthenticator};
pub use body::Body;
pub use config::{Dependencies, ServerConfig, VersionInfo};
pub use identity::{AUTHENTICATED, Identity, MASTERS, NODES};
pub use node::{Io, NodeDialer};
pub use server::{Server, Service, StartError};

#[cfg(test)]
mod tests;
