//! Logs and streams go to the node of the pod.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::support::Cluster;
use crate::{Io, NodeDialer};

/// A node that answers with what it was asked.
struct Echo;

impl NodeDialer for Echo {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let node = node.to_owned();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let text = format!("{node} {}", request.uri());
                    async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(theirs), service)
                    .await;
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

#[tokio::test]
async fn a_log_comes_from_the_container_of_the_node() {
    let cluster = Cluster::with(Arc::new(Echo)).await;
    cluster.default_account("default").await;
    let pods = "/api/v1/namespaces/default/pods";
    let body = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        "initContainers": [{"name": "init", "image": "i"}],
    }});
    cluster.post(pods, body).await.expect(201);
    let log = async |query: &str| cluster.get(&format!("{pods}/p/log?{query}")).await;
    let unbound = log("container=a").await.expect(400).message();
    assert_eq!(unbound, "pod p does not have a host assigned");
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "node-1"}});
    cluster.post(&format!("{pods}/p/binding"), binding).await.expect(201);
    let text = log("container=b&follow=true&tailLines=5&unknown=1").await.expect(200).text();
    assert_eq!(text, "node-1 /containerLogs/default/p/b?follow=true&tailLines=5");
    assert_eq!(log("container=init").await.expect(200).text(), "node-1 /containerLogs/default/p/init");
    assert_eq!(
        log("").await.expect(400).message(),
        "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [init]"
    );
    assert_eq!(log("container=x").await.expect(400).message(), "container x is not valid for pod p");
    assert_eq!(log("container=a&tailLines=-1").await.expect(422).reason(), "Invalid");
    let annotated = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "b"}}});
    cluster.patch(&format!("{pods}/p"), "merge-patch", annotated).await.expect(200);
    assert_eq!(log("").await.expect(200).text(), "node-1 /containerLogs/default/p/b");
    let plain = cluster.get(&format!("{pods}/p/exec?command=ls&stdout=1")).await.expect(400);
    assert_eq!(plain.message(), "Upgrade request required");
}
