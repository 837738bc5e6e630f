//! From an archive to blobs in the content store, in one pass.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use tokio::sync::mpsc;

use super::Error;
use super::content::{Blob, Store, Writer};

/// Piece of a blob that is in memory at a time.
const CHUNK: usize = 1024 * 1024;

/// Pieces read ahead of the store.
const AHEAD: usize = 2;

/// Largest `index.json` or `manifest.json`.
const MAX_DOCUMENT: u64 = 8 * 1024 * 1024;

/// What an archive holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `index.json` of an OCI layout.
    pub(super) index: Option<Vec<u8>>,
    /// `manifest.json` of `docker save`.
    pub(super) manifest: Option<Vec<u8>>,
    /// Files by path, all in the store.
    files: HashMap<String, File>,
    /// Symbolic and hard links by path; older `docker save` links equal layers.
    links: HashMap<String, String>,
}

/// A file that is in the store.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) blob: Blob,
    pub(super) compression: Compression,
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// By the first bytes.
    fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, with which some tools begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

impl Found {
    /// The file at a path, through links.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        let mut path = clean(path);
        for _ in 0..8 {
            if let Some(file) = self.files.get(&path) {
                return Some(file);
            }
            path = self.links.get(&path)?.clone();
        }
        None
    }
}

/// What the reading thread sends.
enum Item {
    File { path: String, size: i64 },
    Data(Bytes),
    End,
    Link { path: String, target: String },
    Document { path: String, bytes: Vec<u8> },
}

/// Reads the archive once and stores every file but the two documents.
pub(super) async fn store_blobs<R>(archive: R, store: &Store) -> Result<Found, Error>
where
    R: Read + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking(move || read(archive, &sender));
    let stored = receive(&mut receiver, store).await;
    // Ends the reader where the store failed first.
    drop(receiver);
    let read = reader.await.map_err(|error| Error::Damaged(io::Error::other(error)))?;
    let found = stored?;
    read.map_err(Error::Damaged)?;
    Ok(found)
}

async fn receive(receiver: &mut mpsc::Receiver<Item>, store: &Store) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut current: Option<Incoming> = None;
    while let Some(item) = receiver.recv().await {
        match item {
            Item::File { path, size } => current = Some(Incoming::open(path, size, store).await?),
            Item::Data(data) => {
                if let Some(incoming) = &mut current {
                    incoming.write(data).await?;
                }
            }
            Item::End => {
                if let Some(incoming) = current.take() {
                    let (path, file) = incoming.finish().await?;
                    found.files.insert(path, file);
                }
            }
            Item::Link { path, target } => {
                found.links.insert(path, target);
            }
            Item::Document { path, bytes } if path == "index.json" => found.index = Some(bytes),
            Item::Document { bytes, .. } => found.manifest = Some(bytes),
        }
    }
    Ok(found)
}

/// A file on its way to the store.
struct Incoming {
    path: String,
    digest: String,
    size: i64,
    compression: Option<Compression>,
    /// `None` when the store has the blob already; its bytes are then skipped.
    writer: Option<Writer>,
}

impl Incoming {
    async fn open(path: String, size: i64, store: &Store) -> Result<Self, Error> {
        let digest = digest_of_path(&path).unwrap_or_default();
        let writer = store.writer(&digest, size).await?;
        Ok(Self { path, digest, size, compression: None, writer })
    }

    async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.compression.get_or_insert_with(|| Compression::detect(&data));
        match &mut self.writer {
            Some(writer) => writer.write(data).await,
            None => Ok(()),
        }
    }

    async fn finish(self) -> Result<(String, File), Error> {
        let blob = match self.writer {
            Some(writer) => writer.commit().await?,
            None => Blob { digest: self.digest, size: self.size },
        };
        let compression = self.compression.unwrap_or(Compression::Plain);
        Ok((self.path, File { blob, compression }))
    }
}

/// `blobs/sha256/<hex>` names its digest.
fn digest_of_path(path: &str) -> Option<String> {
    let hex = path.strip_prefix("blobs/sha256/")?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| format!("sha256:{hex}"))
}

/// A path without `./`, `//` and `..`, as a key.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The blocking side: decompresses, walks the tar, sends. Ends early when nobody receives.
fn read<R: Read>(archive: R, sender: &mpsc::Sender<Item>) -> io::Result<()> {
    let mut archive = BufReader::with_capacity(64 * 1024, archive);
    match Compression::detect(archive.fill_buf()?) {
        Compression::Plain => walk(archive, sender),
        Compression::Gzip => walk(MultiGzDecoder::new(archive), sender),
        Compression::Zstd => walk(Zstd::new(archive), sender),
    }
}

fn walk<R: Read>(stream: R, sender: &mpsc::Sender<Item>) -> io::Result<()> {
    let mut tar = tar::Archive::new(stream);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = clean(&entry.path()?.to_string_lossy());
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let Some(target) = entry.link_name()? else { continue };
            let target = target.to_string_lossy();
            let target = match path.rsplit_once('/') {
                Some((folder, _)) if kind.is_symlink() => clean(&format!("{folder}/{target}")),
                _ => clean(&target),
            };
            if sender.blocking_send(Item::Link { path, target }).is_err() {
                return Ok(());
            }
        } else if kind.is_file() && !send_file(path, &mut entry, sender)? {
            return Ok(());
        }
    }
    // What follows the end mark is padding; reading it checks the sums of the compression.
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    Ok(())
}

/// False when nobody receives any more.
fn send_file<R: Read>(
    path: String,
    entry: &mut tar::Entry<'_, R>,
    sender: &mpsc::Sender<Item>,
) -> io::Result<bool> {
    let size = entry.size();
    if matches!(path.as_str(), "index.json" | "manifest.json") {
        if size > MAX_DOCUMENT {
            return Err(io::Error::other(format!("{path} has {size} bytes")));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        return Ok(sender.blocking_send(Item::Document { path, bytes }).is_ok());
    }
    let file_name = path.rsplit('/').next().unwrap_or_default();
    if size == 0 || matches!(file_name, "oci-layout" | "repositories" | "VERSION" | "json") {
        return Ok(true);
    }
    let size = i64::try_from(size).map_err(|_| io::Error::other(format!("{path} has {size} bytes")))?;
    if sender.blocking_send(Item::File { path: path.clone(), size }).is_err() {
        return Ok(false);
    }
    let mut left = size;
    while left > 0 {
        let mut chunk = Vec::with_capacity(CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)));
        entry.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{path} ends early")));
        }
        left -= i64::try_from(chunk.len()).unwrap_or(left);
        if sender.blocking_send(Item::Data(chunk.into())).is_err() {
            return Ok(false);
        }
    }
    Ok(sender.blocking_send(Item::End).is_ok())
}

/// Decodes any number of zstd frames, as `zstd -dc` does.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Starts the next frame; false at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.in_frame = false;
                continue;
            }
            let strategy = BlockDecodingStrategy::UptoBytes(buffer.len().max(1));
            self.decoder.decode_blocks(&mut self.source, strategy).map_err(io::Error::other)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_archives_are_compared_without_their_decorations() {
        assert_eq!(clean("./blobs//sha256/a"), "blobs/sha256/a");
        assert_eq!(clean("b/../../a/layer.tar"), "a/layer.tar");
    }

    #[test]
    fn several_zstd_frames_and_skippable_ones_are_one_stream() {
        let frame = |text: &str| {
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
        };
        let mut stream = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        stream.extend(frame("one "));
        stream.extend(frame("two"));
        assert_eq!(Compression::detect(&stream), Compression::Zstd);
        let mut text = String::new();
        Zstd::new(stream.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }
}
