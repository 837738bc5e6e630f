//! Making containerd call this executable for every pod.

use std::io;
use std::path::{Path, PathBuf};

use copepod_base::file;
use copepod_net::IpNet;
use serde_json::json;

/// Name of the plugin: the `type` in the configuration, and the file in the folder of plugins.
const PLUGIN: &str = "copepod";
/// First in the folder's order, so that leftovers of other networks do not win.
const LIST: &str = "10-copepod.conflist";

/// The pod network of this node.
#[derive(Debug, Clone)]
pub struct CniConfig {
    /// Folder where containerd looks for configurations.
    pub conf_dir: PathBuf,
    /// Folder where containerd looks for plugins.
    pub bin_dir: PathBuf,
    /// The executable that is the plugin: this one.
    pub executable: PathBuf,
    /// Folder of address reservations; it must survive a restart of Copepod.
    pub state_dir: PathBuf,
    /// Name of the bridge.
    pub bridge: String,
    /// Bytes of a packet between pods.
    pub mtu: u32,
    /// The node's pod CIDRs, one for each family.
    pub subnets: Vec<IpNet>,
}

/// Why the configuration could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}, so pods would get no network")]
pub struct InstallError {
    /// The file.
    pub path: PathBuf,
    /// Cause.
    pub source: io::Error,
}

/// Writes the configuration and links the plugin. What is right already is not touched.
///
/// # Errors
/// When one of the folders cannot be written.
pub fn install(config: &CniConfig) -> Result<(), InstallError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| InstallError { path, source }
    };
    for folder in [&config.conf_dir, &config.bin_dir, &config.state_dir] {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let link = config.bin_dir.join(PLUGIN);
    if std::fs::read_link(&link).ok().as_ref() != Some(&config.executable) {
        // Renamed over the old one: a pod that starts right now finds one or the other.
        let new = config.bin_dir.join(".copepod.new");
        let _ = std::fs::remove_file(&new);
        std::os::unix::fs::symlink(&config.executable, &new).map_err(at(&new))?;
        std::fs::rename(&new, &link).map_err(at(&link))?;
    }
    let list = json!({
        "cniVersion": "1.0.0",
        "name": "copepod",
        "plugins": [{
            "type": PLUGIN,
            "bridge": config.bridge,
            "mtu": config.mtu,
            "subnets": config.subnets,
            "stateDir": config.state_dir,
        }],
    });
    let path = config.conf_dir.join(LIST);
    file::write_atomic(&path, format!("{list:#}\n").as_bytes(), 0o600).map_err(at(&path))
}
