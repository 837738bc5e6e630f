//! `pods/eviction`: a deletion that respects disruption budgets (policy/v1).

use std::sync::Arc;

use copepod_api::codec::{check_name, check_namespace};
use copepod_api::kind::Kind;
use copepod_api::selector::LabelSelector;
use copepod_api::status::ApiError;
use copepod_api::strategy::Part;
use copepod_store::Range;
use http::Response;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, StatusCause};

use crate::admission::{Operation, Request, typed, typed_mut};
use crate::body::Body;
use crate::handlers::decode;
use crate::handlers::delete::delete;
use crate::handlers::update::{Change, change_object};
use crate::object_meta::now;
use crate::request::Context;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::storage;

/// A budget that remembers more pods than this is not kept up by its controller.
const DISRUPTED_MAX: usize = 2000;
const VIOLATED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Answers a POST of an Eviction.
pub(crate) async fn create(
    cx: &Context,
    kind: &Arc<Kind>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&cx.query, "CreateOptions")?;
    let body = content::read(&cx.headers, body).await?;
    let mut eviction: Eviction = decode::plain(cx, &body, "Eviction")?;
    let namespace = cx.namespace().ok_or_else(ApiError::no_such_path)?;
    let mut given = eviction.metadata.namespace.take().unwrap_or_default();
    check_namespace(&mut given, namespace)?;
    if let Some(name) = &eviction.metadata.name {
        check_name(name, cx.name())?;
    }
    let mut deletion = eviction.delete_options.unwrap_or_default();
    if options.dry_run {
        deletion.dry_run = Some(vec!["All".to_owned()]);
    }
    let request = Request::new(cx, kind, Operation::Create { dry_run: options.dry_run }, cx.name());
    cx.state.admission.validate(&request, None, None).await?;

    let record = storage::get(cx.state.store.as_ref(), kind, &cx.key(kind), cx.name()).await?;
    let pod: Pod = serde_json::from_slice(&record.value).map_err(ApiError::internal)?;
    if !may_go_anyway(&pod) {
        take_from_budget(cx, namespace, &pod, options.dry_run).await?;
    }
    // Only the pod that was looked at.
    only_this(&mut deletion, &pod);
    delete(cx, kind, Some(namespace), cx.name(), &deletion).await?;
    super::created(cx)
}

fn only_this(deletion: &mut DeleteOptions, pod: &Pod) {
    let preconditions = deletion.preconditions.get_or_insert_with(Preconditions::default);
    if preconditions.uid.is_none() {
        preconditions.uid.clone_from(&pod.metadata.uid);
    }
}

/// A pod that does not serve, or goes already, disrupts nothing.
fn may_go_anyway(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || pod.metadata.deletion_timestamp.is_some()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn take_from_budget(cx: &Context, namespace: &str, pod: &Pod, dry_run: bool) -> Result<(), ApiError> {
    let registry = &cx.state.registry;
    let Some(budgets) = registry.resource("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
    let prefix = format!("{}{namespace}/", budgets.prefix());
    let range = Range { prefix, ..Range::default() };
    let all = cx.state.store.range(range).await.map_err(|e| storage::failure(&e))?;
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let mut matching = all
        .records
        .iter()
        .filter_map(|record| serde_json::from_slice::<PodDisruptionBudget>(&record.value).ok())
        .filter(|budget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(&labels))
        });
    let Some(budget) = matching.next() else { return Ok(()) };
    if matching.next().is_some() {
        return Err(ApiError::new(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let name = budget.metadata.name.clone().unwrap_or_default();
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let ready = is_ready(pod);
    let change =
        Change { kind: budgets, namespace: Some(namespace), name: &name, part: Part::Status, dry_run };
    change_object(cx, change, &mut |current| {
        let mut object = current.object.boxed_clone();
        let allowed = match typed::<PodDisruptionBudget>(current.object) {
            Some(budget) => allows(budget, &name, ready)?,
            None => Allowed::Free,
        };
        if let (Allowed::Charged, Some(budget)) = (allowed, typed_mut::<PodDisruptionBudget>(object.as_mut()))
        {
            let status = budget.status.get_or_insert_default();
            status.disruptions_allowed = status.disruptions_allowed.map(|allowed| allowed - 1);
            status.disrupted_pods.get_or_insert_default().insert(pod_name.clone(), now());
        }
        Ok(object)
    })
    .await?;
    Ok(())
}

enum Allowed {
    /// Without counting: the pod is not healthy, and the budget has room or does not care.
    Free,
    /// The budget has one disruption less.
    Charged,
}

fn allows(budget: &PodDisruptionBudget, name: &str, ready: bool) -> Result<Allowed, ApiError> {
    let status = budget.status.clone().unwrap_or_default();
    let desired = status.desired_healthy.unwrap_or(0);
    let current = status.current_healthy.unwrap_or(0);
    let allowed = status.disruptions_allowed.unwrap_or(0);
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    if !ready {
        let healthy = desired > 0 && current >= desired;
        if policy == Some("AlwaysAllow") || healthy {
            return Ok(Allowed::Free);
        }
    }
    if status.observed_generation.unwrap_or(0) < budget.metadata.generation.unwrap_or(0) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(violated(&cause, 10));
    }
    if allowed < 0 {
        return Err(ApiError::new(403, "Forbidden", "pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.as_ref().is_some_and(|pods| pods.len() > DISRUPTED_MAX) {
        return Err(ApiError::new(
            403,
            "Forbidden",
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let cause =
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently");
        return Err(violated(&cause, 0));
    }
    Ok(Allowed::Charged)
}

fn violated(cause: &str, retry_after: i32) -> ApiError {
    let mut error = ApiError::too_many_requests(VIOLATED, retry_after);
    if let Some(details) = error.0.details.as_mut() {
        details.retry_after_seconds = (retry_after > 0).then_some(retry_after);
        details.causes = Some(vec![StatusCause {
            reason: Some("DisruptionBudget".to_owned()),
            message: Some(cause.to_owned()),
            field: None,
        }]);
    }
    error
}
