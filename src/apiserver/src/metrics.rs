//! Metrics of requests, with kube-apiserver's names.

use copepod_base::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: &'static str,
    group: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InFlight {
    request_kind: &'static str,
}

/// Handles of the server's metrics.
#[derive(Clone)]
pub(crate) struct ApiMetrics {
    all: Metrics,
    requests: Family<Answered, Counter>,
    durations: Family<Labels, Histogram>,
    in_flight: Family<InFlight, Gauge>,
    watches: Gauge<i64>,
    connections: Gauge<i64>,
}

const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 2.0, 10.0, 60.0];

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// What a finished request is counted as.
pub(crate) struct Finished<'a> {
    pub(crate) verb: &'static str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) code: u16,
    /// `None` for requests whose length is the client's choice.
    pub(crate) seconds: Option<f64>,
}

impl ApiMetrics {
    pub(crate) fn new(all: &Metrics) -> Self {
        let durations = Family::<Labels, Histogram>::new_with_constructor(histogram);
        Self {
            requests: all.register(
                "apiserver_request",
                "Requests by verb, resource and HTTP code",
                Family::default(),
            ),
            durations: all.register(
                "apiserver_request_duration_seconds",
                "Time until the response was ready, in seconds",
                durations,
            ),
            in_flight: all.register(
                "apiserver_current_inflight_requests",
                "Requests that are worked on, readers and writers apart",
                Family::default(),
            ),
            watches: all.register("apiserver_longrunning_watches", "Open watches", Gauge::default()),
            connections: all.register("apiserver_connections", "Open connections", Gauge::default()),
            all: all.clone(),
        }
    }

    /// The text of `/metrics`.
    pub(crate) fn encode(&self) -> String {
        self.all.encode()
    }

    /// Counts a finished request.
    pub(crate) fn finished(&self, request: &Finished<'_>) {
        self.requests
            .get_or_create(&Answered {
                verb: request.verb,
                group: request.group.to_owned(),
                resource: request.resource.to_owned(),
                subresource: request.subresource.to_owned(),
                code: request.code,
            })
            .inc();
        if let Some(seconds) = request.seconds {
            self.durations
                .get_or_create(&Labels {
                    verb: request.verb,
                    group: request.group.to_owned(),
                    version: request.version.to_owned(),
                    resource: request.resource.to_owned(),
                    subresource: request.subresource.to_owned(),
                })
                .observe(seconds);
        }
    }

    /// Counts a request as worked on until the guard is dropped.
    pub(crate) fn working(&self, read_only: bool) -> Counted {
        let request_kind = if read_only { "readOnly" } else { "mutating" };
        Counted::new(self.in_flight.get_or_create(&InFlight { request_kind }).clone())
    }

    /// Counts a watch until the guard is dropped.
    pub(crate) fn watching(&self) -> Counted {
        Counted::new(self.watches.clone())
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connected(&self) -> Counted {
        Counted::new(self.connections.clone())
    }
}

/// One more in a gauge, for as long as this lives.
pub(crate) struct Counted(Gauge<i64>);

impl Counted {
    fn new(gauge: Gauge<i64>) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
