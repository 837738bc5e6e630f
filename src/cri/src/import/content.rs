//! containerd's content store: leases, writes, reads, labels.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use containerd_client::services::v1 as ctr;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use copepod_base::clock;
use futures::SinkExt;
use futures::channel::mpsc;
use sha2::{Digest, Sha256};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::Error;

/// The namespace of the CRI service.
const NAMESPACE: &str = "k8s.io";

/// A lease that a killed Copepod left behind stops holding content after this time.
const LEASE_EXPIRES: Duration = Duration::from_secs(24 * 3600);

/// Manifests and indexes are read into memory; none that works is near this size (the registry limit is 4 MiB).
const MAX_DOCUMENT: i64 = 8 * 1024 * 1024;

/// A request in the CRI service's namespace, under a lease.
pub(super) fn request<T>(message: T, lease: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    if let Some(value) = lease.and_then(|lease| lease.parse().ok()) {
        request.metadata_mut().insert("containerd-lease", value);
    }
    request
}

/// The error of a refused call.
pub(super) fn refused(call: &'static str, status: &Status) -> Error {
    Error::Call(crate::Error::from_status(call, None, status))
}

/// Holds what an import writes until an image refers to it.
pub(super) struct Lease {
    id: String,
    channel: Channel,
}

impl Lease {
    /// A new lease.
    pub(super) async fn create(channel: &Channel) -> Result<Self, Error> {
        let id = format!("copepod-import-{:016x}", fastrand::u64(..));
        let expiry = prost_types::Timestamp::from(clock::now() + LEASE_EXPIRES).to_string();
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), expiry)]);
        let message = ctr::CreateRequest { id: id.clone(), labels };
        let mut client = LeasesClient::new(channel.clone());
        client.create(request(message, None)).await.map_err(|status| refused("leases.Create", &status))?;
        Ok(Self { id, channel: channel.clone() })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn store(&self) -> Store {
        Store { lease: self.id.clone(), channel: self.channel.clone() }
    }

    /// Gives the lease up. A failure is only logged: the lease expires by itself.
    pub(super) async fn delete(self) {
        let mut client = LeasesClient::new(self.channel);
        let message = ctr::DeleteRequest { id: self.id, sync: false };
        if let Err(status) = client.delete(request(message, None)).await {
            tracing::warn!("cannot delete the lease of an image import: {}", status.message());
        }
    }
}

/// The content store under a lease.
#[derive(Clone)]
pub(super) struct Store {
    lease: String,
    channel: Channel,
}

/// A blob that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: i64,
}

impl Store {
    fn client(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone()).max_decoding_message_size(crate::client::MAX_MESSAGE_BYTES)
    }

    /// Size of a blob; `None` when the store does not have it.
    pub(super) async fn size(&self, digest: &str) -> Result<Option<i64>, Error> {
        let message = ctr::InfoRequest { digest: digest.to_owned() };
        match self.client().info(request(message, Some(&self.lease))).await {
            Ok(response) => Ok(response.into_inner().info.map(|info| info.size)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(refused("content.Info", &status)),
        }
    }

    /// A document of moderate size; `None` when the store does not have it.
    pub(super) async fn read(&self, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.size(digest).await? {
            Some(size) if size > MAX_DOCUMENT => {
                return Err(Error::Format {
                    what: format!("{digest} is too large for a manifest: {size} bytes"),
                });
            }
            Some(_) => {}
            None => return Ok(None),
        }
        let message = ctr::ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let answer = self.client().read(request(message, Some(&self.lease))).await;
        let mut stream = answer.map_err(|status| refused("content.Read", &status))?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await.map_err(|status| refused("content.Read", &status))? {
            bytes.extend_from_slice(&part.data);
        }
        Ok(Some(bytes))
    }

    /// Adds labels to a blob; by them the collector follows references.
    pub(super) async fn label(&self, digest: &str, labels: HashMap<String, String>) -> Result<(), Error> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = ctr::Info { digest: digest.to_owned(), labels, ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths });
        let message = ctr::UpdateRequest { info: Some(info), update_mask };
        let answer = self.client().update(request(message, Some(&self.lease))).await;
        answer.map(|_| ()).map_err(|status| refused("content.Update", &status))
    }

    /// Writes a document.
    pub(super) async fn put(&self, bytes: Vec<u8>) -> Result<Blob, Error> {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        if let Some(mut writer) = self.writer(&digest, size).await? {
            writer.write(Bytes::from(bytes)).await?;
            writer.commit().await?;
        }
        Ok(Blob { digest, size })
    }

    /// Starts to write a blob of known size; an empty `digest` is not known yet. `None` when the store has it already.
    pub(super) async fn writer(&self, digest: &str, size: i64) -> Result<Option<Writer>, Error> {
        let reference = format!("{}-{:016x}", self.lease, fastrand::u64(..));
        let (mut sender, receiver) = mpsc::channel(1);
        let first = ctr::WriteContentRequest {
            action: ctr::WriteAction::Stat.into(),
            r#ref: reference,
            total: size,
            expected: digest.to_owned(),
            ..Default::default()
        };
        // The server answers only after it has the first message.
        let sent = sender.send(first.clone()).await;
        debug_assert!(sent.is_ok(), "the receiver is still here");
        let mut client = self.client();
        let opened = async {
            let mut answers = client.write(request(receiver, Some(&self.lease))).await?.into_inner();
            answers.message().await.map(|first| (first, answers))
        };
        match opened.await {
            Ok((Some(_), answers)) => {
                Ok(Some(Writer { first, sender, answers, offset: 0, hash: Sha256::new() }))
            }
            Ok((None, _)) => Err(closed()),
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            Err(status) => Err(refused("content.Write", &status)),
        }
    }
}

fn closed() -> Error {
    let message = "containerd closed the stream".to_owned();
    Error::Call(crate::Error::Unavailable { call: "content.Write", message })
}

/// A blob being written. Dropped without commit, what it wrote goes with the lease.
pub(super) struct Writer {
    first: ctr::WriteContentRequest,
    sender: mpsc::Sender<ctr::WriteContentRequest>,
    answers: Streaming<ctr::WriteContentResponse>,
    offset: i64,
    hash: Sha256,
}

impl Writer {
    async fn exchange(&mut self, message: ctr::WriteContentRequest) -> Result<(), Status> {
        // A failed send means that the stream ended, and why is in the answer.
        let _ = self.sender.send(message).await;
        match self.answers.message().await? {
            Some(_) => Ok(()),
            None => Err(Status::unavailable("containerd closed the stream")),
        }
    }

    /// Appends; returns when containerd has written it.
    pub(super) async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.hash.update(&data);
        let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let message = ctr::WriteContentRequest {
            action: ctr::WriteAction::Write.into(),
            offset: self.offset,
            data: data.into(),
            ..Default::default()
        };
        self.exchange(message).await.map_err(|status| refused("content.Write", &status))?;
        self.offset += length;
        Ok(())
    }

    /// Ends the blob; containerd checks size and digest.
    pub(super) async fn commit(mut self) -> Result<Blob, Error> {
        let digest = format!("sha256:{}", hex::encode(self.hash.finalize_reset()));
        if !self.first.expected.is_empty() && self.first.expected != digest {
            let what = format!("{} has the digest {digest}: the archive is damaged", self.first.expected);
            return Err(Error::Format { what });
        }
        let message = ctr::WriteContentRequest {
            action: ctr::WriteAction::Commit.into(),
            offset: self.offset,
            total: self.offset,
            expected: digest.clone(),
            ..Default::default()
        };
        match self.exchange(message).await {
            Ok(()) => {}
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(refused("content.Write", &status)),
        }
        Ok(Blob { digest, size: self.offset })
    }
}
