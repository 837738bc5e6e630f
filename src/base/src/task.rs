//! Named tasks in a shutdown tree.
//!
//! A [`Shutdown`] is a node of the tree: cancelling it cancels its children, and [`Shutdown::finished`]
//! waits until every task spawned on it or below has ended. "Stop the agent" and "stop a workload" are
//! different branches, so that stopping Copepod never stops a container.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A node of the shutdown tree. Clones are the same node.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// The root of a new tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A branch: cancelled with its parent, or alone. Its tasks count as the parent's for [`finished`](Self::finished).
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tracker: self.tracker.clone() }
    }

    /// Asks every task of this node and below to end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Whether [`cancel`](Self::cancel) was called here or above.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when the node is cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Runs `future` unless the node is cancelled first; `None` then.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            output = future => Some(output),
        }
    }

    /// Spawns a task that ends by itself after the node is cancelled, and that [`finished`](Self::finished) waits for.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn(name, self.tracker.track_future(future))
    }

    /// Spawns a task that is dropped at its next await when the node is cancelled.
    pub fn spawn_until_cancelled<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<()>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let node = self.clone();
        self.spawn(name, async move {
            node.guard(future).await;
        })
    }

    /// Waits until every task of the whole tree has ended. Call it on a cancelled root.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Spawns a named task. A panic is logged with the name and gives `None`; it never takes the process down.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(async move {
        match AssertUnwindSafe(future).catch_unwind().await {
            Ok(output) => Some(output),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                tracing::error!(task = name, panic = %text, "task panicked");
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cancelling_the_root_ends_tasks_of_every_branch() {
        let root = Shutdown::new();
        let branch = root.child();
        let inner = branch.child();
        inner.spawn_until_cancelled("forever", std::future::pending());
        root.cancel();
        root.finished().await;
        assert!(inner.is_cancelled());
    }

    #[tokio::test]
    async fn cancelling_a_branch_leaves_its_parent_running() {
        let root = Shutdown::new();
        root.child().cancel();
        assert!(!root.is_cancelled());
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_own_task() {
        let output: Option<()> = spawn("broken", async { panic!("on purpose") }).await.unwrap();
        assert_eq!(output, None);
    }
}
