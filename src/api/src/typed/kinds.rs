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
use crate::defaults;
use crate::field::Errors;
use crate::prepare;
use crate::print::Printer;
use crate::strategy::{NameRule, Part};

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
    (default = $function:path) => {
        fn set_defaults(&mut self) {
            $function(self);
        }
    };
    (create = $function:path) => {
        fn prepare_create(&mut self) {
            $function(self);
        }
    };
    (update = $function:path) => {
        fn prepare_update(&mut self, old: &Self, part: Part<'_>) {
            $function(self, old, part);
        }
    };
    (valid = $function:path) => {
        fn validate_create(&self) -> Errors {
            $function(self)
        }
    };
    (valid_update = $function:path) => {
        fn validate_update(&self, old: &Self, part: Part<'_>) -> Errors {
            $function(self, old, part)
        }
    };
    (print = $printer:path) => {
        fn printer() -> &'static Printer {
            &$printer
        }
    };
    (name = $rule:path) => {
        fn name_rule() -> NameRule {
            $rule
        }
    };
    (status_at_creation) => {
        const STATUS: bool = true;

        fn copy_status(&mut self, from: &Self) {
            self.status.clone_from(&from.status);
        }
    };
    (annotations) => {
        const ANNOTATIONS_COUNT: bool = true;
    };
}

/// Kinds with their hooks: `path: hook, hook = value;`.
macro_rules! kinds {
    ($($type:ty $(: $($hook:ident $(= $value:path)?),+)?;)*) => {
        $(impl TypedKind for $type {
            $($(hook!($hook $(= $value)?);)+)?
        })*

        /// `apiVersion`, kind and strategy of all kinds.
        #[cfg(test)]
        pub(crate) fn all() -> Vec<(&'static str, &'static str, std::sync::Arc<dyn crate::strategy::Strategy>)> {
            use k8s_openapi::Resource;
            vec![$((<$type>::API_VERSION, <$type>::KIND, super::strategy::<$type>())),*]
        }
    };
}

kinds! {
    core::Binding;
    core::ComponentStatus;
    core::ConfigMap;
    core::Endpoints: default = defaults::core::endpoints;
    core::Event;
    core::LimitRange: default = defaults::core::limit_range;
    core::Namespace: status, default = defaults::core::namespace, create = prepare::namespace_create, update = prepare::namespace_update, name = NameRule::DnsLabel;
    core::Node: status_at_creation, default = defaults::core::node;
    core::PersistentVolume: status, default = defaults::core::persistent_volume, create = prepare::volume_create;
    core::PersistentVolumeClaim: status, default = defaults::core::claim, create = prepare::claim_create;
    core::Pod: status, default = defaults::pod::pod, create = prepare::pod::create, update = prepare::pod::update;
    core::PodTemplate: default = defaults::pod::pod_template;
    core::ReplicationController: status, default = defaults::core::replication_controller;
    core::ResourceQuota: status;
    core::Secret: default = defaults::core::secret, update = prepare::secret_update;
    core::Service: status, default = defaults::core::service, create = prepare::service::create, update = prepare::service::update, name = NameRule::Dns1035Label;
    core::ServiceAccount;
    admission::MutatingAdmissionPolicy: default = defaults::admission::mutating_policy;
    admission::MutatingAdmissionPolicyBinding: default = defaults::admission::mutating_binding;
    admission::MutatingWebhookConfiguration: default = defaults::admission::mutating;
    admission::ValidatingAdmissionPolicy: status, default = defaults::admission::validating_policy, update = prepare::status_keeps_metadata;
    admission::ValidatingAdmissionPolicyBinding: default = defaults::admission::validating_binding;
    admission::ValidatingWebhookConfiguration: default = defaults::admission::validating;
    apiextensions::CustomResourceDefinition: status, default = defaults::others::custom_resource_definition, create = prepare::definition_create, update = prepare::definition_update;
    apiregistration::APIService: status, default = defaults::others::api_service, update = prepare::status_keeps_metadata;
    apps::ControllerRevision;
    apps::DaemonSet: status, default = defaults::apps::daemon_set;
    apps::Deployment: status, default = defaults::apps::deployment, annotations, update = prepare::deployment_update;
    apps::ReplicaSet: status, default = defaults::apps::replica_set;
    apps::StatefulSet: status, default = defaults::apps::stateful_set;
    authentication::SelfSubjectReview;
    authentication::TokenRequest: default = defaults::others::token_request;
    authentication::TokenReview;
    authorization::LocalSubjectAccessReview;
    authorization::SelfSubjectAccessReview;
    authorization::SelfSubjectRulesReview;
    authorization::SubjectAccessReview;
    autoscaling::v1::HorizontalPodAutoscaler: status, default = defaults::autoscaling::old;
    autoscaling::v1::Scale;
    autoscaling::v2::HorizontalPodAutoscaler: status, default = defaults::autoscaling::autoscaler;
    batch::CronJob: status, default = defaults::batch::cron_job;
    batch::Job: status, default = defaults::batch::job, create = prepare::job_create;
    certificates::CertificateSigningRequest: status, update = prepare::signing_request_update;
    coordination::Lease;
    discovery::EndpointSlice: default = defaults::networking::endpoint_slice;
    events::Event;
    flowcontrol::FlowSchema: status, default = defaults::others::flow_schema, update = prepare::status_keeps_metadata;
    flowcontrol::PriorityLevelConfiguration: status, default = defaults::others::priority_level, update = prepare::status_keeps_metadata;
    networking::IPAddress;
    networking::Ingress: status;
    networking::IngressClass: default = defaults::networking::ingress_class;
    networking::NetworkPolicy: default = defaults::networking::network_policy;
    networking::ServiceCIDR: status, update = prepare::status_keeps_metadata;
    node::RuntimeClass;
    policy::Eviction;
    policy::PodDisruptionBudget: status;
    rbac::ClusterRole: name = NameRule::PathSegment;
    rbac::ClusterRoleBinding: default = defaults::others::cluster_role_binding, name = NameRule::PathSegment;
    rbac::Role: name = NameRule::PathSegment;
    rbac::RoleBinding: default = defaults::others::role_binding, name = NameRule::PathSegment;
    resource::DeviceClass;
    resource::ResourceClaim: status, default = defaults::others::resource_claim, update = prepare::status_keeps_metadata;
    resource::ResourceClaimTemplate: default = defaults::others::resource_claim_template;
    resource::ResourceSlice;
    scheduling::PriorityClass: default = defaults::others::priority_class;
    storage::CSIDriver: default = defaults::storage::driver;
    storage::CSINode;
    storage::CSIStorageCapacity;
    storage::StorageClass: default = defaults::storage::storage_class;
    storage::VolumeAttachment: status, update = prepare::status_keeps_metadata;
    storage::VolumeAttributesClass;
}
