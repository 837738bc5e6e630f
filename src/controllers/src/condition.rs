//! Conditions of the `{type, status, reason, message, ...}` kind, which many APIs define each for itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What all condition types have in common.
pub(crate) trait Condition: Sized {
    /// A condition as of now.
    fn new(kind: &str, status: &str, reason: &str, message: &str) -> Self;
    /// `type`.
    fn kind(&self) -> &str;
    /// `status`.
    fn status(&self) -> &str;
    /// `reason`.
    fn reason(&self) -> &str;
    /// `message`.
    fn message(&self) -> &str;
    /// `lastTransitionTime`, to keep when the status stays.
    fn transition_mut(&mut self) -> &mut Option<Time>;
}

macro_rules! condition {
    ($type:ty, |$now:ident| {$($field:ident: $value:expr),*}) => {
        impl Condition for $type {
            fn new(kind: &str, status: &str, reason: &str, message: &str) -> Self {
                let $now = copepod_client::time::now();
                Self {
                    type_: kind.into(),
                    status: status.into(),
                    reason: Some(reason.into()),
                    message: Some(message.into()),
                    last_transition_time: Some($now.clone()),
                    $($field: $value,)*
                }
            }
            fn kind(&self) -> &str {
                &self.type_
            }
            fn status(&self) -> &str {
                &self.status
            }
            fn reason(&self) -> &str {
                self.reason.as_deref().unwrap_or_default()
            }
            fn message(&self) -> &str {
                self.message.as_deref().unwrap_or_default()
            }
            fn transition_mut(&mut self) -> &mut Option<Time> {
                &mut self.last_transition_time
            }
        }
    };
}

condition!(k8s_openapi::api::apps::v1::ReplicaSetCondition, |now| {});
condition!(k8s_openapi::api::apps::v1::DeploymentCondition, |now| {last_update_time: Some(now)});
condition!(k8s_openapi::api::core::v1::NamespaceCondition, |now| {});

/// The condition of a type.
pub(crate) fn get<'a, C: Condition>(conditions: &'a [C], kind: &str) -> Option<&'a C> {
    conditions.iter().find(|condition| condition.kind() == kind)
}

/// Puts a condition in the place of the one of its type. The transition time moves only with the status; nothing
/// changes while status and reason stay, so that a repeated observation is no write.
pub(crate) fn set<C: Condition>(conditions: &mut Vec<C>, new: C) {
    if get(conditions, new.kind())
        .is_none_or(|old| old.reason() != new.reason() || old.status() != new.status())
    {
        update(conditions, new);
    }
}

/// As [`set`], for conditions whose message counts something: a new message alone is written too.
pub(crate) fn update<C: Condition>(conditions: &mut Vec<C>, mut new: C) {
    let same = |old: &C| {
        old.status() == new.status() && old.reason() == new.reason() && old.message() == new.message()
    };
    match conditions.iter_mut().find(|condition| condition.kind() == new.kind()) {
        Some(old) if same(old) => {}
        Some(old) => {
            if old.status() == new.status() {
                *new.transition_mut() = old.transition_mut().clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// Takes the condition of a type away.
pub(crate) fn remove<C: Condition>(conditions: &mut Vec<C>, kind: &str) {
    conditions.retain(|condition| condition.kind() != kind);
}
