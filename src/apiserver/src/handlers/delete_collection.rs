//! `deletecollection`: every object that a list would show.

use std::sync::Arc;

use copepod_api::kind::Kind;
use copepod_api::scan;
use copepod_api::status::ApiError;
use copepod_store::Record;
use futures::StreamExt;
use http::Response;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

use super::delete::{Deleted, delete};
use super::read::{filter, respond_list};
use crate::body::Body;
use crate::request::Context;
use crate::request::content::{self, Incoming};
use crate::request::options::{ListOptions, delete_options};
use crate::storage::{self, Listed};

/// Deletions at a time: the store commits them together.
const AT_ONCE: usize = 16;

/// Answers a DELETE of a collection with the list of what was deleted.
pub(crate) async fn serve(
    cx: &Context,
    kind: &Arc<Kind>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let output = cx.output()?;
    let body = content::read(&cx.headers, body).await?;
    let options = delete_options(&cx.headers, &cx.query, &body)?;
    let listing = ListOptions::parse(&cx.query, kind, false)?;
    let listed = storage::list(cx.state.store.as_ref(), &filter(cx, kind, &listing), &listing).await?;
    let revision = listed.revision;
    let results: Vec<Result<Option<Record>, ApiError>> = futures::stream::iter(listed.records)
        .map(|record| delete_one(cx, kind, record, &options))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut records = Vec::with_capacity(results.len());
    for result in results {
        records.extend(result?);
    }
    let deleted =
        Listed { records, revision, continue_token: listed.continue_token, remaining: listed.remaining };
    respond_list(cx, kind, deleted, output)
}

/// Deletes a listed object; one that went by itself is no error.
async fn delete_one(
    cx: &Context,
    kind: &Arc<Kind>,
    record: Record,
    options: &DeleteOptions,
) -> Result<Option<Record>, ApiError> {
    let text = |field: &str| scan::get(&record.value, &["metadata", field]).and_then(scan::text);
    let namespace = text("namespace");
    let name = text("name").unwrap_or_default();
    match delete(cx, kind, namespace.as_deref(), &name, options).await {
        Ok(Deleted::Gone { served, revision, .. } | Deleted::Pending { served, revision }) => {
            Ok(Some(Record { value: served, mod_revision: revision, ..record.clone() }))
        }
        Err(error) if error.code() == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
