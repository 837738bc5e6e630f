//! Label selectors, as text (`app=web,tier in (a,b),!old`) and as `metav1.LabelSelector`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as LabelSelectorObject;

use super::SelectorError;
use crate::field::{Errors, Path};
use crate::names;

/// Where the label of a key is found.
pub trait Labels {
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<T: Labels> Labels for Option<T> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.label(key)
    }
}

impl<T: Labels + ?Sized> Labels for &T {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

/// What a requirement asks of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// One of the values; also `=` and `==`.
    In(BTreeSet<String>),
    /// None of the values, or no such label; also `!=`.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is a whole number above this one.
    Above(i64),
    /// The label is a whole number below this one.
    Below(i64),
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked.
    pub operator: Operator,
}

impl Requirement {
    /// Whether the labels fulfil this.
    #[must_use]
    pub fn matches(&self, labels: &impl Labels) -> bool {
        let value = labels.label(&self.key);
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|v| values.contains(v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Above(limit) => number().is_some_and(|n| n > *limit),
            Operator::Below(limit) => number().is_some_and(|n| n < *limit),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(",");
        let one = |values: &BTreeSet<String>| (values.len() == 1).then(|| list(values));
        let key = &self.key;
        match &self.operator {
            Operator::In(values) => match one(values) {
                Some(value) => write!(f, "{key}={value}"),
                None => write!(f, "{key} in ({})", list(values)),
            },
            Operator::NotIn(values) => match one(values) {
                Some(value) => write!(f, "{key}!={value}"),
                None => write!(f, "{key} notin ({})", list(values)),
            },
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Above(limit) => write!(f, "{key}>{limit}"),
            Operator::Below(limit) => write!(f, "{key}<{limit}"),
        }
    }
}

/// All requirements together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// The selector that matches all objects.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector that matches no object: a missing `metav1.LabelSelector`.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads the text of a `labelSelector` parameter.
    ///
    /// # Errors
    /// With Kubernetes' words, when the text is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let requirements = Parser { tokens: scan(text), at: 0 }.parse().map_err(SelectorError)?;
        Ok(Self { requirements, nothing: false })
    }

    /// The selector that asks for each of these labels.
    #[must_use]
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(BTreeSet::from([value.clone()])),
            })
            .collect();
        Self { requirements, nothing: false }
    }

    /// The selector of an object's `spec.selector`. `None` matches nothing, an empty one everything.
    ///
    /// # Errors
    /// When an operator or its values are wrong.
    pub fn from_object(selector: Option<&LabelSelectorObject>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut all = selector.match_labels.as_ref().map_or_else(Self::default, Self::from_labels);
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let operator = match expression.operator.as_str() {
                "In" => "in",
                "NotIn" => "notin",
                "Exists" => "exists",
                "DoesNotExist" => "!",
                other => {
                    return Err(SelectorError(format!("{other:?} is not a valid label selector operator")));
                }
            };
            all.requirements.push(requirement(&expression.key, operator, values).map_err(SelectorError)?);
        }
        Ok(all)
    }

    /// Whether labels fulfil all requirements.
    #[must_use]
    pub fn matches(&self, labels: &impl Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether every object matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The requirements.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<(&str, String)> =
            self.requirements.iter().map(|r| (r.key.as_str(), r.to_string())).collect();
        texts.sort();
        f.write_str(&texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","))
    }
}

/// Checks and makes a requirement; all that is wrong is reported at once.
fn requirement(key: &str, operator: &str, values: Vec<String>) -> Result<Requirement, String> {
    let mut errors = Errors::new();
    let path = Path::new("values");
    if let Some(message) = joined(names::qualified_name(key)) {
        errors.invalid(&Path::new("key"), key, &message);
    }
    let detail = match operator {
        "in" | "notin" if values.is_empty() => Some("for 'in', 'notin' operators, values set can't be empty"),
        "exists" | "!" if !values.is_empty() => {
            Some("values set must be empty for exists and does not exist")
        }
        ">" | "<" if values.len() != 1 => Some("for 'Gt', 'Lt' operators, exactly one value is required"),
        _ => None,
    };
    if let Some(detail) = detail {
        errors.invalid(&path, values.clone(), detail);
    }
    let mut number = 0;
    for (index, value) in values.iter().enumerate().filter(|_| [">", "<"].contains(&operator)) {
        match value.parse() {
            Ok(parsed) => number = parsed,
            Err(_) => {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.invalid(&path.index(index), value.as_str(), detail);
            }
        }
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(message) = joined(names::label_value(value)) {
            errors.invalid(&path.index(index).key(key), value.as_str(), &message);
        }
    }
    let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => {}
        [one] => return Err(one.clone()),
        many => return Err(format!("[{}]", many.join(", "))),
    }
    let set = || values.iter().cloned().collect();
    let operator = match operator {
        "in" | "=" | "==" => Operator::In(set()),
        "notin" | "!=" => Operator::NotIn(set()),
        "exists" => Operator::Exists,
        "!" => Operator::DoesNotExist,
        ">" => Operator::Above(number),
        _ => Operator::Below(number),
    };
    Ok(Requirement { key: key.to_owned(), operator })
}

fn joined(messages: Vec<String>) -> Option<String> {
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// Checks a key in a parameter's text; the path of upstream's message is `<nil>`, since a parameter is no field.
fn check_key(key: &str) -> Result<(), String> {
    joined(names::qualified_name(key))
        .map_or(Ok(()), |message| Err(format!("<nil>: Invalid value: {key:?}: {message}")))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    fn text(&self) -> &'a str {
        match self {
            Token::Word(text) | Token::Symbol(text) => text,
        }
    }
}

fn scan(text: &str) -> Vec<Token<'_>> {
    const SPECIAL: &[u8] = b"=!(),<>";
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        if bytes[at].is_ascii_whitespace() {
            at += 1;
        } else if SPECIAL.contains(&bytes[at]) {
            at += if ["==", "!="].iter().any(|s| text[at..].starts_with(s)) { 2 } else { 1 };
            tokens.push(Token::Symbol(&text[start..at]));
        } else {
            while at < bytes.len() && !bytes[at].is_ascii_whitespace() && !SPECIAL.contains(&bytes[at]) {
                at += 1;
            }
            tokens.push(Token::Word(&text[start..at]));
        }
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                None => return Ok(requirements),
                Some(Token::Word(_) | Token::Symbol("!")) => {}
                Some(other) => {
                    let found = other.text();
                    return Err(format!("found '{found}', expected: !, identifier, or 'end of string'"));
                }
            }
            requirements.push(self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
            match self.next() {
                None => return Ok(requirements),
                Some(Token::Symbol(",")) => match self.peek() {
                    Some(Token::Word(_) | Token::Symbol("!")) => {}
                    other => {
                        let found = other.map_or("", Token::text);
                        return Err(format!("found '{found}', expected: identifier after ','"));
                    }
                },
                Some(other) => {
                    return Err(format!("found '{}', expected: ',' or 'end of string'", other.text()));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == Some(&Token::Symbol("!"));
        if absent {
            self.next();
        }
        let key = match self.next() {
            Some(Token::Word(key)) => key,
            other => {
                let found = other.map_or("", |t| t.text());
                return Err(format!("found '{found}', expected: identifier"));
            }
        };
        check_key(key)?;
        if absent {
            return requirement(key, "!", Vec::new());
        }
        if matches!(self.peek(), None | Some(Token::Symbol(","))) {
            return requirement(key, "exists", Vec::new());
        }
        let operator = match self.next() {
            Some(Token::Symbol(s @ ("=" | "==" | "!=" | ">" | "<")) | Token::Word(s @ ("in" | "notin"))) => s,
            other => {
                let found = other.map_or("", |t| t.text());
                return Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        };
        let values = match operator {
            "in" | "notin" => self.values()?,
            _ => vec![self.exact_value()?],
        };
        requirement(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<String, String> {
        match self.peek() {
            None | Some(Token::Symbol(",")) => Ok(String::new()),
            Some(Token::Word(value)) => {
                let value = (*value).to_owned();
                self.next();
                Ok(value)
            }
            Some(other) => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Some(Token::Symbol("(")) => {}
            other => return Err(format!("found '{}' expected: '('", other.map_or("", |t| t.text()))),
        }
        let mut values = Vec::new();
        loop {
            // An empty place between commas is an empty value.
            match self.next() {
                Some(Token::Word(value)) => match self.next() {
                    Some(Token::Symbol(",")) => {
                        values.push(value.to_owned());
                        if self.peek() == Some(&Token::Symbol(")")) {
                            values.push(String::new());
                        }
                    }
                    Some(Token::Symbol(")")) => {
                        values.push(value.to_owned());
                        return Ok(values);
                    }
                    other => {
                        let found = other.map_or("", |t| t.text());
                        return Err(format!("found '{found}', expected: ',' or ')'"));
                    }
                },
                Some(Token::Symbol(")")) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    return Ok(values);
                }
                Some(Token::Symbol(",")) => values.push(String::new()),
                other => {
                    let found = other.map_or("", |t| t.text());
                    return Err(format!("found '{found}', expected: ',', ')' or identifier"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_form_of_requirement_is_matched() {
        let object = labels(&[("app", "web"), ("tier", "a"), ("n", "7"), ("empty", "")]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=b", true),
            ("app = web , tier in (a, b)", true),
            ("tier notin (a,b)", false),
            ("missing notin (a)", true),
            ("missing!=a", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("missing", false),
            ("n>6,n<8", true),
            ("n>7", false),
            ("empty=", true),
            ("empty in (,x)", true),
            ("in=web", false),
            ("app in (web)", true),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&object), expected, "{text}");
        }
    }

    #[test]
    fn bad_selectors_are_refused_with_kubernetes_words() {
        for (text, error) in [
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a,", "found '', expected: identifier after ','"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            (
                "n>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value \
                 must be an integer",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().0, error, "{text}");
        }
        let error = LabelSelector::parse("a=-x").unwrap_err().0;
        assert!(
            error.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"-x\": a valid label"
            )
        );
    }

    #[test]
    fn a_missing_selector_object_matches_nothing_and_an_empty_one_everything() {
        let object = labels(&[("a", "b")]);
        assert!(!LabelSelector::from_object(None).unwrap().matches(&object));
        assert!(LabelSelector::from_object(Some(&LabelSelectorObject::default())).unwrap().matches(&object));
    }

    #[test]
    fn a_selector_is_printed_as_it_can_be_read() {
        let text = "!old,app=web,n>5,tier in (a,b)";
        let selector = LabelSelector::parse("tier in (b,a),app==web,n>5,!old").unwrap();
        assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap().to_string(), selector.to_string());
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), selector.to_string());
    }
}
