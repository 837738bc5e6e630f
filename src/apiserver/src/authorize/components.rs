//! What Copepod's own components may do: the bootstrap roles of Kubernetes, as tables.

use super::rules::{ResourceRule, RuleSet, Rules, Subject};
use crate::identity::AUTHENTICATED;

/// `verbs | groups | resources`.
type Row = (&'static str, &'static str, &'static str);

/// The controllers of Kubernetes run under one identity here; the table is the sum of their roles.
const CONTROLLERS: &[Row] = &[
    // Garbage collection and namespace deletion touch every kind, custom ones too.
    ("get list watch delete deletecollection patch update", "*", "*"),
    (
        "create",
        "core",
        "configmaps endpoints events persistentvolumes persistentvolumeclaims pods replicationcontrollers secrets \
         serviceaccounts serviceaccounts/token pods/eviction",
    ),
    ("create", "apps", "controllerrevisions replicasets"),
    ("create", "batch", "jobs"),
    ("create", "discovery.k8s.io", "endpointslices"),
    ("create", "events.k8s.io", "events"),
    ("create", "coordination.k8s.io", "leases"),
    ("create", "networking.k8s.io", "ipaddresses servicecidrs"),
    ("create", "resource.k8s.io", "resourceclaims"),
    ("create", "storage.k8s.io", "volumeattachments"),
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ("approve sign", "certificates.k8s.io", "signers"),
];

const SCHEDULER: &[Row] = &[
    ("create patch update", "core events.k8s.io", "events"),
    ("create get list watch update patch", "coordination.k8s.io", "leases"),
    ("get list watch", "core", "nodes namespaces services replicationcontrollers persistentvolumes"),
    ("get list watch delete", "core", "pods"),
    ("create", "core", "bindings pods/binding"),
    ("patch update", "core", "pods/status"),
    ("get list watch patch update", "core", "persistentvolumeclaims persistentvolumes"),
    ("get list watch", "apps", "replicasets statefulsets"),
    ("get list watch", "policy", "poddisruptionbudgets"),
    ("get list watch", "scheduling.k8s.io", "priorityclasses"),
    ("get list watch", "storage.k8s.io", "*"),
    ("get list watch", "resource.k8s.io", "deviceclasses resourceslices"),
    ("get list watch patch update", "resource.k8s.io", "resourceclaims resourceclaims/status"),
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "subjectaccessreviews"),
];

/// Everybody may ask about himself.
const BASIC: &[Row] = &[
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
    ("create", "authentication.k8s.io", "selfsubjectreviews"),
];

/// Paths that say what the server serves.
const DISCOVERY: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

fn set(rows: &[Row], paths: &[&str]) -> RuleSet {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    RuleSet {
        resources: rows
            .iter()
            .map(|(verbs, groups, names)| ResourceRule::new(verbs, groups, names))
            .collect(),
        paths: if paths.is_empty() { Vec::new() } else { vec![(vec!["get".to_owned()], paths)] },
    }
}

/// The rules of the built-in identities.
pub(crate) fn component_rules() -> Rules {
    Rules(vec![
        (Subject::User("system:kube-controller-manager"), set(CONTROLLERS, &[])),
        (Subject::User("system:kube-scheduler"), set(SCHEDULER, &[])),
        (Subject::Group(AUTHENTICATED), set(BASIC, DISCOVERY)),
        (
            Subject::Group("system:serviceaccounts"),
            set(
                &[],
                &[
                    "/.well-known/openid-configuration",
                    "/.well-known/openid-configuration/",
                    "/openid/v1/jwks",
                    "/openid/v1/jwks/",
                ],
            ),
        ),
        (Subject::Group("system:monitoring"), set(&[], &["/healthz/*", "/livez/*", "/metrics", "/readyz/*"])),
    ])
}
