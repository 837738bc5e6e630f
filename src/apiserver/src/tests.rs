//! The server as its clients see it, over a store in memory.

mod access;
mod basics;
mod deletion;
mod lists;
mod refusals;
mod services;
mod streams;
mod subresources;
mod support;
mod tls;
mod watches;
mod writes;
