//! The client's side of a SPDY connection.

use std::io;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::Framed;

use super::Frame;
use super::frame::{Codec, Headers};

/// Largest payload put into one data frame.
const MAX_DATA: usize = 32 << 10;

/// Sending half: opens streams and writes to them.
pub(crate) struct Sender<S> {
    sink: SplitSink<Framed<S, Codec>, Frame>,
    next_id: u32,
}

/// Receiving half.
pub(crate) struct Receiver<S> {
    frames: SplitStream<Framed<S, Codec>>,
}

/// What the peer did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Bytes of a stream, and whether they are its last.
    Data { id: u32, fin: bool, payload: Bytes },
    /// The peer accepted a stream (`fin`: and will send nothing on it).
    Accepted { id: u32, fin: bool },
    /// The peer dropped a stream.
    Reset { id: u32 },
    /// The peer wants its ping back.
    Ping { id: u32 },
    /// The peer leaves.
    GoAway,
}

/// Makes the two halves of a client connection over `io`.
pub(crate) fn client<S: AsyncRead + AsyncWrite>(io: S) -> io::Result<(Sender<S>, Receiver<S>)> {
    let (sink, frames) = Framed::new(io, Codec::new()?).split();
    Ok((Sender { sink, next_id: 1 }, Receiver { frames }))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    /// Opens a stream; its id. The peer's answer arrives as [`Event::Accepted`] or [`Event::Reset`].
    pub(crate) async fn open(&mut self, headers: Headers) -> io::Result<u32> {
        let id = self.next_id;
        // Ids of streams that a client opens are odd.
        self.next_id += 2;
        self.sink.send(Frame::SynStream { id, fin: false, headers }).await?;
        Ok(id)
    }

    /// Writes bytes to a stream.
    pub(crate) async fn write(&mut self, id: u32, mut payload: Bytes) -> io::Result<()> {
        while payload.len() > MAX_DATA {
            let part = payload.split_to(MAX_DATA);
            self.sink.feed(Frame::Data { id, fin: false, payload: part }).await?;
        }
        self.sink.send(Frame::Data { id, fin: false, payload }).await
    }

    /// Ends our half of a stream.
    pub(crate) async fn finish(&mut self, id: u32) -> io::Result<()> {
        self.sink.send(Frame::Data { id, fin: true, payload: Bytes::new() }).await
    }

    /// Answers a ping.
    pub(crate) async fn pong(&mut self, id: u32) -> io::Result<()> {
        self.sink.send(Frame::Ping { id }).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Receiver<S> {
    /// The next event; `None` once the peer has closed the connection. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Event>> {
        loop {
            return Some(Ok(match self.frames.next().await? {
                Ok(Frame::Data { id, fin, payload }) => Event::Data { id, fin, payload },
                Ok(Frame::SynReply { id, fin, .. }) => Event::Accepted { id, fin },
                Ok(Frame::RstStream { id, .. }) => Event::Reset { id },
                // Odd ids are ours: an answer.
                Ok(Frame::Ping { id }) if id % 2 == 0 => Event::Ping { id },
                Ok(Frame::GoAway { .. }) => Event::GoAway,
                Ok(Frame::Headers { id, fin: true, .. }) => {
                    Event::Data { id, fin: true, payload: Bytes::new() }
                }
                Ok(
                    Frame::Ping { .. }
                    | Frame::Settings
                    | Frame::WindowUpdate { .. }
                    | Frame::Headers { .. }
                    | Frame::SynStream { .. },
                ) => continue,
                Err(error) => return Some(Err(error)),
            }));
        }
    }
}
