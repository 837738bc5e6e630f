//! Shared by the tests of this crate.

use std::time::SystemTime;

use tempfile::TempDir;

use crate::Authority;

pub(crate) fn now() -> SystemTime {
    copepod_base::clock::now()
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn authority() -> Authority {
    Authority::create("test-ca", now()).unwrap()
}
