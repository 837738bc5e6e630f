//! Clusters for end-to-end tests.
