//! Counters of the writer.

use copepod_base::metrics::Metrics;
use prometheus_client::metrics::counter::Counter;

/// What the datastore did since it was opened. Clones are the same counters.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Writes that were acknowledged.
    pub writes: Counter,
    /// Transactions that carried writes.
    pub commits: Counter,
    /// Commits that flushed the disk.
    pub fsyncs: Counter,
    /// Rows of history that compaction removed.
    pub compacted: Counter,
}

impl Stats {
    /// Shows the counters on `/metrics`.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register("copepod_store_writes", "Acknowledged writes", self.writes.clone());
        metrics.register("copepod_store_commits", "Transactions that carried writes", self.commits.clone());
        metrics.register("copepod_store_fsyncs", "Commits that flushed the disk", self.fsyncs.clone());
        metrics.register(
            "copepod_store_compacted_rows",
            "Rows of history removed by compaction",
            self.compacted.clone(),
        );
    }
}
