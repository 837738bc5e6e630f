//! What the datastore does by itself. Each task sleeps until there is something to do: an idle store wakes nobody
//! and writes nothing.

use std::sync::Arc;
use std::time::Duration;

use copepod_base::Chain;
use copepod_base::task::Shutdown;

use super::{Inner, SqliteConfig};
use crate::types::Error;

/// The longest sleep until an expiry, so that a jump of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// After a failure (a full disk) the next try is not sooner than this.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

pub(super) fn start(inner: &Arc<Inner>, shutdown: &Shutdown, config: &SqliteConfig) {
    shutdown.spawn_until_cancelled("store-expiry", expiry(Arc::clone(inner), config.expiry_pause));
    shutdown.spawn_until_cancelled("store-relaxed-writes", flush(Arc::clone(inner), config.relaxed_delay));
    if let Some(history) = config.history {
        shutdown.spawn_until_cancelled("store-compaction", compaction(Arc::clone(inner), history));
    }
}

/// Deletes keys when their time is over.
async fn expiry(inner: Arc<Inner>, pause: Duration) {
    let mut next = inner.signals.expiry.subscribe();
    loop {
        let due = *next.borrow_and_update();
        let now = i64::try_from(copepod_base::clock::since_epoch().as_millis()).unwrap_or(i64::MAX);
        match due {
            Some(due) if due <= now => {
                let done = rounds(&inner, move |writer| writer.expire(now)).await;
                if !finish(done, "cannot delete expired keys").await {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
            due => {
                let wait = due.map_or(LONGEST_SLEEP, |due| Duration::from_millis((due - now).unsigned_abs()));
                let sleep = tokio::time::sleep(wait.min(LONGEST_SLEEP));
                tokio::select! {
                    changed = next.changed() => if changed.is_err() { return },
                    () = sleep, if due.is_some() => {}
                }
            }
        }
    }
}

/// Commits relaxed writes that have waited long enough.
async fn flush(inner: Arc<Inner>, delay: Duration) {
    let mut pending = inner.signals.pending.subscribe();
    while pending.wait_for(|pending| *pending).await.is_ok() {
        tokio::time::sleep(delay).await;
        let done = inner
            .run(|writer| if writer.pending.is_empty() { Ok(()) } else { writer.commit(Vec::new(), false) });
        if !finish(done.await, "cannot commit relaxed writes").await {
            return;
        }
    }
}

/// Forgets history once it is as old as `history`; at the latest when it is twice as old.
async fn compaction(inner: Arc<Inner>, history: Duration) {
    let mut revisions = inner.hub.revisions();
    loop {
        let mark = *revisions.borrow_and_update();
        if mark <= inner.hub.compacted() {
            if revisions.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::time::sleep(history).await;
        let done = match inner.run(move |writer| writer.compact(mark)).await {
            Ok(()) => rounds(&inner, super::Writer::sweep).await,
            Err(error) => Err(error),
        };
        if !finish(done, "cannot compact the datastore").await {
            return;
        }
    }
}

/// Repeats a step until it says that nothing is left; other requests run between the steps.
pub(super) async fn rounds(
    inner: &Inner,
    step: impl Fn(&mut super::Writer) -> Result<bool, Error> + Clone + Send + 'static,
) -> Result<(), Error> {
    while inner.run(step.clone()).await? {}
    Ok(())
}

/// Logs a failure and waits; false when the store is closed.
async fn finish(done: Result<(), Error>, what: &'static str) -> bool {
    match done {
        Ok(()) => true,
        Err(Error::Closed) => false,
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "{what}");
            tokio::time::sleep(FAILURE_PAUSE).await;
            true
        }
    }
}
