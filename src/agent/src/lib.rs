//! copepod-agent
