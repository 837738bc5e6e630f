//! One probe: exec, HTTP, TCP or gRPC.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use copepod_cri::Error;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{GRPCAction, Probe};
use tokio::net::TcpStream;

use super::Subject;
use crate::http::{Target, connect_error, get};
use crate::pods::lifecycle::resolve_port;
use crate::spec::list;

/// Longest output put into an event, in bytes.
const MAX_OUTPUT: usize = 10 << 10;

/// Why a probe did not succeed.
pub(super) enum Failed {
    /// The answer was bad, or there was none in time.
    Unhealthy(String),
    /// The probe could not be made.
    Errored(String),
}

pub(super) async fn check(subject: &Subject, probe: &Probe, timeout: Duration) -> Result<(), Failed> {
    if let Some(exec) = &probe.exec {
        return run_exec(subject, list(&exec.command).to_vec(), timeout).await;
    }
    let late = || {
        Failed::Unhealthy("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into())
    };
    if let Some(action) = &probe.http_get {
        let port = resolve_port(&action.port, &subject.container).map_err(Failed::Errored)?;
        let path = action.path.clone().unwrap_or_default();
        let target = Target {
            https: action.scheme.as_deref() == Some("HTTPS"),
            host: action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| subject.pod_ip.clone()),
            port,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: list(&action.http_headers).iter().map(|h| (h.name.clone(), h.value.clone())).collect(),
        };
        return match tokio::time::timeout(timeout, get(&target)).await {
            Err(_) => Err(late()).map_err(|e| match e {
                Failed::Unhealthy(text) => Failed::Unhealthy(format!("Get \"{}\": {text}", target.url())),
                other => other,
            }),
            Ok(Ok((status, _))) if (200..400).contains(&status) => Ok(()),
            Ok(Ok((status, _))) => {
                Err(Failed::Unhealthy(format!("HTTP probe failed with statuscode: {status}")))
            }
            Ok(Err(error)) => Err(Failed::Unhealthy(error)),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let port = resolve_port(&action.port, &subject.container).map_err(Failed::Errored)?;
        let host = action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| subject.pod_ip.clone());
        let connect = TcpStream::connect((host.as_str(), port));
        return match tokio::time::timeout(timeout, connect).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                Err(Failed::Unhealthy(format!("dial tcp {host}:{port}: connect: {}", connect_error(&error))))
            }
            Err(_) => Err(Failed::Unhealthy(format!("dial tcp {host}:{port}: i/o timeout"))),
        };
    }
    if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port)
            .map_err(|_| Failed::Errored(format!("invalid port number: {}", action.port)))?;
        return match tokio::time::timeout(timeout, grpc(&subject.pod_ip, port, action)).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Unhealthy(format!(
                "timeout: failed to connect service \"{}:{port}\" within {}: context deadline exceeded",
                subject.pod_ip,
                crate::pods::backoff::go_duration(timeout)
            ))),
        };
    }
    Err(Failed::Errored(format!("missing probe handler for {}", subject.container.name)))
}

async fn run_exec(subject: &Subject, command: Vec<String>, timeout: Duration) -> Result<(), Failed> {
    let shown = command.join(" ");
    match subject.shared.runtime.exec_sync(&subject.container_id, command, timeout).await {
        Ok(answer) if answer.exit_code == 0 => Ok(()),
        Ok(answer) => {
            let mut output = [answer.stdout, answer.stderr].concat();
            output.truncate(MAX_OUTPUT);
            Err(Failed::Unhealthy(String::from_utf8_lossy(&output).into_owned()))
        }
        Err(Error::DeadlineExceeded { .. }) => Err(Failed::Unhealthy(format!(
            "command timed out: \"{shown}\" timed out after {}",
            crate::pods::backoff::go_duration(timeout)
        ))),
        Err(error) => Err(Failed::Errored(error.to_string())),
    }
}

/// `grpc.health.v1.Health/Check` by hand: one message with one string field.
async fn grpc(host: &str, port: u16, action: &GRPCAction) -> Result<(), Failed> {
    let unhealthy = |e: String| Failed::Unhealthy(e);
    let tcp = TcpStream::connect((host, port)).await.map_err(|e| {
        unhealthy(format!("error: failed to connect to \"{host}:{port}\": {}", connect_error(&e)))
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .map_err(|e| unhealthy(e.to_string()))?;
    // Ends when the sender is dropped at the end of this function.
    copepod_base::spawn("grpc-probe", async move {
        let _ = connection.await;
    });
    let service = action.service.as_deref().unwrap_or_default();
    let request = http::Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(health_request(service)))
        .map_err(|e| Failed::Errored(e.to_string()))?;
    let response = sender.send_request(request).await.map_err(|e| unhealthy(e.to_string()))?;
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.map_err(|e| unhealthy(e.to_string()))?;
    let status = body
        .trailers()
        .and_then(|t| t.get("grpc-status"))
        .or_else(|| headers.get("grpc-status"))
        .and_then(|v| v.to_str().ok())
        .unwrap_or("0")
        .to_owned();
    match status.as_str() {
        "0" => {}
        "12" => {
            return Err(unhealthy(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                    .into(),
            ));
        }
        code => return Err(unhealthy(format!("error: health rpc probe failed: code {code}"))),
    }
    match serving_status(&body.to_bytes()) {
        1 => Ok(()),
        other => Err(unhealthy(format!(
            "service unhealthy (responded with \"{}\")",
            match other {
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "UNKNOWN",
            }
        ))),
    }
}

/// A gRPC frame around a `HealthCheckRequest`.
fn health_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut len = service.len();
        while len >= 0x80 {
            message.put_u8(u8::try_from(len & 0x7f).unwrap_or(0) | 0x80);
            len >>= 7;
        }
        message.put_u8(u8::try_from(len).unwrap_or(0));
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.put_slice(&message);
    frame.freeze()
}

/// Field 1 of a `HealthCheckResponse` in its frame; absent means 0.
fn serving_status(frame: &[u8]) -> u8 {
    match frame.get(5..) {
        Some([0x08, value, ..]) => *value,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_messages_have_the_protobuf_form() {
        assert_eq!(health_request("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(health_request("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), 1);
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), 0);
    }
}
