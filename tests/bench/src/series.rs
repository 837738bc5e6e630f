//! Statistics of repeated measurements.

use std::time::Duration;

use serde_json::{Value, json};

/// Values of one quantity, in the order measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Adds a value.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds a duration in milliseconds.
    pub(crate) fn push_ms(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64() * 1e3);
    }

    /// Adds all of `other`.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that half of the others do not exceed.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 0 => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
            n => sorted[n / 2],
        }
    }

    /// The value that 95 of 100 do not exceed (nearest rank).
    pub(crate) fn p95(&self) -> f64 {
        let sorted = self.sorted();
        let rank = (sorted.len() * 95).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// Median, p95, extremes and, of a short series, the values.
    pub(crate) fn to_json(&self) -> Value {
        /// Longer series are only summed up.
        const LISTED: usize = 100;
        let sorted = self.sorted();
        let mut json = json!({
            "n": sorted.len(),
            "median": self.median(),
            "p95": self.p95(),
            "min": sorted.first(),
            "max": sorted.last(),
        });
        if sorted.len() <= LISTED {
            json["values"] = json!(self.0);
        }
        json
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(Series::from_iter([4.0, 1.0, 3.0, 2.0]).median(), 2.5);
        assert_eq!(Series::from_iter([9.0, 1.0, 3.0]).median(), 3.0);
        assert!(Series::default().median().is_nan());
    }

    #[test]
    fn p95_is_a_measured_value() {
        assert_eq!((1..=20).map(f64::from).collect::<Series>().p95(), 19.0);
        assert_eq!((1..=100).map(f64::from).collect::<Series>().p95(), 95.0);
        assert_eq!(Series::from_iter([7.0]).p95(), 7.0);
    }
}
