//! A server of its own for each test, and a small client.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use copepod_api::registry::Registry;
use copepod_base::Shutdown;
use copepod_base::metrics::Metrics;
use copepod_pki::service_account::Signer;
use copepod_store::memory::MemoryStore;
use copepod_store::{Durability, Error, Range, RangeResult, Record, Revision, Store, Watch, WriteOptions};
use futures::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

use crate::{Body, Dependencies, Identity, Io, NodeDialer, Server, ServerConfig};

/// No node can be reached.
pub(super) struct NoNodes;

impl NodeDialer for NoNodes {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let node = node.to_owned();
        Box::pin(async move { Err(io::Error::other(format!("there is no node {node}"))) })
    }
}

/// A store that has no history: a watch can only begin with what is newest.
pub(super) struct Forgetful(pub(super) MemoryStore);

#[async_trait]
impl Store for Forgetful {
    async fn revision(&self) -> Result<Revision, Error> {
        self.0.revision().await
    }

    async fn get(&self, key: &str) -> Result<(Option<Record>, Revision), Error> {
        self.0.get(key).await
    }

    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        self.0.range(range).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, Error> {
        self.0.count(prefix).await
    }

    async fn create(&self, key: &str, value: Bytes, options: WriteOptions) -> Result<Revision, Error> {
        self.0.create(key, value, options).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, Error> {
        self.0.update(key, value, expected, options).await
    }

    async fn delete(&self, key: &str, expected: Revision, durability: Durability) -> Result<Revision, Error> {
        self.0.delete(key, expected, durability).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error> {
        match self.0.revision().await? {
            newest if after < newest => Err(Error::Compacted { requested: after, oldest: newest }),
            _ => self.0.watch(prefix, after).await,
        }
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.0.compact(revision).await
    }

    async fn size(&self) -> Result<u64, Error> {
        self.0.size().await
    }
}

/// A server, gone with the test.
pub(super) struct Cluster {
    pub(super) server: Server,
    pub(super) store: Arc<dyn Store>,
    pub(super) signer: Arc<Signer>,
    pub(super) shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Reason of a Status.
    pub(super) fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(super) fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{}", self.text());
        self
    }
}

impl Cluster {
    pub(super) async fn new() -> Self {
        Self::with(Arc::new(NoNodes)).await
    }

    pub(super) async fn with(dialer: Arc<dyn NodeDialer>) -> Self {
        Self::made_of(Arc::new(MemoryStore::new()), dialer).await
    }

    pub(super) async fn over(store: Arc<dyn Store>) -> Self {
        Self::made_of(store, Arc::new(NoNodes)).await
    }

    async fn made_of(store: Arc<dyn Store>, dialer: Arc<dyn NodeDialer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Arc::new(Signer::ensure(&folder.path().join("service.key")).unwrap());
        let shutdown = Shutdown::new();
        let server = Server::new(
            ServerConfig::new("192.0.2.1:6443".parse().unwrap()),
            Dependencies {
                store: store.clone(),
                registry: Registry::builtin(),
                certificates: None,
                signer: signer.clone(),
                tokens: Vec::new(),
                dialer,
                metrics: Metrics::new(),
            },
            &shutdown,
        )
        .await
        .unwrap();
        Self { server, store, signer, shutdown, _folder: folder }
    }

    pub(super) async fn send(
        &self,
        identity: Identity,
        request: Request<Full<Bytes>>,
    ) -> http::Response<Body> {
        let Ok(response) = self.server.service(identity).oneshot(request).await;
        response
    }

    pub(super) async fn call(&self, identity: Identity, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.send(identity, request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Identity::admin(), request("GET", path, "", "")).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call(Identity::admin(), request("DELETE", path, "", "")).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Identity::admin(), request("POST", path, "", &body.to_string())).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Identity::admin(), request("PUT", path, "", &body.to_string())).await
    }

    pub(super) async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        let media = format!("application/{kind}+json");
        self.call(Identity::admin(), request("PATCH", path, &media, &body.to_string())).await
    }

    /// A service account for pods, as its controller would make it.
    pub(super) async fn default_account(&self, namespace: &str) {
        let account = serde_json::json!({"metadata": {"name": "default"}});
        self.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account).await.expect(201);
    }
}

/// A request; empty texts leave the media type and the body out.
pub(super) fn request(method: &str, path: &str, media: &str, body: &str) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !media.is_empty() {
        builder = builder.header("content-type", media);
    }
    builder.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}
