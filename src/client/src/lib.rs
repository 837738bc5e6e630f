//! copepod-client
