//! Which lists of the built-in types a strategic merge patch merges, and by which key (`patchStrategy` and
//! `patchMergeKey` of the Go types, `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key` in OpenAPI).
//!
//! Only types are listed on whose fields, or on fields below, something is said. Objects are merged and lists
//! replaced where nothing is.

/// How a strategic merge patch changes a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Objects are merged, lists and scalars replaced.
    Default,
    /// A list of objects is merged by this key.
    Key(&'static str),
    /// A list of scalars is a set.
    Set,
    /// Even an object is replaced.
    Replace,
}

impl Merge {
    /// Whether lists are merged.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Merge::Key(_) | Merge::Set)
    }
}

/// A field on which something is said.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's JSON name.
    pub name: &'static str,
    /// How it is patched.
    pub merge: Merge,
    /// Whether clients send `$retainKeys` for it: only one of its members may be set.
    pub retain_keys: bool,
    /// The type of the field, or of the elements of the list.
    pub of: Option<&'static Type>,
}

/// A type.
#[derive(Debug, PartialEq, Eq)]
pub struct Type {
    /// The Go type's name without its package, such as `PodSpec`.
    pub name: &'static str,
    /// Fields on which something is said.
    pub fields: &'static [Field],
}

impl Type {
    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// How a field is patched.
    #[must_use]
    pub fn merge(&self, field: &str) -> Merge {
        self.field(field).map_or(Merge::Default, |f| f.merge)
    }

    /// The type of a field, or of the elements of a list.
    #[must_use]
    pub fn child(&self, field: &str) -> Option<&'static Type> {
        self.field(field)?.of
    }
}

const fn ty(name: &'static str, fields: &'static [Field]) -> Type {
    Type { name, fields }
}

/// An object with something below it.
const fn object(name: &'static str, of: &'static Type) -> Field {
    Field { name, merge: Merge::Default, retain_keys: false, of: Some(of) }
}

/// A list of objects that is merged by a key.
const fn keyed(name: &'static str, key: &'static str) -> Field {
    Field { name, merge: Merge::Key(key), retain_keys: false, of: None }
}

/// A set of scalars.
const fn set(name: &'static str) -> Field {
    Field { name, merge: Merge::Set, retain_keys: false, of: None }
}

impl Field {
    const fn of(self, of: &'static Type) -> Self {
        Self { of: Some(of), ..self }
    }

    const fn retain_keys(self) -> Self {
        Self { retain_keys: true, ..self }
    }
}

const METADATA: Type = ty("ObjectMeta", &[keyed("ownerReferences", "uid"), set("finalizers")]);
const META: Field = object("metadata", &METADATA);
/// `status` of the many types that have nothing but conditions there.
const CONDITIONS: Type = ty("", &[keyed("conditions", "type")]);
const STATUS: Field = object("status", &CONDITIONS);

const CONTAINER: Type = ty(
    "Container",
    &[
        keyed("ports", "containerPort"),
        keyed("env", "name"),
        keyed("volumeMounts", "mountPath"),
        keyed("volumeDevices", "devicePath"),
    ],
);
const POD_SPEC: Type = ty(
    "PodSpec",
    &[
        keyed("volumes", "name").retain_keys(),
        keyed("initContainers", "name").of(&CONTAINER),
        keyed("containers", "name").of(&CONTAINER),
        keyed("ephemeralContainers", "name").of(&CONTAINER),
        keyed("imagePullSecrets", "name"),
        keyed("hostAliases", "ip"),
        keyed("topologySpreadConstraints", "topologyKey"),
        keyed("schedulingGates", "name"),
        keyed("resourceClaims", "name").retain_keys(),
    ],
);
const POD_STATUS: Type = ty(
    "PodStatus",
    &[
        keyed("conditions", "type"),
        keyed("podIPs", "ip"),
        keyed("hostIPs", "ip"),
        keyed("resourceClaimStatuses", "name").retain_keys(),
    ],
);
const POD_TEMPLATE_SPEC: Type = ty("PodTemplateSpec", &[META, object("spec", &POD_SPEC)]);
/// `spec` of the types that have nothing but a pod template there.
const TEMPLATE: Type = ty("", &[object("template", &POD_TEMPLATE_SPEC)]);
const DEPLOYMENT_SPEC: Type = ty(
    "DeploymentSpec",
    &[
        object("template", &POD_TEMPLATE_SPEC),
        Field { name: "strategy", merge: Merge::Default, retain_keys: true, of: None },
    ],
);
const JOB_TEMPLATE_SPEC: Type = ty("JobTemplateSpec", &[META, object("spec", &TEMPLATE)]);
const CRON_JOB_SPEC: Type = ty("CronJobSpec", &[object("jobTemplate", &JOB_TEMPLATE_SPEC)]);
const SERVICE_SPEC: Type = ty("ServiceSpec", &[keyed("ports", "port")]);
const NODE_SPEC: Type = ty("NodeSpec", &[set("podCIDRs")]);
const NODE_STATUS: Type = ty("NodeStatus", &[keyed("conditions", "type"), keyed("addresses", "type")]);
const DISRUPTION_SPEC: Type = ty(
    "PodDisruptionBudgetSpec",
    &[Field { name: "selector", merge: Merge::Replace, retain_keys: false, of: None }],
);
const WEBHOOK: Type = ty("Webhook", &[keyed("matchConditions", "name")]);
const VALIDATING_POLICY_SPEC: Type =
    ty("ValidatingAdmissionPolicySpec", &[keyed("matchConditions", "name"), keyed("variables", "name")]);
const MUTATING_POLICY_SPEC: Type = ty("MutatingAdmissionPolicySpec", &[keyed("matchConditions", "name")]);
const CSI_NODE_SPEC: Type = ty("CSINodeSpec", &[keyed("drivers", "name")]);
const CLAIM_STATUS: Type = ty("ResourceClaimStatus", &[keyed("reservedFor", "uid")]);

const PLAIN: Type = ty("", &[META]);
const WITH_CONDITIONS: Type = ty("", &[META, STATUS]);

/// Kinds on which more is said than of metadata: group, kind, type.
const ROOTS: &[(&str, &str, Type)] = &[
    ("", "ComponentStatus", ty("ComponentStatus", &[META, keyed("conditions", "type")])),
    ("", "Namespace", WITH_CONDITIONS),
    ("", "Node", ty("Node", &[META, object("spec", &NODE_SPEC), object("status", &NODE_STATUS)])),
    ("", "PersistentVolumeClaim", WITH_CONDITIONS),
    ("", "Pod", ty("Pod", &[META, object("spec", &POD_SPEC), object("status", &POD_STATUS)])),
    ("", "PodTemplate", ty("PodTemplate", &[META, object("template", &POD_TEMPLATE_SPEC)])),
    ("", "ReplicationController", ty("ReplicationController", &[META, object("spec", &TEMPLATE), STATUS])),
    ("", "Service", ty("Service", &[META, object("spec", &SERVICE_SPEC), STATUS])),
    ("", "ServiceAccount", ty("ServiceAccount", &[META, keyed("secrets", "name")])),
    ("apps", "DaemonSet", ty("DaemonSet", &[META, object("spec", &TEMPLATE), STATUS])),
    ("apps", "Deployment", ty("Deployment", &[META, object("spec", &DEPLOYMENT_SPEC), STATUS])),
    ("apps", "ReplicaSet", ty("ReplicaSet", &[META, object("spec", &TEMPLATE), STATUS])),
    ("apps", "StatefulSet", ty("StatefulSet", &[META, object("spec", &TEMPLATE), STATUS])),
    ("batch", "CronJob", ty("CronJob", &[META, object("spec", &CRON_JOB_SPEC)])),
    ("batch", "Job", ty("Job", &[META, object("spec", &TEMPLATE), STATUS])),
    ("autoscaling", "HorizontalPodAutoscaler", WITH_CONDITIONS),
    (
        "policy",
        "PodDisruptionBudget",
        ty("PodDisruptionBudget", &[META, object("spec", &DISRUPTION_SPEC), STATUS]),
    ),
    ("networking.k8s.io", "ServiceCIDR", WITH_CONDITIONS),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", WITH_CONDITIONS),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", WITH_CONDITIONS),
    ("apiregistration.k8s.io", "APIService", WITH_CONDITIONS),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        ty("MutatingWebhookConfiguration", &[META, keyed("webhooks", "name").of(&WEBHOOK)]),
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        ty("ValidatingWebhookConfiguration", &[META, keyed("webhooks", "name").of(&WEBHOOK)]),
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        ty("ValidatingAdmissionPolicy", &[META, object("spec", &VALIDATING_POLICY_SPEC)]),
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        ty("MutatingAdmissionPolicy", &[META, object("spec", &MUTATING_POLICY_SPEC)]),
    ),
    ("storage.k8s.io", "CSINode", ty("CSINode", &[META, object("spec", &CSI_NODE_SPEC)])),
    ("resource.k8s.io", "ResourceClaim", ty("ResourceClaim", &[META, object("status", &CLAIM_STATUS)])),
];

/// The type of a built-in kind.
#[must_use]
pub fn root(group: &str, _version: &str, kind: &str) -> &'static Type {
    ROOTS.iter().find(|(g, k, _)| *g == group && *k == kind).map_or(&PLAIN, |(_, _, ty)| ty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn every_root_is_a_built_in_kind() {
        let registry = Registry::builtin();
        for (group, kind, _) in ROOTS {
            assert!(registry.kinds().any(|k| k.gvk.group == *group && k.gvk.kind == *kind), "{group} {kind}");
        }
    }

    #[test]
    fn a_deployment_s_containers_are_found_through_its_template() {
        let spec = root("apps", "v1", "Deployment").child("spec").unwrap();
        let pod = spec.child("template").and_then(|t| t.child("spec")).unwrap();
        assert_eq!(pod.merge("containers"), Merge::Key("name"));
        assert_eq!(pod.child("containers").unwrap().merge("ports"), Merge::Key("containerPort"));
        assert_eq!(pod.merge("tolerations"), Merge::Default);
        assert_eq!(root("", "v1", "ConfigMap").child("metadata").unwrap().merge("finalizers"), Merge::Set);
    }
}
