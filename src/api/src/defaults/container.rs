//! Containers, their probes and their environment.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle, ObjectFieldSelector, Probe,
    ResourceRequirements,
};

use super::{absent, each, text, zero};

macro_rules! container {
    ($name:ident, $type:ty, $doc:literal) => {
        #[doc = $doc]
        pub(crate) fn $name(container: &mut $type) {
            if container.image_pull_policy.as_deref().unwrap_or_default().is_empty() {
                container.image_pull_policy =
                    Some(pull_policy(container.image.as_deref().unwrap_or_default()).to_owned());
            }
            text(&mut container.termination_message_path, "/dev/termination-log");
            text(&mut container.termination_message_policy, "File");
            absent(&mut container.resources, ResourceRequirements::default());
            for port in each(&mut container.ports) {
                text(&mut port.protocol, "TCP");
            }
            each(&mut container.env).for_each(env);
            for probe in
                [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe]
            {
                probe.iter_mut().for_each(self::probe);
            }
            container.lifecycle.iter_mut().for_each(lifecycle);
        }
    };
}

container!(container, Container, "A container or init container.");
container!(ephemeral, EphemeralContainer, "An ephemeral container.");

/// `Always` for an image that may change under its name.
pub(crate) fn pull_policy(image: &str) -> &'static str {
    if tag(image) == "latest" { "Always" } else { "IfNotPresent" }
}

/// The tag of an image name: `latest` when it has neither tag nor digest, empty with a digest only.
fn tag(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag,
        None if digest || last.is_empty() => "",
        None => "latest",
    }
}

fn env(variable: &mut EnvVar) {
    let Some(source) = &mut variable.value_from else { return };
    source.field_ref.iter_mut().for_each(field);
    if let Some(key) = &mut source.file_key_ref {
        absent(&mut key.optional, false);
    }
}

/// A field of the pod, in variables and downward API files.
pub(super) fn field(selector: &mut ObjectFieldSelector) {
    text(&mut selector.api_version, "v1");
}

fn probe(probe: &mut Probe) {
    zero(&mut probe.timeout_seconds, 1);
    zero(&mut probe.period_seconds, 10);
    zero(&mut probe.success_threshold, 1);
    zero(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        absent(&mut grpc.service, String::new());
    }
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        handler.http_get.iter_mut().for_each(http_get);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
}

/// Requests that are not given are the limits.
pub(super) fn requests(resources: &mut Option<ResourceRequirements>) {
    let Some(resources) = resources else { return };
    let Some(limits) = &resources.limits else { return };
    if limits.is_empty() {
        return;
    }
    let requests = resources.requests.get_or_insert_default();
    for (name, quantity) in limits {
        requests.entry(name.clone()).or_insert_with(|| quantity.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn images_that_may_change_are_always_pulled() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:latest@sha256:abc", "Always"),
            ("", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
