//! Child processes whose output a test reads, and which never outlive it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// What a command did.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl fmt::Display for Finished {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "$ {}\n({})\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

impl Finished {
    /// Runs `command` to its end with `input` on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn of(command: &mut Command, input: &[u8]) -> Self {
        let line = describe(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        // The child may end without reading all of it.
        let writer = thread::spawn(move || stdin.write_all(&input).is_ok());
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("{line}: {error}"));
        let _ = writer.join();
        Self {
            command: line,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a success.
    ///
    /// # Panics
    /// When the command failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "should succeed: {self}");
        self.stdout
    }

    /// Standard error of a failure.
    ///
    /// # Panics
    /// When the command succeeded.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(!self.status.success(), "should fail: {self}");
        self.stderr
    }

    /// Fails the test unless both hold: the command failed, and said `text` on standard error.
    ///
    /// # Panics
    /// As described.
    #[track_caller]
    pub fn fails_with(self, text: &str) {
        assert!(!self.status.success() && self.stderr.contains(text), "should fail with {text:?}: {self}");
    }

    /// Fails the test unless the command succeeded and printed `text`; returns what it printed.
    ///
    /// # Panics
    /// As described.
    #[track_caller]
    pub fn prints(self, text: &str) -> String {
        assert!(self.status.success() && self.stdout.contains(text), "should print {text:?}: {self}");
        self.stdout
    }
}

/// A command running beside the test; killed when dropped.
pub struct Running {
    child: Child,
    line: String,
    stdin: Option<ChildStdin>,
    output: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts `command`; its standard output and error are read line by line, mixed.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let line = describe(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let (sender, output) = channel();
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for pipe in pipes {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Self { child, line, stdin, output, seen: Vec::new() }
    }

    /// Waits for a line that `wanted` accepts, and returns it.
    ///
    /// # Panics
    /// When none comes within `limit`, or the output ends first.
    #[track_caller]
    pub fn line_where(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.output.recv_timeout(limit) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{}: nothing more within {limit:?}; so far:\n{}", self.line, self.seen.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended; it said:\n{}", self.line, self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for a line that contains `text`.
    ///
    /// # Panics
    /// See [`Running::line_where`].
    #[track_caller]
    pub fn line(&mut self, limit: Duration, text: &str) -> String {
        self.line_where(limit, |line| line.contains(text))
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    /// When the input was closed.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the input is still open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the process reads its input");
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end, and returns how it ended and the rest of its output.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    #[track_caller]
    pub fn finish(&mut self, limit: Duration) -> (ExitStatus, Vec<String>) {
        self.close_input();
        let status = crate::wait::eventually(&format!("{} ends", self.line), limit, || {
            self.child.try_wait().expect("a child of ours")
        });
        let rest = self.output.iter().collect();
        (status, rest)
    }

    /// Sends a signal to the started process.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(raw(self.child.id()), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it started may sit behind a wrapper such as `timeout`, which SIGKILL would leave without it.
        for pid in descendants(self.child.id()) {
            let _ = kill(raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Process id as nix wants it.
pub(crate) fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("process ids are small"))
}

/// The host's ids of a process's children, their children and so on.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(children(parent));
        next += 1;
    }
    found
}

/// The host's ids of a process's children.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
