//! `patch`: JSON patch, merge patch, strategic merge patch.

use std::sync::Arc;

use copepod_api::codec::{FieldValidation, check_name};
use copepod_api::kind::Kind;
use copepod_api::patch::{Patch, PatchType};
use copepod_api::patch_schema::root;
use copepod_api::status::ApiError;
use copepod_api::strategy::{Object, Part};
use http::{Response, StatusCode};

use super::decode;
use super::update::{Change, Current, change_object};
use crate::body::Body;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::request::{Context, object_namespace};

/// Reads the patch in a request's body.
///
/// # Errors
/// 415 for a media type that is no patch of this kind, 400 for what cannot be read.
pub(crate) async fn read(cx: &Context, kind: &Kind, body: Incoming) -> Result<Patch, ApiError> {
    let supported = [PatchType::Json.as_str(), PatchType::Merge.as_str(), PatchType::Strategic.as_str()];
    let patch_type = PatchType::of(content::media_type(&cx.headers));
    let body = content::read(&cx.headers, body).await?;
    match patch_type {
        Some(PatchType::Json) => Patch::json(&body),
        Some(PatchType::Merge) => Patch::merge(&body),
        Some(PatchType::Strategic) => {
            Patch::strategic(&body, root(&kind.gvk.group, &kind.gvk.version, &kind.gvk.kind))
        }
        Some(PatchType::Apply) | None => Err(ApiError::unsupported_media_type(&supported)),
    }
}

/// Answers a PATCH.
pub(crate) async fn serve(
    cx: &Context,
    kind: &Arc<Kind>,
    part: Part<'_>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    cx.output()?;
    let options = WriteOptions::parse(&cx.query, "PatchOptions")?;
    let patch = read(cx, kind, body).await?;
    let namespace = object_namespace(kind, cx.namespace());
    let change = Change { kind, namespace, name: cx.name(), part, dry_run: options.dry_run };
    let mut complained = false;
    let written = change_object(cx, change, &mut |current| {
        // A second attempt has nothing new to complain about.
        let validation = if complained { FieldValidation::Ignore } else { options.validation };
        let object = apply(cx, kind, &patch, current, validation)?;
        complained = true;
        Ok(object)
    })
    .await?;
    cx.object(StatusCode::OK, kind, written.served, written.revision)
}

fn apply(
    cx: &Context,
    kind: &Kind,
    patch: &Patch,
    current: &Current<'_>,
    validation: FieldValidation,
) -> Result<Box<dyn Object>, ApiError> {
    let patched = patch.apply(current.to_value()?)?;
    let decoded = kind.strategy.decode_value(patched)?;
    decode::complain(cx, kind, patch.complaints(), &decoded, validation)?;
    check_name(decoded.object.metadata().name.as_deref().unwrap_or_default(), cx.name())?;
    Ok(decoded.object)
}
