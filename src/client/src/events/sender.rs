//! The task that writes events to the API.

use std::time::SystemTime;

use copepod_base::backoff::{Backoff, Policy};
use copepod_base::{Chain, clock};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

use super::Note;
use super::correlator::{Correlator, Record};
use crate::error;

/// Tries per event while the server does not answer; with [`Policy::REQUEST`] about two minutes.
const TRIES: u32 = 12;

pub(super) struct Sender {
    client: kube::Client,
    host: String,
    correlator: Correlator,
}

impl Sender {
    pub(super) fn new(client: kube::Client, host: &str) -> Self {
        Self { client, host: host.to_owned(), correlator: Correlator::new() }
    }

    /// Writes notes until every recorder is gone.
    pub(super) async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        while let Some(note) = notes.recv().await {
            let now = clock::now();
            if let Some(record) = self.correlator.observe(&note, now) {
                self.write(&note, &record, now).await;
            }
        }
    }

    async fn write(&self, note: &Note, record: &Record, now: SystemTime) {
        let mut backoff = Backoff::new(Policy::REQUEST);
        loop {
            let Err(error) = self.try_write(note, record, now).await else { return };
            let passing = error::api_status(&error).is_none_or(|s| s.code == 429 || s.code >= 500);
            if !passing || backoff.failures() + 1 >= TRIES {
                // In a namespace that is being deleted this is usual.
                tracing::debug!(
                    reason = note.reason,
                    object = note.object.name,
                    error = %Chain(&error),
                    "event not written"
                );
                return;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn try_write(&self, note: &Note, record: &Record, now: SystemTime) -> Result<(), kube::Error> {
        let namespace = note.object.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if record.count > 1 {
            let patch = json!({
                "count": record.count,
                "lastTimestamp": time(now),
                "message": record.message,
            });
            match api.patch(&record.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => return Ok(()),
                // It has expired, or was never written: make it with the count so far.
                Err(error) if error::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        match api.create(&PostParams::default(), &self.event(note, record, namespace, now)).await {
            // An earlier try arrived although its answer did not.
            Err(error) if error::is_already_exists(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    fn event(&self, note: &Note, record: &Record, namespace: &str, now: SystemTime) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(record.name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: note.object.clone(),
            type_: Some(note.kind.as_str().to_owned()),
            reason: Some(note.reason.clone()),
            message: Some(record.message.clone()),
            count: Some(record.count),
            first_timestamp: time(record.first),
            last_timestamp: time(now),
            reporting_component: Some(note.component.to_string()),
            reporting_instance: Some(self.host.clone()),
            source: Some(EventSource {
                component: Some(note.component.to_string()),
                host: Some(self.host.clone()).filter(|host| !host.is_empty()),
            }),
            ..Event::default()
        }
    }
}

/// `None` for a clock far outside of the calendar.
fn time(instant: SystemTime) -> Option<Time> {
    Timestamp::try_from(instant).ok().map(Time)
}
