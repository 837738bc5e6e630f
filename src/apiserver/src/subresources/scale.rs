//! `scale`: the number of replicas of anything that has one, as `autoscaling/v1` Scale.

use std::sync::Arc;

use copepod_api::kind::{Kind, Subresource};
use copepod_api::scale;
use copepod_api::status::ApiError;
use copepod_api::strategy::Part;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::handlers::update::{Change, Current, change_object};
use crate::handlers::{decode, patch};
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::request::{Context, object_namespace};
use crate::storage;

/// Answers a GET, PUT or PATCH of a scale.
pub(crate) async fn serve(
    cx: &Context,
    kind: &Arc<Kind>,
    sub: &Subresource,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let missing = || ApiError::internal("the kind has no scale");
    if cx.info.verb == "get" {
        let record = storage::get(cx.state.store.as_ref(), kind, &cx.key(kind), cx.name()).await?;
        let object = Current::whole(&record.value, record.mod_revision)?;
        return cx.value(StatusCode::OK, &scale::read(&object, &sub.access).ok_or_else(missing)?);
    }
    let wanted = Wanted::read(cx, kind, body).await?;
    let namespace = object_namespace(kind, cx.namespace());
    let change =
        Change { kind, namespace, name: cx.name(), part: Part::Main, dry_run: wanted.options.dry_run };
    let written = change_object(cx, change, &mut |current| {
        let mut object = current.to_value()?;
        let scale = match &wanted.what {
            What::Scale(scale) => scale.clone(),
            What::Patch(patch) => patch.apply(scale::read(&object, &sub.access).ok_or_else(missing)?)?,
        };
        // What the Scale says of version and uid are conditions on the object.
        for field in ["resourceVersion", "uid"] {
            let given = scale.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
            if let Some(given) = given.filter(|given| !given.is_empty()) {
                object["metadata"][field] = given.into();
            }
        }
        scale::write(&mut object, &scale, &sub.access)?;
        Ok(kind.strategy.decode_value(object)?.object)
    })
    .await?;
    let object = Current::whole(&written.served, written.revision)?;
    cx.value(StatusCode::OK, &scale::read(&object, &sub.access).ok_or_else(missing)?)
}

struct Wanted {
    options: WriteOptions,
    what: What,
}

enum What {
    Scale(Value),
    Patch(copepod_api::patch::Patch),
}

impl Wanted {
    async fn read(cx: &Context, kind: &Kind, body: Incoming) -> Result<Self, ApiError> {
        if cx.info.verb == "patch" {
            let options = WriteOptions::parse(&cx.query, "PatchOptions")?;
            return Ok(Self { options, what: What::Patch(patch::read(cx, kind, body).await?) });
        }
        let options = WriteOptions::parse(&cx.query, "UpdateOptions")?;
        let body = content::read(&cx.headers, body).await?;
        Ok(Self { options, what: What::Scale(decode::plain(cx, &body, "Scale")?) })
    }
}
