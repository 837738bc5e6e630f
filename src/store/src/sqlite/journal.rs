//! Where relaxed writes wait: a file on a memory file system (`/run`), so that renewing a Lease wakes no disk.
//!
//! It survives the process, not the machine. It belongs to one session of one database; after `kill -9` the next
//! start puts its entries into the tables. Format: `"CPJ1"` and the session, then per entry its length, a
//! checksum and the fields in little-endian; an entry that was cut off ends the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};

use super::entry::Entry;
use crate::types::{Event, EventKind};

const MAGIC: &[u8; 4] = b"CPJ1";

pub(crate) struct Journal {
    path: PathBuf,
    session: i64,
    /// Open while there are entries.
    file: Option<File>,
    /// It could not be put right after a failed write; takes nothing until it is cleared.
    broken: bool,
    buffer: Vec<u8>,
}

impl Journal {
    /// A journal for the session. Takes the place of any older one at the first entry.
    pub(crate) fn new(path: &Path, session: i64) -> Self {
        Self { path: path.to_owned(), session, file: None, broken: false, buffer: Vec::new() }
    }

    /// What an earlier session left: nothing when the file is missing or of another session.
    pub(crate) fn read(path: &Path, session: i64) -> io::Result<Vec<Entry>> {
        let content = match fs::read(path) {
            Ok(content) => Bytes::from(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut rest = content;
        if rest.len() < 12 || rest.split_to(4) != MAGIC.as_slice() || rest.get_i64_le() != session {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        while rest.len() >= 12 {
            let length = rest.get_u32_le() as usize;
            let sum = rest.get_u64_le();
            if rest.len() < length || checksum(&rest[..length]) != sum {
                break;
            }
            let Some(entry) = decode(rest.split_to(length)) else {
                break;
            };
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Adds the entries; they are in the kernel's hands when this returns.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.buffer.clear();
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
            self.file = Some(file);
            self.buffer.extend_from_slice(MAGIC);
            self.buffer.extend_from_slice(&self.session.to_le_bytes());
        }
        for entry in entries {
            encode(entry, &mut self.buffer);
        }
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the journal is not open"));
        };
        let before = file.stream_position()?;
        let written = file.write_all(&self.buffer);
        if written.is_err()
            && file.set_len(before).and_then(|()| file.seek(io::SeekFrom::Start(before))).is_err()
        {
            // Half an entry cannot be taken back, and what follows it would not be read.
            self.broken = true;
        }
        written
    }

    /// Forgets all entries: they are in the tables now.
    pub(crate) fn clear(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the journal of relaxed writes");
        }
        self.broken = false;
        self.buffer = Vec::new();
    }
}

fn encode(entry: &Entry, buffer: &mut Vec<u8>) {
    let event = &entry.event;
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 12]);
    buffer.push(match event.kind {
        EventKind::Created => 0,
        EventKind::Updated => 1,
        EventKind::Deleted => 2,
    });
    for number in [event.revision, event.create_revision, entry.replaces] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    buffer.extend_from_slice(&entry.expires.unwrap_or(-1).to_le_bytes());
    // Keys are far below 4 GiB; a longer one would not pass the reader's check and end the file there.
    buffer.extend_from_slice(&(event.key.len() as u32).to_le_bytes());
    buffer.extend_from_slice(event.key.as_bytes());
    if event.kind != EventKind::Deleted {
        buffer.extend_from_slice(&event.value);
    }
    let length = (buffer.len() - start - 12) as u32;
    let sum = checksum(&buffer[start + 12..]);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + 12].copy_from_slice(&sum.to_le_bytes());
}

fn decode(mut body: Bytes) -> Option<Entry> {
    if body.len() < 37 {
        return None;
    }
    let kind = match body.get_u8() {
        0 => EventKind::Created,
        1 => EventKind::Updated,
        2 => EventKind::Deleted,
        _ => return None,
    };
    let (revision, create_revision, replaces) = (body.get_u64_le(), body.get_u64_le(), body.get_u64_le());
    let expires = Some(body.get_i64_le()).filter(|expires| *expires >= 0);
    let key_bytes = body.get_u32_le() as usize;
    if body.len() < key_bytes {
        return None;
    }
    let key = std::str::from_utf8(&body.split_to(key_bytes)).ok()?.into();
    let event = Event { kind, key, value: body, previous: None, revision, create_revision };
    Some(Entry { event, replaces, expires })
}

/// FNV-1a, 64 bits: finds a cut-off entry; nobody forges this file.
fn checksum(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
