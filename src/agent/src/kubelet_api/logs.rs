//! `/containerLogs`.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::query::Query;
use super::reply::{Body, Refusal};
use crate::logs::{LogOptions, stream};
use crate::pods::registry::View;
use crate::pods::shared::Shared;
use crate::pods::state::{Record, RunState};
use crate::spec::{all_containers, list, pod_spec};

/// Parts of a log that wait for a slow client.
const BUFFER: usize = 4;

pub(super) async fn logs(
    shared: &Arc<Shared>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let options = options(query)?;
    let follower = shared
        .registry
        .get(namespace, pod)
        .ok_or_else(|| Refusal::not_found(format!("pod \"{pod}\" does not exist")))?;
    let record = record(&follower.borrow(), pod, container, query.flag("previous"))?;
    let path = std::path::PathBuf::from(&record.log_path);
    // Errors of the file are still errors of the request now; later they can only end the body.
    tokio::fs::metadata(&path)
        .await
        .map_err(|e| Refusal::internal(format!("failed to open log file \"{}\": {e}", path.display())))?;
    let (sender, receiver) = mpsc::channel(BUFFER);
    copepod_base::spawn("log", async move {
        if let Err(error) = stream(&path, &options, ended(follower, record.id), sender).await {
            tracing::debug!(file = %path.display(), %error, "log ended early");
        }
    });
    let parts = futures::stream::unfold(receiver, |mut receiver| async {
        let part: Bytes = receiver.recv().await?;
        Some((Ok(Frame::data(part)), receiver))
    });
    let mut response = Response::new(StreamBody::new(parts).boxed_unsync());
    let plain = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

/// Ends when the container has ended, or its pod is gone.
async fn ended(mut follower: watch::Receiver<Arc<View>>, id: String) {
    let over = |view: &Arc<View>| {
        let record = view.state.records.iter().find(|r| r.id == id);
        record.is_none_or(|r| r.state == RunState::Exited)
    };
    // A closed channel: the pod is gone, and so is the writer.
    let _ = follower.wait_for(over).await;
}

fn options(query: &Query) -> Result<LogOptions, Refusal> {
    let number = |name: &str, least: i64| match query.get(name) {
        None | Some("") => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("{name}: Invalid value: \"{text}\": must be an integer of at least {least}"),
            )),
        },
    };
    let since =
        match (query.get("sinceTime").filter(|t| !t.is_empty()), number("sinceSeconds", 1)?) {
            (Some(time), _) => Some(time.parse::<Timestamp>().map_err(|e| {
                Refusal::bad_request(format!("sinceTime \"{time}\" is no RFC 3339 time: {e}"))
            })?),
            (None, Some(seconds)) => {
                let now = Timestamp::try_from(copepod_base::clock::now()).unwrap_or_default();
                Some(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN))
            }
            (None, None) => None,
        };
    let streams = query.get("stream").unwrap_or("All");
    Ok(LogOptions {
        follow: query.flag("follow"),
        tail_lines: number("tailLines", 0)?.and_then(|n| u64::try_from(n).ok()),
        since,
        timestamps: query.flag("timestamps"),
        limit_bytes: number("limitBytes", 1)?.and_then(|n| u64::try_from(n).ok()),
        stdout: streams != "Stderr",
        stderr: streams != "Stdout",
    })
}

/// The attempt whose log is asked for.
fn record(view: &View, pod: &str, container: &str, previous: bool) -> Result<Record, Refusal> {
    let spec = pod_spec(&view.pod);
    let known = all_containers(spec).any(|(c, _)| c.name == container)
        || list(&spec.ephemeral_containers).iter().any(|c| c.name == container);
    if !known {
        return Err(Refusal::not_found(format!("container \"{container}\" not found in pod \"{pod}\"")));
    }
    let mut attempts =
        view.state.records.iter().filter(|r| r.name == container && r.state != RunState::Created);
    let latest = attempts.next();
    if previous {
        return attempts
            .next()
            .or_else(|| latest.filter(|r| r.state == RunState::Exited && waits(view, container).is_some()))
            .cloned()
            .ok_or_else(|| {
                Refusal::bad_request(format!(
                    "previous terminated container \"{container}\" in pod \"{pod}\" not found"
                ))
            });
    }
    if let Some(latest) = latest {
        return Ok(latest.clone());
    }
    let why = match waits(view, container).as_deref() {
        Some("ErrImagePull") => "image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => "trying and failing to pull image".to_owned(),
        Some(reason) => reason.to_owned(),
        None => {
            return Err(Refusal::bad_request(format!(
                "container \"{container}\" in pod \"{pod}\" is not available"
            )));
        }
    };
    Err(Refusal::bad_request(format!(
        "container \"{container}\" in pod \"{pod}\" is waiting to start: {why}"
    )))
}

/// Why the container waits, if it does.
fn waits(view: &View, container: &str) -> Option<String> {
    let status = &view.status;
    let all = list(&status.container_statuses).iter().chain(list(&status.init_container_statuses));
    let found = all.into_iter().find(|s| s.name == container)?;
    found.state.as_ref()?.waiting.as_ref()?.reason.clone()
}
