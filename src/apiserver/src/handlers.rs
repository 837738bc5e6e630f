//! What is done with a request that may be done. One handler per verb, none per kind.

pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod delete_collection;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod update;

use std::sync::Arc;

use bytes::Bytes;
use copepod_api::kind::{Access, Kind, Scope, Verb};
use copepod_api::status::ApiError;
use copepod_api::strategy::Part;
use copepod_store::Revision;
use http::Response;

use crate::body::Body;
use crate::request::Context;
use crate::request::content::Incoming;
use crate::request::info::ResourcePath;
use crate::{reviews, subresources};

/// An object as it is after a write (or would be, in a dry run).
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Canonical JSON as the kind serves it, without resource version.
    pub(crate) served: Bytes,
    pub(crate) revision: Revision,
}

/// Finds the kind of a path.
///
/// # Errors
/// 404 when it is not served.
pub(crate) fn kind_of<'a>(cx: &'a Context, path: &ResourcePath) -> Result<&'a Arc<Kind>, ApiError> {
    let kind = cx
        .state
        .registry
        .resource(&path.group, &path.version, &path.resource)
        .ok_or_else(ApiError::no_such_path)?;
    match kind.scope {
        // A namespace is its own namespace in its path; other kinds of the cluster have none.
        Scope::Cluster if path.namespace.is_some() && path.namespace != path.name => {
            Err(ApiError::no_such_path())
        }
        Scope::Namespaced if path.namespace.is_none() && path.name.is_some() && !selects_by_name(cx) => {
            Err(ApiError::no_such_path())
        }
        _ => Ok(kind),
    }
}

/// A name that comes from a field selector, not from the path.
fn selects_by_name(cx: &Context) -> bool {
    matches!(cx.info.verb, "list" | "watch" | "deletecollection")
}

/// Answers a request for a resource.
///
/// # Errors
/// Whatever Kubernetes refuses, in its words.
pub(crate) async fn serve(
    cx: &Context,
    path: &ResourcePath,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let kind = kind_of(cx, path)?;
    if path.subresource.is_some() {
        return serve_subresource(cx, kind, path, body).await;
    }
    if cx.info.verb == "create" && path.name.is_some() {
        return Err(ApiError::method_not_allowed());
    }
    // What is written or deleted is in one namespace.
    let all_namespaces = kind.scope == Scope::Namespaced && path.namespace.is_none();
    if matches!(cx.info.verb, "create" | "deletecollection") && all_namespaces {
        return Err(ApiError::method_not_allowed());
    }
    if matches!(cx.info.verb, "update" | "patch") && path.name.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let verb = Verb::ALL.iter().copied().find(|verb| verb.as_str() == cx.info.verb);
    if verb.is_none_or(|verb| !kind.verbs.contains(&verb)) {
        return Err(ApiError::method_not_allowed());
    }
    if kind.verbs == Verb::CREATE_ONLY {
        return reviews::serve(cx, kind, body).await;
    }
    match verb {
        Some(Verb::Get) => read::get(cx, kind).await,
        Some(Verb::List) => read::list(cx, kind).await,
        Some(Verb::Watch) => read::watch(cx, kind).await,
        Some(Verb::Create) => create::serve(cx, kind, body).await,
        Some(Verb::Update) => update::serve(cx, kind, Part::Main, body).await,
        Some(Verb::Patch) => patch::serve(cx, kind, Part::Main, body).await,
        Some(Verb::Delete) => delete::serve(cx, kind, body).await,
        Some(Verb::DeleteCollection) => delete_collection::serve(cx, kind, body).await,
        None => Err(ApiError::method_not_allowed()),
    }
}

async fn serve_subresource(
    cx: &Context,
    kind: &Arc<Kind>,
    path: &ResourcePath,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let name = path.subresource.as_deref().unwrap_or_default();
    let sub = kind.subresource(name).ok_or_else(ApiError::no_such_path)?;
    if !sub.verbs.iter().any(|verb| verb.as_str() == cx.info.verb) {
        return Err(ApiError::method_not_allowed());
    }
    let part = match &sub.access {
        Access::Status => Part::Status,
        Access::Part => Part::Other(name),
        Access::Scale { .. } => return subresources::scale::serve(cx, kind, sub, body).await,
        Access::Connect => return subresources::connect(cx, kind, name, body).await,
    };
    match cx.info.verb {
        "get" => read::get(cx, kind).await,
        "update" => update::serve(cx, kind, part, body).await,
        "patch" => patch::serve(cx, kind, part, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}
