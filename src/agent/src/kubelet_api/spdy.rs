//! SPDY/3.1 as far as `exec`, `attach` and `port-forward` need it (draft-mbelshe-httpbis-spdy-00).
//!
//! * [`frame`]: bytes to frames and back, with the shared header compression state.
//! * [`session`]: the client side of a connection: opens streams, delivers what arrives in order.
//!
//! Runtimes' streaming servers do no SPDY flow control, TCP's is what holds back a fast sender; so
//! WINDOW_UPDATE frames are accepted and never waited for.

mod frame;
pub(crate) mod session;

pub(crate) use frame::Frame;
pub(crate) use session::Event;
