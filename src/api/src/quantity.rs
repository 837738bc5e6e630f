//! Amounts with suffixes, such as `100m`, `1.5Gi` and `2e3` (`resource.Quantity` of apimachinery).
//!
//! Amounts are whole numbers of billionths, so nothing is lost to floating point. As in Kubernetes, what is finer
//! than a billionth is rounded away from zero, and what is too large for a binary suffix becomes 2^63-1.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// The largest amount with a binary suffix.
const MAX: i128 = (i64::MAX as i128) * NANO;
/// More than any quantity that is meant, in billionths.
const HUGE: i128 = i128::MAX / NANO * NANO;

/// Why a text is no quantity; the texts are those of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text has another form altogether.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// What follows the number is no known suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// The kind of suffix that a quantity was written with and is printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    BinarySi,
    /// `e3`, `E-6`.
    DecimalExponent,
}

/// An amount of something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number.
    #[must_use]
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// A number of thousandths.
    #[must_use]
    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self { nanos: i128::from(milli) * (NANO / 1000), format }
    }

    /// Reads a quantity.
    ///
    /// # Errors
    /// When the text is none; the error's text is that of Kubernetes.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = Parts::split(text)?;
        let (unit, format) = suffix(parts.suffix).ok_or(QuantityError::Suffix)?;
        let amount = match unit {
            Unit::Power10(exponent) => decimal(parts.whole, parts.fraction, exponent).unwrap_or(HUGE),
            Unit::Power2(exponent) => binary(parts.whole, parts.fraction, exponent).unwrap_or(MAX).min(MAX),
        };
        // Less than one is never a whole number of a binary unit.
        let format = if format == Format::BinarySi && amount < NANO { Format::DecimalSi } else { format };
        Ok(Self { nanos: if parts.negative { -amount } else { amount }, format })
    }

    /// How the quantity is printed.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The amount as a whole number, rounded away from zero.
    #[must_use]
    pub fn value(&self) -> i64 {
        clamp(round_away(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded away from zero.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        clamp(round_away(self.nanos, NANO / 1000))
    }

    /// The amount in billionths.
    #[must_use]
    pub fn nano_value(&self) -> i128 {
        self.nanos
    }

    /// The quantity rounded away from zero to thousandths, as the API does with every resource list.
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        let unit = NANO / 1000;
        Self { nanos: round_away(self.nanos, unit) * unit, ..self }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether this is less than nothing.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The sum, printed as this one is unless this one is zero.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// The difference, printed as this one is unless this one is zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, ..other })
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

/// The canonical form: no fraction, the largest suffix that needs none.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.nanos % NANO == 0 {
            let mut number = self.nanos / NANO;
            let mut unit = 0;
            while number % 1024 == 0 && unit < BINARY.len() {
                number /= 1024;
                unit += 1;
            }
            return match unit {
                0 => write!(f, "{number}"),
                unit => write!(f, "{number}{}", BINARY[unit - 1].0),
            };
        }
        let (mut number, mut exponent) = (self.nanos, -9_i64);
        while number % 1000 == 0 && (exponent < 18 || self.format == Format::DecimalExponent) {
            number /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(suffix, _)| suffix);
        write!(f, "{number}{suffix}")
    }
}

const DECIMAL: &[(&str, i64)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

const BINARY: &[(&str, u32)] = &[("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

enum Unit {
    Power10(i64),
    Power2(u32),
}

fn suffix(text: &str) -> Option<(Unit, Format)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(suffix, _)| *suffix == text) {
        return Some((Unit::Power10(*exponent), Format::DecimalSi));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(suffix, _)| *suffix == text) {
        return Some((Unit::Power2(*exponent), Format::BinarySi));
    }
    let exponent = text.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Unit::Power10(exponent), Format::DecimalExponent))
}

struct Parts<'a> {
    negative: bool,
    /// Without leading zeros.
    whole: &'a str,
    /// Without trailing zeros.
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            None => return Err(QuantityError::Format),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, mut rest) = unsigned.split_at(digits(unsigned));
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            (fraction, rest) = after.split_at(digits(after));
        }
        let letters = rest.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
        let after = &rest[letters..];
        let exponent = after.strip_prefix(['+', '-']).unwrap_or(after);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        Ok(Self {
            negative,
            whole: whole.trim_start_matches('0'),
            fraction: fraction.trim_end_matches('0'),
            suffix: rest,
        })
    }
}

/// Billionths of `whole.fraction * 10^exponent`, `None` when that is too large.
fn decimal(whole: &str, fraction: &str, exponent: i64) -> Option<i128> {
    let digits: String = [whole, fraction].concat();
    if digits.bytes().all(|b| b == b'0') {
        return Some(0);
    }
    let shift = exponent.saturating_add(9).saturating_sub(i64::try_from(fraction.len()).ok()?);
    if shift >= 0 {
        let factor = 10_i128.checked_pow(u32::try_from(shift).ok()?)?;
        return digits.parse::<i128>().ok()?.checked_mul(factor);
    }
    // Digits below a billionth only decide whether to round.
    let below = usize::try_from(-shift).unwrap_or(usize::MAX);
    let kept = digits.len().saturating_sub(below);
    let (kept, dropped) = digits.split_at(kept);
    let amount: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    Some(amount + i128::from(dropped.bytes().any(|b| b != b'0')))
}

/// Billionths of `whole.fraction * 2^exponent`, `None` when that is too large.
fn binary(whole: &str, fraction: &str, exponent: u32) -> Option<i128> {
    let factor = 1_i128 << exponent;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = &fraction[..fraction.len().min(18)];
    let parts: i128 = format!("{kept:0<18}").parse().ok()?;
    let sticky = i128::from(fraction.len() > 18);
    // 18 digits times 2^60 stay below 2^127.
    let fraction = round_away(parts * factor + sticky, NANO);
    whole.checked_mul(factor)?.checked_mul(NANO)?.checked_add(fraction)
}

fn round_away(number: i128, unit: i128) -> i128 {
    let whole = number / unit;
    if number % unit == 0 { whole } else { whole + number.signum() }
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).unwrap().to_string()
    }

    #[test]
    fn quantities_are_printed_in_canonical_form() {
        for (text, expected) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.1", "100m"),
            ("+1", "1"),
            ("-1.5", "-1500m"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1Ki", "1Ki"),
            ("1024", "1024"),
            ("1000", "1k"),
            ("100k", "100k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e2", "1200"),
            ("1E", "1E"),
            ("10E", "10E"),
            ("5.", "5"),
            (".5", "500m"),
            ("100n", "100n"),
            ("0.5Ki", "512"),
            ("1.5Ki", "1536"),
            ("0.00000000001", "1n"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1e99", "170141183460469231731687303715"),
            ("Mi", "0"),
            (".", "0"),
            ("16Ei", "9223372036854775807"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_quantities_are_refused_with_kubernetes_words() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("aoeu", QuantityError::Format),
            ("1.1.M", QuantityError::Format),
            (" 1", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1i", QuantityError::Suffix),
            (".5i", QuantityError::Suffix),
            ("0.1mi", QuantityError::Suffix),
            ("-3.01e-", QuantityError::Suffix),
            ("1ki", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn values_are_rounded_up() {
        let q = Quantity::parse("1500m").unwrap();
        assert_eq!((q.value(), q.milli_value()), (2, 1500));
        assert_eq!(Quantity::parse("1n").unwrap().milli_value(), 1);
        assert_eq!(Quantity::parse("-1500m").unwrap().value(), -2);
        assert_eq!(Quantity::parse("1.0001").unwrap().round_up_to_milli().to_string(), "1001m");
    }

    #[test]
    fn sums_keep_the_format_of_the_first_that_is_not_zero() {
        let (a, b) = (Quantity::parse("1Gi").unwrap(), Quantity::parse("1024M").unwrap());
        assert_eq!(Quantity::ZERO.plus(a).to_string(), "1Gi");
        assert_eq!(a.plus(a).to_string(), "2Gi");
        assert_eq!(a.minus(a).to_string(), "0");
        assert!(b < a);
    }
}
