//! Log set-up.
//!
//! Levels: ERROR means a person must act; WARN means something the process will get over but that should not
//! be usual; INFO is what an operator wants to see of a day; DEBUG and TRACE are for developers.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Sends tracing events to standard error, filtered by `filter` (for example `info,copepod_store=debug`).
///
/// # Errors
/// When the filter cannot be parsed. A second call in one process changes nothing.
pub fn init(filter: &str, format: Format) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // An error only says that a subscriber is there already, as in tests.
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    Ok(())
}
