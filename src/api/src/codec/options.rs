//! The body of a DELETE request.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::Value;

use super::{Format, parse};
use crate::field::{Errors, Path};
use crate::status::ApiError;

/// Reads `DeleteOptions`; an empty body is none.
///
/// # Errors
/// 400 when the body is something else, 422 when its fields contradict each other.
pub fn delete_options(body: &[u8], format: Format) -> Result<DeleteOptions, ApiError> {
    if body.is_empty() {
        return Ok(DeleteOptions::default());
    }
    let mut value = parse(body, format, "DeleteOptions")?.value;
    if let Value::Object(fields) = &mut value {
        if let Some(kind) = fields.remove("kind").as_ref().and_then(Value::as_str)
            && kind != "DeleteOptions"
            && !kind.is_empty()
        {
            return Err(ApiError::bad_request(format!(
                "decoded object cannot be converted to DeleteOptions: it is of kind {kind}"
            )));
        }
        fields.remove("apiVersion");
        fields.retain(|_, value| !value.is_null());
    }
    let options: DeleteOptions = serde_json::from_value(value).map_err(|e| {
        ApiError::bad_request(format!(
            "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: {e}"
        ))
    })?;
    validate_delete_options(&options)?;
    Ok(options)
}

/// Checks options that came in a body or in parameters.
///
/// # Errors
/// 422 when the fields contradict each other or have unknown values.
pub fn validate_delete_options(options: &DeleteOptions) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let policy = Path::new("propagationPolicy");
    if let Some(given) = options.propagation_policy.as_deref() {
        if options.orphan_dependents.is_some() {
            errors.invalid(&policy, given, "orphanDependents and deletionPropagation cannot be both set");
        }
        if !["Foreground", "Background", "Orphan"].contains(&given) {
            errors.not_supported(&policy, given, &["Foreground", "Background", "Orphan", "nil"]);
        }
    }
    let dry_run = options.dry_run.clone().unwrap_or_default();
    if dry_run.iter().any(|value| value != "All") {
        errors.not_supported(&Path::new("dryRun"), dry_run, &["All"]);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_named("meta.k8s.io", "DeleteOptions", "", &errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_json_yaml_or_protobuf_or_not_at_all() {
        assert_eq!(delete_options(b"", Format::Json).unwrap(), DeleteOptions::default());
        let json = br#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"preconditions":{"uid":"u"}}"#;
        let options = delete_options(json, Format::Json).unwrap();
        assert_eq!(options.grace_period_seconds, Some(0));
        assert_eq!(options.preconditions.unwrap().uid.as_deref(), Some("u"));
        let protobuf = crate::protobuf::encode(&serde_json::from_slice(json).unwrap()).unwrap();
        assert_eq!(
            delete_options(&protobuf, Format::Protobuf).unwrap(),
            delete_options(json, Format::Json).unwrap()
        );
        let options = delete_options(b"propagationPolicy: Orphan\n", Format::Yaml).unwrap();
        assert_eq!(options.propagation_policy.as_deref(), Some("Orphan"));
    }

    #[test]
    fn contradictions_are_refused() {
        let error =
            delete_options(br#"{"orphanDependents":true,"propagationPolicy":"Orphan"}"#, Format::Json)
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": orphanDependents \
             and deletionPropagation cannot be both set"
        );
        assert_eq!(error.code(), 422);
        assert_eq!(delete_options(br#"{"kind":"Pod"}"#, Format::Json).unwrap_err().code(), 400);
    }
}
