//! Rules as RBAC writes them, as tables in code.

use async_trait::async_trait;

use super::{Attributes, Authorizer, Decision, Target};
use crate::identity::Identity;

/// What may be done with some resources.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) struct ResourceRule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    /// Empty is all names.
    pub names: Vec<String>,
}

impl ResourceRule {
    /// A rule from words separated by blanks; `core` is the empty group.
    pub(crate) fn new(verbs: &str, groups: &str, resources: &str) -> Self {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let groups =
            groups.split(' ').map(|g| if g == "core" { String::new() } else { g.to_owned() }).collect();
        Self { verbs: words(verbs), groups, resources: words(resources), names: Vec::new() }
    }

    /// Whether the rule covers a request.
    pub(crate) fn covers(&self, verb: &str, group: &str, resource: &str, sub: &str, name: &str) -> bool {
        any(&self.verbs, verb)
            && any(&self.groups, group)
            && self.resources.iter().any(|rule| match rule.split_once('/') {
                _ if rule == "*" => true,
                None => sub.is_empty() && rule == resource,
                Some(("*", rule_sub)) => rule_sub == sub,
                Some((rule, rule_sub)) => rule == resource && (rule_sub == sub || rule_sub == "*"),
            })
            && (self.names.is_empty() || self.names.iter().any(|n| n == name))
    }
}

fn any(rules: &[String], value: &str) -> bool {
    rules.iter().any(|rule| rule == "*" || rule == value)
}

/// All rules that apply to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RuleSet {
    /// For resources.
    pub resources: Vec<ResourceRule>,
    /// For other paths: verbs and paths, which may end in `*`.
    pub paths: Vec<(Vec<String>, Vec<String>)>,
}

impl RuleSet {
    /// All verbs on everything.
    pub(crate) fn everything() -> Self {
        Self {
            resources: vec![ResourceRule::new("*", "*", "*")],
            paths: vec![(vec!["*".to_owned()], vec!["*".to_owned()])],
        }
    }

    /// Adds the rules of another set.
    pub(crate) fn extend(&mut self, other: RuleSet) {
        self.resources.extend(other.resources);
        self.paths.extend(other.paths);
    }

    /// Whether the set allows a request.
    pub(crate) fn allows(&self, verb: &str, target: &Target<'_>) -> bool {
        match *target {
            Target::Path(path) => self.paths.iter().any(|(verbs, paths)| {
                any(verbs, verb)
                    && paths.iter().any(|rule| match rule.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => rule == path,
                    })
            }),
            Target::Resource { group, resource, subresource, name, .. } => {
                self.resources.iter().any(|rule| rule.covers(verb, group, resource, subresource, name))
            }
        }
    }
}

/// Somebody to whom a rule set applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    User(&'static str),
    Group(&'static str),
}

impl Subject {
    fn is(&self, identity: &Identity) -> bool {
        match self {
            Subject::User(user) => identity.user == *user,
            Subject::Group(group) => identity.in_group(group),
        }
    }
}

/// Fixed rules for fixed subjects: what Kubernetes' bootstrap roles give to its own components.
pub(crate) struct Rules(pub(crate) Vec<(Subject, RuleSet)>);

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let allowed = self
            .0
            .iter()
            .any(|(who, set)| who.is(attributes.identity) && set.allows(attributes.verb, &attributes.target));
        if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) }
    }

    async fn rules(&self, identity: &Identity, _: &str) -> RuleSet {
        let mut all = RuleSet::default();
        for (_, set) in self.0.iter().filter(|(who, _)| who.is(identity)) {
            all.extend(set.clone());
        }
        all
    }
}
