//! A tiny API server for tests.
