//! The server's way to the agent of its own process: a pipe in memory.

use std::io;
use std::sync::{Arc, OnceLock};

use copepod_agent::KubeletApi;
use copepod_apiserver::{Io, NodeDialer};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Bytes that one side may be ahead of the other.
const PIPE_BYTES: usize = 64 << 10;

/// Dials this machine's own agent, once there is one.
pub(crate) struct LocalNode {
    name: String,
    api: Arc<OnceLock<KubeletApi>>,
}

impl LocalNode {
    pub(crate) fn new(name: String) -> Self {
        Self { name, api: Arc::default() }
    }

    /// From now on the node can be reached.
    pub(crate) fn connect(&self, api: KubeletApi) {
        // A second agent in one process does not happen; the first would stay.
        let _ = self.api.set(api);
    }
}

impl NodeDialer for LocalNode {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let api = (node == self.name).then(|| self.api.get().cloned()).flatten();
        let node = node.to_owned();
        async move {
            let Some(api) = api else {
                let text = format!("no agent of node {node} is connected to this server");
                return Err(io::Error::new(io::ErrorKind::NotConnected, text));
            };
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            copepod_base::spawn("kubelet-api", async move {
                if let Err(error) = api.serve_connection(far).await {
                    tracing::debug!(error = %copepod_base::Chain(&error), "a stream to the agent ended early");
                }
            });
            Ok(Box::new(near) as Box<dyn Io>)
        }
        .boxed()
    }
}
