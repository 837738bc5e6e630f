//! DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or cannot be reached.

use async_trait::async_trait;
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::{Admission, Request, typed_mut};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

pub(super) struct DefaultTolerations;

#[async_trait]
impl Admission for DefaultTolerations {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.creates() && request.is("", "Pod")
    }

    async fn mutate(&self, _: &Request<'_>, object: &mut dyn Object) -> Result<(), ApiError> {
        let Some(spec) = typed_mut::<Pod>(object).and_then(|pod| pod.spec.as_mut()) else { return Ok(()) };
        let tolerations = spec.tolerations.get_or_insert_default();
        for taint in TAINTS {
            let tolerated = tolerations.iter().any(|t| {
                t.key.as_deref().is_none_or(|key| key.is_empty() || key == taint)
                    && t.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoExecute")
            });
            if !tolerated {
                tolerations.push(Toleration {
                    key: Some(taint.to_owned()),
                    operator: Some("Exists".to_owned()),
                    effect: Some("NoExecute".to_owned()),
                    toleration_seconds: Some(SECONDS),
                    ..Toleration::default()
                });
            }
        }
        Ok(())
    }
}
