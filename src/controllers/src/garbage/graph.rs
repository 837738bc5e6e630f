//! Who owns whom.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::api::ObjectMeta;

use super::Resource;

/// Finalizer of an owner that waits until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner that leaves its dependents behind.
pub(super) const ORPHAN: &str = "orphan";

/// Where an object is found.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) resource: Arc<Resource>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

#[derive(Debug)]
struct Node {
    identity: Identity,
    /// Uids of the owners, and whether the object blocks their deletion.
    owners: Vec<(String, bool)>,
    /// Is being deleted and waits for its dependents.
    waits: bool,
    /// Is being deleted and leaves its dependents behind.
    orphans: bool,
}

impl Node {
    /// A change of its dependents matters to it.
    fn ending(&self) -> bool {
        self.waits || self.orphans
    }
}

/// All known objects by uid, and the dependents of owners, known or not.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// Records an object as it is now; gives the uids to look at.
    pub(super) fn set(&mut self, uid: &str, identity: Identity, metadata: &ObjectMeta) -> Vec<String> {
        let owners: Vec<(String, bool)> = metadata
            .owner_references
            .iter()
            .flatten()
            .map(|owner| (owner.uid.clone(), owner.block_owner_deletion == Some(true)))
            .collect();
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        let holds = |wanted: &str| {
            metadata.deletion_timestamp.is_some() && finalizers.iter().any(|finalizer| finalizer == wanted)
        };
        let mut affected = Vec::new();
        let known = self.nodes.get(uid).map(|node| node.owners.clone()).unwrap_or_default();
        for (owner, _) in known.iter().filter(|(owner, _)| !owners.iter().any(|(new, _)| new == owner)) {
            self.detach(uid, owner);
            // It may have been the last one that its former owner waited for.
            affected.extend(self.ending(owner));
        }
        for (owner, blocks) in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.to_owned());
            let was_blocking = known.iter().any(|(old, blocked)| old == owner && *blocked);
            if was_blocking && !blocks {
                affected.extend(self.ending(owner));
            }
        }
        // An owner that is unknown, or waits for this very object, is a reason to look.
        if owners.iter().any(|(owner, _)| self.nodes.get(owner).is_none_or(Node::ending)) {
            affected.push(uid.to_owned());
        }
        let node = Node { identity, owners, waits: holds(FOREGROUND), orphans: holds(ORPHAN) };
        if node.ending() {
            affected.push(uid.to_owned());
        }
        self.nodes.insert(uid.to_owned(), node);
        affected
    }

    /// Forgets an object that is gone; gives the uids to look at: its dependents, and owners that waited for it.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<String> {
        let mut affected: Vec<String> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        if let Some(node) = self.nodes.remove(uid) {
            for (owner, _) in &node.owners {
                self.detach(uid, owner);
                affected.extend(self.ending(owner));
            }
        }
        affected
    }

    /// Where the object is found; `None` when it is gone.
    pub(super) fn identity(&self, uid: &str) -> Option<Identity> {
        self.nodes.get(uid).map(|node| node.identity.clone())
    }

    /// The dependents, and for each whether it blocks the owner's deletion.
    pub(super) fn dependents(&self, owner: &str) -> Vec<(String, bool)> {
        self.dependents
            .get(owner)
            .into_iter()
            .flatten()
            .map(|uid| {
                let blocks = self
                    .nodes
                    .get(uid)
                    .is_some_and(|node| node.owners.iter().any(|(known, blocks)| known == owner && *blocks));
                (uid.clone(), blocks)
            })
            .collect()
    }

    /// Whether a dependent of the object waits for dependents of its own: then they may wait for each other.
    pub(super) fn has_waiting_dependent(&self, owner: &str) -> bool {
        self.dependents.get(owner).into_iter().flatten().any(|uid| self.waits(uid))
    }

    /// Whether the object is being deleted and waits for its dependents.
    pub(super) fn waits(&self, uid: &str) -> bool {
        self.nodes.get(uid).is_some_and(|node| node.waits)
    }

    fn ending(&self, uid: &str) -> Option<String> {
        self.nodes.get(uid).filter(|node| node.ending()).map(|_| uid.to_owned())
    }

    fn detach(&mut self, uid: &str, owner: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(uid);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(name: &str) -> Identity {
        let api = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
        let resource = Resource { api, is_namespaced: true };
        Identity { resource: Arc::new(resource), namespace: None, name: name.into() }
    }

    fn set(graph: &mut Graph, uid: &str, metadata: serde_json::Value) -> Vec<String> {
        graph.set(uid, identity(uid), &serde_json::from_value(metadata).unwrap())
    }

    fn owned_by(owner: &str) -> serde_json::Value {
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": owner, "blockOwnerDeletion": true}]})
    }

    #[test]
    fn an_object_with_a_known_owner_is_left_alone_until_the_owner_goes() {
        let mut graph = Graph::default();
        assert!(set(&mut graph, "owner", json!({})).is_empty());
        assert!(set(&mut graph, "child", owned_by("owner")).is_empty());
        assert_eq!(graph.remove("owner"), ["child"]);
    }

    #[test]
    fn an_object_whose_owner_is_unknown_is_looked_at() {
        assert_eq!(set(&mut Graph::default(), "child", owned_by("owner")), ["child"]);
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_again_when_a_dependent_goes_or_changes_owners() {
        let mut graph = Graph::default();
        set(&mut graph, "owner", json!({}));
        set(&mut graph, "a", owned_by("owner"));
        set(&mut graph, "b", owned_by("owner"));
        let waiting = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FOREGROUND]});
        assert_eq!(set(&mut graph, "owner", waiting), ["owner"]);
        assert_eq!(graph.dependents("owner").len(), 2);
        assert_eq!(graph.remove("a"), ["owner"]);
        assert_eq!(set(&mut graph, "b", json!({})), ["owner"]);
        assert!(graph.dependents("owner").is_empty());
    }

    #[test]
    fn a_dependent_that_waits_itself_is_known() {
        let mut graph = Graph::default();
        set(&mut graph, "owner", json!({}));
        let mut child = owned_by("owner");
        set(&mut graph, "child", child.clone());
        assert!(!graph.has_waiting_dependent("owner"));
        child["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        child["finalizers"] = json!([FOREGROUND]);
        set(&mut graph, "child", child);
        assert!(graph.has_waiting_dependent("owner"));
    }
}
