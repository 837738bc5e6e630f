//! Kubernetes' stream channels over WebSocket: subprotocols and the form of their messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

/// Standard input.
pub(super) const STDIN: u8 = 0;
/// Standard output.
pub(super) const STDOUT: u8 = 1;
/// Standard error.
pub(super) const STDERR: u8 = 2;
/// How it ended.
pub(super) const ERROR: u8 = 3;
/// Terminal sizes.
pub(super) const RESIZE: u8 = 4;
/// Half-close of another channel (v5).
pub(super) const CLOSE: u8 = 255;

/// A negotiated subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protocol {
    /// 0 for the plain ones, else 4 or 5.
    version: u8,
    base64: bool,
}

/// All subprotocols, the empty one for clients that name none.
const PROTOCOLS: &[(&str, Protocol)] = &[
    ("", Protocol { version: 0, base64: false }),
    ("channel.k8s.io", Protocol { version: 0, base64: false }),
    ("base64.channel.k8s.io", Protocol { version: 0, base64: true }),
    ("v4.channel.k8s.io", Protocol { version: 4, base64: false }),
    ("v4.base64.channel.k8s.io", Protocol { version: 4, base64: true }),
    ("v5.channel.k8s.io", Protocol { version: 5, base64: false }),
];

impl Protocol {
    /// The first of the client's subprotocols that is known, with its name. None offered is the empty one.
    pub(super) fn choose<'a>(offered: &[&'a str]) -> Option<(&'a str, Self)> {
        if offered.is_empty() {
            return Some(("", PROTOCOLS[0].1));
        }
        offered.iter().find_map(|name| {
            PROTOCOLS.iter().find(|(known, _)| known == name).map(|(_, protocol)| (*name, *protocol))
        })
    }

    /// Whether the end is always told, as a Status; the old ones send a text, and only after a failure.
    pub(super) fn sends_status(self) -> bool {
        self.version >= 4
    }

    /// Whether channels can be half-closed.
    pub(super) fn has_close(self) -> bool {
        self.version >= 5
    }

    /// A message with bytes of a channel.
    pub(super) fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::with_capacity(1 + data.len() * 4 / 3 + 4);
            text.push(char::from(b'0' + channel));
            STANDARD.encode_string(data, &mut text);
            return Message::text(text);
        }
        let mut message = BytesMut::with_capacity(1 + data.len());
        message.put_u8(channel);
        message.put_slice(data);
        Message::binary(message.freeze())
    }

    /// Channel and bytes of a message; `None` for what is no data message of this protocol.
    pub(super) fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let mut bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            _ => return None,
        };
        if bytes.is_empty() {
            return None;
        }
        let channel = bytes.split_to(1)[0];
        if self.base64 {
            let data = STANDARD.decode(&bytes).ok()?;
            return Some((channel.checked_sub(b'0')?, data.into()));
        }
        Some((channel, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_subprotocol_of_the_client_is_taken() {
        let names = |offered: &[&'static str]| Protocol::choose(offered).map(|(name, _)| name);
        assert_eq!(
            names(&["v9.channel.k8s.io", "v5.channel.k8s.io", "v4.channel.k8s.io"]),
            Some("v5.channel.k8s.io")
        );
        assert_eq!(names(&[]), Some(""));
        assert_eq!(names(&["chat"]), None);
    }

    #[test]
    fn messages_survive_a_round_trip_in_both_forms() {
        for name in ["v5.channel.k8s.io", "base64.channel.k8s.io"] {
            let (_, protocol) = Protocol::choose(&[name]).unwrap();
            let message = protocol.encode(STDOUT, b"a\x00b");
            assert_eq!(protocol.decode(message), Some((STDOUT, Bytes::from_static(b"a\x00b"))), "{name}");
            assert_eq!(protocol.decode(Message::binary(Bytes::new())), None);
        }
        let (_, plain) = Protocol::choose(&["channel.k8s.io"]).unwrap();
        assert_eq!(plain.encode(STDERR, b"x"), Message::binary(vec![2, b'x']));
        assert!(!plain.sends_status() && !plain.has_close());
    }
}
