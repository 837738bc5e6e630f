//! Admission of requests to a flow: how many are worked on at a time.
//!
//! A fixed number of seats for readers and for writers, as kube-apiserver has without priority and fairness. What waits
//! too long is told to come back. Requests that last as long as the client likes, and those of this process, take no
//! seat.

use std::sync::Arc;
use std::time::Duration;

use copepod_api::status::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const READERS: usize = 400;
const WRITERS: usize = 200;
/// How long a request waits for its seat.
const PATIENCE: Duration = Duration::from_secs(15);

/// Seats for requests.
pub(crate) struct Flow {
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
}

/// A seat, free again when this is dropped.
pub(crate) struct Seat(#[allow(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Seat {
    /// For requests that take none.
    pub(crate) fn none() -> Self {
        Self(None)
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self { readers: Arc::new(Semaphore::new(READERS)), writers: Arc::new(Semaphore::new(WRITERS)) }
    }
}

impl Flow {
    /// Waits for a seat.
    ///
    /// # Errors
    /// 429 when none becomes free in time.
    pub(crate) async fn seat(&self, read_only: bool) -> Result<Seat, ApiError> {
        let seats = if read_only { &self.readers } else { &self.writers };
        match tokio::time::timeout(PATIENCE, seats.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Seat(Some(permit))),
            _ => Err(ApiError::too_many_requests("too many requests, please try again later", 1)),
        }
    }
}
