//! copepod-cri
