//! Subresources with a handler of their own, because Kubernetes gives them one.

mod binding;
mod eviction;
pub(crate) mod scale;
mod streams;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use copepod_api::encode;
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use crate::admission::{Operation, Request};
use crate::body::Body;
use crate::request::Context;
use crate::request::content::Incoming;
use crate::respond;

pub(crate) use binding::create as bind;

/// Answers a request for such a subresource.
///
/// # Errors
/// Whatever Kubernetes refuses; 404 for one that is not served.
pub(crate) async fn connect(
    cx: &Context,
    kind: &Arc<Kind>,
    name: &str,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    match (kind.gvk.kind.as_ref(), name) {
        ("Pod", "binding") => binding::create(cx, body).await,
        ("Pod", "eviction") => eviction::create(cx, kind, body).await,
        ("ServiceAccount", "token") => token::create(cx, kind, body).await,
        ("Pod", "log") => streams::log(cx, kind).await,
        ("Pod", "exec" | "attach" | "portforward") => {
            let request = Request::new(cx, kind, Operation::Connect, cx.name());
            cx.state.admission.validate(&request, None, None).await?;
            streams::open(cx, kind, name).await
        }
        _ => Err(ApiError::no_such_path()),
    }
}

/// 201 with a Status that says that it worked.
pub(crate) fn created(cx: &Context) -> Result<Response<Body>, ApiError> {
    let status = Status { status: Some("Success".to_owned()), code: Some(201), ..Status::default() };
    let bytes: Bytes = encode::status(&status);
    Ok(respond::json(StatusCode::CREATED, bytes, cx.output()?.format))
}
