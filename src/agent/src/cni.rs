//! The CNI plugin role of the executable (CNI specification 1.0.0 and 1.1.0).
//!
//! containerd starts the executable with `CNI_COMMAND` set, gives the network's configuration on standard input and
//! reads a result or an error from standard output. This runs once for each pod, so it starts nothing it does not need:
//! no runtime, no flags, no log.
//!
//! * [`install`]: writes the configuration that makes containerd do so.
//! * [`operations`]: what ADD, DEL, CHECK and GC do.

mod install;
mod operations;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use copepod_base::Chain;
use serde::Deserialize;
use serde_json::{Value, json};

pub use install::{CniConfig, InstallError, install};

/// Versions of the specification that the plugin speaks.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Error codes of the specification, and own ones from 100.
mod code {
    pub(super) const INCOMPATIBLE: u32 = 1;
    pub(super) const ENVIRONMENT: u32 = 4;
    pub(super) const DECODE: u32 = 6;
    pub(super) const CONFIG: u32 = 7;
    pub(super) const TRY_AGAIN: u32 = 11;
    pub(super) const KERNEL: u32 = 100;
    pub(super) const ADDRESSES: u32 = 101;
    pub(super) const CHECK: u32 = 102;
}

/// The network's configuration, as the agent wrote it into the list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    cni_version: String,
    #[serde(default)]
    bridge: String,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    subnets: Vec<copepod_net::IpNet>,
    #[serde(default)]
    state_dir: PathBuf,
    /// Containers that still exist, for GC.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Vec<Attachment>,
}

/// A container and its interface, as GC names them.
#[derive(Debug, Clone, Deserialize)]
struct Attachment {
    #[serde(rename = "containerID")]
    container: String,
    #[serde(rename = "ifname")]
    interface: String,
}

/// Why the plugin refuses: a code, a sentence, and what is behind it.
#[derive(Debug)]
struct Refusal {
    code: u32,
    message: String,
    details: String,
}

impl Refusal {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }
}

impl From<copepod_net::Error> for Refusal {
    fn from(error: copepod_net::Error) -> Self {
        Self { code: code::KERNEL, message: error.to_string(), details: Chain(&error).to_string() }
    }
}

impl From<copepod_net::ipam::Error> for Refusal {
    fn from(error: copepod_net::ipam::Error) -> Self {
        Self { code: code::ADDRESSES, message: error.to_string(), details: Chain(&error).to_string() }
    }
}

/// Whether the process was started as a CNI plugin.
#[must_use]
pub fn is_called() -> bool {
    std::env::var_os("CNI_COMMAND").is_some()
}

/// Serves one call of a container runtime.
#[must_use]
pub fn main() -> ExitCode {
    let mut input = Vec::new();
    let (version, result) = match std::io::stdin().read_to_end(&mut input) {
        Ok(_) => call(&input),
        Err(error) => {
            (newest(), Err(Refusal::new(code::DECODE, format!("cannot read the configuration: {error}"))))
        }
    };
    let (output, exit) = match result {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(result)) => (result, ExitCode::SUCCESS),
        Err(refusal) => {
            let error = json!({
                "cniVersion": version, "code": refusal.code, "msg": refusal.message, "details": refusal.details});
            (error, ExitCode::FAILURE)
        }
    };
    // Nobody is left to be told when the pipe is closed.
    let _ = std::io::stdout().write_all(output.to_string().as_bytes());
    exit
}

fn newest() -> String {
    VERSIONS[VERSIONS.len() - 1].to_owned()
}

/// The version to answer in, and what to answer.
fn call(input: &[u8]) -> (String, Result<Option<Value>, Refusal>) {
    let command = std::env::var("CNI_COMMAND").unwrap_or_default();
    let named: Option<Value> = serde_json::from_slice(input).ok();
    let version = named
        .as_ref()
        .and_then(|value| value.get("cniVersion")?.as_str().map(ToOwned::to_owned))
        .unwrap_or_else(newest);
    if command == "VERSION" {
        return (version.clone(), Ok(Some(json!({"cniVersion": version, "supportedVersions": VERSIONS}))));
    }
    let network: Network = match serde_json::from_slice(input) {
        Ok(network) => network,
        Err(error) => {
            return (version, Err(Refusal::new(code::DECODE, format!("cannot read the configuration: {error}"))));
        }
    };
    if !VERSIONS.contains(&network.cni_version.as_str()) {
        let message = format!("CNI version {:?} is not one of {}", network.cni_version, VERSIONS.join(", "));
        return (newest(), Err(Refusal::new(code::INCOMPATIBLE, message)));
    }
    let result = match command.as_str() {
        "ADD" => operations::add(&network).map(Some),
        "DEL" => operations::delete(&network).map(|()| None),
        "CHECK" => operations::check(&network).map(|()| None),
        "GC" => operations::collect(&network).map(|()| None),
        "STATUS" => operations::status(&network).map(|()| None),
        other => Err(Refusal::new(code::ENVIRONMENT, format!("CNI_COMMAND {other:?} is not known"))),
    };
    (version, result)
}
