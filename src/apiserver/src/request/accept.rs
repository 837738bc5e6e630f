//! Which representation a client asks for.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};

use copepod_api::status::ApiError;

use super::query::Query;

/// Media types that objects are served as.
pub(crate) const SERVED: [&str; 2] = ["application/json", "application/yaml"];

/// One element of an Accept header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediaRange {
    pub(crate) kind: String,
    pub(crate) parameters: Vec<(String, String)>,
    quality: f32,
}

impl MediaRange {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The elements of the Accept headers, the most wanted first; none means anything.
pub(crate) fn ranges(headers: &HeaderMap) -> Vec<MediaRange> {
    let mut ranges: Vec<MediaRange> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(parse)
        .filter(|range| range.quality > 0.0)
        .collect();
    // Stable: equals stay in the client's order.
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

fn parse(text: &str) -> Option<MediaRange> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| !kind.is_empty())?.to_ascii_lowercase();
    let mut range = MediaRange { kind, parameters: Vec::new(), quality: 1.0 };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        if name.trim() == "q" {
            range.quality = value.parse().unwrap_or(0.0);
        } else {
            range.parameters.push((name.trim().to_owned(), value.to_owned()));
        }
    }
    Some(range)
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json { pretty: bool },
    Yaml,
}

/// What of the objects is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Whole objects.
    Plain,
    /// Rows of cells; the text is the version of `meta.k8s.io`.
    Table(&'static str),
    /// Metadata alone; the text is the version of `meta.k8s.io`.
    Metadata(&'static str),
}

/// The outcome of negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
}

impl Output {
    /// Plain JSON.
    pub(crate) const JSON: Self = Self { format: Format::Json { pretty: false }, shape: Shape::Plain };

    /// Chooses the first representation of the Accept list that can be served.
    ///
    /// # Errors
    /// 406 when there is none.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self, ApiError> {
        let ranges = ranges(headers);
        let json = Format::Json { pretty: pretty(headers, query) };
        if ranges.is_empty() {
            return Ok(Self { format: json, shape: Shape::Plain });
        }
        ranges
            .iter()
            .find_map(|range| {
                let format = match range.kind.as_str() {
                    "application/json" | "application/*" | "*/*" => json,
                    "application/yaml" => Format::Yaml,
                    _ => return None,
                };
                Some(Self { format, shape: shape(range)? })
            })
            .ok_or_else(|| ApiError::not_acceptable(&SERVED))
    }

    /// As [`negotiate`](Self::negotiate), but what cannot be served becomes JSON: for errors, which must be
    /// readable whatever was asked for.
    pub(crate) fn for_error(headers: &HeaderMap, query: &Query) -> Self {
        let format = Self::negotiate(headers, query).map_or(Self::JSON.format, |output| output.format);
        Self { format, shape: Shape::Plain }
    }
}

fn shape(range: &MediaRange) -> Option<Shape> {
    let Some(kind) = range.parameter("as") else { return Some(Shape::Plain) };
    if range.parameter("g").is_some_and(|group| group != "meta.k8s.io") {
        return None;
    }
    let version = match range.parameter("v") {
        Some("v1") | None => "v1",
        Some("v1beta1") => "v1beta1",
        Some(_) => return None,
    };
    match kind {
        "Table" => Some(Shape::Table(version)),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Metadata(version)),
        _ => None,
    }
}

/// People at a terminal get indented JSON, as do those who ask.
fn pretty(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(value) = query.get("pretty") {
        return !matches!(value, "false" | "0");
    }
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

/// Whether the client reads gzip.
pub(crate) fn gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip") && parts.next() != Some("q=0")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str) -> Result<Output, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Output::negotiate(&headers, &Query::default()).map_err(|error| error.code())
    }

    #[test]
    fn the_first_type_that_can_be_served_is_taken() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(table).unwrap().shape, Shape::Table("v1"));
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf,application/json"), Ok(Output::JSON));
        assert_eq!(negotiate("application/json;q=0.5,application/yaml").unwrap().format, Format::Yaml);
        assert_eq!(
            negotiate("application/json;as=Table;v=v9;g=meta.k8s.io,application/json"),
            Ok(Output::JSON)
        );
        assert_eq!(negotiate("*/*"), Ok(Output::JSON));
        assert_eq!(negotiate("application/cbor"), Err(406));
        assert_eq!(negotiate("text/html"), Err(406));
    }
}
