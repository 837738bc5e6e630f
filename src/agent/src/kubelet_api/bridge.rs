//! WebSocket channels to SPDY streams and back.
//!
//! Both directions run by themselves: a command that does not read its input must not hold back its output. What the
//! runtime sends keeps its order; the status goes out after all output, then a close frame with code 1000.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::channels::{CLOSE, ERROR, Protocol, RESIZE, STDERR, STDIN, STDOUT};
use super::runtime_stream::RuntimeStream;
use super::spdy::{self, Event};

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Sink = SplitSink<Socket, Message>;
type Streams = TokioIo<Upgraded>;

/// How long a client may take to answer the close frame.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A channel and the stream it is joined with.
#[derive(Debug, Clone)]
pub(super) struct Route {
    channel: u8,
    headers: Vec<(String, String)>,
    /// Whether the client may send.
    inbound: bool,
}

impl Route {
    /// The streams of a command.
    pub(super) fn of_command(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Vec<Self> {
        let all = [
            (true, ERROR, "error", false),
            (stdin, STDIN, "stdin", true),
            (stdout, STDOUT, "stdout", false),
            (stderr, STDERR, "stderr", false),
            (tty, RESIZE, "resize", true),
        ];
        all.into_iter()
            .filter(|(wanted, ..)| *wanted)
            .map(|(_, channel, kind, inbound)| Self {
                channel,
                headers: vec![("streamtype".to_owned(), kind.to_owned())],
                inbound,
            })
            .collect()
    }

    /// Data and error streams of a forwarded port, by its place in the request.
    fn of_port(at: u8, port: u16) -> [Self; 2] {
        let headers = |kind: &str| {
            [("streamtype", kind), ("port", &port.to_string()), ("requestid", &at.to_string())]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .to_vec()
        };
        // The runtime pairs them by the request id; the error stream comes first.
        [
            Self { channel: at * 2 + 1, headers: headers("error"), inbound: false },
            Self { channel: at * 2, headers: headers("data"), inbound: true },
        ]
    }
}

/// A command's streams to be joined.
pub(super) struct Bridge {
    pub(super) socket: Socket,
    pub(super) protocol: Protocol,
    pub(super) stream: RuntimeStream,
    pub(super) routes: Vec<Route>,
}

/// What the reading side asks the writing side to send to the runtime.
enum Answer {
    Pong(u32),
}

/// An open SPDY connection with its streams.
struct Opened {
    sender: spdy::session::Sender<Streams>,
    receiver: spdy::session::Receiver<Streams>,
    /// Stream of a channel the client may write to.
    inbound: HashMap<u8, u32>,
    /// Channel of a stream.
    outbound: HashMap<u32, u8>,
}

async fn open(stream: RuntimeStream, routes: &[Route]) -> std::io::Result<Opened> {
    let (mut sender, receiver) = spdy::session::client(stream.io)?;
    let (mut inbound, mut outbound) = (HashMap::new(), HashMap::new());
    for route in routes {
        let id = sender.open(route.headers.clone()).await?;
        if route.inbound {
            inbound.insert(route.channel, id);
        }
        outbound.insert(id, route.channel);
    }
    Ok(Opened { sender, receiver, inbound, outbound })
}

impl Bridge {
    /// Joins the two until the command has ended or the client has gone.
    pub(super) async fn run(self) {
        let protocol = self.protocol;
        let (mut sink, mut messages) = self.socket.split();
        let opened = match open(self.stream, &self.routes).await {
            Ok(opened) => opened,
            Err(error) => {
                finish(&mut sink, protocol, failure(&format!("error opening streams: {error}")).as_bytes())
                    .await;
                return;
            }
        };
        let Opened { sender, mut receiver, inbound, outbound } = opened;
        // Tells the client that the streams are there, on the lowest channel it reads.
        let first = [STDOUT, STDERR, ERROR].into_iter().find(|c| self.routes.iter().any(|r| r.channel == *c));
        if sink.send(protocol.encode(first.unwrap_or(ERROR), b"")).await.is_err() {
            return;
        }
        let (answers, to_answer) = mpsc::unbounded_channel();
        let out = async {
            let status = forward_output(&mut receiver, &mut sink, protocol, &outbound, &answers).await?;
            finish(&mut sink, protocol, &status).await;
            Some(())
        };
        let read = forward_input(&mut messages, sender, protocol, &inbound, to_answer);
        tokio::pin!(out, read);
        tokio::select! {
            ended = &mut out => {
                if ended.is_some() {
                    // The client answers the close frame, or is gone.
                    let _ = tokio::time::timeout(CLOSE_WITHIN, &mut read).await;
                }
            }
            () = &mut read => {}
        }
    }
}

/// Sends what the runtime sends; the status it ended with. `None` when the client has gone.
async fn forward_output(
    receiver: &mut spdy::session::Receiver<Streams>,
    sink: &mut Sink,
    protocol: Protocol,
    outbound: &HashMap<u32, u8>,
    answers: &mpsc::UnboundedSender<Answer>,
) -> Option<Bytes> {
    let mut status = BytesMut::new();
    loop {
        match receiver.next().await {
            Some(Ok(Event::Data { id, payload, .. })) => match outbound.get(&id) {
                Some(&ERROR) => status.extend_from_slice(&payload),
                Some(channel) if !payload.is_empty() => {
                    sink.send(protocol.encode(*channel, &payload)).await.ok()?;
                }
                _ => {}
            },
            Some(Ok(Event::Ping { id })) => {
                // The writing side may have ended; then nobody needs a pong.
                let _ = answers.send(Answer::Pong(id));
            }
            Some(Ok(Event::Accepted { .. } | Event::Reset { .. })) => {}
            Some(Ok(Event::GoAway)) | None => break,
            Some(Err(error)) => {
                if status.is_empty() {
                    status.extend_from_slice(
                        failure(&format!("error streaming from the runtime: {error}")).as_bytes(),
                    );
                }
                break;
            }
        }
    }
    if status.is_empty() {
        status.extend_from_slice(failure("the runtime ended the stream without a status").as_bytes());
    }
    Some(status.freeze())
}

/// Sends what the client sends until it closes or breaks.
async fn forward_input(
    messages: &mut (impl futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
    mut sender: spdy::session::Sender<Streams>,
    protocol: Protocol,
    inbound: &HashMap<u8, u32>,
    mut answers: mpsc::UnboundedReceiver<Answer>,
) {
    let mut broken = false;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            Some(Answer::Pong(id)) = answers.recv() => {
                broken |= sender.pong(id).await.is_err();
                continue;
            }
        };
        let message = match message {
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(message)) => message,
        };
        let Some((channel, data)) = protocol.decode(message) else { continue };
        if broken {
            // The runtime takes nothing more, but its last output may still be on its way: go on reading.
            continue;
        }
        let result = if channel == CLOSE && protocol.has_close() {
            match data.first().and_then(|c| inbound.get(c)) {
                Some(id) => sender.finish(*id).await,
                None => Ok(()),
            }
        } else {
            match inbound.get(&channel) {
                Some(id) if !data.is_empty() => sender.write(*id, data).await,
                _ => Ok(()),
            }
        };
        broken = result.is_err();
    }
}

/// Sends the status as the protocol wants it, then closes.
async fn finish(sink: &mut Sink, protocol: Protocol, status: &[u8]) {
    let message = if protocol.sends_status() { Some(status.to_vec()) } else { failure_text(status) };
    if let Some(message) = message
        && sink.send(protocol.encode(ERROR, &message)).await.is_err()
    {
        return;
    }
    close_normally(sink).await;
}

/// Sends a close frame with code 1000; it is flushed after all that was sent before.
pub(super) async fn close_normally(sink: &mut Sink) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    // A client that is gone needs no close frame.
    let _ = sink.send(Message::Close(Some(frame))).await;
}

/// A v1 Status about something that went wrong here.
fn failure(message: &str) -> String {
    serde_json::json!({"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
        "details": {"causes": [{"message": message}]}, "code": 500})
    .to_string()
}

/// What old protocols say of a status: its message after a failure, nothing after a success.
fn failure_text(status: &[u8]) -> Option<Vec<u8>> {
    let Ok(status) = serde_json::from_slice::<serde_json::Value>(status) else {
        return Some(status.to_vec());
    };
    (status["status"] != "Success")
        .then(|| status["message"].as_str().unwrap_or_default().as_bytes().to_vec())
}

/// The old form of port-forward: two channels for each port, each beginning with the port's number.
pub(super) async fn ports(socket: Socket, protocol: Protocol, stream: RuntimeStream, ports: Vec<u16>) {
    let (mut sink, mut messages) = socket.split();
    let routes: Vec<Route> =
        ports.iter().zip(0..127).flat_map(|(port, at)| Route::of_port(at, *port)).collect();
    let opened = match open(stream, &routes).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(%error, "port-forward streams not opened");
            return close_normally(&mut sink).await;
        }
    };
    let Opened { sender, mut receiver, inbound, outbound } = opened;
    for (port, at) in ports.iter().zip(0..127_u8) {
        for channel in [at * 2, at * 2 + 1] {
            if sink.send(protocol.encode(channel, &port.to_le_bytes())).await.is_err() {
                return;
            }
        }
    }
    let (answers, to_answer) = mpsc::unbounded_channel();
    let out = async {
        while let Some(Ok(event)) = receiver.next().await {
            match event {
                Event::Data { id, payload, .. } if !payload.is_empty() => {
                    let Some(channel) = outbound.get(&id) else { continue };
                    if sink.send(protocol.encode(*channel, &payload)).await.is_err() {
                        return;
                    }
                }
                Event::Ping { id } => {
                    let _ = answers.send(Answer::Pong(id));
                }
                Event::GoAway => break,
                Event::Data { .. } | Event::Accepted { .. } | Event::Reset { .. } => {}
            }
        }
        close_normally(&mut sink).await;
    };
    let read = forward_input(&mut messages, sender, protocol, &inbound, to_answer);
    tokio::pin!(out, read);
    tokio::select! {
        () = &mut out => {}
        () = &mut read => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_protocols_hear_only_of_failures() {
        assert_eq!(failure_text(br#"{"status":"Success"}"#), None);
        assert_eq!(failure_text(br#"{"status":"Failure","message":"exit 3"}"#), Some(b"exit 3".to_vec()));
        assert_eq!(failure_text(failure("x").as_bytes()), Some(b"x".to_vec()));
    }
}
