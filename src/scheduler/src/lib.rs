//! copepod-scheduler
