//! copepod-controllers
