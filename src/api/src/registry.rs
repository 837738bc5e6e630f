//! All kinds that are served, found by resource or by kind.
//!
//! A registry does not change: a custom resource makes a new one, which shares the descriptors of the old.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::builtin;
use crate::kind::{Kind, Text};

/// Built-in groups in the order of discovery; others follow by name.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// A version of a group and its kinds by plural.
#[derive(Debug, Clone)]
pub struct Version {
    /// For example `v1`.
    pub name: Text,
    kinds: BTreeMap<Text, Arc<Kind>>,
}

impl Version {
    /// Kinds, sorted by plural.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values()
    }
}

/// A group and its versions, the preferred one first.
#[derive(Debug, Clone)]
pub struct Group {
    /// Empty for the core group.
    pub name: Text,
    /// Versions, the preferred one first; never empty.
    pub versions: Vec<Version>,
}

impl Group {
    /// The version of this name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }

    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn group_version(&self, version: &Version) -> String {
        if self.name.is_empty() {
            version.name.to_string()
        } else {
            format!("{}/{}", self.name, version.name)
        }
    }
}

/// All kinds that are served.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    groups: Vec<Group>,
    by_name: HashMap<Text, usize>,
}

impl Registry {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default().with(builtin::shared())
    }

    /// This registry with more kinds; a kind of the same group, version and plural is replaced.
    #[must_use]
    pub fn with(&self, kinds: impl IntoIterator<Item = Arc<Kind>>) -> Self {
        let mut groups = self.groups.clone();
        for kind in kinds {
            let gvk = &kind.gvk;
            let group = match groups.iter_mut().position(|g| g.name == gvk.group) {
                Some(at) => at,
                None => {
                    groups.push(Group { name: gvk.group.clone(), versions: Vec::new() });
                    groups.len() - 1
                }
            };
            let versions = &mut groups[group].versions;
            let version = match versions.iter().position(|v| v.name == gvk.version) {
                Some(at) => at,
                None => {
                    versions.push(Version { name: gvk.version.clone(), kinds: BTreeMap::new() });
                    versions.len() - 1
                }
            };
            versions[version].kinds.insert(kind.plural.clone(), kind);
        }
        Self::of(groups)
    }

    /// This registry without the kinds for which `gone` holds.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&Kind) -> bool) -> Self {
        let mut groups = self.groups.clone();
        for group in &mut groups {
            for version in &mut group.versions {
                version.kinds.retain(|_, kind| !gone(kind));
            }
            group.versions.retain(|v| !v.kinds.is_empty());
        }
        groups.retain(|g| !g.versions.is_empty());
        Self::of(groups)
    }

    fn of(mut groups: Vec<Group>) -> Self {
        let order = |g: &Group| GROUP_ORDER.iter().position(|o| *o == g.name).unwrap_or(GROUP_ORDER.len());
        groups.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name)));
        for group in &mut groups {
            group.versions.sort_by_key(|v| Reverse(version_rank(&v.name)));
        }
        let by_name = groups.iter().enumerate().map(|(at, g)| (g.name.clone(), at)).collect();
        Self { groups, by_name }
    }

    /// Groups in the order of discovery, the core group first.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of this name; the core group's is empty.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name).map(|at| &self.groups[*at])
    }

    /// Whether a group is served in a version.
    #[must_use]
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.group(group).is_some_and(|g| g.version(version).is_some())
    }

    /// The kind behind `/apis/<group>/<version>/<plural>`.
    #[must_use]
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.group(group)?.version(version)?.kinds.get(plural)
    }

    /// The kind of objects with this `apiVersion` (split) and `kind`.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.group(group)?.version(version)?.kinds.values().find(|k| k.gvk.kind == kind)
    }

    /// All kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.groups.iter().flat_map(|g| &g.versions).flat_map(|v| v.kinds.values())
    }
}

/// Versions compare as Kubernetes ranks them: `v2` over `v1` over `v1beta2` over `v1alpha1` over anything else.
fn version_rank(name: &str) -> (u8, u32, u32, Reverse<String>) {
    let parse = || {
        let rest = name.strip_prefix('v')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (major, rest) = rest.split_at(digits);
        let major = major.parse().ok()?;
        let (stage, minor) = match rest {
            "" => (3, 0),
            _ => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
                (Some(minor), _) => (2, minor.parse().ok()?),
                (_, Some(minor)) => (1, minor.parse().ok()?),
                _ => return None,
            },
        };
        Some((stage, major, minor))
    };
    let (stage, major, minor) = parse().unwrap_or((0, 0, 0));
    (stage, major, minor, Reverse(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Scope;

    #[test]
    fn every_kind_is_found_by_resource_and_by_kind() {
        let registry = Registry::builtin();
        let pods = registry.resource("", "v1", "pods").unwrap();
        assert_eq!((pods.gvk.kind.as_ref(), pods.scope), ("Pod", Scope::Namespaced));
        assert_eq!(pods.key(Some("default"), "a"), "/registry/core/pods/default/a");
        let nodes = registry.kind("", "v1", "Node").unwrap();
        assert_eq!((nodes.scope, nodes.singular.as_ref()), (Scope::Cluster, "node"));
        assert!(registry.resource("apps", "v1", "pods").is_none());
        assert!(registry.kinds().count() > 65, "{}", registry.kinds().count());
        for kind in registry.kinds() {
            assert!(Arc::ptr_eq(
                registry.kind(&kind.gvk.group, &kind.gvk.version, &kind.gvk.kind).unwrap(),
                kind
            ));
        }
    }

    #[test]
    fn versions_and_groups_are_in_the_order_of_preference() {
        let registry = Registry::builtin();
        let autoscaling = registry.group("autoscaling").unwrap();
        let names: Vec<&str> = autoscaling.versions.iter().map(|v| v.name.as_ref()).collect();
        assert_eq!(names, ["v2", "v1"]);
        let groups: Vec<&str> = registry.groups().iter().map(|g| g.name.as_ref()).collect();
        assert_eq!(groups, GROUP_ORDER);
        let mut versions = ["foo", "v1alpha1", "v10", "v1", "v2beta1", "v1beta2", "v2", "v11alpha2"];
        versions.sort_by_key(|v| Reverse(version_rank(v)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v11alpha2", "v1alpha1", "foo"]);
    }

    #[test]
    fn kinds_can_be_added_and_taken_away_without_touching_the_old_registry() {
        let registry = Registry::builtin();
        let less = registry.without(|k| k.gvk.group == "apps");
        assert!(less.group("apps").is_none() && registry.group("apps").is_some());
        let again = less.with(registry.kinds().filter(|k| k.gvk.group == "apps").cloned());
        assert!(again.resource("apps", "v1", "deployments").is_some());
    }

    #[test]
    fn events_and_autoscalers_share_their_objects() {
        let registry = Registry::builtin();
        let prefix = |g, v, p| registry.resource(g, v, p).unwrap().prefix();
        assert_eq!(prefix("events.k8s.io", "v1", "events"), prefix("", "v1", "events"));
        assert_eq!(
            prefix("autoscaling", "v1", "horizontalpodautoscalers"),
            prefix("autoscaling", "v2", "horizontalpodautoscalers")
        );
    }
}
