//! inotify on a log folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe;

/// Tells when a file of a folder was written, made or renamed.
pub(super) struct FolderWatch(pipe::Receiver);

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
        // The descriptor is read like a pipe, and what it says does not matter: only that it says something.
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify))?))
    }

    /// Ends when something has changed since the last call. Safe to drop while waiting.
    pub(super) async fn changed(&self) -> io::Result<()> {
        let mut events = [0; 4096];
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut events) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
