//! What a call is told.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::CniError;

/// Parameters from the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    pub(crate) command: String,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) interface: String,
}

impl Parameters {
    pub(super) fn from_env() -> Self {
        let get = |name: &str| std::env::var(name).unwrap_or_default();
        Self {
            command: get("CNI_COMMAND"),
            container_id: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            interface: get("CNI_IFNAME"),
        }
    }

    /// Container and interface, which must be given.
    pub(super) fn attachment(&self) -> Result<(&str, &str), CniError> {
        if self.container_id.is_empty() {
            return Err(CniError::environment("required env variables [CNI_CONTAINERID] missing"));
        }
        if self.interface.is_empty() || self.interface.len() > 15 || self.interface.contains(['/', ' ']) {
            return Err(CniError::environment(format!(
                "CNI_IFNAME \"{}\" is no interface name",
                self.interface
            )));
        }
        Ok((&self.container_id, &self.interface))
    }
}

/// The plugin's part of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conf {
    #[serde(default)]
    pub(super) cni_version: String,
    #[serde(default)]
    pub(super) bridge: String,
    #[serde(default)]
    pub(super) mtu: u32,
    #[serde(default)]
    pub(super) subnets: Vec<IpNet>,
    #[serde(default)]
    pub(super) data_dir: PathBuf,
    #[serde(default)]
    pub(super) prev_result: Option<Value>,
    /// For GC: what shall stay.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    pub(super) valid_attachments: Vec<Attachment>,
}

/// An attachment the runtime knows.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub(crate) struct Attachment {
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    pub(super) ifname: String,
}

impl Conf {
    pub(super) fn parse(input: &[u8]) -> Result<Self, CniError> {
        let mut conf: Self = serde_json::from_slice(input).map_err(|e| CniError::decoding(e.to_string()))?;
        if conf.cni_version.is_empty() {
            super::CNI_VERSION.clone_into(&mut conf.cni_version);
        }
        if conf.bridge.is_empty() || conf.subnets.is_empty() || conf.data_dir.as_os_str().is_empty() {
            return Err(CniError::new(7, "invalid network config", "bridge, subnets and dataDir are needed"));
        }
        Ok(conf)
    }
}
