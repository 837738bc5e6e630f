//! Volumes: what a pod's containers find at their mount paths.
//!
//! 1. [`fetch`]: objects and tokens that volumes (and environments) are made of, asked for at once.
//! 2. [`prepare`]: decides for each volume what it is, without touching the disk; one file per kind.
//! 3. [`Prepared::apply`]: makes it so on the disk; safe to repeat.
//! 4. [`mounts`]: which of it a container sees, and where.

mod atomic;
mod empty_dir;
pub mod fetch;
mod host_path;
pub mod mounts;
mod payload;
mod projected;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::spec::{NodeFacts, list, pod_spec, uid};
use fetch::Fetched;
use payload::Payload;

/// Why a volume cannot be used; kubelet's words, shown in `FailedMount` events.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// An object that is not optional is missing.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Keys that are not optional are missing.
    #[error("references non-existent {kind} key: {key}")]
    NoKey {
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// A field or resource reference.
    #[error(transparent)]
    Field(#[from] crate::spec::field::FieldError),
    /// A hostPath that is not what it should be.
    #[error("hostPath type check failed: {path} is not a {kind}")]
    HostPathType {
        /// The path on the host.
        path: String,
        /// What it should be.
        kind: &'static str,
    },
    /// A hostPath type that does not exist.
    #[error("hostPath type check failed: {kind} is an invalid volume type")]
    UnknownHostPathType {
        /// As written.
        kind: String,
    },
    /// A service account token was not given.
    #[error("failed to fetch token: {message}")]
    Token {
        /// The API's words.
        message: String,
    },
    /// The kind of volume is not supported.
    #[error("no volume plugin matched")]
    Unsupported,
    /// A mount names a volume the pod does not have.
    #[error("cannot find volume \"{0}\" to mount into container \"{1}\"")]
    NoVolume(String, String),
    /// A sub path that leaves its volume.
    #[error("subPath \"{0}\" is not within the volume")]
    SubPath(String),
    /// A file or folder of the volume.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A mount.
    #[error("cannot mount at {path}: {message}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// The kernel's words.
        message: String,
    },
}

impl VolumeError {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// The error of one volume of a pod.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
pub struct SetUpError {
    /// Name of the volume.
    pub volume: String,
    /// Cause. Its text is part of this one's, as events show one line.
    pub source: VolumeError,
}

/// A pod's volumes on the host: name to path.
pub type Paths = BTreeMap<String, PathBuf>;

/// What a volume will be on the disk.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// A folder of the pod's own.
    EmptyDir(empty_dir::EmptyDir),
    /// A path of the host.
    HostPath(host_path::HostPath),
    /// Files made from API objects.
    Files(Files),
}

/// Files made from API objects, replaced as one.
#[derive(Debug)]
pub(crate) struct Files {
    /// Where.
    path: PathBuf,
    /// Secrets must not reach the disk.
    memory: bool,
    /// Group that may read them.
    group: Option<u32>,
    payload: Payload,
}

/// Decides what each of the pod's volumes is.
///
/// # Errors
/// The first volume that cannot be made.
pub(crate) fn prepare(
    pod: &Pod,
    node: &NodeFacts,
    fetched: &Fetched,
) -> Result<Vec<(String, Prepared)>, SetUpError> {
    list(&pod_spec(pod).volumes)
        .iter()
        .map(|volume| {
            let prepared = prepare_one(pod, volume, node, fetched)
                .map_err(|source| SetUpError { volume: volume.name.clone(), source })?;
            Ok((volume.name.clone(), prepared))
        })
        .collect()
}

fn prepare_one(
    pod: &Pod,
    volume: &Volume,
    node: &NodeFacts,
    fetched: &Fetched,
) -> Result<Prepared, VolumeError> {
    let folder = |plugin: &str| volume_dir(node, pod, plugin, &volume.name);
    let group = fs_group(pod);
    let files = |plugin: &str, memory: bool, payload: Payload| {
        Prepared::Files(Files { path: folder(plugin), memory, group, payload })
    };
    if let Some(source) = &volume.empty_dir {
        return Ok(Prepared::EmptyDir(empty_dir::EmptyDir::new(folder("empty-dir"), source, group)));
    }
    if let Some(source) = &volume.host_path {
        return Ok(Prepared::HostPath(host_path::HostPath::new(source)));
    }
    if let Some(source) = &volume.config_map {
        return Ok(files("configmap", false, payload::config_map(source, &fetched.sources)?));
    }
    if let Some(source) = &volume.secret {
        return Ok(files("secret", true, payload::secret(source, &fetched.sources)?));
    }
    if let Some(source) = &volume.downward_api {
        let payload = payload::downward(pod, list(&source.items), source.default_mode, node)?;
        return Ok(files("downward-api", false, payload));
    }
    if let Some(source) = &volume.projected {
        return Ok(files("projected", true, projected::payload(pod, &volume.name, source, node, fetched)?));
    }
    Err(VolumeError::Unsupported)
}

impl Prepared {
    /// Makes the volume on the disk; its path on the host. Blocks.
    pub(crate) fn apply(self) -> Result<PathBuf, VolumeError> {
        match self {
            Prepared::EmptyDir(volume) => volume.apply(),
            Prepared::HostPath(volume) => volume.apply(),
            Prepared::Files(files) => {
                create_dir(&files.path)?;
                if files.memory {
                    tmpfs_once(&files.path, None, 0o755)?;
                }
                atomic::write(&files.path, &files.payload, files.group)?;
                Ok(files.path)
            }
        }
    }
}

/// Makes all volumes.
///
/// # Errors
/// The first that failed.
pub(crate) async fn apply(prepared: Vec<(String, Prepared)>) -> Result<Paths, SetUpError> {
    let work = move || {
        let mut paths = Paths::new();
        for (volume, prepared) in prepared {
            match prepared.apply() {
                Ok(path) => {
                    paths.insert(volume, path);
                }
                Err(source) => return Err(SetUpError { volume, source }),
            }
        }
        Ok(paths)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SetUpError {
            volume: String::new(),
            source: VolumeError::File { path: PathBuf::new(), source: io::Error::other(error) },
        }),
    }
}

/// Unmounts and deletes the pod's folder. Blocks; nothing there is fine.
///
/// # Errors
/// When a mount or file resists.
pub(crate) fn tear_down(pod_dir: &Path) -> Result<(), copepod_net::Error> {
    copepod_net::mount::unmount_under(pod_dir)?;
    copepod_net::mount::remove_tree(pod_dir)
}

/// The group that owns the pod's volumes.
fn fs_group(pod: &Pod) -> Option<u32> {
    pod_spec(pod).security_context.as_ref()?.fs_group.and_then(|g| u32::try_from(g).ok())
}

fn volume_dir(node: &NodeFacts, pod: &Pod, plugin: &str, name: &str) -> PathBuf {
    node.pod_dir(uid(pod)).join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
}

fn create_dir(path: &Path) -> Result<(), VolumeError> {
    std::fs::create_dir_all(path).map_err(|e| VolumeError::file(path, e))
}

/// Mounts a memory file system unless it is there already.
fn tmpfs_once(path: &Path, size: Option<u64>, mode: u32) -> Result<(), VolumeError> {
    let failed = |e: copepod_net::Error| VolumeError::Mount {
        path: path.to_owned(),
        message: copepod_base::Chain(&e).to_string(),
    };
    if copepod_net::mount::is_mount_point(path).map_err(failed)? {
        return Ok(());
    }
    copepod_net::mount::tmpfs(path, size, mode).map_err(failed)
}
