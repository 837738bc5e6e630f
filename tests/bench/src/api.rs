//! Clients of the API: TLS with the kubeconfig's client certificate, HTTP/1.1 or HTTP/2.

mod kubeconfig;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

pub(crate) use tls::{Endpoint, SelfSigned};

use crate::error::{Error, Result};

/// An answer that takes longer never comes.
const LIMIT: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Connection {
    sender: Sender,
    host: String,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Status and whole body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    what: String,
}

impl Connection {
    /// A keep-alive HTTP/1.1 connection: one request at a time.
    pub(crate) async fn http1(endpoint: &Endpoint) -> Result<Self> {
        let stream = TokioIo::new(endpoint.connect(b"http/1.1").await?);
        let broke = |source| Error::Http { what: format!("HTTP/1.1 to {}", endpoint.host()), source };
        let (sender, connection) = http1::handshake(stream).await.map_err(broke)?;
        copepod_base::task::spawn("http1", connection);
        Ok(Self { sender: Sender::One(sender), host: endpoint.host() })
    }

    /// An HTTP/2 connection: many requests at once, through clones.
    pub(crate) async fn http2(endpoint: &Endpoint) -> Result<Self> {
        let stream = TokioIo::new(endpoint.connect(b"h2").await?);
        let broke = |source| Error::Http { what: format!("HTTP/2 to {}", endpoint.host()), source };
        let (sender, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(stream).await.map_err(broke)?;
        copepod_base::task::spawn("http2", connection);
        Ok(Self { sender: Sender::Two(sender), host: endpoint.host() })
    }

    /// The same connection once more; only HTTP/2 can.
    pub(crate) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::One(_) => None,
            Sender::Two(sender) => {
                Some(Self { sender: Sender::Two(sender.clone()), host: self.host.clone() })
            }
        }
    }

    /// One request; any status is an answer.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let what = format!("{method} {path}");
        let response = self.exchange(method, path, body).await?;
        let (head, body) = response.into_parts();
        let body = in_time(&what, body.collect()).await?;
        Ok(Answer { status: head.status, body: body.to_bytes(), what })
    }

    /// A GET that must succeed.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.send(Method::GET, path, Bytes::new()).await?.success()
    }

    /// A GET that must succeed and whose body nobody wants; gives its length.
    pub(crate) async fn drain(&mut self, path: &str) -> Result<usize> {
        let mut body = self.stream(path).await?;
        in_time(&format!("GET {path}"), async {
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame?.data_ref().map_or(0, Bytes::len);
            }
            Ok(length)
        })
        .await
    }

    /// A POST that must succeed.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<Bytes> {
        self.send(Method::POST, path, body).await?.success()
    }

    /// A POST of a JSON value that must succeed.
    pub(crate) async fn create(&mut self, path: &str, object: &Value) -> Result<Bytes> {
        self.post(path, object.to_string().into()).await
    }

    /// A GET whose body is read as it comes: a watch.
    pub(crate) async fn stream(&mut self, path: &str) -> Result<Incoming> {
        let response = self.exchange(Method::GET, path, Bytes::new()).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let what = format!("GET {path}");
        let body = in_time(&what, response.into_body().collect()).await?.to_bytes();
        Err(Answer { status, body, what }.refused())
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let what = format!("{method} {path}");
        let request = Request::builder().method(method).header("accept", "application/json");
        let request =
            if body.is_empty() { request } else { request.header("content-type", "application/json") };
        let finish = |request: http::request::Builder| {
            request.body(Full::new(body)).map_err(crate::error::unusable(what.clone()))
        };
        match &mut self.sender {
            Sender::One(sender) => {
                let request = finish(request.uri(path).header("host", &self.host))?;
                in_time(&what, async {
                    sender.ready().await?;
                    sender.send_request(request).await
                })
                .await
            }
            Sender::Two(sender) => {
                let request = finish(request.uri(format!("https://{}{path}", self.host)))?;
                in_time(&what, async {
                    sender.ready().await?;
                    sender.send_request(request).await
                })
                .await
            }
        }
    }
}

/// A part of an exchange, with a limit: what does not answer must be named, not waited for.
async fn in_time<T>(what: &str, part: impl Future<Output = hyper::Result<T>>) -> Result<T> {
    match tokio::time::timeout(LIMIT, part).await {
        Ok(result) => result.map_err(|source| Error::Http { what: what.to_owned(), source }),
        Err(_) => Err(Error::Late { what: format!("answer to {what}"), limit: LIMIT }),
    }
}

impl Answer {
    /// The body of a success.
    pub(crate) fn success(self) -> Result<Bytes> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.refused()) }
    }

    fn refused(self) -> Error {
        /// Of a Status object, the message is at the beginning.
        const SHOWN: usize = 500;
        let shown = &self.body[..self.body.len().min(SHOWN)];
        let body = String::from_utf8_lossy(shown).into_owned();
        Error::Refused { what: self.what, status: self.status, body }
    }
}
