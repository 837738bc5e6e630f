//! Reading a request's body: size limit and media type.

use bytes::{Bytes, BytesMut};
use copepod_api::status::ApiError;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error of a body's sender.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, wherever it comes from.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// Bodies may not be larger: 3 MiB.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

/// Reads the whole body.
///
/// # Errors
/// 413 when it is over [`LIMIT`], 400 when the client breaks off.
pub(crate) async fn read(headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LIMIT) {
        return Err(ApiError::too_large(LIMIT));
    }
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("unable to read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > LIMIT {
            return Err(ApiError::too_large(LIMIT));
        }
        match first.take() {
            // Most bodies come in one piece, which is then not copied.
            None if whole.is_empty() => first = Some(data),
            piece => {
                if let Some(piece) = piece {
                    whole.reserve(announced.unwrap_or(piece.len() + data.len()));
                    whole.extend_from_slice(&piece);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// The body's media type without parameters; JSON when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim)
        .filter(|kind| !kind.is_empty())
        .unwrap_or("application/json")
}
