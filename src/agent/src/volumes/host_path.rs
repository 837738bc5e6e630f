//! hostPath: a path of the node, checked or made by its type.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::VolumeError;

#[derive(Debug)]
pub(crate) struct HostPath {
    path: PathBuf,
    kind: String,
}

impl HostPath {
    pub(super) fn new(source: &HostPathVolumeSource) -> Self {
        Self { path: PathBuf::from(&source.path), kind: source.type_.clone().unwrap_or_default() }
    }

    pub(super) fn apply(self) -> Result<PathBuf, VolumeError> {
        let failed = |e| VolumeError::file(&self.path, e);
        let wrong = |kind| VolumeError::HostPathType { path: self.path.to_string_lossy().into_owned(), kind };
        let meta = fs::metadata(&self.path).ok();
        let is = |check: fn(&fs::Metadata) -> bool| meta.as_ref().is_some_and(check);
        match self.kind.as_str() {
            "" => {
                // Without a type nothing is checked; the runtime itself makes a missing folder.
                if meta.is_none() {
                    fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.path).map_err(failed)?;
                }
            }
            "DirectoryOrCreate" if meta.is_none() => {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.path).map_err(failed)?;
            }
            "FileOrCreate" if meta.is_none() => {
                fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o644)
                    .open(&self.path)
                    .map_err(failed)?;
            }
            "Directory" | "DirectoryOrCreate" if !is(fs::Metadata::is_dir) => return Err(wrong("directory")),
            "File" | "FileOrCreate" if !is(fs::Metadata::is_file) => return Err(wrong("file")),
            "Socket" if !is(|m| m.file_type().is_socket()) => return Err(wrong("socket file")),
            "CharDevice" if !is(|m| m.file_type().is_char_device()) => return Err(wrong("character device")),
            "BlockDevice" if !is(|m| m.file_type().is_block_device()) => return Err(wrong("block device")),
            "Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate" | "Socket" | "CharDevice"
            | "BlockDevice" => {}
            other => return Err(VolumeError::UnknownHostPathType { kind: other.to_owned() }),
        }
        Ok(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_the_creating_ones_create() {
        let folder = tempfile::tempdir().unwrap();
        let apply = |name: &str, kind: &str| {
            let path = folder.path().join(name);
            HostPath { path, kind: kind.to_owned() }.apply().map_err(|e| e.to_string())
        };
        assert!(apply("no", "Directory").unwrap_err().ends_with("/no is not a directory"));
        assert!(apply("d/e", "DirectoryOrCreate").unwrap().is_dir());
        assert!(apply("f", "FileOrCreate").unwrap().is_file());
        assert!(apply("f", "File").is_ok());
        assert!(apply("f", "Directory").is_err());
        assert!(apply("f", "Socket").unwrap_err().ends_with("is not a socket file"));
        assert!(apply("f", "Nonsense").is_err());
    }
}
