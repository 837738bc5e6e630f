//! copepod-pki
