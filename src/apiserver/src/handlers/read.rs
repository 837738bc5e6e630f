//! `get`, `list` and `watch`.

use std::sync::Arc;
use std::time::Duration;

use copepod_api::encode;
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use http::{Response, StatusCode};
use serde_json::json;

use crate::body::{Body, ListBody};
use crate::request::accept::{Format, Output, Shape};
use crate::request::options::{ListOptions, revision};
use crate::request::{Context, object_namespace};
use crate::respond;
use crate::respond::table::{TableEvents, TableMeta, table};
use crate::storage::{self, Listed};
use crate::watch::{Filter, Initial, Rendering, Watcher, WatcherConfig};

/// A watch without a limit of its own ends after this time, up to twice as long.
const WATCH_LEAST: Duration = Duration::from_secs(30 * 60);
/// Lists over this size are written while they are sent.
const WHOLE_LIST: usize = 64 * 1024;

/// Answers with one object.
pub(crate) async fn get(cx: &Context, kind: &Arc<Kind>) -> Result<Response<Body>, ApiError> {
    let wanted = revision(cx.query.text("resourceVersion"))?;
    let key = cx.key(kind);
    let (record, newest) = cx.state.store.get(&key).await.map_err(|e| storage::error(kind, cx.name(), e))?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted > newest) {
        return Err(storage::too_large(wanted, newest));
    }
    let record = record.ok_or_else(|| ApiError::not_found(kind, cx.name()))?;
    cx.object(StatusCode::OK, kind, kind.from_storage(record.value)?, record.mod_revision)
}

/// What a list or watch of a path selects.
pub(crate) fn filter(cx: &Context, kind: &Arc<Kind>, options: &ListOptions) -> Filter {
    let namespace = object_namespace(kind, cx.namespace()).or_else(|| {
        options
            .fields
            .exact("metadata.namespace")
            .filter(|_| kind.scope == copepod_api::kind::Scope::Namespaced)
    });
    let prefix = match namespace {
        Some(namespace) => format!("{}{namespace}/", kind.prefix()),
        None => kind.prefix(),
    };
    Filter {
        kind: kind.clone(),
        prefix,
        // From the path of an old-style watch, or from a field selector.
        name: Some(cx.name().to_owned()).filter(|name| !name.is_empty()),
        labels: options.labels.clone(),
        fields: options.fields.clone(),
    }
}

/// Answers with a collection.
pub(crate) async fn list(cx: &Context, kind: &Arc<Kind>) -> Result<Response<Body>, ApiError> {
    let output = cx.output()?;
    let options = ListOptions::parse(&cx.query, kind, false)?;
    let listed = storage::list(cx.state.store.as_ref(), &filter(cx, kind, &options), &options).await?;
    respond_list(cx, kind, listed, output)
}

/// The response of a list.
pub(crate) fn respond_list(
    cx: &Context,
    kind: &Kind,
    listed: Listed,
    output: Output,
) -> Result<Response<Body>, ApiError> {
    let (list_kind, api_version, metadata_only) = match output.shape {
        Shape::Table(version) => {
            let meta = TableMeta {
                revision: listed.revision,
                continue_token: listed.continue_token,
                remaining: listed.remaining,
            };
            let bytes = table(kind, &listed.records, &meta, cx.table_options(version)?);
            return Ok(respond::json(StatusCode::OK, bytes, output.format));
        }
        Shape::Metadata(version) => {
            ("PartialObjectMetadataList".into(), format!("meta.k8s.io/{version}").into(), true)
        }
        Shape::Plain => (kind.list_kind.clone(), kind.gvk.api_version(), false),
    };
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let Some(token) = &listed.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = listed.remaining.filter(|count| *count > 0) {
        metadata["remainingItemCount"] = json!(remaining);
    }
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        json!(list_kind),
        json!(api_version)
    );
    let list = ListBody::new(head, listed.records, metadata_only);
    if output.format == (Format::Json { pretty: false }) && list.size_estimate() > WHOLE_LIST {
        return Ok(respond::with_type(StatusCode::OK, Body::list(list), respond::JSON));
    }
    Ok(respond::json(StatusCode::OK, list.into_bytes(), output.format))
}

/// Answers with a stream of events.
pub(crate) async fn watch(cx: &Context, kind: &Arc<Kind>) -> Result<Response<Body>, ApiError> {
    let output = cx.output()?;
    if output.format == Format::Yaml {
        return Err(ApiError::not_acceptable(&["application/json"]));
    }
    let rendering = match output.shape {
        Shape::Plain => Rendering::Plain,
        Shape::Metadata(_) => Rendering::Metadata,
        Shape::Table(version) => Rendering::Table(TableEvents::new(cx.table_options(version)?)),
    };
    let options = ListOptions::parse(&cx.query, kind, true)?;
    let filter = Arc::new(filter(cx, kind, &options));
    // First subscribe, then look at what is there: nothing in between is lost.
    let closing = || ApiError::unavailable("the server is shutting down");
    let subscribed = cx.state.shutdown.guard(cx.state.hub.subscribe(filter.clone())).await;
    let subscription = subscribed.ok_or_else(closing)?;
    let send_initial = options.send_initial.unwrap_or(options.revision.is_none_or(|rv| rv == 0));
    let initial = if send_initial {
        let whole = ListOptions { limit: 0, continue_token: None, ..options.clone() };
        match storage::list(cx.state.store.as_ref(), &filter, &whole).await {
            Ok(listed) => Initial::Objects {
                records: listed.records,
                revision: listed.revision,
                mark_end: options.send_initial == Some(true),
            },
            Err(error) if error.code() == 410 => Initial::Error(error),
            Err(error) => return Err(error),
        }
    } else {
        match options.revision.filter(|revision| *revision > 0) {
            Some(revision) => Initial::After(revision),
            None => Initial::After(subscription.start),
        }
    };
    let lifetime = options
        .timeout_seconds
        .map_or_else(|| WATCH_LEAST.mul_f64(1.0 + crate::watch::random_share()), Duration::from_secs);
    let counted = cx.state.metrics.watching();
    let watcher = Watcher::new(WatcherConfig {
        store: cx.state.store.clone(),
        filter,
        subscription,
        initial,
        rendering,
        bookmarks: options.bookmarks,
        lifetime,
        shutdown: cx.state.shutdown.clone(),
    });
    let lines = futures::StreamExt::map(watcher.into_stream(), move |line| {
        // Counts for as long as the stream lives.
        let _ = &counted;
        line
    });
    Ok(respond::with_type(StatusCode::OK, Body::stream(lines), respond::JSON))
}

/// A Status that says that something worked.
pub(crate) fn success(kind: &Kind, name: &str, uid: Option<&str>) -> bytes::Bytes {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};
    encode::status(&Status {
        status: Some("Success".to_owned()),
        details: Some(StatusDetails {
            name: Some(name.to_owned()),
            group: (!kind.gvk.group.is_empty()).then(|| kind.gvk.group.to_string()),
            kind: Some(kind.plural.to_string()),
            uid: uid.map(str::to_owned),
            ..StatusDetails::default()
        }),
        ..Status::default()
    })
}
