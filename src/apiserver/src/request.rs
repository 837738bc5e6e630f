//! A request on its way through the pipeline.

pub(crate) mod accept;
pub(crate) mod content;
pub(crate) mod drain;
pub(crate) mod info;
pub(crate) mod options;
pub(crate) mod query;

use std::sync::Arc;

use bytes::Bytes;
use copepod_api::codec;
use copepod_api::encode;
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_store::{Record, Revision};
use http::header::WARNING;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use parking_lot::Mutex;

use crate::authorize::{Attributes, Authorizer, Decision, Target, forbidden};
use crate::body::Body;
use crate::identity::Identity;
use crate::respond;
use crate::respond::table::{Include, TableMeta, TableOptions, table};
use crate::state::State;
use accept::{Output, Shape};
use info::RequestInfo;
use query::Query;

/// A request without its body.
pub(crate) struct Context {
    pub(crate) state: Arc<State>,
    pub(crate) method: Method,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Identity,
    warnings: Mutex<Vec<String>>,
    upgrade: Mutex<Option<hyper::upgrade::OnUpgrade>>,
}

impl Context {
    /// A request of a user, from its parts.
    pub(crate) fn new(state: Arc<State>, parts: &mut http::request::Parts, identity: Identity) -> Self {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
        Self {
            state,
            method: parts.method.clone(),
            info,
            query,
            headers: std::mem::take(&mut parts.headers),
            identity,
            warnings: Mutex::default(),
            upgrade: Mutex::new(parts.extensions.remove()),
        }
    }

    /// Adds a text for the client's user to see.
    pub(crate) fn warn(&self, text: &str) {
        self.warnings.lock().push(codec::warning(text));
    }

    /// Puts the collected warnings into a response.
    pub(crate) fn put_warnings(&self, response: &mut Response<Body>) {
        for warning in self.warnings.lock().drain(..) {
            if let Ok(value) = HeaderValue::from_str(&warning) {
                response.headers_mut().append(WARNING, value);
            }
        }
    }

    /// The connection under this request, once: for streams.
    pub(crate) fn take_upgrade(&self) -> Option<hyper::upgrade::OnUpgrade> {
        self.upgrade.lock().take()
    }

    /// The namespace in the path.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.info.resource.as_ref()?.namespace.as_deref()
    }

    /// The name in the path, empty for collections.
    pub(crate) fn name(&self) -> &str {
        self.info.resource.as_ref().and_then(|r| r.name.as_deref()).unwrap_or_default()
    }

    /// The subresource in the path, empty for none.
    pub(crate) fn subresource(&self) -> &str {
        self.info.resource.as_ref().and_then(|r| r.subresource.as_deref()).unwrap_or_default()
    }

    /// The key of the object that the path names.
    pub(crate) fn key(&self, kind: &Kind) -> String {
        kind.key(object_namespace(kind, self.namespace()), self.name())
    }

    /// How the client wants its answer.
    ///
    /// # Errors
    /// 406 when it cannot be had.
    pub(crate) fn output(&self) -> Result<Output, ApiError> {
        Output::negotiate(&self.headers, &self.query)
    }

    /// How tables are wanted.
    ///
    /// # Errors
    /// 400 when a parameter is wrong.
    pub(crate) fn table_options(&self, version: &'static str) -> Result<TableOptions, ApiError> {
        Ok(TableOptions {
            version,
            include: Include::parse(self.query.text("includeObject"))?,
            headers: !self.query.flag("noHeaders"),
        })
    }

    /// Answers with an object, given as canonical JSON of its kind without resource version.
    ///
    /// # Errors
    /// 406 when the wanted representation cannot be had.
    pub(crate) fn object(
        &self,
        code: StatusCode,
        kind: &Kind,
        served: Bytes,
        revision: Revision,
    ) -> Result<Response<Body>, ApiError> {
        let output = self.output()?;
        let bytes = match output.shape {
            // What was not written, in a dry run, has no version.
            Shape::Plain if revision == 0 => served,
            Shape::Plain => encode::object(&served, revision),
            Shape::Metadata(_) => encode::metadata_only(&served, revision),
            Shape::Table(version) => {
                let record = Record {
                    key: Arc::from(""),
                    value: served,
                    create_revision: revision,
                    mod_revision: revision,
                };
                let meta = TableMeta { revision, ..TableMeta::default() };
                table(kind, &[record], &meta, self.table_options(version)?)
            }
        };
        Ok(respond::json(code, bytes, output.format))
    }

    /// Answers with JSON that is no stored object: reviews, scales, Status.
    ///
    /// # Errors
    /// 406 when the wanted representation cannot be had.
    pub(crate) fn value(
        &self,
        code: StatusCode,
        value: &impl serde::Serialize,
    ) -> Result<Response<Body>, ApiError> {
        let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
        Ok(respond::json(code, bytes.into(), self.output()?.format))
    }

    /// Whether the user may do something besides what the request is about.
    ///
    /// # Errors
    /// 403 when it may not.
    pub(crate) async fn require(&self, verb: &str, target: Target<'_>) -> Result<(), ApiError> {
        let attributes = Attributes { identity: &self.identity, verb, target };
        match self.state.authorizer.authorize(&attributes).await {
            Decision::Allow => Ok(()),
            Decision::NoOpinion(reason) => Err(forbidden(&attributes, &reason)),
        }
    }
}

/// The namespace in an object's key: none for kinds of the whole cluster, whose own path may look like one.
pub(crate) fn object_namespace<'a>(kind: &Kind, namespace: Option<&'a str>) -> Option<&'a str> {
    namespace.filter(|_| kind.scope == copepod_api::kind::Scope::Namespaced)
}
