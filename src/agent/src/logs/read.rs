//! Reading a log file for a client: tail, since, limits, and following it through rotations.

use std::future::Future;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::line::Renderer;
use super::watch::FolderWatch;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// A line longer than this is sent in parts; runtimes cut at 16 KiB.
const MAX_LINE: usize = 1 << 20;

/// What of a log is wanted (`PodLogOptions`).
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Go on until the container has ended.
    pub follow: bool,
    /// Only this many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Send at most this many bytes.
    pub limit_bytes: Option<u64>,
    /// Standard output is wanted.
    pub stdout: bool,
    /// Standard error is wanted.
    pub stderr: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            follow: false,
            tail_lines: None,
            since: None,
            timestamps: false,
            limit_bytes: None,
            stdout: true,
            stderr: true,
        }
    }
}

/// Sends the log at `path` into `out`.
///
/// With `follow` it goes on until `ended` resolves and everything written until then is sent. It also ends when the
/// receiver is dropped.
///
/// # Errors
/// When the file cannot be opened or read.
pub async fn stream(
    path: &Path,
    options: &LogOptions,
    ended: impl Future<Output = ()>,
    out: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    // The watch comes first: what is written after the first read must wake us.
    let watch = match (options.follow, path.parent()) {
        (true, Some(folder)) => Some(FolderWatch::new(folder)?),
        _ => None,
    };
    let mut file = File::open(path).await?;
    let start = match options.tail_lines {
        Some(lines) => tail_offset(&mut file, lines).await?,
        None => 0,
    };
    file.seek(SeekFrom::Start(start)).await?;
    let renderer = Renderer::new(
        options.since,
        options.timestamps,
        options.limit_bytes,
        (options.stdout, options.stderr),
    );
    let mut reader = Reader { path: path.to_owned(), file, carry: BytesMut::new(), renderer, out };
    if options.limit_bytes == Some(0) {
        return Ok(());
    }
    tokio::pin!(ended);
    let mut over = false;
    loop {
        // Whether the file was replaced is asked before reading: all of the old one is then in reach.
        let rotated = watch.is_some() && reader.is_rotated().await?;
        if !reader.read_to_end(watch.is_none() || over || rotated).await? {
            return Ok(());
        }
        if rotated {
            reader.file = File::open(&reader.path).await?;
            continue;
        }
        let Some(watch) = &watch else { return Ok(()) };
        if over {
            return Ok(());
        }
        tokio::select! {
            biased;
            changed = watch.changed() => changed?,
            () = &mut ended => over = true,
            () = reader.out.closed() => return Ok(()),
        }
    }
}

struct Reader {
    path: PathBuf,
    file: File,
    /// A line whose end has not been read.
    carry: BytesMut,
    renderer: Renderer,
    out: mpsc::Sender<Bytes>,
}

impl Reader {
    /// Sends everything up to the end of the file, with `flush` also a last line without line feed.
    /// False when nothing more is to be sent.
    async fn read_to_end(&mut self, flush: bool) -> io::Result<bool> {
        loop {
            self.carry.reserve(CHUNK);
            let read = (&mut self.file).take(CHUNK as u64).read_buf(&mut self.carry).await?;
            let mut text = BytesMut::new();
            let mut more = true;
            while more && let Some(end) = self.carry.iter().position(|b| *b == b'\n') {
                let line = self.carry.split_to(end + 1);
                more = self.renderer.push(&line, &mut text);
            }
            if more && !self.carry.is_empty() && (self.carry.len() > MAX_LINE || (read == 0 && flush)) {
                let line = self.carry.split();
                more = self.renderer.push(&line, &mut text);
            }
            if !text.is_empty() && self.out.send(text.freeze()).await.is_err() {
                return Ok(false);
            }
            if !more {
                return Ok(false);
            }
            if read == 0 {
                return Ok(true);
            }
        }
    }

    /// Whether the path names another file than the open one. A missing file is a rotation half done.
    async fn is_rotated(&self) -> io::Result<bool> {
        let open = self.file.metadata().await?;
        match tokio::fs::metadata(&self.path).await {
            Ok(now) => Ok(now.ino() != open.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Where the last `lines` lines start, found by reading backwards.
async fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(len);
    }
    let mut found = 0;
    let mut end = len;
    let mut block = vec![0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let size = usize::try_from(end - start).unwrap_or(CHUNK);
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut block[..size]).await?;
        for (at, _) in block[..size].iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let position = start + at as u64;
            // The feed that ends the last line starts no other.
            if position + 1 == len {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(position + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tokio::sync::oneshot;

    fn line(text: &str) -> String {
        format!("2026-01-02T03:04:05Z stdout F {text}\n")
    }

    async fn collect(path: &Path, options: LogOptions) -> String {
        let (tx, mut rx) = mpsc::channel(4);
        let path = path.to_owned();
        let task = tokio::spawn(async move { stream(&path, &options, std::future::pending(), tx).await });
        let mut text = Vec::new();
        while let Some(part) = rx.recv().await {
            text.extend(part);
        }
        task.await.unwrap().unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_tail_starts_that_many_lines_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let all: String = (0..20_000).map(|n| line(&n.to_string())).collect();
        std::fs::write(&path, all).unwrap();
        let tail = |n| LogOptions { tail_lines: Some(n), ..LogOptions::default() };
        assert_eq!(collect(&path, tail(2)).await, "19998\n19999\n");
        assert_eq!(collect(&path, tail(0)).await, "");
        assert_eq!(collect(&path, tail(5000)).await.lines().count(), 5000);
        assert_eq!(collect(&path, tail(90_000)).await.lines().count(), 20_000);
    }

    #[tokio::test]
    async fn following_sends_what_is_written_later_through_a_rotation_until_the_container_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        std::fs::write(&path, line("one")).unwrap();
        let (tx, mut rx) = mpsc::channel(4);
        let (end, ended) = oneshot::channel::<()>();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let task = tokio::spawn({
            let path = path.clone();
            async move { stream(&path, &options, async { ended.await.unwrap() }, tx).await }
        });
        assert_eq!(rx.recv().await.unwrap(), "one\n");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        // Half a line is held back until its end is there.
        write!(file, "2026-01-02T03:04:05Z stdout F tw").unwrap();
        writeln!(file, "o").unwrap();
        assert_eq!(rx.recv().await.unwrap(), "two\n");
        std::fs::rename(&path, folder.path().join("0.log.20260102-030405")).unwrap();
        write!(file, "{}", line("three")).unwrap();
        assert_eq!(rx.recv().await.unwrap(), "three\n");
        std::fs::write(&path, line("four")).unwrap();
        assert_eq!(rx.recv().await.unwrap(), "four\n");
        end.send(()).unwrap();
        assert_eq!(rx.recv().await, None);
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_follower_ends_when_its_client_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        std::fs::write(&path, "").unwrap();
        let (tx, rx) = mpsc::channel(4);
        drop(rx);
        let options = LogOptions { follow: true, ..LogOptions::default() };
        stream(&path, &options, std::future::pending(), tx).await.unwrap();
    }
}
