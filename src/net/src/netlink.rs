//! One conversation with the kernel about links, addresses and routes.
//!
//! Calls block, for microseconds as a rule; deleting links can take tens of milliseconds, so asynchronous callers use
//! a blocking thread. Several requests go in one message and are answered together: a batch costs one round trip.

use std::io;
use std::path::Path;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{Error, NetNs, Result};

/// Answers of a dump arrive in pieces of up to this size.
const RECEIVE_BYTES: usize = 128 * 1024;

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Changes or deletes what exists.
    Change,
    /// Creates; `EEXIST` when it exists.
    Create,
    /// Creates or replaces.
    Replace,
    /// Asks for one thing.
    Get,
}

impl Mode {
    fn flags(self) -> u16 {
        let flags = match self {
            Self::Change | Self::Get => 0,
            Self::Create => NLM_F_CREATE | NLM_F_EXCL,
            Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        };
        NLM_F_REQUEST | NLM_F_ACK | flags
    }
}

/// A request with the words for its error message.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) action: String,
    pub(crate) mode: Mode,
    pub(crate) message: RouteNetlinkMessage,
}

/// Outcome of one request of a batch.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) action: String,
    pub(crate) error: Option<io::Error>,
    pub(crate) messages: Vec<RouteNetlinkMessage>,
}

impl Answer {
    /// The messages, or the kernel's refusal.
    pub(crate) fn ok(self) -> Result<Vec<RouteNetlinkMessage>> {
        match self.error {
            None => Ok(self.messages),
            Some(source) => Err(Error::Kernel { action: self.action, source }),
        }
    }

    /// As [`Answer::ok`], but `errno` is fine too; true when the request was carried out.
    pub(crate) fn ok_or(self, errno: nix::errno::Errno) -> Result<bool> {
        if self.error.as_ref().and_then(io::Error::raw_os_error) == Some(errno as i32) {
            return Ok(false);
        }
        self.ok().map(|_| true)
    }
}

/// A netlink socket in one network namespace.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// In the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket =
            open().map_err(|source| Error::Kernel { action: "open a netlink socket".to_owned(), source })?;
        Ok(Self { socket, sequence: 0, buffer: Vec::new() })
    }

    /// In another namespace; used from any thread.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open_in(namespace: &NetNs) -> Result<Self> {
        namespace.run(Self::open)?
    }

    /// As [`Netlink::open_in`] with the namespace's path.
    ///
    /// # Errors
    /// When there is no namespace at this path.
    pub fn open_at(path: &Path) -> Result<Self> {
        Self::open_in(&NetNs::open(path)?)
    }

    /// One request; gives what it answers.
    pub(crate) fn ask(&mut self, ask: Ask) -> Result<Vec<RouteNetlinkMessage>> {
        let action = ask.action.clone();
        let answer = self.batch(vec![ask])?.pop();
        answer.map_or_else(|| Err(Error::Decode { action, message: "no answer".to_owned() }), Answer::ok)
    }

    /// Several requests in one round trip. The kernel goes on after one that it refuses.
    pub(crate) fn batch(&mut self, asks: Vec<Ask>) -> Result<Vec<Answer>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut answers = Vec::with_capacity(asks.len());
        for ask in asks {
            self.push(&mut bytes, ask.message, ask.mode.flags());
            answers.push(Answer { action: ask.action, error: None, messages: Vec::new() });
        }
        let action = answers.first().map(|answer| answer.action.clone()).unwrap_or_default();
        self.send(&bytes).map_err(|source| Error::Kernel { action: action.clone(), source })?;
        let mut open = answers.len();
        while open > 0 {
            for message in self.receive(&action)? {
                let number = message.header.sequence_number.wrapping_sub(first) as usize;
                let Some(answer) = answers.get_mut(number) else { continue };
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answer.messages.push(inner),
                    NetlinkPayload::Error(error) => {
                        answer.error = error.code.map(|_| error.to_io());
                        open -= 1;
                    }
                    _ => {}
                }
            }
        }
        Ok(answers)
    }

    /// Everything of a kind.
    pub(crate) fn dump(
        &mut self,
        action: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut bytes = Vec::new();
        let number = self.push(&mut bytes, message, NLM_F_REQUEST | NLM_F_DUMP);
        self.send(&bytes).map_err(|source| Error::Kernel { action: action.to_owned(), source })?;
        let mut found = Vec::new();
        loop {
            for message in self.receive(action)? {
                if message.header.sequence_number != number {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => {
                        return Err(Error::Kernel { action: action.to_owned(), source: error.to_io() });
                    }
                    _ => {}
                }
            }
        }
    }

    fn push(&mut self, bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        // Every message of a batch begins at a multiple of four.
        let start = bytes.len().next_multiple_of(4);
        bytes.resize(start + message.buffer_len(), 0);
        message.serialize(&mut bytes[start..]);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes, 0).map(|_| ())
    }

    fn receive(&mut self, action: &str) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        self.buffer.clear();
        self.buffer.reserve(RECEIVE_BYTES);
        let failed = |source| Error::Kernel { action: action.to_owned(), source };
        let length = loop {
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        };
        let mut rest = &self.buffer[..length];
        let mut messages = Vec::new();
        // A header has 16 bytes, its first four are the length.
        while rest.len() >= 16 {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if size < 16 || size > rest.len() {
                break;
            }
            let message = NetlinkMessage::deserialize(&rest[..size])
                .map_err(|e| Error::Decode { action: action.to_owned(), message: e.to_string() })?;
            messages.push(message);
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}
