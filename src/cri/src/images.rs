//! The image service of CRI v1 as a trait.

use async_trait::async_trait;

use crate::Result;
use crate::v1;

/// Images of the runtime.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// Pulls an image and gives its reference (what container statuses call `imageRef`).
    ///
    /// There is no deadline: large images take their time, and the runtime itself ends a pull that makes no
    /// progress. Dropping the future cancels the pull.
    async fn pull(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String>;

    /// Images that match a name; all without one.
    async fn list(&self, name: Option<&str>) -> Result<Vec<v1::Image>>;

    /// The image of this name, digest or id; `None` when the runtime does not have it.
    async fn status(&self, image: &str) -> Result<Option<v1::Image>>;

    /// Removes the image with all of its names; one that is gone already is a success.
    async fn remove(&self, image: &str) -> Result<()>;

    /// Where images and writable layers are kept and how much they use.
    async fn fs_info(&self) -> Result<v1::ImageFsInfoResponse>;
}
