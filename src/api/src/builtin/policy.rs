//! How pods are scheduled, kept and queued: `policy`, `scheduling.k8s.io`, `coordination.k8s.io`, `node.k8s.io`,
//! `flowcontrol.apiserver.k8s.io`.

use k8s_openapi::api::{
    coordination::v1 as coordination, flowcontrol::v1 as flowcontrol, node::v1 as node, policy::v1 as policy,
    scheduling::v1 as scheduling,
};

use super::{Builder, kind};

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        kind::<policy::PodDisruptionBudget>().short(&["pdb"]).status().generation().conditional_update(),
        kind::<scheduling::PriorityClass>().short(&["pc"]).generation(),
        kind::<coordination::Lease>().create_on_update().conditional_update().relaxed(),
        kind::<node::RuntimeClass>().create_on_update().conditional_update(),
        kind::<flowcontrol::FlowSchema>().status().generation(),
        kind::<flowcontrol::PriorityLevelConfiguration>().status().generation(),
    ]
}
