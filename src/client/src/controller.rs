//! Workers that reconcile keys.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use copepod_base::{Chain, Shutdown};
use futures::FutureExt;
use futures::future::join_all;

use crate::error;
use crate::informer::{Change, Subscription};
use crate::queue::Queue;

/// What a successful reconciliation wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Done,
    /// The same key again after a delay.
    RequeueAfter(Duration),
}

/// Runs `workers` workers on the queue until the shutdown, then closes the queue and returns.
///
/// A failed reconciliation is logged with its causes (a conflict only at debug level: it is part of the trade)
/// and tried again with the queue's back-off; so is one that panics. At the shutdown a running reconciliation is
/// dropped at its next await: as after a power cut, the next start goes on from what the API holds.
pub async fn run<K, F, Fut, E>(
    name: &'static str,
    queue: Queue<K>,
    workers: usize,
    shutdown: &Shutdown,
    reconcile: F,
) where
    K: Clone + Eq + Hash + Display + Send + Sync + 'static,
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    E: Error + Send + 'static,
{
    let reconcile = Arc::new(reconcile);
    let tasks = (0..workers.max(1)).map(|_| {
        let (queue, reconcile) = (queue.clone(), reconcile.clone());
        shutdown.spawn_until_cancelled(name, async move {
            while let Some(key) = queue.next().await {
                work(name, &queue, key, &*reconcile).await;
            }
        })
    });
    join_all(tasks).await;
    queue.close();
}

async fn work<K, F, Fut, E>(name: &'static str, queue: &Queue<K>, key: K, reconcile: &F)
where
    K: Clone + Eq + Hash + Display,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Action, E>>,
    E: Error + 'static,
{
    let output = AssertUnwindSafe(async { reconcile(key.clone()).await }).catch_unwind().await;
    match output {
        Ok(Ok(Action::Done)) => queue.forget(&key),
        Ok(Ok(Action::RequeueAfter(delay))) => {
            queue.forget(&key);
            queue.add_after(key.clone(), delay);
        }
        Ok(Err(error)) if error::caused_by_conflict(&error) => {
            tracing::debug!(controller = name, %key, error = %Chain(&error), "conflict, will try again");
            queue.retry(key.clone());
        }
        Ok(Err(error)) => {
            tracing::warn!(controller = name, %key, error = %Chain(&error), "reconciliation failed, will try again");
            queue.retry(key.clone());
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(controller = name, %key, panic = text, "reconciliation panicked, will try again");
            queue.retry(key.clone());
        }
    }
    queue.done(&key);
}

/// Adds to the queue the keys that `keys` gives for each change, until the shutdown.
///
/// `keys` must be quick and must not block; it sees both states of an update, for when what the object belongs
/// to has changed.
pub fn feed<K, Q, F, I>(
    name: &'static str,
    mut changes: Subscription<K>,
    queue: &Queue<Q>,
    shutdown: &Shutdown,
    keys: F,
) where
    K: Debug + Send + Sync + 'static,
    Q: Clone + Eq + Hash + Send + Sync + 'static,
    F: Fn(&Change<K>) -> I + Send + Sync + 'static,
    I: IntoIterator<Item = Q>,
{
    let queue = queue.clone();
    shutdown.spawn_until_cancelled(name, async move {
        while let Some(change) = changes.recv().await {
            keys(&change).into_iter().for_each(|key| queue.add(key));
        }
    });
}

#[cfg(test)]
mod tests;
