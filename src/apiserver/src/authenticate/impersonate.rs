//! Acting as somebody else: `kubectl --as`.

use std::collections::BTreeMap;

use copepod_api::status::ApiError;
use http::HeaderMap;

use crate::authorize::{Attributes, Authorizer, Decision, Target, forbidden};
use crate::identity::{AUTHENTICATED, Identity, SERVICE_ACCOUNT_PREFIX};
use crate::request::query::percent_decode;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// The identity that the headers ask for, when there are such headers and `identity` may act as that.
///
/// # Errors
/// 403 when it may not, 400 when groups are named without a user.
pub(crate) async fn impersonate(
    identity: &Identity,
    headers: &HeaderMap,
    authorizer: &dyn Authorizer,
) -> Result<Option<Identity>, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let groups: Vec<&str> = headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).collect();
    let extra: Vec<(String, &str)> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().strip_prefix(EXTRA)?, value.to_str().ok()?)))
        .map(|(name, value)| (percent_decode(name, false), value))
        .collect();
    let user = text(USER);
    if user.is_empty() {
        if groups.is_empty() && extra.is_empty() && text(UID).is_empty() {
            return Ok(None);
        }
        return Err(ApiError::bad_request("requested impersonation without impersonating a user"));
    }

    let mut allowed = Asking { identity, authorizer };
    let mut wanted = Identity { user: user.to_owned(), uid: text(UID).to_owned(), ..Identity::default() };
    match user.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':')) {
        Some((namespace, name)) => {
            allowed.may("", "serviceaccounts", "", name, Some(namespace)).await?;
            wanted.groups =
                vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        None => allowed.may("", "users", "", user, None).await?,
    }
    if !groups.is_empty() {
        wanted.groups = groups.iter().map(|group| (*group).to_owned()).collect();
    }
    for group in groups {
        allowed.may("", "groups", "", group, None).await?;
    }
    if !wanted.uid.is_empty() {
        allowed.may("authentication.k8s.io", "uids", "", &wanted.uid, None).await?;
    }
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in extra {
        allowed.may("authentication.k8s.io", "userextras", &name, value, None).await?;
        values.entry(name).or_default().push(value.to_owned());
    }
    wanted.extra = values;
    if user != "system:anonymous" && !wanted.in_group(AUTHENTICATED) {
        wanted.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(Some(wanted))
}

struct Asking<'a> {
    identity: &'a Identity,
    authorizer: &'a dyn Authorizer,
}

impl Asking<'_> {
    async fn may(
        &mut self,
        group: &str,
        resource: &str,
        subresource: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<(), ApiError> {
        let attributes = Attributes {
            identity: self.identity,
            verb: "impersonate",
            target: Target::Resource { group, resource, subresource, name, namespace, fields: None },
        };
        match self.authorizer.authorize(&attributes).await {
            Decision::Allow => Ok(()),
            Decision::NoOpinion(reason) => Err(forbidden(&attributes, &reason)),
        }
    }
}
