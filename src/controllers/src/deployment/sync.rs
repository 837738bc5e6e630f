//! The loop around the plans.

use std::sync::Arc;

use copepod_client::controller::Action;
use copepod_client::{Informer, ObjectKey, error, owner};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::status::{self, Step};
use super::{rollout, template};
use crate::claim::Claim;
use crate::written::Written;
use crate::{Context, message, pods, still_there};

/// The controller's part that reconciles.
#[derive(Clone)]
pub(super) struct Sync(Arc<Inner>);

struct Inner {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    written: Written,
}

/// What a pass over a Deployment works with.
struct Pass<'a> {
    key: &'a ObjectKey,
    deployment: &'a Deployment,
    sets: Api<ReplicaSet>,
    newest: Option<Arc<ReplicaSet>>,
    old: Vec<Arc<ReplicaSet>>,
    /// Why the newest set could not be made: the status tells it, then it is tried again.
    failure: Option<kube::Error>,
}

impl Pass<'_> {
    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.newest.iter().chain(&self.old).cloned().collect()
    }

    /// What the newest set's revision must be at least.
    fn next_revision(&self) -> i64 {
        template::last_revision(&self.old) + 1
    }
}

impl Sync {
    pub(super) fn new(
        context: &Context,
        deployments: Informer<Deployment>,
        sets: Informer<ReplicaSet>,
        pods: Informer<Pod>,
    ) -> Self {
        Self(Arc::new(Inner {
            context: context.clone(),
            deployments,
            sets,
            pods,
            written: Written::default(),
        }))
    }

    pub(super) async fn reconcile(self, key: ObjectKey) -> Result<Action, kube::Error> {
        let this = &self.0;
        this.sets.synced().await;
        this.pods.synced().await;
        this.written.seen(&key, &this.sets).await;
        let Some(deployment) = this.deployments.by_key(&key) else { return Ok(Action::Done) };
        let mut pass = this.observe(&key, &deployment).await?;
        let step = if deployment.metadata.deletion_timestamp.is_some() {
            Step::Counting
        } else {
            this.advance(&mut pass).await?
        };
        let sets = pass.all();
        let observed = status::Observed {
            deployment: &deployment,
            newest: pass.newest.as_deref(),
            all: &sets,
            step: &step,
            now: copepod_client::time::timestamp(),
        };
        let (status, again) = status::status(&observed);
        let new = Deployment { status: Some(status), ..(*deployment).clone() };
        still_there(copepod_client::patch_status(&this.api(&key), &deployment, &new).await)?;
        match pass.failure {
            Some(error) => Err(error),
            None => Ok(again.map_or(Action::Done, Action::RequeueAfter)),
        }
    }
}

impl Inner {
    fn api(&self, key: &ObjectKey) -> Api<Deployment> {
        Api::namespaced(self.context.client.clone(), key.namespace())
    }

    /// Claims the Deployment's sets and tells the newest from the others.
    async fn observe<'a>(
        &self,
        key: &'a ObjectKey,
        deployment: &'a Deployment,
    ) -> Result<Pass<'a>, kube::Error> {
        let claim = Claim {
            client: &self.context.client,
            key,
            owner: deployment,
            selector: deployment.spec.as_ref().map(|spec| &spec.selector),
            written: &self.written,
        };
        let own =
            self.sets.by_index(super::BY_CONTROLLER, deployment.metadata.uid.as_deref().unwrap_or_default());
        let orphans = self.sets.list_namespace(key.namespace()).into_iter();
        let orphans = orphans.filter(|set| owner::controller_of(&**set).is_none()).collect();
        let owned = claim.claim(own, orphans, |_| true).await?;
        let sets: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), key.namespace());
        let newest = template::newest(deployment, &owned);
        let old = owned
            .into_iter()
            .filter(|set| newest.as_ref().is_none_or(|newest| newest.metadata.uid != set.metadata.uid))
            .collect();
        Ok(Pass { key, deployment, sets, newest, old, failure: None })
    }

    /// One step towards what the Deployment asks for.
    async fn advance(&self, pass: &mut Pass<'_>) -> Result<Step, kube::Error> {
        let deployment = pass.deployment;
        let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        if paused || rollout::is_scaling(deployment, &pass.all()) {
            self.update_newest(pass).await?;
            let steps = rollout::scaled(deployment, pass.newest.as_ref(), &pass.old);
            self.apply(pass, steps).await?;
            if paused {
                self.clean_up(pass).await?;
            }
            return Ok(Step::Counting);
        }
        self.update_newest(pass).await?;
        if rollout::is_recreate(deployment) {
            let steps: Vec<_> = pass
                .old
                .iter()
                .filter(|set| template::replicas(set) > 0)
                .map(|set| (set.clone(), 0))
                .collect();
            if !steps.is_empty() {
                self.apply(pass, steps).await?;
                return Ok(Step::Going);
            }
            if self.old_pods_remain(pass) {
                return Ok(Step::Going);
            }
        }
        let step = if pass.newest.is_none() { self.create_newest(pass).await? } else { Step::Going };
        let Some(newest) = pass.newest.clone() else { return Ok(step) };
        let current = template::replicas(&newest);
        let wanted = rollout::of_newest(deployment, current, &pass.old);
        if wanted != current {
            self.apply(pass, vec![(newest, wanted)]).await?;
        } else if !rollout::is_recreate(deployment) {
            let steps = rollout::shrink_old(deployment, &newest, &pass.old);
            self.apply(pass, steps).await?;
        }
        let status = deployment.status.clone().unwrap_or_default();
        if status::is_complete(deployment, &status) {
            self.clean_up(pass).await?;
        }
        Ok(step)
    }

    /// By what the sets say too: the cache of pods may not have those yet that a set has just made.
    fn old_pods_remain(&self, pass: &Pass<'_>) -> bool {
        if pass.old.iter().any(|set| set.status.as_ref().is_some_and(|status| status.replicas > 0)) {
            return true;
        }
        pass.old
            .iter()
            .filter_map(|set| set.metadata.uid.as_deref())
            .flat_map(|uid| self.pods.by_index(pods::BY_CONTROLLER, uid))
            .any(|pod| !pods::is_finished(&pod))
    }

    /// Brings revision, annotations and `minReadySeconds` of the newest set up to date, when there is one.
    async fn update_newest(&self, pass: &mut Pass<'_>) -> Result<(), kube::Error> {
        let Some(newest) = pass.newest.clone() else { return Ok(()) };
        let min_ready = pass.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let has = newest.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let annotations = template::annotations(pass.deployment, &newest, pass.next_revision());
        if annotations.is_some() || has != min_ready {
            let mut patch =
                json!({"metadata": {"uid": newest.metadata.uid}, "spec": {"minReadySeconds": min_ready}});
            if let Some(annotations) = annotations {
                patch["metadata"]["annotations"] = json!(annotations);
            }
            pass.newest = self.patch(pass.key, &pass.sets, &newest, &patch).await?.or(Some(newest));
        }
        self.note_revision(pass).await
    }

    /// Keeps the newest set's revision on the Deployment too.
    async fn note_revision(&self, pass: &Pass<'_>) -> Result<(), kube::Error> {
        let revision =
            pass.newest.as_ref().and_then(|set| template::number(&set.metadata, template::REVISION));
        let noted = template::number(&pass.deployment.metadata, template::REVISION);
        if let Some(revision) = revision.filter(|_| revision != noted) {
            let patch = json!({"metadata": {
                "uid": pass.deployment.metadata.uid, "annotations": {(template::REVISION): revision.to_string()}}});
            let api = self.api(pass.key);
            // Through the status: an annotation written to the object itself would count as a new generation.
            still_there(
                api.patch_status(&pass.key.name, &PatchParams::default(), &Patch::Merge(patch)).await,
            )?;
        }
        Ok(())
    }

    /// Makes the set for the present template.
    async fn create_newest(&self, pass: &mut Pass<'_>) -> Result<Step, kube::Error> {
        let deployment = pass.deployment;
        let replicas = rollout::of_newest(deployment, 0, &pass.old);
        let set = template::new_set(deployment, replicas, pass.next_revision(), rollout::most(deployment));
        let set_name = name(&set.metadata).to_owned();
        match pass.sets.create(&PostParams::default(), &set).await {
            Ok(created) => {
                self.written.note(pass.key, &created.metadata);
                if replicas > 0 {
                    self.scaled_event(deployment, &set_name, 0, replicas);
                }
                pass.newest = Some(Arc::new(created));
                self.note_revision(pass).await?;
                Ok(Step::Created(set_name))
            }
            Err(error) if error::is_already_exists(&error) => self.collided(pass, &set_name, error).await,
            Err(error) if error::is_namespace_terminating(&error) => Ok(Step::Counting),
            Err(error) => {
                let message = format!("Failed to create new replica set {set_name:?}: {}", message(&error));
                self.context.recorder.warning(deployment, "ReplicaSetCreateError", message.clone());
                pass.failure = Some(error);
                Ok(Step::Failed(message))
            }
        }
    }

    /// The name of the set to be made is taken: by an earlier pass, by another template with the same hash, or by
    /// what an earlier Deployment of this name has left.
    async fn collided(
        &self,
        pass: &mut Pass<'_>,
        set_name: &str,
        error: kube::Error,
    ) -> Result<Step, kube::Error> {
        let deployment = pass.deployment;
        let Some(there) = pass.sets.get_opt(set_name).await?.map(Arc::new) else { return Err(error) };
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        if owner::is_controlled_by(&*there, uid)
            && template::newest(deployment, std::slice::from_ref(&there)).is_some()
        {
            pass.newest = Some(there);
            return Ok(Step::Going);
        }
        // The next name is made with the count mixed in.
        let count = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0) + 1;
        let patch = json!({"metadata": {"uid": uid}, "status": {"collisionCount": count}});
        let api = self.api(pass.key);
        still_there(api.patch_status(&pass.key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        tracing::debug!(deployment = %pass.key, set = set_name, count, "the name of a replica set is taken");
        // The status just written wakes the next pass.
        Ok(Step::Waiting)
    }

    /// Gives sets their new sizes, and notes on each what they were computed from.
    async fn apply(&self, pass: &mut Pass<'_>, steps: Vec<rollout::Step>) -> Result<(), kube::Error> {
        let deployment = pass.deployment;
        let notes = json!({
            (template::DESIRED): template::desired(deployment).to_string(),
            (template::MAX): rollout::most(deployment).to_string(),
        });
        for (set, size) in steps {
            let before = template::replicas(&set);
            let patch = json!({
                "metadata": {"uid": set.metadata.uid, "annotations": notes},
                "spec": {"replicas": size}});
            let is_noted = notes.as_object().into_iter().flatten().all(|(note, value)| {
                set.metadata.annotations.as_ref().and_then(|all| all.get(note)).map(String::as_str)
                    == value.as_str()
            });
            if before == size && is_noted {
                continue;
            }
            let Some(changed) = self.patch(pass.key, &pass.sets, &set, &patch).await? else { continue };
            if before != size {
                self.scaled_event(deployment, name(&set.metadata), before, size);
            }
            let is_it = |other: &Arc<ReplicaSet>| other.metadata.uid == changed.metadata.uid;
            if pass.newest.as_ref().is_some_and(is_it) {
                pass.newest = Some(changed);
            } else if let Some(slot) = pass.old.iter_mut().find(|other| is_it(other)) {
                *slot = changed;
            }
        }
        Ok(())
    }

    fn scaled_event(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        self.context.recorder.normal(
            deployment,
            "ScalingReplicaSet",
            format!("Scaled {direction} replica set {set} from {from} to {to}"),
        );
    }

    async fn clean_up(&self, pass: &Pass<'_>) -> Result<(), kube::Error> {
        for set in template::obsolete(pass.deployment, &pass.old) {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: set.metadata.uid.clone(),
                    resource_version: set.metadata.resource_version.clone(),
                }),
                ..DeleteParams::background()
            };
            still_there(pass.sets.delete(name(&set.metadata), &params).await)?;
        }
        Ok(())
    }

    /// Patches a set; `None` when it is gone, or is another one of the same name.
    async fn patch(
        &self,
        key: &ObjectKey,
        api: &Api<ReplicaSet>,
        set: &ReplicaSet,
        patch: &Value,
    ) -> Result<Option<Arc<ReplicaSet>>, kube::Error> {
        let result = api.patch(name(&set.metadata), &PatchParams::default(), &Patch::Strategic(patch)).await;
        let changed = still_there(result)?;
        changed.iter().for_each(|set| self.written.note(key, &set.metadata));
        Ok(changed.map(Arc::new))
    }
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
