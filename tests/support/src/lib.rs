//! Real clusters for the end-to-end tests: the built executable with real containerd, runc and kubectl, each in
//! namespaces and folders of its own, all gone when the test ends, however it ends.

#![allow(clippy::print_stderr)] // a failing test says where its logs are

mod cluster;
mod curl;
pub mod images;
mod kubectl;
mod namespace;
#[path = "../../../images/oci.rs"]
pub mod oci;
mod process;
mod sandbox;
mod wait;

pub use cluster::{Builder, Cluster, StartFailure};
pub use curl::{Answer, Credentials, Curl};
pub use kubectl::{Kubectl, Version};
pub use namespace::Namespace;
pub use process::{Finished, Running};
pub use sandbox::Sandbox;
pub use wait::{eventually, until};

use std::path::{Path, PathBuf};

/// The top of the source tree.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the source tree exists")
}

/// The executable under test: `COPEPOD_BIN`, else the debug build.
#[must_use]
pub fn executable() -> PathBuf {
    let path = std::env::var_os("COPEPOD_BIN")
        .map_or_else(|| workspace().join("target/debug/copepod"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo build` (scripts/test does)", path.display());
    path
}
