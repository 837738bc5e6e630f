//! What the server serves: discovery documents, OpenAPI, version.
//!
//! Discovery depends only on the registry: each document is made once, when it is first asked for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use copepod_api::discovery::{self, Aggregated};
use copepod_api::openapi;
use copepod_api::status::ApiError;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::request::Context;
use crate::request::accept;
use crate::respond;

/// Documents that were made.
#[derive(Default)]
pub(crate) struct Documents(Mutex<HashMap<String, Document>>);

#[derive(Clone)]
struct Document {
    bytes: Bytes,
    etag: Arc<str>,
}

impl Documents {
    fn get(&self, name: &str, make: impl FnOnce() -> Value) -> Document {
        if let Some(document) = self.0.lock().get(name) {
            return document.clone();
        }
        let bytes = Bytes::from(make().to_string());
        let etag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&bytes)));
        let document = Document { bytes, etag: etag.into() };
        self.0.lock().insert(name.to_owned(), document.clone());
        document
    }
}

/// Answers a path that is no resource; `None` when there is nothing at it.
///
/// # Errors
/// 406 when the wanted representation cannot be had.
pub(crate) fn serve(cx: &Context) -> Result<Option<Response<Body>>, ApiError> {
    let path = cx.info.path.trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let registry = &cx.state.registry;
    let value = match parts.as_slice() {
        ["version"] => version(cx),
        ["api"] | ["apis"] if aggregated_form(cx).is_some() => {
            return Ok(Some(aggregated(cx, path == "api")));
        }
        ["api"] => discovery::api_versions(registry, &cx.state.config.advertise.to_string()),
        ["apis"] => discovery::group_list(registry),
        ["api", version] => match registry.group("").and_then(|g| Some((g, g.version(version)?))) {
            Some((group, version)) => discovery::resource_list(group, version),
            None => return Ok(None),
        },
        ["apis", group] => match registry.group(group).filter(|g| !g.name.is_empty()) {
            Some(group) => discovery::group(group),
            None => return Ok(None),
        },
        ["apis", group, version] => {
            match registry.group(group).and_then(|g| Some((g, g.version(version)?))) {
                Some((group, version)) => discovery::resource_list(group, version),
                None => return Ok(None),
            }
        }
        ["openapi", "v3"] => openapi::index(registry),
        ["openapi", "v3", rest @ ..] => return Ok(document(cx, &rest.join("/"))),
        ["openid", "v1", "jwks"] => cx.state.signer.jwks(),
        [".well-known", "openid-configuration"] => openid(cx),
        _ => return Ok(None),
    };
    let output = cx.output()?;
    Ok(Some(respond::json(StatusCode::OK, Bytes::from(value.to_string()), output.format)))
}

fn version(cx: &Context) -> Value {
    let version = &cx.state.config.version;
    let mut numbers = version.git_version.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or("1"),
        "minor": numbers.next().unwrap_or("36"),
        "gitVersion": version.git_version,
        "gitCommit": version.git_commit,
        "gitTreeState": "clean",
        "buildDate": version.build_date,
        // Clients only print these; there is no Go here.
        "goVersion": "rust",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

/// The architecture as Kubernetes names it.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn openid(cx: &Context) -> Value {
    let issuer = cx.state.signer.issuer();
    json!({
        "issuer": issuer,
        "jwks_uri": format!("https://{}/openid/v1/jwks", cx.state.config.advertise),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// The aggregated form that the client prefers over the legacy one.
fn aggregated_form(cx: &Context) -> Option<Aggregated> {
    for range in accept::ranges(&cx.headers) {
        let json = matches!(range.kind.as_str(), "application/json" | "application/*" | "*/*");
        if !json {
            continue;
        }
        let kind = range.parameter("as")?;
        if kind != "APIGroupDiscoveryList" || range.parameter("g") != Some("apidiscovery.k8s.io") {
            continue;
        }
        match range.parameter("v") {
            Some("v2") => return Some(Aggregated::V2),
            Some("v2beta1") => return Some(Aggregated::V2Beta1),
            _ => {}
        }
    }
    None
}

fn aggregated(cx: &Context, core: bool) -> Response<Body> {
    let form = aggregated_form(cx).unwrap_or(Aggregated::V2);
    let name = format!("aggregated/{core}/{}", form.version());
    let registry = &cx.state.registry;
    let document = cx.state.documents.get(&name, || discovery::aggregated(registry, core, form));
    tagged(cx, &document, HeaderValue::from_static(form.media_type()))
}

/// A document with its hash: a client that has it already is told so.
fn tagged(cx: &Context, document: &Document, kind: HeaderValue) -> Response<Body> {
    let known = cx.headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known == Some(&*document.etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::with_type(StatusCode::OK, Body::whole(document.bytes.clone()), kind)
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// An OpenAPI document: big and rarely wanted, so it is made each time and not kept.
fn document(cx: &Context, path: &str) -> Option<Response<Body>> {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return None,
    };
    let group = cx.state.registry.group(group)?;
    let version = group.version(version)?;
    let etag: Arc<str> = format!("\"{}\"", openapi::hash(version)).into();
    let known = cx.headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let bytes = if known == Some(&*etag) {
        Bytes::new()
    } else {
        Bytes::from(openapi::document(group, version).to_string())
    };
    Some(tagged(cx, &Document { bytes, etag }, respond::JSON))
}
