//! Bodies that nobody reads to the end.
//!
//! A refusal is often known before the body is read. Over HTTP/2 the stream would then be reset, and clients that are
//! still sending report the reset instead of the answer. So what is left is read and dropped, within bounds.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::content::{BoxError, Incoming, LIMIT};

/// What is larger than this is cut off.
const DISCARDED: usize = 4 * LIMIT;
/// Who sends more slowly than this is cut off.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body whose rest is read when it is dropped early.
pub(crate) struct Drain(Option<Incoming>);

impl Drain {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Drain {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = self.0.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // Outside of a runtime the process ends, and the connection with it.
        if tokio::runtime::Handle::try_current().is_ok() {
            copepod_base::spawn("body-drain", tokio::time::timeout(PATIENCE, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DISCARDED {
            return;
        }
    }
}
