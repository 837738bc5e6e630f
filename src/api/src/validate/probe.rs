//! Probes and lifecycle handlers.

use k8s_openapi::api::core::v1::{
    ExecAction, GRPCAction, HTTPGetAction, Lifecycle, Probe, SleepAction, TCPSocketAction,
};

use super::{POSITIVE, not_negative, one_of, plain, port, port_number, required};
use crate::field::{Errors, Path};

/// Which probe of a container it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Liveness,
    Readiness,
    Startup,
}

/// What a probe or hook does; exactly one must be given.
#[derive(Default)]
struct Actions<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl Actions<'_> {
    fn check(&self, errors: &mut Errors, path: &Path, grace: Option<i64>) {
        let mut given = 0;
        let mut first = |errors: &mut Errors, name: &str, is_given: bool| {
            given += usize::from(is_given);
            if is_given && given > 1 {
                errors.forbidden(&path.child(name), "may not specify more than 1 handler type");
            }
            is_given && given == 1
        };
        if first(errors, "exec", self.exec.is_some())
            && self.exec.is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty))
        {
            errors.required(&path.child("exec").child("command"), "");
        }
        if first(errors, "httpGet", self.http_get.is_some())
            && let Some(get) = self.http_get
        {
            let path = path.child("httpGet");
            required(errors, &path.child("path"), plain(get.path.as_ref()));
            port(errors, &path.child("port"), &get.port);
            one_of(errors, &path.child("scheme"), plain(get.scheme.as_ref()), &["HTTP", "HTTPS"]);
        }
        if first(errors, "tcpSocket", self.tcp_socket.is_some())
            && let Some(socket) = self.tcp_socket
        {
            port(errors, &path.child("tcpSocket").child("port"), &socket.port);
        }
        if first(errors, "grpc", self.grpc.is_some())
            && let Some(grpc) = self.grpc
        {
            port_number(errors, &path.child("grpc").child("port"), grpc.port);
        }
        if first(errors, "sleep", self.sleep.is_some())
            && let Some(sleep) = self.sleep
        {
            let grace = grace.unwrap_or_default();
            if sleep.seconds < 0 || sleep.seconds > grace {
                let detail = format!(
                    "must be non-negative and less than terminationGracePeriodSeconds ({grace}). Enable \
                     AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."
                );
                errors.invalid(&path.child("sleep"), sleep.seconds, &detail);
            }
        }
        if given == 0 {
            errors.required(path, "must specify a handler type");
        }
    }
}

/// A probe.
pub(super) fn probe(errors: &mut Errors, path: &Path, probe: &Probe, role: Role) {
    let actions = Actions {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    actions.check(errors, path, None);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        not_negative(errors, &path.child(name), value);
    }
    if let Some(grace) = probe.termination_grace_period_seconds {
        let path = path.child("terminationGracePeriodSeconds");
        if role == Role::Readiness {
            errors.invalid(&path, grace, "must not be set for readinessProbes");
        } else if grace <= 0 {
            errors.invalid(&path, grace, POSITIVE);
        }
    }
    if role != Role::Readiness
        && let Some(threshold) = probe.success_threshold.filter(|threshold| *threshold != 1)
    {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

/// Hooks after start and before stop.
pub(super) fn lifecycle(errors: &mut Errors, path: &Path, lifecycle: &Lifecycle, grace: Option<i64>) {
    for (name, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        let Some(handler) = handler else { continue };
        let actions = Actions {
            exec: handler.exec.as_ref(),
            http_get: handler.http_get.as_ref(),
            tcp_socket: handler.tcp_socket.as_ref(),
            grpc: None,
            sleep: handler.sleep.as_ref(),
        };
        actions.check(errors, &path.child(name), grace);
    }
}
