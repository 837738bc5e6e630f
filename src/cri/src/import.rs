//! Image archives into containerd, without a registry.
//!
//! OCI layouts and `docker save` archives, plain, gzip or zstd by their first bytes. Blobs stream from the archive to
//! the content store; never is a layer in memory. The CRI service unpacks layers when the first container needs them.

mod archive;
mod content;
mod error;
mod folder;
mod layout;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1 as ctr;
use containerd_client::types::Descriptor;
use copepod_base::backoff::{Backoff, Policy};
use tonic::transport::Channel;

use crate::client::{ImageClient, channel, socket_path};
use crate::{Images, Result as CallResult};

pub use error::Error;
pub use folder::{Outcome, Report};

/// Label that keeps an image from image garbage collection (containerd >= 1.7 reports it through CRI).
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// The CRI service learns of an image by an event; how long that may take.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// Between looks whether it has: 2 ms growing to 100 ms.
const VISIBLE_POLL: Policy =
    Policy { initial: Duration::from_millis(2), max: Duration::from_millis(100), factor: 1.5, jitter: 0.0 };

/// Imports archives into one containerd.
#[derive(Clone)]
pub struct Importer {
    channel: Channel,
}

/// An image that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Full names, as `docker.io/library/busybox:latest`.
    pub names: Vec<String>,
    /// Digest of the manifest or index the names point to.
    pub digest: String,
}

impl Importer {
    /// For the containerd behind `endpoint`; other runtimes refuse the first import.
    ///
    /// # Errors
    /// When the endpoint is not a unix socket.
    pub fn new(endpoint: &str) -> CallResult<Self> {
        Ok(Self { channel: channel(&socket_path(endpoint)?) })
    }

    /// Imports every image of an archive, pins them, and returns when the CRI service knows them.
    ///
    /// # Errors
    /// When the archive is damaged, names no image, or containerd refuses.
    pub async fn import<R>(&self, archive: R) -> Result<Vec<Imported>, Error>
    where
        R: Read + Send + 'static,
    {
        let lease = content::Lease::create(&self.channel).await?;
        let result = self.import_leased(archive, &lease).await;
        // Without the lease, what no image refers to is collected, also after a failure.
        lease.delete().await;
        result
    }

    async fn import_leased<R>(&self, archive: R, lease: &content::Lease) -> Result<Vec<Imported>, Error>
    where
        R: Read + Send + 'static,
    {
        let store = lease.store();
        let found = archive::store_blobs(archive, &store).await?;
        let images = layout::resolve(found, &store).await?;
        let mut imported = Vec::with_capacity(images.len());
        for image in images {
            for name in &image.names {
                self.name_image(name, &image.target, lease).await?;
            }
            for name in &image.names {
                self.wait_visible(name).await?;
            }
            imported.push(Imported { names: image.names, digest: image.target.digest });
        }
        Ok(imported)
    }

    /// Imports an archive file.
    ///
    /// # Errors
    /// As [`Importer::import`], or when the file cannot be read.
    pub async fn import_file(&self, path: &Path) -> Result<Vec<Imported>, Error> {
        let file =
            std::fs::File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        self.import(file).await
    }

    /// Whether containerd has an image of this full name.
    ///
    /// # Errors
    /// When containerd does not answer.
    pub async fn has(&self, name: &str) -> Result<bool, Error> {
        let mut client = ctr::images_client::ImagesClient::new(self.channel.clone());
        let request = ctr::GetImageRequest { name: name.to_owned() };
        match client.get(content::request(request, None)).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
            Err(status) => Err(content::refused("images.Get", &status)),
        }
    }

    async fn name_image(&self, name: &str, target: &Descriptor, lease: &content::Lease) -> Result<(), Error> {
        // The CRI service adds its own label, and the image's id as a further name, to what it sees without the label.
        let labels = [PINNED].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let image = ctr::Image {
            name: name.to_owned(),
            labels: labels.into(),
            target: Some(target.clone()),
            ..Default::default()
        };
        let mut client = ctr::images_client::ImagesClient::new(self.channel.clone());
        let create = ctr::CreateImageRequest { image: Some(image.clone()), source_date_epoch: None };
        match client.create(content::request(create, Some(lease.id()))).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == tonic::Code::AlreadyExists => {}
            Err(status) => return Err(content::refused("images.Create", &status)),
        }
        let update =
            ctr::UpdateImageRequest { image: Some(image), update_mask: None, source_date_epoch: None };
        let answer = client.update(content::request(update, Some(lease.id()))).await;
        answer.map(|_| ()).map_err(|status| content::refused("images.Update", &status))
    }

    async fn wait_visible(&self, name: &str) -> Result<(), Error> {
        let images = ImageClient::new(self.channel.clone());
        let mut backoff = Backoff::new(VISIBLE_POLL);
        let wait = async {
            while images.status(name).await?.is_none() {
                tokio::time::sleep(backoff.next_delay()).await;
            }
            Ok(())
        };
        match tokio::time::timeout(VISIBLE_WITHIN, wait).await {
            Ok(result) => result.map_err(Error::Call),
            Err(_) => Err(Error::Invisible { name: name.to_owned() }),
        }
    }
}
