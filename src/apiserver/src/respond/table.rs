//! Server-side tables (`meta.k8s.io/v1` Table): what `kubectl get` prints.

use bytes::Bytes;
use copepod_api::encode::{self, EventType};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_base::clock;
use copepod_store::{Record, Revision};
use serde_json::{Value, json};

/// What of the object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// Reads the parameter `includeObject`.
    ///
    /// # Errors
    /// 400 for another value.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("None") => Ok(Include::None),
            Some("Object") => Ok(Include::Object),
            Some(other) => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value {other:?}: must be one of None, Object, Metadata"
            ))),
        }
    }
}

/// How tables are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableOptions {
    /// Version of `meta.k8s.io`.
    pub(crate) version: &'static str,
    pub(crate) include: Include,
    /// `noHeaders` leaves the columns out.
    pub(crate) headers: bool,
}

/// The `metadata` of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableMeta {
    pub(crate) revision: Revision,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<i64>,
}

fn columns(kind: &Kind) -> Value {
    kind.strategy
        .columns()
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": c.kind, "format": c.format, "description": c.description,
                "priority": c.priority,
            })
        })
        .collect()
}

fn seconds() -> i64 {
    i64::try_from(clock::since_epoch().as_secs()).unwrap_or(i64::MAX)
}

fn append_row(kind: &Kind, object: &[u8], revision: Revision, include: Include, now: i64, out: &mut Vec<u8>) {
    let value: Value = serde_json::from_slice(object).unwrap_or_default();
    out.extend_from_slice(b"{\"cells\":");
    out.extend_from_slice(Value::Array(kind.strategy.row(&value, now)).to_string().as_bytes());
    match include {
        Include::None => out.extend_from_slice(b",\"object\":null"),
        Include::Metadata => {
            out.extend_from_slice(b",\"object\":");
            encode::splice_metadata(object, revision, out);
        }
        Include::Object => {
            out.extend_from_slice(b",\"object\":");
            encode::splice(object, revision, out);
        }
    }
    out.push(b'}');
}

/// A table of objects.
pub(crate) fn table(kind: &Kind, records: &[Record], meta: &TableMeta, options: TableOptions) -> Bytes {
    let mut metadata = json!({"resourceVersion": meta.revision.to_string()});
    if let Some(token) = meta.continue_token.as_ref().filter(|token| !token.is_empty()) {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = meta.remaining.filter(|count| *count > 0) {
        metadata["remainingItemCount"] = json!(remaining);
    }
    let columns = if options.headers { columns(kind) } else { Value::Null };
    let mut out = format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{}\",\"metadata\":{metadata},\
         \"columnDefinitions\":{columns},\"rows\":[",
        options.version
    )
    .into_bytes();
    let now = seconds();
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append_row(kind, &record.value, record.mod_revision, options.include, now, &mut out);
    }
    out.extend_from_slice(b"]}");
    out.into()
}

/// Makes watch events of tables; only the first names the columns.
pub(crate) struct TableEvents {
    options: TableOptions,
}

impl TableEvents {
    pub(crate) fn new(options: TableOptions) -> Self {
        Self { options }
    }

    /// The line of an event.
    pub(crate) fn line(
        &mut self,
        kind: &Kind,
        event: EventType,
        object: &Bytes,
        revision: Revision,
    ) -> Bytes {
        let record = Record {
            key: std::sync::Arc::from(""),
            value: object.clone(),
            create_revision: 0,
            mod_revision: revision,
        };
        let meta = TableMeta { revision, ..TableMeta::default() };
        let table = table(kind, std::slice::from_ref(&record), &meta, self.options);
        self.options.headers = false;
        encode::raw_event(event, &table)
    }
}
