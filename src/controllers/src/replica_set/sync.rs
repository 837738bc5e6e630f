//! The loop around the plan: adopt, release, make, delete, report.

use std::collections::HashMap;
use std::sync::Arc;

use copepod_client::controller::Action;
use copepod_client::{Informer, ObjectKey, controller_ref, error, owner};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use super::plan::{self, Scale};
use crate::condition::{self, Condition as _};
use crate::written::Written;
use crate::{Context, pods};

/// Pods made at once at first; doubled while it works (a quota that is full is then met by one request, not 500).
const FIRST_BATCH: usize = 1;

/// The controller's part that reconciles.
#[derive(Clone)]
pub(super) struct Sync(Arc<Inner>);

struct Inner {
    context: Context,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    written: Written,
}

impl Sync {
    pub(super) fn new(context: &Context, sets: Informer<ReplicaSet>, pods: Informer<Pod>) -> Self {
        Self(Arc::new(Inner { context: context.clone(), sets, pods, written: Written::default() }))
    }

    pub(super) async fn reconcile(self, key: ObjectKey) -> Result<Action, kube::Error> {
        let this = &self.0;
        this.pods.synced().await;
        let Some(set) = this.sets.by_key(&key) else {
            this.written.forget(&key);
            return Ok(Action::Done);
        };
        this.written.seen(&key, &this.pods).await;
        let owned = this.claim(&key, &set).await?;
        let scaled = this.scale(&key, &set, &owned).await;
        let again = this.report(&set, &owned, scaled.as_ref().err()).await?;
        scaled?;
        Ok(again.map_or(Action::Done, Action::RequeueAfter))
    }
}

impl Inner {
    fn api(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.context.client.clone(), key.namespace())
    }

    /// The pods of the set, after adopting orphans that match and letting go of own pods that do not.
    async fn claim(&self, key: &ObjectKey, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, kube::Error> {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let selector = set.spec.as_ref().map(|spec| &spec.selector);
        let (mut owned, strangers): (Vec<_>, Vec<_>) = self
            .pods
            .by_index(pods::BY_CONTROLLER, uid)
            .into_iter()
            .partition(|pod| crate::selects(selector, &pod.metadata));
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(owned);
        }
        for pod in strangers {
            let patch = json!({"metadata": {"uid": pod.metadata.uid, "ownerReferences": [{"$patch": "delete", "uid": uid}]}});
            self.patch(key, &pod, &patch).await?;
        }
        let orphans = self.pods.by_index(pods::ORPHANS, key.namespace());
        let adoptable: Vec<_> = orphans
            .into_iter()
            .filter(|pod| pods::is_active(pod) && crate::selects(selector, &pod.metadata))
            .collect();
        if adoptable.is_empty() {
            return Ok(owned);
        }
        // A set that was deleted and made again must not adopt in the name of the old one.
        let sets: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), key.namespace());
        let live = sets.get_opt(&key.name).await?;
        let still = live.as_ref().is_some_and(|live| {
            live.metadata.uid.as_deref() == Some(uid) && live.metadata.deletion_timestamp.is_none()
        });
        for pod in adoptable.into_iter().filter(|_| still) {
            let patch =
                json!({"metadata": {"uid": pod.metadata.uid, "ownerReferences": [controller_ref(set)]}});
            if let Some(adopted) = self.patch(key, &pod, &patch).await? {
                owned.push(Arc::new(adopted));
            }
        }
        Ok(owned)
    }

    /// Patches a pod's owners; `None` when it is gone, or is another one of the same name.
    async fn patch(
        &self,
        key: &ObjectKey,
        pod: &Pod,
        patch: &serde_json::Value,
    ) -> Result<Option<Pod>, kube::Error> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match self.api(key).patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(pod) => {
                self.written.note(key, &pod.metadata);
                Ok(Some(pod))
            }
            Err(error)
                if error::is_not_found(&error) || error::is_conflict(&error) || error::is_invalid(&error) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn scale(&self, key: &ObjectKey, set: &ReplicaSet, owned: &[Arc<Pod>]) -> Result<(), kube::Error> {
        match plan::scale(set, owned, &self.siblings(set)) {
            Scale::Nothing => Ok(()),
            Scale::Create(count) => self.create(key, set, count).await,
            Scale::Delete(surplus) => self.delete(key, set, &surplus).await,
        }
    }

    /// Active pods per node of all ReplicaSets with the same owner: the old and new ones of a Deployment.
    fn siblings(&self, set: &ReplicaSet) -> HashMap<String, usize> {
        let mut count = HashMap::new();
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let owner = owner::controller_of(set).map(|owner| owner.uid.clone());
        let related = self.sets.list_namespace(namespace).into_iter().filter(|other| {
            other.metadata.uid == set.metadata.uid
                || (owner.is_some() && owner::controller_of(&**other).map(|o| &o.uid) == owner.as_ref())
        });
        for pod in related
            .filter_map(|other| other.metadata.uid.clone())
            .flat_map(|uid| self.pods.by_index(pods::BY_CONTROLLER, &uid))
            .filter(|pod| pods::is_active(pod))
        {
            if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
                *count.entry(node).or_default() += 1;
            }
        }
        count
    }

    async fn create(&self, key: &ObjectKey, set: &ReplicaSet, count: usize) -> Result<(), kube::Error> {
        let pod = new_pod(set);
        let api = self.api(key);
        let (mut left, mut batch) = (count, FIRST_BATCH);
        while left > 0 {
            let now = batch.min(left);
            let results =
                join_all((0..now).map(|_| async { api.create(&PostParams::default(), &pod).await })).await;
            let mut failure = None;
            for result in results {
                match result {
                    Ok(pod) => {
                        let name = pod.metadata.name.as_deref().unwrap_or_default();
                        self.context.recorder.normal(set, "SuccessfulCreate", format!("Created pod: {name}"));
                        self.written.note(key, &pod.metadata);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            match failure {
                // Nothing can be made in a namespace that goes away, and nothing needs to be.
                Some(error) if error::is_namespace_terminating(&error) => return Ok(()),
                Some(error) => {
                    self.context.recorder.warning(
                        set,
                        "FailedCreate",
                        format!("Error creating: {}", message(&error)),
                    );
                    return Err(error);
                }
                None => {}
            }
            left -= now;
            batch *= 2;
        }
        Ok(())
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        surplus: &[Arc<Pod>],
    ) -> Result<(), kube::Error> {
        let api = self.api(key);
        let results =
            join_all(
                surplus.iter().map(|pod| {
                    let params = DeleteParams {
                        preconditions: Some(Preconditions {
                            uid: pod.metadata.uid.clone(),
                            resource_version: None,
                        }),
                        ..DeleteParams::default()
                    };
                    let api = &api;
                    async move {
                        (pod, api.delete(pod.metadata.name.as_deref().unwrap_or_default(), &params).await)
                    }
                }),
            )
            .await;
        let mut failure = None;
        for (pod, result) in results {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            match result {
                Ok(deleted) => {
                    self.context.recorder.normal(set, "SuccessfulDelete", format!("Deleted pod: {name}"));
                    if let Some(pod) = deleted.left() {
                        self.written.note(key, &pod.metadata);
                    }
                }
                Err(error) if error::is_not_found(&error) || error::is_conflict(&error) => {}
                Err(error) => {
                    self.context.recorder.warning(
                        set,
                        "FailedDelete",
                        format!("Error deleting: {}", message(&error)),
                    );
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes the status when it differs; gives when to look again.
    async fn report(
        &self,
        set: &ReplicaSet,
        owned: &[Arc<Pod>],
        failure: Option<&kube::Error>,
    ) -> Result<Option<std::time::Duration>, kube::Error> {
        let (mut status, again) = plan::status(set, owned, copepod_client::time::timestamp());
        let mut conditions = status.conditions.take().unwrap_or_default();
        match failure {
            Some(error) => {
                let reason =
                    if status.replicas < plan::replicas(set) { "FailedCreate" } else { "FailedDelete" };
                let wanted = ReplicaSetCondition::new("ReplicaFailure", "True", reason, &message(error));
                condition::set(&mut conditions, wanted);
            }
            None => condition::remove(&mut conditions, "ReplicaFailure"),
        }
        status.conditions = (!conditions.is_empty()).then_some(conditions);
        let new = ReplicaSet { status: Some(status), ..set.clone() };
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), namespace);
        match copepod_client::patch_status(&api, set, &new).await {
            Ok(_) => Ok(again),
            Err(error) if error::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The server's words, without what kube puts around them.
fn message(error: &kube::Error) -> String {
    error::api_status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

fn new_pod(set: &ReplicaSet) -> Pod {
    let PodTemplateSpec { metadata, spec } =
        set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let template = metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            labels: template.labels,
            annotations: template.annotations,
            finalizers: template.finalizers,
            owner_references: controller_ref(set).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        ..Pod::default()
    }
}
