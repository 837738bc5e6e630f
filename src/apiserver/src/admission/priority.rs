//! Priority: the class's name becomes the number that the scheduler and the agent go by.

use async_trait::async_trait;
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use copepod_store::Range;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Admission, Request, typed, typed_mut};
use crate::storage;

const CLASSES: &str = "/registry/scheduling.k8s.io/priorityclasses/";
/// Classes above this are the system's own.
const HIGHEST_FOR_USERS: i32 = 1_000_000_000;

pub(super) struct Priority;

#[async_trait]
impl Admission for Priority {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.subresource.is_empty()
            && (request.is("", "Pod") || request.is("scheduling.k8s.io", "PriorityClass"))
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut dyn Object) -> Result<(), ApiError> {
        if !request.creates() {
            return Ok(());
        }
        let Some(spec) = typed_mut::<Pod>(object).and_then(|pod| pod.spec.as_mut()) else { return Ok(()) };
        let named = spec.priority_class_name.clone().filter(|name| !name.is_empty());
        let class = match &named {
            Some(name) => {
                let key = format!("{CLASSES}{name}");
                let (record, _) = request.state().store.get(&key).await.map_err(|e| storage::failure(&e))?;
                let class = record.and_then(|record| serde_json::from_slice(&record.value).ok());
                Some(class.ok_or_else(|| {
                    request.forbidden(&format!("no PriorityClass with name {name} was found"))
                })?)
            }
            None => default_class(request).await?,
        };
        let (value, policy) = class
            .as_ref()
            .map_or((0, None), |c: &PriorityClass| (c.value.unwrap_or(0), c.preemption_policy.clone()));
        if spec.priority.is_some_and(|given| given != value) {
            return Err(request.forbidden(&format!(
                "the integer value of priority ({}) must not be provided in pod spec; priority admission controller \
                 computed {value} from the given PriorityClass name",
                spec.priority.unwrap_or_default()
            )));
        }
        spec.priority = Some(value);
        if let (None, Some(class)) = (&named, &class) {
            spec.priority_class_name.clone_from(&class.metadata.name);
        }
        let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
        if spec.preemption_policy.as_ref().is_some_and(|given| *given != policy) {
            return Err(request.forbidden(&format!(
                "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name",
                spec.preemption_policy.as_deref().unwrap_or_default()
            )));
        }
        spec.preemption_policy = Some(policy);
        Ok(())
    }

    async fn validate(
        &self,
        request: &Request<'_>,
        object: Option<&dyn Object>,
        _: Option<&dyn Object>,
    ) -> Result<(), ApiError> {
        let Some(class) = object.and_then(typed::<PriorityClass>) else { return Ok(()) };
        let name = class.metadata.name.as_deref().unwrap_or_default();
        if class.global_default != Some(true) || class.value > Some(HIGHEST_FOR_USERS) {
            return Ok(());
        }
        match default_class(request).await? {
            Some(other) if other.metadata.name.as_deref() != Some(name) => Err(request.forbidden(&format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                other.metadata.name.as_deref().unwrap_or_default()
            ))),
            _ => Ok(()),
        }
    }
}

/// The class that is marked as the default; with several, the lowest.
async fn default_class(request: &Request<'_>) -> Result<Option<PriorityClass>, ApiError> {
    let range = Range { prefix: CLASSES.to_owned(), ..Range::default() };
    let classes = request.state().store.range(range).await.map_err(|e| storage::failure(&e))?;
    let classes =
        classes.records.iter().filter_map(|r| serde_json::from_slice::<PriorityClass>(&r.value).ok());
    Ok(classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value))
}
