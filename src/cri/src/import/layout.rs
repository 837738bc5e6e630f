//! From stored blobs to images: names, and the references by which the collector keeps what belongs together.

use std::collections::HashMap;

use containerd_client::types::Descriptor;
use serde::{Deserialize, Serialize};

use super::Error;
use super::archive::{Compression, Found};
use super::content::{Blob, Store};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Full image name, written by containerd and Docker (`docker.io/library/busybox:latest`).
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Name by OCI's image layout: often only the tag.
const OCI_REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Indexes in indexes; more than one level is legal and unheard of.
const MAX_DEPTH: u32 = 4;

/// An image whose blobs are all stored and labelled.
pub(super) struct Image {
    pub(super) names: Vec<String>,
    pub(super) target: Descriptor,
}

/// A descriptor as in OCI documents.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: i64,
    #[serde(default, skip_serializing)]
    annotations: HashMap<String, String>,
}

impl Reference {
    fn new(media_type: &str, blob: &Blob) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: blob.digest.clone(),
            size: blob.size,
            annotations: HashMap::new(),
        }
    }
}

/// A manifest or an index; which of both shows by the fields.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Reference>,
}

/// An entry of Docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

fn parse<'a, T: Deserialize<'a>>(name: &str, bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { name: name.to_owned(), source })
}

/// The images of an archive, ready to be named.
pub(super) async fn resolve(found: Found, store: &Store) -> Result<Vec<Image>, Error> {
    let docker: Vec<DockerEntry> = match &found.manifest {
        Some(bytes) => parse("manifest.json", bytes)?,
        None => Vec::new(),
    };
    let images = match &found.index {
        Some(bytes) => from_layout(parse("index.json", bytes)?, &docker, &found, store).await?,
        None if found.manifest.is_some() => from_docker(&docker, &found, store).await?,
        None => {
            let what = "neither index.json nor manifest.json: this is no OCI or docker image archive";
            return Err(Error::Format { what: what.to_owned() });
        }
    };
    if images.is_empty() {
        let what =
            format!("no image in it has a name: save it by name, or set the annotation {CONTAINERD_NAME}");
        return Err(Error::Format { what });
    }
    Ok(images)
}

async fn from_layout(
    index: Document,
    docker: &[DockerEntry],
    found: &Found,
    store: &Store,
) -> Result<Vec<Image>, Error> {
    let mut images: Vec<Image> = Vec::new();
    for mut reference in index.manifests {
        let (kind, config) = Box::pin(label_tree(&reference, store, 0)).await?;
        if reference.media_type.is_empty() {
            reference.media_type = kind;
        }
        let mut names = annotated_name(&reference.annotations).into_iter().collect::<Vec<_>>();
        if names.is_empty()
            && let Some(config) = config
        {
            names = docker_names(docker, found, &config);
        }
        if names.is_empty() {
            continue;
        }
        // The same manifest is listed once per name.
        match images.iter_mut().find(|image| image.target.digest == reference.digest) {
            Some(image) => image.names.extend(names),
            None => images.push(Image { names, target: descriptor(&reference) }),
        }
    }
    Ok(images)
}

fn annotated_name(annotations: &HashMap<String, String>) -> Option<String> {
    if let Some(name) = annotations.get(CONTAINERD_NAME) {
        return Some(full_name(name));
    }
    // Without a colon or slash it is only a tag.
    let name = annotations.get(OCI_REF_NAME).filter(|name| name.contains(['/', ':']))?;
    Some(full_name(name))
}

fn docker_names(docker: &[DockerEntry], found: &Found, config: &str) -> Vec<String> {
    let of_config =
        |entry: &&DockerEntry| found.file(&entry.config).is_some_and(|file| file.blob.digest == config);
    let tags = docker.iter().filter(of_config).filter_map(|entry| entry.repo_tags.as_ref());
    tags.flatten().map(|name| full_name(name)).collect()
}

async fn from_docker(docker: &[DockerEntry], found: &Found, store: &Store) -> Result<Vec<Image>, Error> {
    let mut images = Vec::new();
    for entry in docker {
        let missing =
            |path: &str| Error::Format { what: format!("{path} is named in manifest.json but missing") };
        let config = found.file(&entry.config).ok_or_else(|| missing(&entry.config))?;
        let mut layers = Vec::with_capacity(entry.layers.len());
        for path in &entry.layers {
            let file = found.file(path).ok_or_else(|| missing(path))?;
            let media_type = match file.compression {
                Compression::Plain => OCI_LAYER.to_owned(),
                Compression::Gzip => format!("{OCI_LAYER}+gzip"),
                Compression::Zstd => format!("{OCI_LAYER}+zstd"),
            };
            layers.push(Reference::new(&media_type, &file.blob));
        }
        let names: Vec<String> = entry.repo_tags.iter().flatten().map(|name| full_name(name)).collect();
        if names.is_empty() {
            continue;
        }
        let document = Document {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: Some(Reference::new(OCI_CONFIG, &config.blob)),
            layers,
            manifests: Vec::new(),
        };
        let bytes = serde_json::to_vec(&document)
            .map_err(|source| Error::Json { name: "the new manifest".to_owned(), source })?;
        let reference = Reference::new(OCI_MANIFEST, &store.put(bytes).await?);
        label_tree(&reference, store, 0).await?;
        images.push(Image { names, target: descriptor(&reference) });
    }
    Ok(images)
}

/// Checks that everything below is stored and labels each document with what it refers to.
///
/// Gives the media type, and the digest of the config where it is a manifest.
async fn label_tree(
    reference: &Reference,
    store: &Store,
    depth: u32,
) -> Result<(String, Option<String>), Error> {
    let digest = &reference.digest;
    let missing =
        |digest: &str| Error::Format { what: format!("blob {digest} is missing: save the image again") };
    let bytes = store.read(digest).await?.ok_or_else(|| missing(digest))?;
    let document: Document = parse(digest, &bytes)?;
    let mut labels = HashMap::new();
    if let Some(config) = &document.config {
        labels.insert("containerd.io/gc.ref.content.config".to_owned(), config.digest.clone());
        for (number, layer) in document.layers.iter().enumerate() {
            labels.insert(format!("containerd.io/gc.ref.content.l.{number}"), layer.digest.clone());
        }
        for digest in labels.values() {
            store.size(digest).await?.ok_or_else(|| missing(digest))?;
        }
        store.label(digest, labels).await?;
        let kind = if document.media_type.is_empty() { OCI_MANIFEST.to_owned() } else { document.media_type };
        return Ok((kind, Some(config.digest.clone())));
    }
    if depth >= MAX_DEPTH || document.manifests.is_empty() {
        return Err(Error::Format {
            what: format!("{digest} is neither a manifest nor an index of manifests"),
        });
    }
    for (number, child) in document.manifests.iter().enumerate() {
        // An archive of one platform keeps the index of all.
        if store.size(&child.digest).await?.is_some() {
            Box::pin(label_tree(child, store, depth + 1)).await?;
            labels.insert(format!("containerd.io/gc.ref.content.m.{number}"), child.digest.clone());
        }
    }
    if labels.is_empty() {
        return Err(missing(&document.manifests[0].digest));
    }
    store.label(digest, labels).await?;
    let kind = match document.media_type.as_str() {
        "" => OCI_INDEX.to_owned(),
        DOCKER_LIST => DOCKER_LIST.to_owned(),
        other => other.to_owned(),
    };
    Ok((kind, None))
}

fn descriptor(reference: &Reference) -> Descriptor {
    Descriptor {
        media_type: reference.media_type.clone(),
        digest: reference.digest.clone(),
        size: reference.size,
        annotations: HashMap::new(),
    }
}

/// The name as containerd stores it: with registry and tag.
pub(super) fn full_name(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let mut full = if first.contains(['.', ':']) || first == "localhost" {
        name.to_owned()
    } else if first.is_empty() {
        format!("docker.io/library/{rest}")
    } else {
        format!("docker.io/{name}")
    };
    let last = full.rsplit('/').next().unwrap_or_default();
    if !last.contains([':', '@']) {
        full.push_str(":latest");
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_the_registry_and_tag_that_docker_leaves_out() {
        assert_eq!(full_name("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full_name("rancher/klipper-lb:v1"), "docker.io/rancher/klipper-lb:v1");
        assert_eq!(full_name("copepod.io/pause:1"), "copepod.io/pause:1");
        assert_eq!(full_name("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(full_name("localhost/a@sha256:00"), "localhost/a@sha256:00");
    }

    #[test]
    fn a_bare_tag_names_no_image() {
        let only_tag = HashMap::from([(OCI_REF_NAME.to_owned(), "latest".to_owned())]);
        assert_eq!(annotated_name(&only_tag), None);
    }
}
