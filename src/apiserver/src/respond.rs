//! From results to responses.

pub(crate) mod table;

use bytes::Bytes;
use copepod_api::encode;
use copepod_api::status::ApiError;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use crate::body::Body;
use crate::request::accept::{Format, Output};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Bodies up to this size are sent as they are, as upstream does: compressing them costs more than it saves.
const GZIP_ABOVE: usize = 128 * 1024;

/// A response of JSON bytes, in the negotiated format.
pub(crate) fn json(code: StatusCode, bytes: Bytes, format: Format) -> Response<Body> {
    let (bytes, kind) = match format {
        Format::Json { pretty: false } => (bytes, JSON),
        Format::Json { pretty: true } => (indented(&bytes), JSON),
        Format::Yaml => match copepod_api::codec::to_yaml(&bytes) {
            Ok(yaml) => (Bytes::from(yaml), YAML),
            Err(_) => (bytes, JSON),
        },
    };
    with_type(code, Body::whole(bytes), kind)
}

/// A response with a media type.
pub(crate) fn with_type(code: StatusCode, body: Body, kind: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A response of plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(code, Body::whole(text), TEXT)
}

/// The Status object of an error.
pub(crate) fn error(error: &ApiError, output: Output) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, encode::status(&error.0), output.format);
    if let Some(seconds) = error.0.details.as_ref().and_then(|details| details.retry_after_seconds) {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn indented(bytes: &Bytes) -> Bytes {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return bytes.clone() };
    match serde_json::to_vec_pretty(&value) {
        Ok(mut text) => {
            text.push(b'\n');
            text.into()
        }
        Err(_) => bytes.clone(),
    }
}

/// What every response gets at the end: no caching, compression where it is asked for and worth it.
pub(crate) fn finish(mut response: Response<Body>, request: &HeaderMap) -> Response<Body> {
    use http::header::{CONTENT_ENCODING, ETAG, VARY};
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) && !headers.contains_key(ETAG) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    if response.headers().contains_key(CONTENT_ENCODING) || !crate::request::accept::gzip(request) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let (body, packed) = body.compressed(GZIP_ABOVE);
    if packed {
        parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    Response::from_parts(parts, body)
}
