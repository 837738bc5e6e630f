//! From bytes to a tree, noting what is given twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::{Parsed, go_error};

/// YAML may grow by aliases to this many nodes.
const YAML_NODES: usize = 200_000;
/// YAML may nest this deeply, as JSON may.
const DEPTH: usize = 127;

/// A field's name, and its line where the format tells.
trait Key: for<'de> Deserialize<'de> {
    fn split(self) -> (String, Option<u64>);
}

impl Key for String {
    fn split(self) -> (String, Option<u64>) {
        (self, None)
    }
}

impl Key for Spanned<String> {
    fn split(self) -> (String, Option<u64>) {
        let line = self.referenced.line();
        (self.value, Some(line))
    }
}

struct Duplicate {
    path: String,
    key: String,
    line: Option<u64>,
}

pub(super) fn json(body: &[u8]) -> Result<Parsed, String> {
    let duplicates = RefCell::default();
    let mut input = serde_json::Deserializer::from_slice(body);
    let value = Node::<String>::root(&duplicates)
        .deserialize(&mut input)
        .and_then(|value| input.end().map(|()| value))
        .map_err(|error| go_error::describe(body, &error))?;
    let duplicates = duplicates.into_inner();
    let complaints = duplicates.iter().map(|d| format!("duplicate field {:?}", d.path)).collect();
    Ok(Parsed { value, duplicates: duplicates.into_iter().map(|d| d.path).collect(), complaints })
}

pub(super) fn yaml(body: &[u8]) -> Result<Parsed, String> {
    let text = std::str::from_utf8(body).map_err(|e| format!("the text is not UTF-8: {e}"))?;
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        budget: serde_saphyr::budget! {
            max_nodes: YAML_NODES,
            max_events: 4 * YAML_NODES,
            max_depth: DEPTH,
        },
        with_snippet: false,
    };
    let Whole { value, duplicates } =
        serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())?;
    let lines: Vec<String> = duplicates
        .iter()
        .map(|d| format!("  line {}: key {:?} already set in map", d.line.unwrap_or(0), d.key))
        .collect();
    let complaints = if lines.is_empty() {
        Vec::new()
    } else {
        vec![format!("yaml: unmarshal errors:\n{}", lines.join("\n"))]
    };
    Ok(Parsed { value, duplicates: duplicates.into_iter().map(|d| d.path).collect(), complaints })
}

/// A YAML document.
struct Whole {
    value: Value,
    duplicates: Vec<Duplicate>,
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duplicates = RefCell::default();
        let value = Node::<Spanned<String>>::root(&duplicates).deserialize(deserializer)?;
        Ok(Self { value, duplicates: duplicates.into_inner() })
    }
}

/// A step on the way to a value.
enum Step<'a> {
    Root,
    Field(&'a Step<'a>, &'a str),
    Element(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Root => Ok(()),
            Step::Field(Step::Root, name) => f.write_str(name),
            Step::Field(parent, name) => write!(f, "{parent}.{name}"),
            Step::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Node<'a, K> {
    step: Step<'a>,
    duplicates: &'a RefCell<Vec<Duplicate>>,
    key: std::marker::PhantomData<K>,
}

impl<'a, K> Node<'a, K> {
    fn root(duplicates: &'a RefCell<Vec<Duplicate>>) -> Self {
        Self { step: Step::Root, duplicates, key: std::marker::PhantomData }
    }

    fn at<'b>(&'b self, step: Step<'b>) -> Node<'b, K> {
        Node { step, duplicates: self.duplicates, key: std::marker::PhantomData }
    }
}

impl<'de, K: Key> DeserializeSeed<'de> for Node<'_, K> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Key> Visitor<'de> for Node<'_, K> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let seed = self.at(Step::Element(&self.step, values.len()));
            match elements.next_element_seed(seed)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<K>()? {
            let (key, line) = key.split();
            let value = entries.next_value_seed(self.at(Step::Field(&self.step, &key)))?;
            if map.contains_key(&key) {
                let path = Step::Field(&self.step, &key).to_string();
                self.duplicates.borrow_mut().push(Duplicate { path, key: key.clone(), line });
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
