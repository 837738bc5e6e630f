//! The one way of every request.
//!
//! authenticate -> impersonate -> flow -> authorize -> serve (decode, mutate, default, validate, admit, write, encode).
//! Metrics wrap it; a panic in a handler ends only its own request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use copepod_api::selector::FieldSelector;
use copepod_api::status::ApiError;
use copepod_base::clock;
use futures::FutureExt;
use http::{HeaderValue, Response, StatusCode};

use crate::authenticate::{Credentials, Known, impersonate};
use crate::authorize::Target;
use crate::body::Body;
use crate::flow::Seat;
use crate::identity::Identity;
use crate::metrics::Finished;
use crate::request::Context;
use crate::request::accept::Output;
use crate::request::content::Incoming;
use crate::state::State;
use crate::{discovery, handlers, health, respond};

/// A request that is no stream must be answered in this time.
const DEADLINE: Duration = Duration::from_secs(60);

/// Answers a request.
pub(crate) async fn serve(
    state: Arc<State>,
    credentials: Credentials,
    request: http::Request<Incoming>,
) -> Response<Body> {
    let began = clock::instant();
    let (mut parts, body) = request.into_parts();
    let known = state.authentication.authenticate(&credentials, &parts.headers).await;
    let (identity, refused) = match known {
        Known::Identity(identity) => (identity, false),
        Known::Anonymous => (Identity::anonymous(), false),
        Known::Refused => (Identity::anonymous(), true),
    };
    let mut cx = Context::new(state, &mut parts, identity);
    let in_process = matches!(credentials, Credentials::InProcess(_));
    let result = if refused {
        Err(ApiError::unauthorized())
    } else {
        match AssertUnwindSafe(admitted(&mut cx, in_process, body)).catch_unwind().await {
            Ok(result) => result,
            Err(_) => {
                tracing::error!(path = cx.info.path, verb = cx.info.verb, "a request's handler panicked");
                Err(ApiError::internal(
                    "this request caused apiserver to panic. Look in the logs for details",
                ))
            }
        }
    };
    let mut response = match result {
        Ok(response) => response,
        Err(error) => respond::error(&error, Output::for_error(&cx.headers, &cx.query)),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    cx.put_warnings(&mut response);
    count(&cx, &response, began.elapsed());
    respond::finish(response, &cx.headers)
}

fn count(cx: &Context, response: &Response<Body>, took: Duration) {
    // Paths are not labels: whoever asks for many would fill the memory.
    let resource = cx.info.resource.as_ref().filter(|_| response.status() != StatusCode::NOT_FOUND);
    let text = |field: Option<&String>| field.cloned().unwrap_or_default();
    let (group, version) = (text(resource.map(|r| &r.group)), text(resource.map(|r| &r.version)));
    let name = text(resource.map(|r| &r.resource));
    let subresource = text(resource.and_then(|r| r.subresource.as_ref()));
    cx.state.metrics.finished(&Finished {
        verb: counted_verb(cx.info.verb),
        group: &group,
        version: &version,
        resource: &name,
        subresource: &subresource,
        code: response.status().as_u16(),
        seconds: (!cx.info.long_running()).then_some(took.as_secs_f64()),
    });
}

/// The verb as kube-apiserver's metrics name it.
fn counted_verb(verb: &str) -> &'static str {
    match verb {
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "list" => "LIST",
        "watch" => "WATCH",
        "get" | "head" => "GET",
        _ => "other",
    }
}

/// What follows authentication.
async fn admitted(cx: &mut Context, in_process: bool, body: Incoming) -> Result<Response<Body>, ApiError> {
    if is_public(&cx.info.path) {
        return serve_path(cx).await;
    }
    if !cx.identity.in_group(crate::identity::AUTHENTICATED) {
        return Err(ApiError::unauthorized());
    }
    if let Some(other) = impersonate(&cx.identity, &cx.headers, &cx.state.authorizer).await? {
        cx.identity = other;
    }
    let cx = &*cx;
    let long = cx.info.long_running();
    let seat =
        if long || in_process { Seat::none() } else { cx.state.flow.seat(cx.info.read_only()).await? };
    let working = (!long).then(|| cx.state.metrics.working(cx.info.read_only()));
    authorize(cx).await?;
    let answer = async {
        match &cx.info.resource {
            Some(path) => handlers::serve(cx, path, body).await,
            None => serve_path(cx).await,
        }
    };
    let result = if long {
        answer.await
    } else {
        tokio::time::timeout(DEADLINE, answer).await.unwrap_or_else(|_| {
            Err(ApiError::new(
                504,
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
            ))
        })
    };
    drop((seat, working));
    result
}

/// Health and version are for everybody.
fn is_public(path: &str) -> bool {
    matches!(path.trim_end_matches('/').split('/').nth(1), Some("healthz" | "livez" | "readyz" | "version"))
}

async fn serve_path(cx: &Context) -> Result<Response<Body>, ApiError> {
    if !matches!(cx.info.verb, "get" | "head") {
        return Err(ApiError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ));
    }
    if let Some(response) = health::serve(cx).await {
        return Ok(response);
    }
    if cx.info.path == "/metrics" {
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        return Ok(respond::with_type(StatusCode::OK, Body::whole(cx.state.metrics.encode()), kind));
    }
    discovery::serve(cx)?.ok_or_else(ApiError::no_such_path)
}

async fn authorize(cx: &Context) -> Result<(), ApiError> {
    let Some(path) = &cx.info.resource else {
        return cx.require(cx.info.verb, Target::Path(&cx.info.path)).await;
    };
    let fields = match cx.info.verb {
        "list" | "watch" | "deletecollection" => {
            cx.query.text("fieldSelector").and_then(|text| FieldSelector::parse(text).ok())
        }
        _ => None,
    };
    let target = Target::Resource {
        group: &path.group,
        resource: &path.resource,
        subresource: path.subresource.as_deref().unwrap_or_default(),
        name: path.name.as_deref().unwrap_or_default(),
        namespace: path.namespace.as_deref(),
        fields: fields.as_ref(),
    };
    cx.require(cx.info.verb, target).await
}
