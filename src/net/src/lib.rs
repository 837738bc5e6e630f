//! copepod-net
