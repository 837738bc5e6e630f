//! Workloads: `apps`, `batch`, `autoscaling`.

use k8s_openapi::api::{apps::v1 as apps, autoscaling, batch::v1 as batch};

use super::{Builder, kind};
use crate::convert::AutoscalerV1;

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        kind::<apps::ControllerRevision>(),
        kind::<apps::DaemonSet>().short(&["ds"]).category("all").status().generation(),
        kind::<apps::Deployment>().short(&["deploy"]).category("all").scale().status().generation(),
        kind::<apps::ReplicaSet>().short(&["rs"]).category("all").scale().status().generation(),
        kind::<apps::StatefulSet>().short(&["sts"]).category("all").scale().status().generation(),
        kind::<autoscaling::v2::HorizontalPodAutoscaler>().short(&["hpa"]).category("all").status(),
        kind::<autoscaling::v1::HorizontalPodAutoscaler>()
            .short(&["hpa"])
            .category("all")
            .status()
            .stored_as("autoscaling", &AutoscalerV1),
        kind::<batch::CronJob>().short(&["cj"]).category("all").status().generation(),
        kind::<batch::Job>().category("all").status().generation().field_at(
            "status.successful",
            "status.succeeded",
            "0",
        ),
    ]
}
