//! The list and watch that feeds a cache.
//!
//! Not kube's own watcher: that one hides the resource versions of lists and bookmarks, which
//! `Informer::seen` needs, and asks for the same expired version for ever when the server refuses a watch by
//! HTTP status 410 instead of an event.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use copepod_base::backoff::{Backoff, Policy};
use copepod_base::{Chain, clock};
use futures::StreamExt;
use kube::Api;
use kube::api::{ListParams, ResourceExt, WatchEvent, WatchParams};

use super::Object;
use super::cache::Shared;
use crate::error;
use crate::informers::Scope;

/// Objects per page, as client-go asks for.
const PAGE: u32 = 500;
/// A watch that lasted this long was healthy even without an event.
const HEALTHY: Duration = Duration::from_secs(10);
/// How much longer than the server's own limit a silent watch is believed.
const SILENCE_MARGIN: Duration = Duration::from_secs(30);
const RETRY: Policy =
    Policy { initial: Duration::from_millis(100), max: Duration::from_secs(30), factor: 2.0, jitter: 1.0 };

pub(super) struct Reflector<K> {
    api: Api<K>,
    scope: Scope,
    slim: fn(&mut K),
    cache: Ending<K>,
}

/// Ends the cache when the task is dropped, at shutdown or by a panic.
struct Ending<K>(Arc<Shared<K>>);

impl<K> Drop for Ending<K> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Why a watch ended.
enum End {
    /// The server closed it, as it does every few minutes.
    Closed,
    /// The version is too old to go on from.
    Expired,
    /// The request or the stream failed.
    Failed(kube::Error),
}

impl<K: Object> Reflector<K> {
    pub(super) fn new(api: Api<K>, scope: Scope, slim: fn(&mut K), cache: Arc<Shared<K>>) -> Self {
        Self { api, scope, slim, cache: Ending(cache) }
    }

    fn slim(&self, mut object: K) -> K {
        (self.slim)(&mut object);
        object
    }

    /// Lists and watches for ever; drop the future to stop it.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RETRY);
        let mut version = None;
        loop {
            let mut from = match version.take() {
                Some(version) => version,
                None => match self.list().await {
                    Ok(version) => version,
                    Err(error) => {
                        self.pause(&mut backoff, "cannot list", &error).await;
                        continue;
                    }
                },
            };
            let started = clock::instant();
            let mut events = 0_u64;
            let end = self.watch(&mut from, &mut events).await;
            let healthy = events > 0 || started.elapsed() >= HEALTHY;
            if healthy {
                backoff.reset();
            }
            match end {
                End::Closed if healthy => version = Some(from),
                End::Closed => {
                    version = Some(from);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                End::Expired => {
                    tracing::debug!(
                        path = self.api.resource_url(),
                        version = from,
                        "watch expired, listing again"
                    );
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                End::Failed(error) => {
                    version = Some(from);
                    self.pause(&mut backoff, "watch failed", &error).await;
                }
            }
        }
    }

    async fn pause(&self, backoff: &mut Backoff, what: &str, error: &kube::Error) {
        let delay = backoff.next_delay();
        let path = self.api.resource_url();
        // One failure is usual, as when the server starts or a connection breaks.
        if backoff.failures() > 2 {
            tracing::warn!(path, ?delay, error = %Chain(error), "{what}, will try again");
        } else {
            tracing::debug!(path, ?delay, error = %Chain(error), "{what}, will try again");
        }
        tokio::time::sleep(delay).await;
    }

    /// Reads all pages and takes them over as one; gives the version to watch from.
    async fn list(&self) -> Result<String, kube::Error> {
        let mut params = ListParams {
            field_selector: self.scope.fields.clone(),
            label_selector: self.scope.labels.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut objects = Vec::new();
        loop {
            let page = match self.api.list(&params).await {
                Ok(page) => page,
                Err(error) if error::is_expired(&error) && params.continue_token.is_some() => {
                    // The pages took longer than the server keeps versions: all in one then.
                    objects.clear();
                    params.continue_token = None;
                    params.limit = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            objects.extend(page.items.into_iter().map(|object| self.slim(object)));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let version = page.metadata.resource_version.unwrap_or_default();
                self.cache.0.replace(objects, number(&version));
                return Ok(version);
            }
        }
    }

    /// Takes over events until the watch ends; keeps `version` at the last one seen.
    async fn watch(&self, version: &mut String, events: &mut u64) -> End {
        // Spread, so that the informers of a process do not come back at the same moment.
        let seconds = fastrand::u32(300..600);
        let params = WatchParams {
            field_selector: self.scope.fields.clone(),
            label_selector: self.scope.labels.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: false,
        };
        let mut stream = match self.api.watch(&params, version).await {
            Ok(stream) => pin!(stream),
            Err(error) if error::is_expired(&error) => return End::Expired,
            Err(error) => return End::Failed(error),
        };
        let silence = Duration::from_secs(seconds.into()) + SILENCE_MARGIN;
        loop {
            let event = match tokio::time::timeout(silence, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) if error::is_expired(&error) => return End::Expired,
                Ok(Some(Err(error))) => return End::Failed(error),
                Ok(None) | Err(_) => return End::Closed,
            };
            let seen = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let version = object.resource_version().unwrap_or_default();
                    self.cache.0.apply(self.slim(object));
                    version
                }
                WatchEvent::Deleted(object) => {
                    let version = object.resource_version().unwrap_or_default();
                    self.cache.0.delete(self.slim(object));
                    version
                }
                WatchEvent::Bookmark(bookmark) => bookmark.metadata.resource_version,
                WatchEvent::Error(status) if error::status_is_expired(&status) => return End::Expired,
                WatchEvent::Error(status) => return End::Failed(kube::Error::Api(status)),
            };
            *events += 1;
            if !seen.is_empty() {
                self.cache.0.advance(number(&seen));
                *version = seen;
            }
        }
    }
}

/// Resource versions of this server are its store's revisions.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}
