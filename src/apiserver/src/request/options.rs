//! Parameters of reads and writes: `metav1.ListOptions`, `CreateOptions`, `DeleteOptions` and their like.

use copepod_api::codec::{self, FieldValidation};
use copepod_api::field::{Errors, Path};
use copepod_api::kind::Kind;
use copepod_api::selector::{FieldSelector, LabelSelector, SelectorError};
use copepod_api::status::ApiError;
use copepod_store::Revision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};

use super::content;
use super::query::Query;
use http::HeaderMap;

/// Parameters of a write.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WriteOptions {
    /// Go through everything but the write itself.
    pub(crate) dry_run: bool,
    /// What to do with fields that the kind does not have.
    pub(crate) validation: FieldValidation,
}

impl WriteOptions {
    /// Reads them; `kind` is the name of the options in errors, such as `CreateOptions`.
    ///
    /// # Errors
    /// 422 when a value is none of those allowed.
    pub(crate) fn parse(query: &Query, kind: &str) -> Result<Self, ApiError> {
        let mut errors = Errors::new();
        let dry_run = dry_run(query, &mut errors);
        let manager = query.get("fieldManager").unwrap_or_default();
        let path = Path::new("fieldManager");
        if manager.len() > 128 {
            errors.too_long(&path, 128);
        } else if manager.chars().any(char::is_control) {
            errors.invalid(&path, manager, "should only contain printable characters");
        }
        let text = query.get("fieldValidation").unwrap_or_default();
        let validation = FieldValidation::parse(text).unwrap_or_else(|| {
            errors.not_supported(&Path::new("fieldValidation"), text, FieldValidation::VALUES);
            FieldValidation::default()
        });
        if errors.is_empty() {
            Ok(Self { dry_run, validation })
        } else {
            Err(ApiError::invalid_named("meta.k8s.io", kind, "", &errors))
        }
    }
}

fn dry_run(query: &Query, errors: &mut Errors) -> bool {
    let values: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
    if values.iter().any(|value| *value != "All") {
        errors.not_supported(&Path::new("dryRun"), values.clone(), &["All"]);
    }
    !values.is_empty()
}

/// Which state a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The newest.
    Newest,
    /// Any that is at least this.
    NotOlderThan(Revision),
    /// Exactly this.
    Exact(Revision),
}

/// Parameters of a list or watch.
#[derive(Debug, Clone)]
pub(crate) struct ListOptions {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    pub(crate) limit: usize,
    pub(crate) continue_token: Option<String>,
    pub(crate) at: At,
    /// `resourceVersion` as a number, when there is one.
    pub(crate) revision: Option<Revision>,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads and checks them.
    ///
    /// # Errors
    /// 400 for what cannot be read, 422 for what contradicts itself.
    pub(crate) fn parse(query: &Query, kind: &Kind, watch: bool) -> Result<Self, ApiError> {
        let refuse = |error: SelectorError| ApiError::bad_request(error.to_string());
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(format!("unable to parse requirement: {error}")))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default()).map_err(refuse)?;
        fields.check(kind).map_err(refuse)?;
        let revision = revision(query.text("resourceVersion"))?;
        let matching = query.text("resourceVersionMatch");
        let limit = usize::try_from(query.number("limit")?.unwrap_or(0)).unwrap_or(0);
        let continue_token = query.text("continue").map(str::to_owned);
        let send_initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let mut errors = Errors::new();
        check(
            &mut errors,
            &Checked { revision, matching, send_initial, watch, continued: continue_token.is_some() },
        );
        if !errors.is_empty() {
            return Err(ApiError::invalid_named("meta.k8s.io", "ListOptions", "", &errors));
        }
        let at = match (revision, matching) {
            (None | Some(0), _) => At::Newest,
            (Some(revision), Some("Exact")) => At::Exact(revision),
            // Without a match, a page of an old state is wanted as it was.
            (Some(revision), None) if limit > 0 => At::Exact(revision),
            (Some(revision), _) => At::NotOlderThan(revision),
        };
        Ok(Self {
            labels,
            fields,
            limit,
            continue_token,
            at,
            revision,
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial,
            timeout_seconds: query
                .number("timeoutSeconds")?
                .and_then(|s| u64::try_from(s).ok())
                .filter(|s| *s > 0),
        })
    }
}

struct Checked<'a> {
    revision: Option<Revision>,
    matching: Option<&'a str>,
    send_initial: Option<bool>,
    watch: bool,
    continued: bool,
}

fn check(errors: &mut Errors, given: &Checked<'_>) {
    let matching = Path::new("resourceVersionMatch");
    let initial = Path::new("sendInitialEvents");
    if given.watch {
        match (given.send_initial, given.matching) {
            (None, Some(_)) => {
                errors.forbidden(
                    &matching,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            (Some(_), None) => errors.forbidden(
                &matching,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (Some(_), Some(other)) if other != "NotOlderThan" => {
                errors.not_supported(&matching, other, &["NotOlderThan"]);
            }
            _ => {}
        }
        return;
    }
    if given.send_initial.is_some() {
        errors.forbidden(&initial, "sendInitialEvents is forbidden for list");
    }
    let Some(text) = given.matching else { return };
    if given.continued {
        errors.forbidden(&matching, "resourceVersionMatch is forbidden when continue is provided");
    }
    if given.revision.is_none() {
        errors.forbidden(&matching, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if !matches!(text, "Exact" | "NotOlderThan") {
        errors.not_supported(&matching, text, &["Exact", "NotOlderThan"]);
    }
    if text == "Exact" && given.revision == Some(0) {
        errors.forbidden(&matching, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
}

/// A resource version as a revision; empty is none.
///
/// # Errors
/// 400 when it is no number.
pub(crate) fn revision(text: Option<&str>) -> Result<Option<Revision>, ApiError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
    };
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// Options of a deletion, from the body or, without one, from the parameters.
///
/// # Errors
/// 400, 415 or 422 for what cannot be read or contradicts itself.
pub(crate) fn delete_options(
    headers: &HeaderMap,
    query: &Query,
    body: &[u8],
) -> Result<DeleteOptions, ApiError> {
    if !body.is_empty() {
        let format = codec::Format::of(Some(content::media_type(headers)))
            .ok_or_else(|| ApiError::unsupported_media_type(codec::OBJECT_MEDIA_TYPES))?;
        let mut options = codec::delete_options(body, format)?;
        // The switch counts wherever it is given: a dry run that deletes would be the worse surprise.
        let mut errors = Errors::new();
        if dry_run(query, &mut errors) && options.dry_run.is_none() {
            options.dry_run = Some(vec!["All".to_owned()]);
        }
        return Ok(options);
    }
    let preconditions = Preconditions {
        uid: query.text("preconditions.uid").map(str::to_owned),
        resource_version: query.text("preconditions.resourceVersion").map(str::to_owned),
    };
    let options = DeleteOptions {
        dry_run: Some(query.all("dryRun").filter(|v| !v.is_empty()).map(str::to_owned).collect::<Vec<_>>())
            .filter(|values| !values.is_empty()),
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        orphan_dependents: query.text("orphanDependents").map(|_| query.flag("orphanDependents")),
        propagation_policy: query.text("propagationPolicy").map(str::to_owned),
        preconditions: Some(preconditions).filter(|p| p.uid.is_some() || p.resource_version.is_some()),
        ..DeleteOptions::default()
    };
    codec::validate_delete_options(&options)?;
    Ok(options)
}
