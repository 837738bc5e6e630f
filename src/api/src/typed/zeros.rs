//! Where a field's zero value is kept or left out, in the words of Kubernetes' Go types.
//!
//! The OpenAPI document, and so the Rust types, do not say whether Go has a pointer there (a zero is kept) or a plain
//! value with `omitempty` (a zero is left out). The rule of the serialiser: empty texts, lists and maps go, zero
//! numbers and `false` stay. Here are the exceptions, by struct and JSON name.

/// Go's zero time, which JSON has as `null`.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Types that are any JSON; their content is not looked at.
pub(super) fn is_free_form(name: &str) -> bool {
    matches!(name, "RawExtension" | "FieldsV1" | "JSON" | "CustomResourceSubresourceStatus")
}

/// `apiVersion` and `kind` of an object inside an object, which Go does not check.
pub(super) fn is_repeated_type(owner: &str, name: &str) -> bool {
    owner == "PersistentVolumeClaim" && matches!(name, "apiVersion" | "kind")
}

/// Texts that are pointers in Go: the empty text has a meaning.
pub(super) fn keeps_empty_text(owner: &str, name: &str) -> bool {
    matches!(
        (owner, name),
        ("PersistentVolumeClaimSpec", "storageClassName" | "volumeAttributesClassName")
            | ("PersistentVolumeClaimStatus", "currentVolumeAttributesClassName")
            | ("PersistentVolumeSpec", "volumeAttributesClassName")
            | ("TypedLocalObjectReference", "apiGroup")
            | ("TypedObjectReference", "apiGroup" | "namespace")
            | ("LeaseSpec", "holderIdentity" | "preferredHolder" | "strategy")
            | ("IngressSpec", "ingressClassName")
            | ("IngressClassParametersReference", "apiGroup" | "scope" | "namespace")
            | ("PodSpec", "runtimeClassName" | "hostnameOverride")
            | ("ServicePort" | "EndpointPort", "appProtocol")
            | ("EndpointPort", "name")
            | ("ServiceSpec", "loadBalancerClass")
            | ("Endpoint", "hostname" | "nodeName" | "zone")
            | ("EndpointAddress", "nodeName")
            | ("GRPCAction", "service")
            | ("SeccompProfile" | "AppArmorProfile", "localhostProfile")
            | ("HostPathVolumeSource", "type")
            | ("CSIVolumeSource" | "LocalVolumeSource", "fsType")
            | ("AzureDiskVolumeSource", "fsType" | "cachingMode" | "kind")
            | ("ClusterTrustBundleProjection", "name" | "signerName")
            | ("ServiceReference", "path")
            | ("WebhookClientConfig", "url")
            | ("CustomResourceSubresourceScale", "labelSelectorPath")
            | ("PodFailurePolicyOnExitCodesRequirement", "containerName")
            | ("CronJobSpec", "timeZone")
            | ("JobSpec", "managedBy")
            | ("DeviceAttribute", "string" | "version")
            // Plain and required: Go writes them even when empty.
            | ("Container" | "EphemeralContainer" | "ContainerStatus", "name")
            | ("ContainerStatus", "image" | "imageID")
            | ("EnvVar" | "Volume" | "VolumeMount", "name")
            | ("VolumeMount", "mountPath")
            | ("HTTPHeader", "name" | "value")
            | ("Condition", "reason" | "message")
            | ("RoleRef", "apiGroup" | "kind" | "name")
            | ("Subject", "kind" | "name")
            | ("OwnerReference", "apiVersion" | "kind" | "name" | "uid")
            | ("Event", "reason" | "message")
            | ("NodeSystemInfo", _)
            | ("ContainerImage", _)
    )
}

/// Lists without `omitempty`.
pub(super) fn keeps_empty_list(owner: &str, name: &str) -> bool {
    matches!(
        (owner, name),
        ("EndpointSlice", "endpoints" | "ports")
            | ("Role" | "ClusterRole", "rules")
            | ("PolicyRule", "verbs")
            | ("PodSpec", "containers")
            | ("CustomResourceDefinitionStatus", "conditions" | "storedVersions")
            | ("CSINodeSpec", "drivers")
            | ("SubjectRulesReviewStatus", "resourceRules" | "nonResourceRules")
            | ("HorizontalPodAutoscalerStatus", "currentMetrics")
    )
}

/// Numbers and booleans that are plain values with `omitempty`.
pub(super) fn drops_zero(owner: &str, name: &str) -> bool {
    matches!(
        (owner, name),
        ("ObjectMeta", "generation")
            | ("PodSpec", "hostNetwork" | "hostPID" | "hostIPC")
            | ("Container" | "EphemeralContainer", "stdin" | "stdinOnce" | "tty")
            | (
                "Probe",
                "initialDelaySeconds"
                    | "timeoutSeconds"
                    | "periodSeconds"
                    | "successThreshold"
                    | "failureThreshold"
            )
            | ("ContainerPort", "hostPort")
            | ("ServicePort", "nodePort")
            | ("ServiceSpec", "publishNotReadyAddresses" | "healthCheckNodePort")
            | ("ServiceBackendPort", "number")
            | ("NodeSpec", "unschedulable")
            | ("DeploymentSpec", "paused" | "minReadySeconds")
            | ("ReplicaSetSpec" | "StatefulSetSpec" | "DaemonSetSpec", "minReadySeconds")
            | ("ReplicationControllerSpec", "minReadySeconds")
            | (
                "DeploymentStatus",
                "observedGeneration"
                    | "replicas"
                    | "updatedReplicas"
                    | "readyReplicas"
                    | "availableReplicas"
                    | "unavailableReplicas"
            )
            | (
                "ReplicaSetStatus" | "ReplicationControllerStatus",
                "fullyLabeledReplicas" | "readyReplicas" | "availableReplicas" | "observedGeneration"
            )
            | (
                "StatefulSetStatus",
                "observedGeneration" | "readyReplicas" | "currentReplicas" | "updatedReplicas"
            )
            | (
                "DaemonSetStatus",
                "observedGeneration" | "updatedNumberScheduled" | "numberAvailable" | "numberUnavailable"
            )
            | ("JobStatus", "active" | "succeeded" | "failed")
            | ("PodStatus" | "PodCondition" | "Condition", "observedGeneration")
            | ("PodDisruptionBudgetStatus" | "CertificateSigningRequestStatus", "observedGeneration")
            | ("ContainerStateTerminated", "signal")
            | ("PriorityClass", "globalDefault")
            | ("VolumeMount" | "PersistentVolumeClaimVolumeSource" | "CSIPersistentVolumeSource", "readOnly")
            | (
                "AWSElasticBlockStoreVolumeSource" | "GCEPersistentDiskVolumeSource",
                "readOnly" | "partition"
            )
            | ("NFSVolumeSource" | "GlusterfsVolumeSource" | "GlusterfsPersistentVolumeSource", "readOnly")
            | ("CephFSVolumeSource" | "CephFSPersistentVolumeSource" | "FCVolumeSource", "readOnly")
            | ("CinderVolumeSource" | "CinderPersistentVolumeSource" | "QuobyteVolumeSource", "readOnly")
            | ("RBDVolumeSource" | "RBDPersistentVolumeSource" | "PortworxVolumeSource", "readOnly")
            | ("FlexVolumeSource" | "FlexPersistentVolumeSource" | "StorageOSVolumeSource", "readOnly")
            | ("StorageOSPersistentVolumeSource" | "AzureFileVolumeSource", "readOnly")
            | ("AzureFilePersistentVolumeSource", "readOnly")
            | ("ScaleIOVolumeSource" | "ScaleIOPersistentVolumeSource", "readOnly" | "thinProvisioned")
            | (
                "ISCSIVolumeSource" | "ISCSIPersistentVolumeSource",
                "readOnly" | "chapAuthDiscovery" | "chapAuthSession"
            )
            | ("CustomResourceDefinitionVersion", "deprecated")
            | ("CustomResourceDefinitionSpec", "preserveUnknownFields")
            | (
                "JSONSchemaProps",
                "nullable"
                    | "uniqueItems"
                    | "exclusiveMaximum"
                    | "exclusiveMinimum"
                    | "x-kubernetes-embedded-resource"
                    | "x-kubernetes-int-or-string"
            )
            | ("CustomResourceColumnDefinition", "priority")
            | ("SubjectAccessReviewStatus", "denied")
            | ("TokenReviewStatus", "authenticated")
            | ("ScaleSpec", "replicas")
            | ("Event" | "EventSeries", "count")
            | ("Event", "deprecatedCount")
    )
}
