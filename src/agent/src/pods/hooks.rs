//! The hooks: one file each.

mod cgroup;
mod folders;
mod volumes;

pub(super) use cgroup::Cgroup;
pub(super) use folders::Folders;
pub(super) use volumes::Volumes;

/// Runs blocking work; a panic in it becomes its error.
async fn blocking<T: Send + 'static>(
    event: &'static str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, super::hook::HookError> {
    let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()));
    result.map_err(|message| super::hook::HookError { event, message })
}
