//! postStart and preStop handlers.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::shared::Shared;
use crate::http::{Target, get};
use crate::spec::list;

/// Runs a handler to its end.
///
/// # Errors
/// Why it failed, for the event.
pub async fn run(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    id: &str,
    handler: &LifecycleHandler,
    pod_ip: &str,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = list(&exec.command).to_vec();
        let shown = command.join(" ");
        // Bounded by whoever waits for it: the grace period, or the pod's end.
        let answer = shared
            .runtime
            .exec_sync(id, command, Duration::ZERO)
            .await
            .map_err(|e| format!("Exec lifecycle hook ({shown}) failed: {e}"))?;
        if answer.exit_code != 0 {
            let output = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
            return Err(format!(
                "Exec lifecycle hook ({shown}) for Container \"{}\" in Pod \"{}\" failed - error: command '{shown}' exited with {}: {output}",
                container.name,
                crate::spec::name(pod),
                answer.exit_code
            ));
        }
        return Ok(());
    }
    if let Some(action) = &handler.http_get {
        let port = resolve_port(&action.port, container)?;
        let host = action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| pod_ip.to_owned());
        let path = action.path.clone().unwrap_or_default();
        let target = Target {
            https: action.scheme.as_deref() == Some("HTTPS"),
            host,
            port,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: list(&action.http_headers).iter().map(|h| (h.name.clone(), h.value.clone())).collect(),
        };
        return match get(&target).await {
            Ok((status, _)) if status < 400 => Ok(()),
            Ok((status, _)) => {
                Err(format!("HTTP lifecycle hook ({}) failed with statuscode: {status}", target.path))
            }
            Err(error) => Err(format!("HTTP lifecycle hook ({}) failed: {error}", target.path)),
        };
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}

/// A port by number or by its name in the container.
///
/// # Errors
/// When there is no such port.
pub fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => list(&container.ports)
            .iter()
            .find(|p| p.name.as_deref() == Some(name))
            .map(|p| p.container_port)
            .or_else(|| name.parse().ok()),
    };
    let valid = number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    valid.ok_or_else(|| match port {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => format!("couldn't find port: \"{name}\""),
    })
}
