//! copepod-apiserver
