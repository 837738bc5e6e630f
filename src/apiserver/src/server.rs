//! The server: made once, served over TLS and in process.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use copepod_api::status::ApiError;
use copepod_base::Shutdown;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use crate::authenticate::{Authentication, Credentials, ServiceAccountTokens, TokenAuthenticator};
use crate::authorize::{Authorizer, Chain, Masters, NodeAuthorizer, component_rules};
use crate::body::Body;
use crate::config::{Dependencies, ServerConfig};
use crate::identity::Identity;
use crate::metrics::ApiMetrics;
use crate::request::content::BoxError;
use crate::request::drain::Drain;
use crate::state::State;
use crate::watch::Hub;
use crate::{admission, bootstrap, listen, pipeline};

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An object that every cluster has was refused.
    #[error(
        "the cluster's own objects cannot be made: see whether the data folder can be written and is not full"
    )]
    SystemObjects(#[source] ApiError),
}

/// The API server. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<State>);

impl Server {
    /// Makes a server, starts its watch on the store, and makes the objects that every cluster has (system
    /// namespaces, priority classes, the Service `kubernetes`). It is ready to serve then.
    ///
    /// # Errors
    /// When these objects cannot be made: the datastore refuses writes.
    pub async fn new(
        config: ServerConfig,
        dependencies: Dependencies,
        shutdown: &Shutdown,
    ) -> Result<Self, StartError> {
        let Dependencies { store, registry, certificates, signer, tokens, dialer, metrics } = dependencies;
        let shutdown = shutdown.child();
        let mut all: Vec<Arc<dyn TokenAuthenticator>> =
            vec![Arc::new(ServiceAccountTokens::new(signer.clone(), store.clone()))];
        all.extend(tokens);
        let authorizers: Vec<Arc<dyn Authorizer>> = vec![
            Arc::new(Masters),
            Arc::new(NodeAuthorizer::new(store.clone())),
            Arc::new(component_rules()),
        ];
        let state = Arc::new(State {
            admission: admission::Chain::standard(&config),
            config,
            registry,
            authentication: Authentication { certificates, tokens: all },
            authorizer: Chain(authorizers),
            signer,
            dialer,
            hub: Hub::new(),
            flow: Default::default(),
            health: Default::default(),
            documents: Default::default(),
            metrics: ApiMetrics::new(&metrics),
            shutdown: shutdown.clone(),
            store: store.clone(),
        });
        shutdown.spawn("watch-hub", state.hub.clone().run(store, shutdown.clone()));
        let server = Self(state);
        bootstrap::ensure(&server).await.map_err(StartError::SystemObjects)?;
        server.0.health.set_started();
        server.0.hub.started().await;
        Ok(server)
    }

    /// The server as a service of this process, for one identity: no socket, no TLS, the same pipeline.
    #[must_use]
    pub fn service(&self, identity: Identity) -> Service {
        Service { state: self.0.clone(), credentials: Credentials::InProcess(Arc::new(identity)) }
    }

    /// Serves HTTP/2 and HTTP/1.1 over TLS until the server shuts down.
    ///
    /// Connections end within two seconds of the shutdown; watches end cleanly.
    pub async fn serve(&self, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
        listen::serve(self.0.clone(), listener, tls).await;
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.0
    }
}

/// The pipeline for one sender.
#[derive(Clone)]
pub struct Service {
    state: Arc<State>,
    credentials: Credentials,
}

impl Service {
    pub(crate) fn new(state: Arc<State>, credentials: Credentials) -> Self {
        Self { state, credentials }
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| Drain::new(body.map_err(Into::into).boxed_unsync()).boxed_unsync());
        let answer = pipeline::serve(self.state.clone(), self.credentials.clone(), request);
        Box::pin(async move { Ok(answer.await) })
    }
}
