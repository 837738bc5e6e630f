//! Over a real socket: HTTP/1.1, HTTP/2, client certificates, upgrades, the end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copepod_api::registry::Registry;
use copepod_base::Shutdown;
use copepod_base::metrics::Metrics;
use copepod_pki::service_account::Signer;
use copepod_pki::{Pki, PkiConfig};
use copepod_store::memory::MemoryStore;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Dependencies, Io, NodeDialer, Server, ServerConfig};

/// A node that switches protocols and then sends back what it gets.
struct Parrot;

impl NodeDialer for Parrot {
    fn dial(&self, _: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                let service = service_fn(|mut request: Request<hyper::body::Incoming>| async move {
                    assert_eq!(
                        request.uri().to_string(),
                        "/exec/default/p/c?input=1&output=1&command=echo&command=a%20b"
                    );
                    let upgrade = hyper::upgrade::on(&mut request);
                    tokio::spawn(async move {
                        let mut io = TokioIo::new(upgrade.await.unwrap());
                        let mut buffer = [0; 5];
                        io.read_exact(&mut buffer).await.unwrap();
                        io.write_all(&buffer).await.unwrap();
                        io.shutdown().await.unwrap();
                    });
                    let mut response = Response::new(Full::new(Bytes::new()));
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    for name in ["connection", "upgrade"] {
                        response.headers_mut().insert(name, request.headers()[name].clone());
                    }
                    Ok::<_, Infallible>(response)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(theirs), service)
                    .with_upgrades()
                    .await;
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

struct Secure {
    pki: Pki,
    address: SocketAddr,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Secure {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::ensure(&PkiConfig {
            dir: folder.path().join("tls"),
            sans: vec!["127.0.0.1".to_owned()],
            cluster_domain: "cluster.local".to_owned(),
            node_name: "n".to_owned(),
            node_ips: Vec::new(),
        })
        .unwrap();
        let shutdown = Shutdown::new();
        let server = Server::new(
            ServerConfig::new("127.0.0.1:6443".parse().unwrap()),
            Dependencies {
                store: Arc::new(MemoryStore::new()),
                registry: Registry::builtin(),
                certificates: Some(pki.authenticator().clone()),
                signer: Arc::new(Signer::ensure(&folder.path().join("tls/service.key")).unwrap()),
                tokens: Vec::new(),
                dialer: Arc::new(Parrot),
                metrics: Metrics::new(),
            },
            &shutdown,
        )
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = copepod_pki::server_tls(&pki);
        shutdown.spawn("serve", async move { server.serve(listener, tls).await });
        Self { pki, address, shutdown, _folder: folder }
    }

    async fn connect(&self, alpn: &str, admin: bool) -> TlsStream<TcpStream> {
        let client = self.pki.client_admin();
        let ca = self.pki.server_ca().cert_pem();
        let mut config = copepod_pki::client_tls(ca, admin.then_some(&client)).unwrap();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(path).header("host", "x").body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_client_certificate_opens_both_protocols() {
    let server = Secure::start().await;
    let stream = TokioIo::new(server.connect("http/1.1", true).await);
    let (mut h1, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(h1.send_request(get("/api/v1/namespaces")).await.unwrap().status(), 200);
    let stream = TokioIo::new(server.connect("h2", true).await);
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let url = format!("https://{}/api/v1/namespaces", server.address);
    let request = Request::builder().uri(url).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(h2.send_request(request).await.unwrap().status(), 200);
    let stream = TokioIo::new(server.connect("http/1.1", false).await);
    let (mut nobody, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(nobody.send_request(get("/api/v1/namespaces")).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_stop_ends_open_watches_within_two_seconds() {
    let server = Secure::start().await;
    let stream = TokioIo::new(server.connect("http/1.1", true).await);
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let watch = client.send_request(get("/api/v1/pods?watch=1")).await.unwrap();
    assert_eq!(watch.status(), 200, "headers come before the first event");
    let idle = server.connect("http/1.1", true).await;
    server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(2), async {
        assert!(watch.into_body().collect().await.unwrap().to_bytes().is_empty());
        server.shutdown.finished().await;
    })
    .await
    .unwrap();
    drop(idle);
}

#[tokio::test]
async fn an_upgrade_joins_the_client_with_the_node() {
    let server = Secure::start().await;
    let stream = TokioIo::new(server.connect("http/1.1", true).await);
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let post = |path: &str, body: &str| {
        let body = Full::new(Bytes::from(body.to_owned()));
        Request::builder().method("POST").uri(path).header("host", "x").body(body).unwrap()
    };
    for (path, body) in [
        ("serviceaccounts", r#"{"metadata":{"name":"default"}}"#),
        ("pods", r#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#),
        ("pods/p/binding", r#"{"metadata":{"name":"p"},"target":{"name":"n"}}"#),
    ] {
        let request = post(&format!("/api/v1/namespaces/default/{path}"), body);
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.into_body().collect().await.unwrap();
    }
    let request = Request::builder()
        .uri("/api/v1/namespaces/default/pods/p/exec?command=echo&command=a+b&stdin=true&stdout=1&tty=false")
        .header("host", "x")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .body(Full::default())
        .unwrap();
    let mut answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(answer.headers()["upgrade"], "SPDY/3.1");
    let mut io = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    io.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    io.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"hello");
}
