//! Between objects and the store: keys, durability, errors, lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use copepod_api::kind::{Kind, Retention, Scope};
use copepod_api::status::ApiError;
use copepod_store::{Durability, Error, Range, Record, Revision, Store, WriteOptions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, StatusCause, StatusDetails};
use serde::{Deserialize, Serialize};

use crate::request::options::{At, ListOptions};
use crate::watch::Filter;

/// Lists with selectors look at this many objects at a time.
const PAGE: usize = 500;

/// What clients are told when somebody else wrote in between.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

const EXPIRED_TOKEN: &str = "The provided continue parameter is too old to display a consistent list result. You can \
     start a new list without the continue parameter, or use the continue token in this response to retrieve the \
     remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
     created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// The store's refusal as Kubernetes words it.
pub(crate) fn error(kind: &Kind, name: &str, error: Error) -> ApiError {
    match error {
        Error::Exists(_) => ApiError::already_exists(kind, name),
        Error::NotFound(_) => ApiError::not_found(kind, name),
        Error::Conflict(_) => ApiError::conflict(kind, name, MODIFIED),
        other => failure(&other),
    }
}

/// A failure that is about no single object.
pub(crate) fn failure(error: &Error) -> ApiError {
    match error {
        Error::Compacted { requested, oldest } => ApiError::expired(format!(
            "The resourceVersion for the provided list is too old: {requested} ({oldest})"
        )),
        Error::Future { requested, newest } => too_large(*requested, *newest),
        Error::Closed => ApiError::unavailable("the server is shutting down"),
        other => {
            tracing::error!(error = %copepod_base::Chain(other), "the datastore failed");
            ApiError::internal(other)
        }
    }
}

/// 504 for a resource version that has not happened yet.
pub(crate) fn too_large(requested: Revision, newest: Revision) -> ApiError {
    let message = format!("Too large resource version: {requested}, current: {newest}");
    let mut error = ApiError::new(504, "Timeout", format!("Timeout: {message}"));
    error.0.details = Some(StatusDetails {
        retry_after_seconds: Some(1),
        causes: Some(vec![StatusCause {
            reason: Some("ResourceVersionTooLarge".to_owned()),
            message: Some("Too large resource version".to_owned()),
            field: None,
        }]),
        ..StatusDetails::default()
    });
    error
}

/// How objects of a kind are written.
pub(crate) fn write_options(kind: &Kind) -> WriteOptions {
    match kind.retention {
        Retention::Durable => WriteOptions::default(),
        Retention::Relaxed => WriteOptions { durability: Durability::Relaxed, ttl: None },
        Retention::Expiring(ttl) => WriteOptions { durability: Durability::Relaxed, ttl: Some(ttl) },
    }
}

/// A page of objects, as the kind serves them.
pub(crate) struct Listed {
    pub(crate) records: Vec<Record>,
    pub(crate) revision: Revision,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// Revision of the list; -1 for "whatever is newest".
    rv: i64,
    /// Last name that was sent, below the kind's prefix.
    start: String,
}

impl Token {
    fn encode(revision: i64, start: &str) -> String {
        let token = Token { v: "meta.k8s.io/v1".to_owned(), rv: revision, start: format!("{start}\u{0}") };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<(Option<Revision>, String), ApiError> {
        let refuse = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| refuse(&e.to_string()))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|e| refuse(&e.to_string()))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(refuse(&format!("server does not recognize this encoded version {:?}", token.v)));
        }
        let start = token.start.trim_end_matches('\u{0}');
        if start.is_empty() || start.starts_with('/') || start.split('/').any(|part| part == "..") {
            return Err(refuse("key is not valid"));
        }
        let revision = match token.rv {
            -1 => None,
            0 => return Err(refuse("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")),
            rv => Some(Revision::try_from(rv).map_err(|_| refuse("negative resourceVersion"))?),
        };
        Ok((revision, start.to_owned()))
    }
}

/// Reads a page of a list.
///
/// # Errors
/// 410 when the state is no longer kept, 504 when it has not happened yet, failures of the store.
pub(crate) async fn list(
    store: &dyn Store,
    filter: &Filter,
    options: &ListOptions,
) -> Result<Listed, ApiError> {
    let token = options.continue_token.as_deref().map(Token::decode).transpose()?;
    let prefix = filter.kind.prefix();
    let (revision, after) = match token {
        Some((revision, start)) => (revision, Some(format!("{prefix}{start}"))),
        None => {
            let exact = match options.at {
                At::Newest => None,
                At::Exact(revision) => Some(revision),
                At::NotOlderThan(revision) => {
                    let newest = store.revision().await.map_err(|e| failure(&e))?;
                    if revision > newest {
                        return Err(too_large(revision, newest));
                    }
                    None
                }
            };
            (exact, None)
        }
    };
    let continued = after.clone();
    match read(store, filter, options.limit, revision, after).await {
        Ok(listed) => Ok(listed),
        Err(Error::Compacted { .. }) if continued.is_some() => {
            let start = continued.as_deref().and_then(|key| key.strip_prefix(&prefix)).unwrap_or_default();
            let mut error = ApiError::expired(EXPIRED_TOKEN);
            error.0.metadata = ListMeta { continue_: Some(Token::encode(-1, start)), ..ListMeta::default() };
            Err(error)
        }
        Err(error) => Err(failure(&error)),
    }
}

async fn read(
    store: &dyn Store,
    filter: &Filter,
    limit: usize,
    mut revision: Option<Revision>,
    mut after: Option<String>,
) -> Result<Listed, Error> {
    let plain = filter.is_plain();
    let page = if plain { limit } else { PAGE };
    // A single name is a look-up where the keys have nothing before it.
    let whole = filter.kind.prefix();
    let prefix = match &filter.name {
        Some(name) if filter.prefix != whole || filter.kind.scope == Scope::Cluster => {
            format!("{}{name}", filter.prefix)
        }
        _ => filter.prefix.clone(),
    };
    let mut records = Vec::new();
    let mut first = None;
    loop {
        let range = Range { prefix: prefix.clone(), after, limit: page, revision };
        let result = store.range(range).await?;
        let at = *first.get_or_insert(result.revision);
        // Further pages show the same state.
        revision = Some(at);
        let more = result.remaining > 0;
        let last = result.records.last().map(|record| record.key.clone());
        if plain {
            records = result.records;
        } else {
            for record in result.records {
                if !filter.matches(&record.key, &record.value) {
                    continue;
                }
                if limit > 0 && records.len() == limit {
                    // One more than fits: there is a next page, after the last one that did.
                    return Ok(finish(filter, records, at, None, true));
                }
                records.push(record);
            }
        }
        match last {
            Some(_) if more && plain => {
                let remaining = i64::try_from(result.remaining).ok();
                return Ok(finish(filter, records, at, remaining, true));
            }
            Some(last) if more => after = Some(last.to_string()),
            _ => return Ok(finish(filter, records, at, None, false)),
        }
    }
}

fn finish(
    filter: &Filter,
    mut records: Vec<Record>,
    revision: Revision,
    remaining: Option<i64>,
    more: bool,
) -> Listed {
    let continue_token = records.last().filter(|_| more).map(|last| {
        let start = last.key.strip_prefix(&filter.kind.prefix()).unwrap_or_default();
        Token::encode(i64::try_from(revision).unwrap_or(i64::MAX), start)
    });
    if filter.kind.conversion.is_some() {
        for record in &mut records {
            // What cannot be translated is shown as it is rather than lost.
            if let Ok(served) = filter.kind.from_storage(record.value.clone()) {
                record.value = served;
            }
        }
    }
    Listed { records, revision, continue_token, remaining }
}

/// Reads one object as the kind serves it.
///
/// # Errors
/// 404 when there is none.
pub(crate) async fn get(store: &dyn Store, kind: &Kind, key: &str, name: &str) -> Result<Record, ApiError> {
    let (record, _) = store.get(key).await.map_err(|e| error(kind, name, e))?;
    let mut record = record.ok_or_else(|| ApiError::not_found(kind, name))?;
    record.value = kind.from_storage(record.value)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written_and_foreign_ones_refused() {
        assert_eq!(Token::decode(&Token::encode(7, "default/a")).unwrap(), (Some(7), "default/a".to_owned()));
        assert_eq!(Token::decode(&Token::encode(-1, "a")).unwrap(), (None, "a".to_owned()));
        for bad in ["", "!", "e30", &Token::encode(3, "../secrets"), &Token::encode(0, "a")] {
            assert_eq!(Token::decode(bad).unwrap_err().code(), 400, "{bad}");
        }
    }
}
