//! Response bodies: whole ones, lists that are written while they are sent, and streams.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use copepod_api::encode;
use copepod_store::Record;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::Stream;
use http_body::{Frame, SizeHint};

use crate::request::content::BoxError;

/// A list is sent in pieces of about this many bytes, so that a large one is never in memory twice.
const PIECE: usize = 64 * 1024;

/// The body of a response.
pub struct Body(Inner);

enum Inner {
    Whole(Option<Bytes>),
    List(Box<ListBody>),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
}

impl Body {
    /// A body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self(Inner::Whole(None))
    }

    /// A body that is there already.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Inner::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    /// A body that comes bit by bit; each item is sent at once.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(stream)))
    }

    pub(crate) fn list(list: ListBody) -> Self {
        Self(Inner::List(Box::new(list)))
    }

    /// The same body through gzip where that is worth it: whole bodies and lists over `least` bytes.
    pub(crate) fn compressed(self, least: usize) -> (Self, bool) {
        match self.0 {
            Inner::Whole(Some(bytes)) if bytes.len() > least => {
                let mut gzip = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(1));
                // Writing to a vector cannot fail.
                let packed = gzip.write_all(&bytes).and_then(|()| gzip.finish()).unwrap_or_default();
                (Self::whole(packed), true)
            }
            Inner::List(mut list) if list.size_estimate() > least => {
                list.gzip = Some(GzEncoder::new(Vec::new(), Compression::new(1)));
                (Self(Inner::List(list)), true)
            }
            other => (Self(other), false),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::whole(text)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Whole(_) => "Body::Whole",
            Inner::List(_) => "Body::List",
            Inner::Stream(_) => "Body::Stream",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::List(list) => Poll::Ready(list.next_piece().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|item| item.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_none(),
            Inner::List(list) => list.done,
            Inner::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            _ => SizeHint::default(),
        }
    }
}

/// A list of stored objects, written piece by piece by copying.
pub(crate) struct ListBody {
    head: String,
    records: VecDeque<Record>,
    metadata_only: bool,
    first: bool,
    done: bool,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl ListBody {
    /// A list that starts with `head` (up to and with `"items":[`).
    pub(crate) fn new(head: String, records: Vec<Record>, metadata_only: bool) -> Self {
        Self { head, records: records.into(), metadata_only, first: true, done: false, gzip: None }
    }

    /// About how many bytes the list has.
    pub(crate) fn size_estimate(&self) -> usize {
        self.records.iter().map(|record| record.value.len() + 32).sum()
    }

    /// The whole list at once.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        let mut out = Vec::with_capacity(self.head.len() + self.size_estimate() + 2);
        while !self.done {
            self.write(&mut out, usize::MAX);
        }
        out.into()
    }

    fn write(&mut self, out: &mut Vec<u8>, least: usize) {
        if self.first {
            out.extend_from_slice(self.head.as_bytes());
        }
        while out.len() < least {
            let Some(record) = self.records.pop_front() else {
                out.extend_from_slice(b"]}");
                self.done = true;
                return;
            };
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            if self.metadata_only {
                encode::splice_metadata(&record.value, record.mod_revision, out);
            } else {
                encode::splice(&record.value, record.mod_revision, out);
            }
        }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        while !self.done {
            let mut out = Vec::with_capacity(PIECE + 8 * 1024);
            self.write(&mut out, PIECE);
            let Some(mut gzip) = self.gzip.take() else { return Some(out.into()) };
            // Writing to a vector cannot fail.
            let _ = gzip.write_all(&out);
            if self.done {
                return gzip.finish().ok().map(Bytes::from);
            }
            let packed = std::mem::take(gzip.get_mut());
            self.gzip = Some(gzip);
            if !packed.is_empty() {
                return Some(packed.into());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    fn list(count: usize) -> ListBody {
        let records = (0..count).map(|n| Record {
            key: Arc::from("/k"),
            value: Bytes::from(format!(
                r#"{{"apiVersion":"v1","kind":"X","metadata":{{"name":"{n}","filler":"{}"}}}}"#,
                "y".repeat(900)
            )),
            create_revision: 1,
            mod_revision: n as u64,
        });
        ListBody::new(r#"{"items":["#.to_owned(), records.collect(), false)
    }

    #[tokio::test]
    async fn a_list_is_the_same_in_pieces_whole_and_compressed() {
        for count in [0, 1, 500] {
            let whole = list(count).into_bytes();
            let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!(value["items"].as_array().unwrap().len(), count);
            let pieces = Body::list(list(count)).collect().await.unwrap().to_bytes();
            assert_eq!(pieces, whole);
            let (packed, is_packed) = Body::list(list(count)).compressed(10_000);
            assert_eq!(is_packed, count > 100);
            if is_packed {
                let packed = packed.collect().await.unwrap().to_bytes();
                let mut unpacked = Vec::new();
                flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
                assert_eq!(unpacked, whole);
            }
        }
    }
}
