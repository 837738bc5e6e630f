//! inotify on a log folder.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// Tells when a file of a folder was written, made or renamed.
pub(super) struct FolderWatch(AsyncFd<Handle>);

struct Handle(Inotify);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl FolderWatch {
    /// Starts watching.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(
            folder,
            AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_ONLYDIR,
        )?;
        Ok(Self(AsyncFd::new(Handle(inotify))?))
    }

    /// Ends when something has changed since the last call. Safe to drop while waiting.
    pub(super) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            match guard.try_io(|handle| handle.get_ref().0.read_events().map_err(io::Error::from)) {
                Ok(result) => return result.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}
