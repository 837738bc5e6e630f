//! emptyDir: a folder that lives as long as the pod.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::{VolumeError, create_dir, tmpfs_once};
use crate::spec::resources::value;

#[derive(Debug)]
pub(crate) struct EmptyDir {
    path: PathBuf,
    memory: bool,
    /// Bytes; only a memory file system enforces it.
    size: Option<u64>,
    group: Option<u32>,
}

impl EmptyDir {
    pub(super) fn new(path: PathBuf, source: &EmptyDirVolumeSource, group: Option<u32>) -> Self {
        let size = source.size_limit.as_ref().map(value).filter(|v| *v > 0).map(i64::unsigned_abs);
        Self { path, memory: source.medium.as_deref() == Some("Memory"), size, group }
    }

    pub(super) fn apply(self) -> Result<PathBuf, VolumeError> {
        let fresh = !self.path.exists();
        create_dir(&self.path)?;
        if self.memory {
            tmpfs_once(&self.path, self.size, 0o777)?;
        }
        // What a container has changed since must stay so.
        if fresh {
            let mode = if self.group.is_some() { 0o2777 } else { 0o777 };
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
                .and_then(
                    |()| if self.group.is_some() { chown(&self.path, None, self.group) } else { Ok(()) },
                )
                .and_then(|()| fs::set_permissions(&self.path, fs::Permissions::from_mode(mode)))
                .map_err(|e| VolumeError::file(&self.path, e))?;
        }
        Ok(self.path)
    }
}
