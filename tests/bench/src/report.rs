//! What a stage found, and the table.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one stage found: figures for machines, rows for people.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Lines of the table.
    pub(crate) rows: Vec<Row>,
    /// All figures.
    pub(crate) figures: Value,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// What design.md promises; empty where it says nothing.
    pub(crate) promise: String,
    /// The figure.
    pub(crate) measured: String,
}

impl Report {
    /// A report with these figures and no rows yet.
    pub(crate) fn new(figures: Value) -> Self {
        Self { rows: Vec::new(), figures }
    }

    /// Adds a row.
    #[must_use]
    pub(crate) fn row(mut self, what: &str, promise: &str, measured: impl Into<String>) -> Self {
        self.rows.push(Row { what: what.to_owned(), promise: promise.to_owned(), measured: measured.into() });
        self
    }
}

/// The rows as a Markdown table with aligned columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = Row { what: "what".into(), promise: "promise".into(), measured: "measured".into() };
    let cells: Vec<[&str; 3]> =
        std::iter::once(&head).chain(rows).map(|r| [r.what.as_str(), &r.promise, &r.measured]).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(&format!("| {cell:width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Bytes as megabytes of 10^6, which is what design.md counts in.
pub(crate) fn megabytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let report = Report::new(Value::Null).row("size", "<= 30 MB", "20 MB").row("a longer name", "", "1");
        assert_eq!(
            table(&report.rows),
            "| what          | promise  | measured |\n\
             |---------------|----------|----------|\n\
             | size          | <= 30 MB | 20 MB    |\n\
             | a longer name |          | 1        |\n"
        );
    }

    #[test]
    fn a_report_survives_its_way_out_of_the_sandbox() {
        let report = Report::new(json!({"ms": 1.5})).row("a", "b", "c");
        let back: Report = serde_json::from_str(&json!(report).to_string()).unwrap();
        assert_eq!((back.rows, back.figures), (report.rows, report.figures));
    }
}
