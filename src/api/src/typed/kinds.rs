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
use crate::print::{self, Printer};
use crate::strategy::{NameRule, Part};
use crate::validate;

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
    core::ComponentStatus: print = print::core::COMPONENT_STATUS;
    core::ConfigMap:
        print = print::core::CONFIG_MAP, valid = validate::secret::config_map,
        valid_update = validate::secret::config_map_update;
    core::Endpoints:
        default = defaults::core::endpoints, print = print::network::ENDPOINTS,
        valid = validate::core::endpoints, valid_update = validate::core::endpoints_update;
    core::Event: print = print::core::EVENT, valid = validate::core::event;
    core::LimitRange:
        default = defaults::core::limit_range, print = print::core::CREATED_AT,
        valid = validate::core::limit_range, valid_update = validate::core::limit_range_update;
    core::Namespace:
        status, default = defaults::core::namespace, create = prepare::namespace_create,
        update = prepare::namespace_update, name = NameRule::DnsLabel, print = print::core::NAMESPACE,
        valid = validate::core::namespace, valid_update = validate::core::namespace_update;
    core::Node:
        status_at_creation, default = defaults::core::node, print = print::core::NODE,
        valid = validate::core::node, valid_update = validate::core::node_update;
    core::PersistentVolume:
        status, default = defaults::core::persistent_volume, create = prepare::volume_create,
        print = print::storage::VOLUME, valid = validate::storage::volume,
        valid_update = validate::storage::volume_update;
    core::PersistentVolumeClaim:
        status, default = defaults::core::claim, create = prepare::claim_create,
        print = print::storage::CLAIM, valid = validate::storage::claim,
        valid_update = validate::storage::claim_update;
    core::Pod:
        status, default = defaults::pod::pod, create = prepare::pod::create, update = prepare::pod::update,
        print = print::pod::POD, valid = validate::pod::create,
        valid_update = validate::pod_update::update;
    core::PodTemplate:
        default = defaults::pod::pod_template, print = print::pod::TEMPLATE,
        valid = validate::pod::pod_template;
    core::ReplicationController:
        status, default = defaults::core::replication_controller,
        print = print::core::REPLICATION_CONTROLLER, valid = validate::core::replication_controller,
        valid_update = validate::core::replication_controller_update;
    core::ResourceQuota:
        status, print = print::core::RESOURCE_QUOTA, valid = validate::core::quota,
        valid_update = validate::core::quota_update;
    core::Secret:
        default = defaults::core::secret, update = prepare::secret_update, print = print::core::SECRET,
        valid = validate::secret::secret, valid_update = validate::secret::secret_update;
    core::Service:
        status, default = defaults::core::service, create = prepare::service::create,
        update = prepare::service::update, name = NameRule::Dns1035Label, print = print::network::SERVICE,
        valid = validate::service::create, valid_update = validate::service::update;
    core::ServiceAccount: print = print::core::SERVICE_ACCOUNT;
    admission::MutatingAdmissionPolicy: default = defaults::admission::mutating_policy, print = print::others::MUTATING_POLICY;
    admission::MutatingAdmissionPolicyBinding: default = defaults::admission::mutating_binding, print = print::others::POLICY_BINDING;
    admission::MutatingWebhookConfiguration: default = defaults::admission::mutating, print = print::others::WEBHOOKS;
    admission::ValidatingAdmissionPolicy:
        status, default = defaults::admission::validating_policy, update = prepare::status_keeps_metadata,
        print = print::others::VALIDATING_POLICY;
    admission::ValidatingAdmissionPolicyBinding: default = defaults::admission::validating_binding, print = print::others::POLICY_BINDING;
    admission::ValidatingWebhookConfiguration: default = defaults::admission::validating, print = print::others::WEBHOOKS;
    apiextensions::CustomResourceDefinition:
        status, default = defaults::others::custom_resource_definition,
        create = prepare::definition_create, update = prepare::definition_update,
        print = print::core::CREATED_AT, valid = validate::extensions::definition,
        valid_update = validate::extensions::definition_update;
    apiregistration::APIService:
        status, default = defaults::others::api_service, update = prepare::status_keeps_metadata,
        print = print::others::API_SERVICE, valid = validate::extensions::api_service,
        valid_update = validate::extensions::api_service_update, name = NameRule::PathSegment;
    apps::ControllerRevision: print = print::apps::CONTROLLER_REVISION;
    apps::DaemonSet:
        status, default = defaults::apps::daemon_set, print = print::apps::DAEMON_SET,
        valid = validate::apps::daemon_set, valid_update = validate::apps::daemon_set_update;
    apps::Deployment:
        status, default = defaults::apps::deployment, annotations, update = prepare::deployment_update,
        print = print::apps::DEPLOYMENT, valid = validate::apps::deployment,
        valid_update = validate::apps::deployment_update;
    apps::ReplicaSet:
        status, default = defaults::apps::replica_set, print = print::apps::REPLICA_SET,
        valid = validate::apps::replica_set, valid_update = validate::apps::replica_set_update;
    apps::StatefulSet:
        status, default = defaults::apps::stateful_set, print = print::apps::STATEFUL_SET,
        valid = validate::apps::stateful_set, valid_update = validate::apps::stateful_set_update, name = NameRule::DnsLabel;
    authentication::SelfSubjectReview;
    authentication::TokenRequest: default = defaults::others::token_request;
    authentication::TokenReview;
    authorization::LocalSubjectAccessReview;
    authorization::SelfSubjectAccessReview;
    authorization::SelfSubjectRulesReview;
    authorization::SubjectAccessReview;
    autoscaling::v1::HorizontalPodAutoscaler: status, default = defaults::autoscaling::old, print = print::others::AUTOSCALER;
    autoscaling::v1::Scale;
    autoscaling::v2::HorizontalPodAutoscaler:
        status, default = defaults::autoscaling::autoscaler, print = print::others::AUTOSCALER,
        valid = validate::others::autoscaler, valid_update = validate::others::autoscaler_update;
    batch::CronJob:
        status, default = defaults::batch::cron_job, print = print::apps::CRON_JOB,
        valid = validate::batch::cron_job, valid_update = validate::batch::cron_job_update;
    batch::Job:
        status, default = defaults::batch::job, create = prepare::job_create, print = print::apps::JOB,
        valid = validate::batch::job, valid_update = validate::batch::job_update;
    certificates::CertificateSigningRequest:
        status, update = prepare::signing_request_update, print = print::others::SIGNING_REQUEST,
        valid = validate::others::signing_request, name = NameRule::PathSegment;
    coordination::Lease:
        print = print::others::LEASE, valid = validate::others::lease,
        valid_update = validate::others::lease_update;
    discovery::EndpointSlice:
        default = defaults::networking::endpoint_slice, print = print::network::ENDPOINT_SLICE,
        valid = validate::networking::endpoint_slice, valid_update = validate::networking::endpoint_slice_update;
    events::Event: print = print::core::EVENT;
    flowcontrol::FlowSchema:
        status, default = defaults::others::flow_schema, update = prepare::status_keeps_metadata,
        print = print::others::FLOW_SCHEMA;
    flowcontrol::PriorityLevelConfiguration:
        status, default = defaults::others::priority_level, update = prepare::status_keeps_metadata,
        print = print::others::PRIORITY_LEVEL;
    networking::IPAddress: print = print::network::IP_ADDRESS, name = NameRule::PathSegment;
    networking::Ingress:
        status, print = print::network::INGRESS, valid = validate::networking::ingress,
        valid_update = validate::networking::ingress_update;
    networking::IngressClass:
        default = defaults::networking::ingress_class, print = print::network::INGRESS_CLASS,
        valid_update = validate::networking::ingress_class_update;
    networking::NetworkPolicy:
        default = defaults::networking::network_policy, print = print::network::NETWORK_POLICY,
        valid = validate::networking::network_policy, valid_update = validate::networking::network_policy_update;
    networking::ServiceCIDR: status, update = prepare::status_keeps_metadata, print = print::network::SERVICE_CIDR;
    node::RuntimeClass:
        print = print::others::RUNTIME_CLASS, valid = validate::others::runtime_class,
        valid_update = validate::others::runtime_class_update;
    policy::Eviction;
    policy::PodDisruptionBudget:
        status, print = print::others::DISRUPTION_BUDGET, valid = validate::others::budget,
        valid_update = validate::others::budget_update;
    rbac::ClusterRole:
        name = NameRule::PathSegment, print = print::core::CREATED_AT,
        valid = validate::rbac::cluster_role, valid_update = validate::rbac::cluster_role_update;
    rbac::ClusterRoleBinding:
        default = defaults::others::cluster_role_binding, name = NameRule::PathSegment,
        print = print::others::BINDING, valid = validate::rbac::cluster_role_binding,
        valid_update = validate::rbac::cluster_role_binding_update;
    rbac::Role:
        name = NameRule::PathSegment, print = print::core::CREATED_AT, valid = validate::rbac::role,
        valid_update = validate::rbac::role_update;
    rbac::RoleBinding:
        default = defaults::others::role_binding, name = NameRule::PathSegment,
        print = print::others::BINDING, valid = validate::rbac::role_binding,
        valid_update = validate::rbac::role_binding_update;
    resource::DeviceClass;
    resource::ResourceClaim:
        status, default = defaults::others::resource_claim, update = prepare::status_keeps_metadata,
        print = print::storage::RESOURCE_CLAIM;
    resource::ResourceClaimTemplate: default = defaults::others::resource_claim_template;
    resource::ResourceSlice: print = print::storage::RESOURCE_SLICE;
    scheduling::PriorityClass:
        default = defaults::others::priority_class, print = print::others::PRIORITY_CLASS,
        valid = validate::others::priority_class, valid_update = validate::others::priority_class_update;
    storage::CSIDriver:
        default = defaults::storage::driver, print = print::storage::DRIVER,
        valid_update = validate::storage::driver_update;
    storage::CSINode: print = print::storage::NODE;
    storage::CSIStorageCapacity: print = print::storage::CAPACITY;
    storage::StorageClass:
        default = defaults::storage::storage_class, print = print::storage::CLASS,
        valid = validate::storage::class, valid_update = validate::storage::class_update;
    storage::VolumeAttachment:
        status, update = prepare::status_keeps_metadata, print = print::storage::ATTACHMENT,
        valid = validate::storage::attachment, valid_update = validate::storage::attachment_update;
    storage::VolumeAttributesClass: print = print::storage::ATTRIBUTES_CLASS;
}
