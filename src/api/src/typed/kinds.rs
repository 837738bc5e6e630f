//! What is special about each built-in kind.

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
    rbac::v1 as rbac, resource::v1 as resource, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use super::TypedKind;

/// One hook of a kind.
macro_rules! hook {
    (status) => {
        const STATUS: bool = true;

        fn clear_status(&mut self) {
            self.status = None;
        }

        fn copy_status(&mut self, from: &Self) {
            self.status.clone_from(&from.status);
        }
    };
}

/// Kinds with their hooks: `path: hook, hook = value;`.
macro_rules! kinds {
    ($($type:ty $(: $($hook:ident $(= $value:expr)?),+)?;)*) => {
        $(impl TypedKind for $type {
            $($(hook!($hook $(= $value)?);)+)?
        })*
    };
}

kinds! {
    core::Binding;
    core::ComponentStatus;
    core::ConfigMap;
    core::Endpoints;
    core::Event;
    core::LimitRange;
    core::Namespace: status;
    core::Node: status;
    core::PersistentVolume: status;
    core::PersistentVolumeClaim: status;
    core::Pod: status;
    core::PodTemplate;
    core::ReplicationController: status;
    core::ResourceQuota: status;
    core::Secret;
    core::Service: status;
    core::ServiceAccount;
    admission::MutatingAdmissionPolicy;
    admission::MutatingAdmissionPolicyBinding;
    admission::MutatingWebhookConfiguration;
    admission::ValidatingAdmissionPolicy: status;
    admission::ValidatingAdmissionPolicyBinding;
    admission::ValidatingWebhookConfiguration;
    apiextensions::CustomResourceDefinition: status;
    apiregistration::APIService: status;
    apps::ControllerRevision;
    apps::DaemonSet: status;
    apps::Deployment: status;
    apps::ReplicaSet: status;
    apps::StatefulSet: status;
    authentication::SelfSubjectReview;
    authentication::TokenRequest;
    authentication::TokenReview;
    authorization::LocalSubjectAccessReview;
    authorization::SelfSubjectAccessReview;
    authorization::SelfSubjectRulesReview;
    authorization::SubjectAccessReview;
    autoscaling::v1::HorizontalPodAutoscaler: status;
    autoscaling::v1::Scale;
    autoscaling::v2::HorizontalPodAutoscaler: status;
    batch::CronJob: status;
    batch::Job: status;
    certificates::CertificateSigningRequest: status;
    coordination::Lease;
    discovery::EndpointSlice;
    events::Event;
    flowcontrol::FlowSchema: status;
    flowcontrol::PriorityLevelConfiguration: status;
    networking::IPAddress;
    networking::Ingress: status;
    networking::IngressClass;
    networking::NetworkPolicy;
    networking::ServiceCIDR: status;
    node::RuntimeClass;
    policy::Eviction;
    policy::PodDisruptionBudget: status;
    rbac::ClusterRole;
    rbac::ClusterRoleBinding;
    rbac::Role;
    rbac::RoleBinding;
    resource::DeviceClass;
    resource::ResourceClaim: status;
    resource::ResourceClaimTemplate;
    resource::ResourceSlice;
    scheduling::PriorityClass;
    storage::CSIDriver;
    storage::CSINode;
    storage::CSIStorageCapacity;
    storage::StorageClass;
    storage::VolumeAttachment: status;
    storage::VolumeAttributesClass;
}
