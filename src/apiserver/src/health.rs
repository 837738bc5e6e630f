//! `/healthz`, `/livez`, `/readyz`: whether the server works, check by check.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};

use crate::body::Body;
use crate::request::Context;
use crate::respond;
use crate::state::State;

/// A datastore that takes longer to answer counts as failed.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// What only the server itself knows of its health.
#[derive(Default)]
pub(crate) struct Health {
    started: AtomicBool,
}

impl Health {
    /// All objects that the server keeps are there.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }
}

/// The checks of an endpoint, by name.
fn checks(endpoint: &str) -> &'static [&'static str] {
    match endpoint {
        "livez" => &["ping", "etcd"],
        "healthz" => &["ping", "etcd", "poststarthook/start-system-objects"],
        _ => &["ping", "etcd", "watch-hub", "poststarthook/start-system-objects", "shutdown"],
    }
}

async fn check(state: &State, name: &str) -> bool {
    match name {
        // The datastore, under the name that monitoring looks for.
        "etcd" => {
            matches!(tokio::time::timeout(STORE_PATIENCE, state.store.revision()).await, Ok(Ok(_)))
        }
        "watch-hub" => state.hub.is_running(),
        "poststarthook/start-system-objects" => state.health.is_started(),
        "shutdown" => !state.shutdown.is_cancelled(),
        _ => true,
    }
}

/// Answers a health path; `None` when it is none.
pub(crate) async fn serve(cx: &Context) -> Option<Response<Body>> {
    let path = cx.info.path.trim_matches('/');
    let (endpoint, single) = path.split_once('/').map_or((path, None), |(e, s)| (e, Some(s)));
    if !matches!(endpoint, "healthz" | "livez" | "readyz") {
        return None;
    }
    let all = checks(endpoint);
    if let Some(single) = single {
        if !all.contains(&single) {
            return Some(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
        }
        return Some(if check(&cx.state, single).await {
            respond::text(StatusCode::OK, "ok")
        } else {
            let text = format!("internal server error: {single} failed\n");
            respond::text(StatusCode::INTERNAL_SERVER_ERROR, text)
        });
    }
    let excluded: Vec<&str> = cx.query.all("exclude").collect();
    let mut report = String::new();
    let mut failed = false;
    for name in all {
        if excluded.contains(name) {
            report.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if check(&cx.state, name).await {
            report.push_str(&format!("[+]{name} ok\n"));
        } else {
            failed = true;
            report.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    for name in excluded.iter().filter(|name| !all.contains(name)) {
        report.push_str(&format!("warn: some health checks cannot be excluded: no matches for {name:?}\n"));
    }
    Some(match (failed, cx.query.get("verbose").is_some()) {
        (true, _) => {
            respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{endpoint} check failed\n"))
        }
        (false, true) => respond::text(StatusCode::OK, format!("{report}{endpoint} check passed\n")),
        (false, false) => respond::text(StatusCode::OK, "ok"),
    })
}
