//! Packs files into an OCI image archive (image-layout specification 1.0 in a tar), the same bytes every time.
//!
//! Shared by path: the executable's build script packs the pause image with it, `tests/support` the test images.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;

/// One entry of an image's file system.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A directory with its permission bits.
    Dir(String, u32),
    /// A file with its permission bits and content.
    File(String, u32, Vec<u8>),
    /// A symbolic link: its path, then what it points to.
    Symlink(String, String),
}

/// An image to pack: one layer and what a container of it runs by default.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Full name with tag, as containerd shall know it.
    pub name: String,
    /// Architecture in Go's naming (`amd64`, `arm64`, `arm`, `riscv64`).
    pub architecture: String,
    /// `ENTRYPOINT`: what a pod's `command` replaces.
    pub entrypoint: Vec<String>,
    /// `CMD`: what a pod's `args` replace.
    pub cmd: Vec<String>,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// User as `uid`, `uid:gid` or a name of the image; empty is root.
    pub user: String,
    /// The layer's entries, parents before children.
    pub entries: Vec<Entry>,
}

/// Name that OCI uses for an architecture that Rust calls `arch` (see `CARGO_CFG_TARGET_ARCH`).
pub fn architecture(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Image {
    /// The archive's bytes.
    ///
    /// # Errors
    /// Only when a path does not fit into a tar header.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let layer = tar_of(&self.entries)?;
        let config = self.config(&layer).to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        })
        .to_string()
        .into_bytes();
        let mut top = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        top["annotations"] =
            json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": tag});
        top["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [top],
        });

        let mut archive = vec![
            Entry::File("oci-layout".into(), 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            Entry::File("index.json".into(), 0o644, index.to_string().into_bytes()),
            Entry::Dir("blobs".into(), 0o755),
            Entry::Dir("blobs/sha256".into(), 0o755),
        ];
        for blob in [manifest, config, layer] {
            archive.push(Entry::File(format!("blobs/sha256/{}", digest(&blob)), 0o644, blob));
        }
        tar_of(&archive)
    }

    fn config(&self, layer: &[u8]) -> Value {
        let mut run = json!({});
        for (key, list) in [("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd), ("Env", &self.env)] {
            if !list.is_empty() {
                run[key] = json!(list);
            }
        }
        for (key, text) in [("WorkingDir", &self.working_dir), ("User", &self.user)] {
            if !text.is_empty() {
                run[key] = json!(text);
            }
        }
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(layer))]},
        })
    }
}

/// A tar of `entries`, all owned by root and dated to the epoch.
fn tar_of(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match entry {
            Entry::Dir(path, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                tar.append_data(&mut header, format!("{}/", relative(path)), io::empty())?;
            }
            Entry::File(path, mode, content) => {
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, relative(path), content.as_slice())?;
            }
            Entry::Symlink(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                tar.append_link(&mut header, relative(path), target)?;
            }
        }
    }
    tar.into_inner()
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digest(blob)), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect()
}
