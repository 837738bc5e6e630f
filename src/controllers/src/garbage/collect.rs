//! What is done about one object.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_client::controller::Action;
use copepod_client::{Queue, error};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Resource;
use super::graph::{FOREGROUND, Graph, Identity, ORPHAN};

/// When to look again at an object whose owner exists but was not seen by any watch yet.
const OWNER_UNSEEN: Duration = Duration::from_secs(60);

/// Deletes, orphans and releases by the graph.
pub(super) struct Collector {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    /// Resources by group and kind: an owner reference may name any version of them.
    kinds: HashMap<(String, String), Arc<Resource>>,
    queue: Queue<String>,
}

/// An object's owners by what is known of them.
#[derive(Debug, Default)]
struct Owners {
    /// They exist and stay.
    solid: Vec<OwnerReference>,
    /// They exist and wait for their dependents to go.
    waiting: Vec<OwnerReference>,
    /// They do not exist.
    absent: Vec<OwnerReference>,
}

impl Collector {
    pub(super) fn new(
        client: Client,
        graph: Arc<Mutex<Graph>>,
        resources: Vec<Arc<Resource>>,
        queue: Queue<String>,
    ) -> Self {
        let kinds = resources
            .into_iter()
            .map(|resource| ((resource.api.group.clone(), resource.api.kind.clone()), resource))
            .collect();
        Self { client, graph, kinds, queue }
    }

    /// Looks at an object and does what its owners and finalizers ask for.
    pub(super) async fn attend(&self, uid: &str) -> Result<Action, kube::Error> {
        let Some(identity) = self.graph.lock().identity(uid) else { return Ok(Action::Done) };
        let api = self.api(&identity);
        let live = match api.get_metadata_opt(&identity.name).await? {
            Some(live) if live.metadata.uid.as_deref() == Some(uid) => live.metadata,
            // Gone, or another one of the same name: the watch will tell.
            _ => return Ok(Action::Done),
        };
        if live.deletion_timestamp.is_some() {
            let has = |wanted: &str| live.finalizers.iter().flatten().any(|finalizer| finalizer == wanted);
            if has(ORPHAN) {
                return self.orphan_dependents(uid, &identity, &live).await;
            }
            if has(FOREGROUND) {
                return self.await_dependents(uid, &identity, &live).await;
            }
            return Ok(Action::Done);
        }
        let owners = self.classify(&live).await?;
        if owners.waiting.is_empty() && owners.absent.is_empty() {
            let unseen =
                |owner: &OwnerReference| self.resource(owner).is_some() && !self.is_known(&owner.uid);
            // Should it go before a watch tells of it, nobody would.
            let again = owners.solid.iter().any(unseen).then_some(OWNER_UNSEEN);
            return Ok(again.map_or(Action::Done, Action::RequeueAfter));
        }
        if !owners.solid.is_empty() {
            let keep = json!({"metadata": {
                "uid": uid, "resourceVersion": live.resource_version, "ownerReferences": owners.solid}});
            return done(api.patch(&identity.name, &PatchParams::default(), &Patch::Merge(keep)).await);
        }
        if !owners.waiting.is_empty() && self.graph.lock().has_waiting_dependent(uid) {
            return self.stop_blocking(&identity, &live).await;
        }
        let policy = self.policy(uid, &live, &owners);
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: live.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        tracing::info!(
            kind = identity.resource.api.kind,
            name = identity.name,
            namespace = identity.namespace,
            "collecting an object whose owners are gone"
        );
        done(api.delete(&identity.name, &params).await)
    }

    /// Owners in a circle, all deleted in the foreground, would wait for each other for ever: one of them must not
    /// block. It goes when its owners have gone.
    async fn stop_blocking(&self, identity: &Identity, live: &ObjectMeta) -> Result<Action, kube::Error> {
        let mut owners = live.owner_references.clone().unwrap_or_default();
        owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
        let patch = json!({"metadata": {
            "uid": live.uid, "resourceVersion": live.resource_version, "ownerReferences": owners}});
        let api = self.api(identity);
        done(api.patch(&identity.name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    fn resource(&self, owner: &OwnerReference) -> Option<&Arc<Resource>> {
        let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.kinds.get(&(group.to_owned(), owner.kind.clone()))
    }

    fn is_known(&self, uid: &str) -> bool {
        self.graph.lock().identity(uid).is_some()
    }

    /// How dependents of the object itself are treated: as it asks for by a finalizer; in the foreground when its own
    /// owner waits for it.
    fn policy(&self, uid: &str, live: &ObjectMeta, owners: &Owners) -> PropagationPolicy {
        let has = |wanted: &str| live.finalizers.iter().flatten().any(|finalizer| finalizer == wanted);
        if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if has(FOREGROUND)
            || (!owners.waiting.is_empty() && !self.graph.lock().dependents(uid).is_empty())
        {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        }
    }

    /// Asks the API about every owner: only it can say that one is gone.
    async fn classify(&self, object: &ObjectMeta) -> Result<Owners, kube::Error> {
        let mut owners = Owners::default();
        for owner in object.owner_references.iter().flatten().cloned() {
            let askable = self
                .resource(&owner)
                .filter(|resource| !resource.is_namespaced || object.namespace.is_some());
            let Some(resource) = askable else {
                // A kind that is not served, or a namespaced owner of a cluster-scoped object, cannot be asked about:
                // what it may own stays.
                owners.solid.push(owner);
                continue;
            };
            match self.owner(resource, object.namespace.as_deref(), &owner).await? {
                None => owners.absent.push(owner),
                Some(live) if is_waiting(&live) && owner.block_owner_deletion == Some(true) => {
                    owners.waiting.push(owner)
                }
                Some(_) => owners.solid.push(owner),
            }
        }
        Ok(owners)
    }

    /// The owner, unless the name is now another object's. A namespaced owner is looked for in the dependent's
    /// namespace, as the API demands.
    async fn owner(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        owner: &OwnerReference,
    ) -> Result<Option<ObjectMeta>, kube::Error> {
        let api: Api<DynamicObject> = match namespace.filter(|_| resource.is_namespaced) {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource.api),
            None => Api::all_with(self.client.clone(), &resource.api),
        };
        let found = api.get_metadata_opt(&owner.name).await?;
        Ok(found.map(|object| object.metadata).filter(|live| live.uid.as_deref() == Some(&owner.uid)))
    }

    /// Foreground deletion: dependents that block go first, then the finalizer.
    async fn await_dependents(
        &self,
        uid: &str,
        identity: &Identity,
        live: &ObjectMeta,
    ) -> Result<Action, kube::Error> {
        let blocking: Vec<(String, bool)> = {
            let graph = self.graph.lock();
            let dependents = graph.dependents(uid).into_iter();
            dependents
                .filter(|(_, blocks)| *blocks)
                .map(|(uid, _)| {
                    let waits = graph.waits(&uid);
                    (uid, waits)
                })
                .collect()
        };
        if !blocking.is_empty() {
            // One that waits for its own dependents comes by itself; in a circle it would come without end.
            let idle = blocking.into_iter().filter(|(_, waits)| !waits);
            idle.for_each(|(dependent, _)| self.queue.add(dependent));
            return Ok(Action::Done);
        }
        self.remove_finalizer(identity, live, FOREGROUND).await
    }

    /// Orphan deletion: dependents lose the reference, then the owner its finalizer.
    async fn orphan_dependents(
        &self,
        uid: &str,
        identity: &Identity,
        live: &ObjectMeta,
    ) -> Result<Action, kube::Error> {
        let dependents = self.graph.lock().dependents(uid);
        for (dependent, _) in dependents {
            let Some(child) = self.graph.lock().identity(&dependent) else { continue };
            let api = self.api(&child);
            let Some(object) = api.get_metadata_opt(&child.name).await? else { continue };
            let rest: Vec<_> = object
                .metadata
                .owner_references
                .into_iter()
                .flatten()
                .filter(|owner| owner.uid != uid)
                .collect();
            let patch = json!({"metadata": {
                "uid": dependent, "resourceVersion": object.metadata.resource_version, "ownerReferences": rest}});
            done(api.patch(&child.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        self.remove_finalizer(identity, live, ORPHAN).await
    }

    async fn remove_finalizer(
        &self,
        identity: &Identity,
        live: &ObjectMeta,
        name: &str,
    ) -> Result<Action, kube::Error> {
        let rest: Vec<&String> =
            live.finalizers.iter().flatten().filter(|finalizer| *finalizer != name).collect();
        let patch: Value = json!({"metadata": {
            "uid": live.uid, "resourceVersion": live.resource_version, "finalizers": rest}});
        done(self.api(identity).patch(&identity.name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    fn api(&self, identity: &Identity) -> Api<DynamicObject> {
        match &identity.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &identity.resource.api),
            None => Api::all_with(self.client.clone(), &identity.resource.api),
        }
    }
}

fn is_waiting(owner: &ObjectMeta) -> bool {
    owner.deletion_timestamp.is_some()
        && owner.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND)
}

/// Success also when the object went meanwhile. A conflict is an error: the object changed and is looked at again.
fn done<T>(result: Result<T, kube::Error>) -> Result<Action, kube::Error> {
    match result {
        Ok(_) => Ok(Action::Done),
        Err(error) if error::is_not_found(&error) => Ok(Action::Done),
        Err(error) => Err(error),
    }
}
