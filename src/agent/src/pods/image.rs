//! Getting a container's image by its pull policy.

mod reference;
mod secrets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_client::events::EventType;
use copepod_cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;

use super::backoff::{Backoffs, Wait};
use super::shared::Shared;
use super::status::Reason;

/// Delays and last errors of a pod's pulls, by image.
#[derive(Debug, Default)]
pub struct Pulls {
    backoffs: Backoffs,
    errors: HashMap<String, String>,
}

/// No image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoImage {
    /// Why the container waits.
    pub reason: Reason,
    /// When to try again; `None` for with the next change of the pod.
    pub retry: Option<Duration>,
}

/// Makes the container's image present.
///
/// # Errors
/// Why it is not; the events are recorded.
pub async fn ensure(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    container: Container,
    pulls: Arc<Mutex<Pulls>>,
) -> Result<v1::Image, NoImage> {
    let image = container.image.clone().unwrap_or_default();
    let event = |kind, reason: &str, message: String| {
        shared.container_event(&pod, &container.name, kind, reason, message);
    };
    if let Err(error) = reference::check(&image) {
        let message = format!(
            "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": {error}"
        );
        event(EventType::Warning, "InspectFailed", message.clone());
        // Nothing but another name can help, and that is a change of the pod.
        return Err(no_image("InvalidImageName", message, Some(super::backoff::MAX)));
    }
    let present = match shared.images.status(&image).await {
        Ok(present) => present,
        Err(error) => {
            let message = format!("failed to inspect image \"{image}\": {error}");
            event(
                EventType::Warning,
                "InspectFailed",
                format!("Failed to inspect image \"{image}\": {error}"),
            );
            return Err(no_image("ImageInspectError", message, Some(Duration::from_secs(10))));
        }
    };
    let policy = container.image_pull_policy.as_deref().unwrap_or_else(|| default_policy(&image));
    match (policy, present) {
        ("Never", None) => {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            event(EventType::Warning, "ErrImageNeverPull", message.clone());
            // It may be imported by hand at any time.
            return Err(no_image("ErrImageNeverPull", message, Some(Duration::from_secs(10))));
        }
        ("Never" | "IfNotPresent", Some(found)) => {
            let message = format!(
                "Container image \"{image}\" already present on machine and can be accessed by the pod"
            );
            event(EventType::Normal, "Pulled", message);
            return Ok(found);
        }
        _ => {}
    }
    let now = now();
    if let Some((wait, error)) = waiting(&pulls, &image, now) {
        event(EventType::Normal, "BackOff", format!("Back-off pulling image \"{image}\""));
        event(EventType::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
        let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
        return Err(no_image("ImagePullBackOff", message, Some(wait.remaining)));
    }
    event(EventType::Normal, "Pulling", format!("Pulling image \"{image}\""));
    let started = copepod_base::clock::instant();
    match pull(&shared, &pod, &image).await {
        Ok(found) => {
            let took = go_seconds(started.elapsed());
            let size = found.size;
            event(
                EventType::Normal,
                "Pulled",
                format!(
                    "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size} bytes."
                ),
            );
            shared.images_changed.notify_one();
            let mut pulls = pulls.lock();
            pulls.backoffs.reset(&image);
            pulls.errors.remove(&image);
            Ok(found)
        }
        Err(error) => {
            event(EventType::Warning, "Failed", format!("Failed to pull image \"{image}\": {error}"));
            event(EventType::Warning, "Failed", "Error: ErrImagePull".to_owned());
            let retry = {
                let mut pulls = pulls.lock();
                pulls.backoffs.next(&image, now, self::now());
                pulls.errors.insert(image.clone(), error.clone());
                // Soon enough to show the back-off as the reason; the next pull waits for the delay.
                Duration::from_secs(1)
            };
            Err(no_image("ErrImagePull", error, Some(retry)))
        }
    }
}

async fn pull(shared: &Shared, pod: &Pod, image: &str) -> Result<v1::Image, String> {
    let mut last = String::new();
    for auth in secrets::candidates(&shared.client, pod, image).await {
        match shared.images.pull(image, auth, None).await {
            Ok(_) => {
                let found = shared.images.status(image).await.map_err(|e| e.message())?;
                return found.ok_or_else(|| format!("image \"{image}\" is missing right after its pull"));
            }
            Err(error) => last = error.message(),
        }
    }
    Err(last)
}

fn waiting(pulls: &Mutex<Pulls>, image: &str, now: Timestamp) -> Option<(Wait, String)> {
    let pulls = pulls.lock();
    let wait = pulls.backoffs.check_since_update(image, now)?;
    Some((wait, pulls.errors.get(image).cloned().unwrap_or_default()))
}

fn no_image(reason: &str, message: String, retry: Option<Duration>) -> NoImage {
    NoImage { reason: Reason { reason: reason.to_owned(), message }, retry }
}

/// `Always` for the tag `latest` or none; the API sets it, objects of old may lack it.
fn default_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let latest = !last.contains('@') && last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}

fn now() -> Timestamp {
    Timestamp::try_from(copepod_base::clock::now()).unwrap_or_default()
}

fn go_seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else if duration < Duration::from_secs(60) {
        format!("{:.3}s", duration.as_secs_f64())
    } else {
        format!("{}m{:.3}s", duration.as_secs() / 60, duration.as_secs_f64() % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::default_policy;

    #[test]
    fn the_tag_decides_the_policy_when_none_is_given() {
        for (image, policy) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("host:5000/busybox", "Always"),
            ("busybox:1.36", "IfNotPresent"),
            ("busybox@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(default_policy(image), policy, "{image}");
        }
    }
}
