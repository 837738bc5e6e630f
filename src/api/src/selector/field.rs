//! Field selectors: `metadata.name=a,status.phase!=Running`.

use std::fmt;

use super::SelectorError;
use crate::kind::Kind;

/// What a requirement asks of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `=` or `==`.
    Equals,
    /// `!=`.
    Differs,
}

/// A requirement on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's name.
    pub field: String,
    /// What is asked.
    pub operation: Operation,
    /// The value, without escapes.
    pub value: String,
}

/// All requirements together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads the text of a `fieldSelector` parameter.
    ///
    /// # Errors
    /// With Kubernetes' words, when the text is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_terms(text).into_iter().filter(|t| !t.is_empty()) {
            let Some((field, operation, value)) = split_term(term) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                operation,
                value: unescape(value).map_err(SelectorError)?,
            });
        }
        Ok(Self { requirements })
    }

    /// Refuses fields that the kind cannot select by.
    ///
    /// # Errors
    /// With Kubernetes' words, naming the first such field.
    pub fn check(&self, kind: &Kind) -> Result<(), SelectorError> {
        let known = |field: &str| {
            field == "metadata.name"
                || field == "metadata.namespace"
                || kind.selectable.iter().any(|s| s.name == field)
        };
        match self.requirements.iter().find(|r| !known(&r.field)) {
            None => Ok(()),
            Some(r) if kind.selectable.is_empty() => Err(SelectorError(format!(
                "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                r.field
            ))),
            Some(r) => Err(SelectorError(format!("field label not supported: {}", r.field))),
        }
    }

    /// Whether an object matches; `value` gives the value of a field by its name.
    pub fn matches<T: AsRef<str>>(&self, mut value: impl FnMut(&str) -> T) -> bool {
        self.requirements.iter().all(|r| {
            let equal = value(&r.field).as_ref() == r.value;
            equal == (r.operation == Operation::Equals)
        })
    }

    /// The value that a field must have, when there is one: `metadata.name=a` makes a list a look-up.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.field == field && r.operation == Operation::Equals)
            .map(|r| r.value.as_str())
    }

    /// Whether every object matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements.
    #[must_use]
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, r) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let operator = if r.operation == Operation::Equals { "=" } else { "!=" };
            let value = r.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{operator}{value}", r.field)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, Operation, &str)> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (text, operation) in
            [("!=", Operation::Differs), ("==", Operation::Equals), ("=", Operation::Equals)]
        {
            if let Some(value) = rest.strip_prefix(text) {
                return Some((&term[..at], operation, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
            },
            ',' | '=' => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                ));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> &'static str {
        match name {
            "metadata.name" => "a",
            "status.phase" => "Running",
            "odd" => "x,y=z",
            _ => "",
        }
    }

    #[test]
    fn fields_are_compared_with_the_three_operators() {
        for (text, expected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,status.phase!=Pending", true),
            ("status.phase!=Running", false),
            ("spec.nodeName=", true),
            ("odd=x\\,y\\=z", true),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(value), expected, "{text}");
        }
        let selector = FieldSelector::parse("odd=x\\,y\\=z").unwrap();
        assert_eq!(selector.to_string(), "odd=x\\,y\\=z");
        assert_eq!(FieldSelector::parse("metadata.name=a").unwrap().exact("metadata.name"), Some("a"));
    }

    #[test]
    fn bad_selectors_are_refused_with_kubernetes_words() {
        for (text, error) in [
            ("abc", "invalid selector: 'abc'; can't understand 'abc'"),
            ("a=b\\c", "invalid field selector: invalid escape sequence: \\c"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().0, error);
        }
    }
}
