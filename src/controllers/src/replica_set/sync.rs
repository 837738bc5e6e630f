//! The loop around the plan: adopt, release, make, delete, report.

use std::collections::HashMap;
use std::sync::Arc;

use copepod_client::controller::Action;
use copepod_client::{Informer, ObjectKey, controller_ref, error, owner};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};

use super::plan::{self, Scale};
use crate::claim::Claim;
use crate::condition::{self, Condition as _};
use crate::written::Written;
use crate::{Context, message, pods, still_there};

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
        this.written.seen(&key, &this.pods).await;
        let Some(set) = this.sets.by_key(&key) else { return Ok(Action::Done) };
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
        let claim = Claim {
            client: &self.context.client,
            key,
            owner: set,
            selector: set.spec.as_ref().map(|spec| &spec.selector),
            written: &self.written,
        };
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let own = self.pods.by_index(pods::BY_CONTROLLER, uid);
        claim.claim(own, self.pods.by_index(pods::ORPHANS, key.namespace()), pods::is_active).await
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
            if let Some(node) = pods::node_of(&pod) {
                *count.entry(node.to_owned()).or_default() += 1;
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
                    let text = format!("Error creating: {}", message(&error));
                    self.context.recorder.warning(set, "FailedCreate", text);
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
            match still_there(result) {
                Ok(Some(deleted)) => {
                    self.context.recorder.normal(set, "SuccessfulDelete", format!("Deleted pod: {name}"));
                    deleted.left().iter().for_each(|pod| self.written.note(key, &pod.metadata));
                }
                Ok(None) => {}
                Err(error) => {
                    let text = format!("Error deleting: {}", message(&error));
                    self.context.recorder.warning(set, "FailedDelete", text);
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
        let written = still_there(copepod_client::patch_status(&api, set, &new).await)?;
        Ok(again.filter(|_| written.is_some()))
    }
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
