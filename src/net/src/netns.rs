//! Network namespaces, and running code inside one.
//!
//! A namespace belongs to a thread, so code for another namespace runs on a thread of its own that ends with it.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::oneshot;

use crate::{Error, Result};

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace; lives at least as long as this.
#[derive(Debug)]
pub struct NetNs {
    path: PathBuf,
    fd: OwnedFd,
}

impl NetNs {
    /// Makes a new namespace that stays until [`delete`], at `path`. One that is there already is opened.
    ///
    /// # Errors
    /// Without privilege, or when the path cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        if is_namespace(path) {
            return Self::open(path);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::file("create", folder, e))?;
        }
        File::create(path).map_err(|e| Error::file("create", path, e))?;
        let target = path.to_owned();
        let made = on_thread(path, move || -> io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some(OWN), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        })?;
        if let Err(source) = made {
            let _ = fs::remove_file(path);
            return Err(Error::file("mount a network namespace at", path, source));
        }
        Self::open(path)
    }

    /// Opens the namespace at `path` (a bind mount, or `/proc/<pid>/ns/net`).
    ///
    /// # Errors
    /// When there is nothing, or no namespace.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file("open network namespace", path, e))?;
        Ok(Self { path: path.to_owned(), fd: file.into() })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn current() -> Result<Self> {
        Self::open(Path::new(OWN))
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside, on a thread of its own, and waits for it.
    ///
    /// # Errors
    /// When the namespace cannot be entered. A panic of `work` is passed on.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let result = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".to_owned());
            let handle = thread.spawn_scoped(scope, || {
                setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).map(|()| work()).map_err(io::Error::from)
            })?;
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        result.map_err(|source| Error::Thread { path: self.path.clone(), source })
    }

    /// Runs the future that `work` makes inside, on a thread with a tokio runtime of its own.
    ///
    /// Sockets and processes that it opens belong to the namespace. Dropping the returned future lets the thread go on
    /// to its end.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` panics.
    pub async fn run_async<F, Fut>(&self, work: F) -> Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future,
        Fut::Output: Send + 'static,
    {
        let failed = |source| Error::Thread { path: self.path.clone(), source };
        let fd = self.fd.try_clone().map_err(failed)?;
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("netns".to_owned());
        thread
            .spawn(move || {
                let run = || -> io::Result<Fut::Output> {
                    setns(fd, CloneFlags::CLONE_NEWNET)?;
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    Ok(runtime.block_on(work()))
                };
                // Nobody may wait any more.
                let _ = sender.send(run());
            })
            .map_err(failed)?;
        let result = receiver.await.map_err(|_| io::Error::other("the task in it panicked"));
        result.and_then(|inner| inner).map_err(failed)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Removes a namespace made by [`NetNs::create`]; it ends with its last process and socket.
///
/// # Errors
/// When it cannot be unmounted; one that is gone is a success.
pub fn delete(path: &Path) -> Result<()> {
    while is_namespace(path) {
        umount2(path, MntFlags::MNT_DETACH).map_err(|e| Error::file("unmount", path, e))?;
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("remove", path, error)),
    }
}

/// Whether a namespace is mounted at `path`.
#[must_use]
pub fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

fn on_thread<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let result = std::thread::scope(|scope| {
        let handle = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work)?;
        Ok(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    result.map_err(|source| Error::Thread { path: path.to_owned(), source })
}
