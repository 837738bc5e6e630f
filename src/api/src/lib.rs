//! copepod-api
