//! One client's watch: what was there, what happened since, what happens now.
//!
//! | phase | where events come from | ends |
//! |---|---|---|
//! | initial | a list, as ADDED | when all objects are sent |
//! | replay | the store's history, for a client that was away | when the hub's start is reached |
//! | live | the hub | at the time limit, at shutdown, or when the client is too slow |

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use copepod_api::encode::{self, EventType};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_base::{Shutdown, clock};
use copepod_store::{Error, Event, Record, Revision, Store, Watch};
use futures::Stream;
use tokio::time::{Instant, Sleep};

use super::filter::Filter;
use super::hub::Subscription;
use crate::request::content::BoxError;
use crate::respond::table::TableEvents;

/// Bookmarks are sent about this often to those who asked for them.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a quiet history is waited for before its progress is looked at.
const REPLAY_RECHECK: Duration = Duration::from_secs(1);
/// The initial objects are sent in pieces of about this many bytes.
const PIECE: usize = 32 * 1024;

/// How a watcher's objects are shown.
pub(crate) enum Rendering {
    /// As they are.
    Plain,
    /// PartialObjectMetadata.
    Metadata,
    /// Tables of one row.
    Table(TableEvents),
}

/// Where a watch begins.
pub(crate) enum Initial {
    /// With the objects of a list at this revision; the flag asks for the bookmark that marks their end.
    Objects { records: Vec<Record>, revision: Revision, mark_end: bool },
    /// After this revision.
    After(Revision),
    /// Nowhere: the error is the only event.
    Error(ApiError),
}

/// What a watcher needs.
pub(crate) struct WatcherConfig {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) filter: Arc<Filter>,
    pub(crate) subscription: Subscription,
    pub(crate) initial: Initial,
    pub(crate) rendering: Rendering,
    pub(crate) bookmarks: bool,
    /// The watch ends after this time.
    pub(crate) lifetime: Duration,
    pub(crate) shutdown: Shutdown,
}

enum Phase {
    Initial { records: VecDeque<Record>, revision: Revision, mark_end: bool },
    StartReplay(Revision),
    Replay { history: Box<dyn Watch>, until: Revision },
    Live,
    Fail(ApiError),
    End,
}

/// A running watch of a client.
pub(crate) struct Watcher {
    store: Arc<dyn Store>,
    filter: Arc<Filter>,
    subscription: Subscription,
    rendering: Rendering,
    bookmarks: bool,
    deadline: Instant,
    shutdown: Shutdown,
    phase: Phase,
    /// Events at or below were sent, or are part of the initial objects.
    seen: Revision,
    timer: Pin<Box<Sleep>>,
}

impl Watcher {
    pub(crate) fn new(config: WatcherConfig) -> Self {
        let deadline = clock::instant() + config.lifetime;
        let (phase, seen) = match config.initial {
            Initial::Objects { records, revision, mark_end } => {
                (Phase::Initial { records: records.into(), revision, mark_end }, revision)
            }
            Initial::After(revision) if revision < config.subscription.start => {
                (Phase::StartReplay(revision), revision)
            }
            Initial::After(revision) => (Phase::Live, revision),
            Initial::Error(error) => (Phase::Fail(error), 0),
        };
        let mut watcher = Self {
            store: config.store,
            filter: config.filter,
            subscription: config.subscription,
            rendering: config.rendering,
            bookmarks: config.bookmarks,
            deadline,
            shutdown: config.shutdown,
            phase,
            seen,
            timer: Box::pin(tokio::time::sleep_until(deadline)),
        };
        watcher.set_timer();
        watcher
    }

    /// The events as lines.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        futures::stream::unfold(self, |mut watcher| async move {
            let line = watcher.next().await?;
            Some((Ok(line), watcher))
        })
    }

    fn set_timer(&mut self) {
        let now = clock::instant();
        // Many watches that begin together must not wake up together.
        let bookmark = now + BOOKMARK_EVERY.mul_f64(0.9 + 0.2 * random_share());
        let at = if self.bookmarks { bookmark.min(self.deadline) } else { self.deadline };
        self.timer.as_mut().reset(at);
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let line = match &mut self.phase {
                Phase::Initial { .. } => self.initial(),
                Phase::StartReplay(after) => {
                    let after = *after;
                    self.start_replay(after).await;
                    None
                }
                Phase::Replay { .. } => self.replay().await,
                Phase::Live => self.live().await,
                Phase::Fail(error) => {
                    let line = encode::error_event(error);
                    self.phase = Phase::End;
                    Some(line)
                }
                Phase::End => return None,
            };
            if line.is_some() {
                return line;
            }
        }
    }

    fn initial(&mut self) -> Option<Bytes> {
        let Phase::Initial { records, revision, mark_end } = &mut self.phase else { return None };
        let mut out = BytesMut::new();
        while out.len() < PIECE {
            let Some(record) = records.pop_front() else {
                let (revision, mark_end) = (*revision, *mark_end);
                if mark_end {
                    out.extend_from_slice(&self.rendering.bookmark(&self.filter.kind, revision, true));
                }
                self.phase = Phase::Live;
                break;
            };
            let line =
                self.rendering.line(&self.filter.kind, EventType::Added, record.value, record.mod_revision);
            out.extend_from_slice(&line);
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    async fn start_replay(&mut self, after: Revision) {
        self.phase = match self.store.watch(&self.filter.prefix, after).await {
            Ok(history) => Phase::Replay { history, until: self.subscription.start },
            Err(error) => Phase::Fail(watch_error(&error, after)),
        };
    }

    /// Takes from the store's history until the hub has the rest. A history without further events may only go on
    /// with a live one, which comes by the hub too and is then not sent twice.
    async fn replay(&mut self) -> Option<Bytes> {
        let Phase::Replay { history, until } = &mut self.phase else { return None };
        if history.progress() >= *until {
            self.phase = Phase::Live;
            return None;
        }
        let events = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                self.phase = Phase::End;
                return None;
            }
            events = history.next() => events,
            // A history that has nothing more to tell only knows so once it was asked: look at its progress again.
            () = tokio::time::sleep(REPLAY_RECHECK) => {
                if clock::instant() >= self.deadline {
                    self.phase = Phase::End;
                }
                return None;
            }
        };
        match events {
            Ok(events) => {
                let mut out = BytesMut::new();
                for event in events.iter() {
                    if let Some(line) = self.history_line(event) {
                        out.extend_from_slice(&line);
                    }
                }
                (!out.is_empty()).then(|| out.freeze())
            }
            Err(error) => {
                self.phase = Phase::Fail(watch_error(&error, self.seen));
                None
            }
        }
    }

    fn history_line(&mut self, event: &Event) -> Option<Bytes> {
        if event.revision <= self.seen {
            return None;
        }
        self.seen = event.revision;
        let (event_type, previous) = self.filter.decide(event)?;
        let stored = match &event.previous {
            Some(before) if previous => before.clone(),
            _ => event.value.clone(),
        };
        let kind = &self.filter.kind;
        let object = kind.from_storage(stored.clone()).unwrap_or(stored);
        Some(self.rendering.line(kind, event_type, object, event.revision))
    }

    async fn live(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            delivery = self.subscription.next() => {
                let Some(delivery) = delivery else {
                    self.phase = if self.shutdown.is_cancelled() {
                        Phase::End
                    } else {
                        Phase::Fail(ApiError::expired("the watch fell behind and was ended: list and watch anew"))
                    };
                    return None;
                };
                let revision = delivery.shared.event.revision;
                if revision <= self.seen {
                    return None;
                }
                self.seen = revision;
                Some(self.rendering.delivery(&self.filter.kind, &delivery))
            }
            () = self.shutdown.cancelled() => {
                self.phase = Phase::End;
                None
            }
            () = self.timer.as_mut() => {
                if clock::instant() >= self.deadline {
                    self.phase = Phase::End;
                }
                self.set_timer();
                // The last bookmark tells the client from where to go on without a list.
                let settled = self.subscription.settled().filter(|_| self.bookmarks)?;
                self.seen = self.seen.max(settled);
                Some(self.rendering.bookmark(&self.filter.kind, self.seen, false))
            }
        }
    }
}

impl Rendering {
    fn delivery(&mut self, kind: &Arc<Kind>, delivery: &super::Delivery) -> Bytes {
        let shared = &delivery.shared;
        match self {
            Rendering::Plain => shared.line(kind, delivery.event_type, delivery.previous, false),
            Rendering::Metadata => shared.line(kind, delivery.event_type, delivery.previous, true),
            Rendering::Table(table) => {
                let object = shared.object(kind, delivery.previous);
                table.line(kind, delivery.event_type, &object, shared.event.revision)
            }
        }
    }

    fn line(&mut self, kind: &Arc<Kind>, event: EventType, object: Bytes, revision: Revision) -> Bytes {
        match self {
            Rendering::Plain => encode::event(event, &object, revision),
            Rendering::Metadata => encode::metadata_event(event, &object, revision),
            Rendering::Table(table) => table.line(kind, event, &object, revision),
        }
    }

    fn bookmark(&mut self, kind: &Kind, revision: Revision, initial_end: bool) -> Bytes {
        match self {
            Rendering::Plain => {
                encode::bookmark(&kind.gvk.kind, &kind.gvk.api_version(), revision, initial_end)
            }
            Rendering::Metadata => {
                encode::bookmark("PartialObjectMetadata", "meta.k8s.io/v1", revision, initial_end)
            }
            Rendering::Table(_) => encode::bookmark("Table", "meta.k8s.io/v1", revision, initial_end),
        }
    }
}

fn watch_error(error: &Error, after: Revision) -> ApiError {
    match error {
        Error::Compacted { oldest, .. } => {
            ApiError::expired(format!("too old resource version: {after} ({oldest})"))
        }
        Error::TooSlow => ApiError::expired("the watch fell behind and was ended: list and watch anew"),
        other => ApiError::internal(other),
    }
}

/// A random number from 0 to 1.
pub(crate) fn random_share() -> f64 {
    let bits = u32::from_le_bytes(
        uuid::Uuid::new_v4().as_bytes()[..4].try_into().expect("a uuid has sixteen bytes"),
    );
    f64::from(bits) / f64::from(u32::MAX)
}
