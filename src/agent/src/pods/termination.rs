//! Termination messages.

use std::io::SeekFrom;
use std::path::Path;

use bytes::BytesMut;
use copepod_cri::v1;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::logs::line::Renderer;
use crate::spec::labels;

/// Longest message, in bytes.
const MAX_MESSAGE: u64 = 4096;
/// Longest part of the log used instead, in bytes.
const MAX_LOG: u64 = 2048;
/// Most lines of the log used instead.
const MAX_LOG_LINES: usize = 80;

/// What an ended container left as its message: the file it wrote, or with `FallbackToLogsOnError` the end of its log.
/// `None` when there is none.
pub(super) async fn message(status: &v1::ContainerStatus) -> Option<String> {
    if status.state() != v1::ContainerState::ContainerExited {
        return None;
    }
    let path = status.annotations.get(labels::TERMINATION_PATH)?;
    let mount = status.mounts.iter().find(|m| m.container_path == *path && !path.is_empty());
    let written = match mount {
        Some(mount) => tail(Path::new(&mount.host_path), MAX_MESSAGE).await.unwrap_or_default(),
        None => Vec::new(),
    };
    if !written.is_empty() {
        return Some(String::from_utf8_lossy(&written).into_owned());
    }
    let policy = status.annotations.get(labels::TERMINATION_POLICY).map(String::as_str);
    if policy != Some("FallbackToLogsOnError") || status.exit_code == 0 {
        return None;
    }
    // Raw lines carry times and tags: read generously, then cut what they say.
    let raw = tail(Path::new(&status.log_path), MAX_LOG * 8).await?;
    let mut lines: Vec<&[u8]> = raw.split_inclusive(|b| *b == b'\n').rev().take(MAX_LOG_LINES).collect();
    lines.reverse();
    let mut renderer = Renderer::new(None, false, None, (true, true));
    let mut text = BytesMut::new();
    for line in lines {
        renderer.push(line, &mut text);
    }
    let start = text.len().saturating_sub(usize::try_from(MAX_LOG).unwrap_or(usize::MAX));
    Some(String::from_utf8_lossy(&text[start..]).into_owned()).filter(|t| !t.is_empty())
}

async fn tail(path: &Path, max: u64) -> Option<Vec<u8>> {
    let mut file = tokio::fs::File::open(path).await.ok()?;
    let len = file.seek(SeekFrom::End(0)).await.ok()?;
    file.seek(SeekFrom::Start(len.saturating_sub(max))).await.ok()?;
    let mut out = Vec::new();
    file.take(max).read_to_end(&mut out).await.ok()?;
    Some(out)
}
