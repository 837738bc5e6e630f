//! SPDY inside of WebSocket: binary messages are pieces of the byte stream.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::bridge::close_normally;
use super::runtime_stream::RuntimeStream;

/// Bytes put into one message.
const CHUNK: usize = 32 << 10;

/// Pipes until either side has ended.
pub(super) async fn run(socket: WebSocketStream<TokioIo<Upgraded>>, stream: RuntimeStream) {
    let (mut sink, mut messages) = socket.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(stream.io);
    let inbound = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(bytes) => {
                    let written = to_runtime.write_all(&bytes).await;
                    if written.is_err() || to_runtime.flush().await.is_err() {
                        return;
                    }
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        // The runtime may be gone already.
        let _ = to_runtime.shutdown().await;
    };
    let outbound = async {
        let mut buffer = bytes::BytesMut::with_capacity(CHUNK);
        loop {
            buffer.reserve(CHUNK);
            match from_runtime.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    let piece: Bytes = buffer.split().freeze();
                    if sink.send(Message::Binary(piece)).await.is_err() {
                        return;
                    }
                }
            }
        }
        close_normally(&mut sink).await;
    };
    tokio::select! {
        () = inbound => {}
        () = outbound => {}
    }
}
