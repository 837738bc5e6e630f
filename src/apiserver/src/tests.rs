//! The server as its clients see it, over a store in memory.

mod basics;
mod support;
