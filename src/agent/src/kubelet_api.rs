//! The kubelet API.
#[allow(dead_code)]
mod spdy;
use crate::pods::shared::Shared;
use std::sync::Arc;
/// The kubelet API of this node; clones are the same.
#[derive(Clone)]
pub struct KubeletApi {
    #[allow(dead_code)]
    shared: Arc<Shared>,
}
impl KubeletApi {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}
