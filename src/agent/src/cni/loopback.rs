//! The `loopback` plugin: brings `lo` up. containerd calls it for every sandbox before the pod network's plugin, and
//! demands a program of that name beside it.

use std::path::Path;

use copepod_net::{NetNs, Netlink};
use serde_json::{Value, json};

use super::conf::Parameters;
use super::{CniError, SUPPORTED};

/// `type` in the configuration.
pub(super) const TYPE: &str = "loopback";

/// The answer to a call.
pub(super) fn answer(version: &str, parameters: &Parameters) -> Result<Option<Value>, CniError> {
    if !SUPPORTED.contains(&version) && version != "0.3.1" {
        return Err(CniError::new(1, "incompatible CNI versions", format!("config is \"{version}\"")));
    }
    match parameters.command.as_str() {
        "ADD" => add(version, parameters).map(Some),
        "CHECK" => up(parameters).map(|()| None),
        // The link goes with its namespace.
        "DEL" | "STATUS" | "GC" => Ok(None),
        other => Err(CniError::environment(format!("unknown CNI_COMMAND: {other}"))),
    }
}

fn up(parameters: &Parameters) -> Result<(), CniError> {
    let kernel = |error: copepod_net::Error| CniError::failed(&error);
    let namespace = NetNs::open(Path::new(&parameters.netns)).map_err(kernel)?;
    Netlink::open_in(&namespace).map_err(kernel)?.set_link_up("lo").map_err(kernel)
}

fn add(version: &str, parameters: &Parameters) -> Result<Value, CniError> {
    up(parameters)?;
    let mut address = json!({"address": "127.0.0.1/8", "interface": 0});
    if version.starts_with("0.") {
        address["version"] = json!("4");
    }
    Ok(json!({
        "cniVersion": version,
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": parameters.netns}],
        "ips": [address],
    }))
}
