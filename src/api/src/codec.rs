//! Reading request bodies: JSON, YAML and protobuf to trees, with what strict field validation must know.

mod go_error;
mod options;
mod tree;

pub use options::{delete_options, validate_delete_options};

use serde_json::Value;

use crate::protobuf;
use crate::status::ApiError;

/// The media type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// Media types that bodies of objects may have.
pub const OBJECT_MEDIA_TYPES: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];

impl Format {
    /// The format of a `Content-Type`; a missing one is JSON, an unknown one `None`.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Option<Self> {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "" | "application/json" => Some(Format::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Format::Yaml),
            protobuf::MEDIA_TYPE => Some(Format::Protobuf),
            _ => None,
        }
    }
}

/// What to do with unknown and duplicate fields (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a `Warning` header each.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// The values of the parameter.
    pub const VALUES: &'static [&'static str] = &["", "Ignore", "Strict", "Warn"];

    /// Reads the parameter; `None` when it is none of [`VALUES`](Self::VALUES).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// A body as a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The tree; of a field that is given twice, the last counts.
    pub value: Value,
    /// Paths of fields that are given twice, such as `spec.replicas`.
    pub duplicates: Vec<String>,
    /// What strict validation says of them: `duplicate field "spec.replicas"`, or YAML's words.
    pub complaints: Vec<String>,
}

/// Reads a body. `kind` is the kind of the endpoint, for the error's text.
///
/// # Errors
/// 400 when the body is not of the format, nested too deeply, or a YAML that grows beyond bounds.
pub fn parse(body: &[u8], format: Format, kind: &str) -> Result<Parsed, ApiError> {
    let parsed = match format {
        Format::Json => tree::json(body).map_err(|why| format!("json parse error: {why}")),
        Format::Yaml => tree::yaml(body).map_err(|why| format!("yaml parse error: {why}")),
        Format::Protobuf => {
            return protobuf::decode(body)
                .map(|value| Parsed { value, duplicates: Vec::new(), complaints: Vec::new() })
                .map_err(|error| refuse_protobuf(body, kind, &error));
        }
    };
    parsed.map_err(|why| unrecognized(kind, &format!("couldn't get version/kind; {why}"), body))
}

/// Reads JSON that is no object of a kind, such as a patch; the error is Go's text.
///
/// # Errors
/// When the bytes are not JSON.
pub fn parse_json(body: &[u8]) -> Result<Parsed, String> {
    tree::json(body)
}

/// Reads YAML that is no object of a kind, such as an apply patch; the error names line and column.
///
/// # Errors
/// When the bytes are not YAML.
pub fn parse_yaml(body: &[u8]) -> Result<Parsed, String> {
    tree::yaml(body)
}

/// JSON as YAML, fields sorted, as the API server writes it.
///
/// # Errors
/// When the bytes are no JSON.
pub fn to_yaml(json: &[u8]) -> Result<String, String> {
    let value: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    serde_saphyr::to_string(&value).map_err(|e| e.to_string())
}

/// The body's own kind is told when reading came that far.
fn refuse_protobuf(body: &[u8], kind: &str, error: &protobuf::Error) -> ApiError {
    match error.of_kind() {
        Some((api_version, given)) if !given.is_empty() => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            ApiError::bad_request(format!(
                "{given} in version {version:?} cannot be handled as a {kind}: {error}"
            ))
        }
        _ => unrecognized(kind, &error.to_string(), body),
    }
}

fn unrecognized(kind: &str, why: &str, body: &[u8]) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({})",
        summary(body)
    ))
}

/// The start of a body, as text where it looks like JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    const MAX: usize = 30;
    if body.is_empty() {
        return "<empty>".to_owned();
    }
    let more = if body.len() > MAX { " ..." } else { "" };
    let start = &body[..body.len().min(MAX)];
    if body[0] == b'{' {
        return format!("{}{more}", String::from_utf8_lossy(start));
    }
    format!("{}{more}", start.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// All complaints of strict validation: those of reading ([`Parsed::complaints`]), then the fields that decoding
/// dropped.
#[must_use]
pub fn complaints(of_reading: &[String], unknown: &[String]) -> Vec<String> {
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    of_reading.iter().cloned().chain(unknown).collect()
}

/// `strict decoding error: unknown field "spec.foo", duplicate field "spec.bar"`.
#[must_use]
pub fn strict_error(complaints: &[String]) -> String {
    format!("strict decoding error: {}", complaints.join(", "))
}

/// The refusal of a body under strict validation.
#[must_use]
pub fn refuse_strictly(kind: &crate::kind::Kind, complaints: &[String]) -> ApiError {
    ApiError::bad_request(format!(
        "{0} in version {1:?} cannot be handled as a {0}: {2}",
        kind.gvk.kind,
        kind.gvk.version,
        strict_error(complaints)
    ))
}

/// Values of the `Warning` headers for complaints under `fieldValidation=Warn` (RFC 7234, code 299).
#[must_use]
pub fn warnings(complaints: &[String]) -> Vec<String> {
    complaints.iter().map(|text| warning(text)).collect()
}

/// The value of a `Warning` header.
#[must_use]
pub fn warning(text: &str) -> String {
    let quoted: String = text
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c => vec![c],
        })
        .collect();
    format!("299 - \"{quoted}\"")
}

/// Refuses a body whose namespace is another than the request's, and sets a missing one.
///
/// # Errors
/// 400 with the words of the API server.
pub fn check_namespace(object: &mut String, request: &str) -> Result<(), ApiError> {
    if object.is_empty() {
        request.clone_into(object);
    }
    if object == request {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

/// Refuses an update whose body has another name than the URL.
///
/// # Errors
/// 400 with the words of the API server.
pub fn check_name(object: &str, request: &str) -> Result<(), ApiError> {
    if object == request {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the name of the object ({object}) does not match the name on the URL ({request})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8], format: Format) -> String {
        parse(body, format, "Pod").unwrap_err().to_string()
    }

    #[test]
    fn json_and_yaml_give_the_same_tree() {
        let json =
            parse(br#"{"kind":"Pod","spec":{"a":[1,true,null,"x",1.5]}}"#, Format::Json, "Pod").unwrap();
        let yaml = parse(
            b"---\nkind: Pod\nspec:\n  a:\n  - 1\n  - true\n  - null\n  - x\n  - 1.5\n",
            Format::Yaml,
            "Pod",
        )
        .unwrap();
        assert_eq!(json.value, yaml.value);
        assert!(json.complaints.is_empty());
    }

    #[test]
    fn yaml_that_is_written_reads_back_the_same() {
        let json =
            br##"{"a":"yes","b":"1","c":"null","d":["x: y","- z","","#",true,1.5],"e":"l1\nl2\n","f":{},
            "g":[],"h":"2020-01-01T00:00:00Z","i":"0x1f","j":"~","k":"on","l":" lead","m":"1e3"}"##;
        let yaml = to_yaml(json).unwrap();
        let expected: Value = serde_json::from_slice(json).unwrap();
        assert_eq!(parse_yaml(yaml.as_bytes()).unwrap().value, expected, "{yaml}");
    }

    #[test]
    fn protobuf_is_refused_in_the_words_of_go() {
        assert_eq!(
            refusal(b"{}", Format::Protobuf),
            "the object provided is unrecognized (must be of type Pod): provided data does not appear to be a \
             protobuf message, expected prefix [107 56 115 0] ({})"
        );
        assert_eq!(
            refusal(b"k8s\0\n\x08\n\x02v1\x12\x02No", Format::Protobuf),
            "No in version \"v1\" cannot be handled as a Pod: no kind \"No\" is registered for version \"v1\" in \
             scheme \"pkg/api/legacyscheme/scheme.go:30\""
        );
    }

    #[test]
    fn duplicate_fields_are_named() {
        let json =
            parse(br#"{"spec":{"replicas":1,"list":[{"a":1,"a":2}],"replicas":2}}"#, Format::Json, "D")
                .unwrap();
        assert_eq!(json.value["spec"]["replicas"], 2);
        assert_eq!(
            json.complaints,
            ["duplicate field \"spec.list[0].a\"", "duplicate field \"spec.replicas\""]
        );
        let yaml = parse(b"spec:\n  replicas: 1\n  replicas: 2\n", Format::Yaml, "D").unwrap();
        assert_eq!(yaml.value["spec"]["replicas"], 2);
        assert_eq!(
            yaml.complaints,
            ["yaml: unmarshal errors:\n  line 3: key \"replicas\" already set in map"]
        );
    }

    #[test]
    fn malformed_bodies_are_refused_in_the_words_of_go() {
        assert_eq!(
            refusal(b"{\"a\":", Format::Json),
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse \
             error: unexpected end of JSON input ({\"a\":)"
        );
        assert!(refusal(b"hello", Format::Json).ends_with(
            "json parse error: invalid character 'h' looking for beginning of value (68656c6c6f)"
        ));
        assert!(refusal(b"", Format::Json).ends_with("unexpected end of JSON input (<empty>)"));
        assert!(refusal(b"a: [", Format::Yaml).contains("yaml parse error"));
    }

    #[test]
    fn a_body_that_nests_or_grows_without_end_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(refusal(deep.as_bytes(), Format::Json).contains("exceeded max depth"));
        let deep = format!("a: {deep}");
        refusal(deep.as_bytes(), Format::Yaml);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let refs = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        refusal(bomb.as_bytes(), Format::Yaml);
    }

    #[test]
    fn names_and_namespaces_must_be_those_of_the_request() {
        let mut namespace = String::new();
        check_namespace(&mut namespace, "a").unwrap();
        assert_eq!(namespace, "a");
        assert!(
            check_namespace(&mut namespace, "b").unwrap_err().to_string().starts_with("the namespace of")
        );
        assert_eq!(
            check_name("a", "b").unwrap_err().to_string(),
            "the name of the object (a) does not match the name on the URL (b)"
        );
    }

    #[test]
    fn complaints_become_errors_or_warnings() {
        let complaints = complaints(&["duplicate field \"a\"".to_owned()], &["spec.b".to_owned()]);
        assert_eq!(
            strict_error(&complaints),
            "strict decoding error: duplicate field \"a\", unknown field \"spec.b\""
        );
        assert_eq!(warnings(&complaints)[1], "299 - \"unknown field \\\"spec.b\\\"\"");
    }
}
