//! From JSON to types with Go's habits: `null` is absent, unknown fields are dropped and listed, a wrong type is
//! reported in the words of Go's decoder.
//!
//! A deserialiser over a JSON tree that knows its path, rather than `serde_ignored` around `serde_json`: the types
//! are instantiated for one deserialiser only, which keeps the executable small, and errors can name the field.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use self::path::{Path, go_type, go_value};
use super::zeros;
use crate::quantity::Quantity;
use crate::status::ApiError;

mod path;

/// A document on its way to become an object of a kind.
pub(super) struct Document {
    fields: RefCell<Map<String, Value>>,
    api_version: &'static str,
    kind: &'static str,
    unknown: RefCell<Vec<String>>,
}

impl Document {
    /// Checks `apiVersion` and `kind`; absent ones are taken from the request.
    pub(super) fn open(
        value: Value,
        api_version: &'static str,
        kind: &'static str,
    ) -> Result<Self, ApiError> {
        let Value::Object(mut fields) = value else {
            return Err(refusal(
                api_version,
                kind,
                &format!("json: cannot unmarshal {} into Go value of type v1.{kind}", go_value(&value)),
            ));
        };
        let given_version = take_text(&mut fields, "apiVersion");
        let given_kind = take_text(&mut fields, "kind");
        if let Some(given) = given_version.as_deref()
            && given != api_version
        {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version ({api_version})"
            )));
        }
        if let Some(given) = given_kind.as_deref()
            && given != kind
        {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            return Err(ApiError::bad_request(format!(
                "{given} in version {version:?} cannot be handled as a {kind}: converting ({version}.{given}) to \
                 ({version}.{kind}): unknown conversion"
            )));
        }
        Ok(Self { fields: RefCell::new(fields), api_version, kind, unknown: RefCell::default() })
    }

    /// Reads the object; the document is empty afterwards.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let value = Value::Object(self.fields.take());
        T::deserialize(Tree { value, path: &Path::Root, unknown: &self.unknown })
            .map_err(|error| refusal(self.api_version, self.kind, &error.0))
    }

    /// Paths of the fields that were dropped.
    pub(super) fn unknown(self) -> Vec<String> {
        self.unknown.into_inner()
    }
}

fn take_text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn refusal(api_version: &str, kind: &str, why: &str) -> ApiError {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A value to be read, and where it was.
struct Tree<'p> {
    value: Value,
    path: &'p Path<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl Tree<'_> {
    fn mismatch(&self, go_type: &str) -> Failure {
        let value = match &self.value {
            Value::Number(_) if !go_type.starts_with("int") => "number".to_owned(),
            other => go_value(other),
        };
        if matches!(self.path, Path::Root) {
            return Failure(format!("json: cannot unmarshal {value} into Go value of type {go_type}"));
        }
        let mut fields = String::new();
        self.path.fields(&mut fields);
        Failure(format!(
            "json: cannot unmarshal {value} into Go struct field {}.{fields} of type {go_type}",
            self.path.owner()
        ))
    }

    /// The number as an integer of a type with these bounds; 0 for null.
    fn integer(&self, min: i64, max: i64, go_type: &str) -> Result<i64, Failure> {
        match &self.value {
            Value::Null => Ok(0),
            Value::Number(n) => {
                n.as_i64().filter(|n| (min..=max).contains(n)).ok_or_else(|| self.mismatch(go_type))
            }
            _ => Err(self.mismatch(go_type)),
        }
    }

    fn text(self) -> Result<String, Failure> {
        match self.value {
            Value::String(text) => Ok(text),
            Value::Null => Ok(String::new()),
            _ => Err(self.mismatch("string")),
        }
    }

    fn object(self, go_type: impl FnOnce() -> String) -> Result<Map<String, Value>, Failure> {
        match self.value {
            Value::Object(fields) => Ok(fields),
            Value::Null => Ok(Map::new()),
            _ => Err(self.mismatch(&go_type())),
        }
    }
}

/// Fields of a struct, or entries of a map.
struct Fields<'p> {
    entries: serde_json::map::IntoIter,
    /// Name and fields of the struct; none for a map.
    owner: Option<(&'static str, &'static [&'static str])>,
    path: &'p Path<'p>,
    unknown: &'p RefCell<Vec<String>>,
    current: (String, Value),
}

impl Fields<'_> {
    /// Goes to the next field that the type has.
    fn advance(&mut self) -> bool {
        for (key, value) in self.entries.by_ref() {
            if let Some((owner, known)) = self.owner {
                // An empty list of fields: a type behind `deserialize_any`, which says itself what it ignores.
                if !known.is_empty() && !known.contains(&key.as_str()) {
                    let path = Path::Field { parent: self.path, owner, name: &key };
                    self.unknown.borrow_mut().push(path.to_string());
                    continue;
                }
                if value.is_null() || zeros::is_repeated_type(owner, &key) {
                    continue;
                }
            }
            self.current = (key, value);
            return true;
        }
        false
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        if !self.advance() {
            return Ok(None);
        }
        seed.deserialize(self.current.0.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let value = self.current.1.take();
        let name = self.current.0.as_str();
        let path = match self.owner {
            Some((owner, _)) => Path::Field { parent: self.path, owner, name },
            None => Path::Key { parent: self.path, key: name },
        };
        seed.deserialize(Tree { value, path: &path, unknown: self.unknown })
    }
}

struct Elements<'p> {
    values: std::iter::Enumerate<std::vec::IntoIter<Value>>,
    path: &'p Path<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((index, value)) = self.values.next() else { return Ok(None) };
        let path = Path::Index { parent: self.path, index };
        seed.deserialize(Tree { value, path: &path, unknown: self.unknown }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

macro_rules! integers {
    ($($method:ident, $visit:ident, $type:ty, $go:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let value = self.integer(i64::from(<$type>::MIN), i64::from(<$type>::MAX), $go)?;
            visitor.$visit(<$type>::try_from(value).map_err(|_| self.mismatch($go))?)
        })*
    };
}

macro_rules! foreign {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
            Err(Failure("a type that Kubernetes does not have".to_owned()))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Tree<'_> {
    type Error = Failure;

    integers! {
        deserialize_i8, visit_i8, i8, "int8";
        deserialize_i16, visit_i16, i16, "int16";
        deserialize_i32, visit_i32, i32, "int32";
        deserialize_i64, visit_i64, i64, "int64";
        deserialize_u8, visit_u8, u8, "uint8";
        deserialize_u16, visit_u16, u16, "uint16";
        deserialize_u32, visit_u32, u32, "uint32";
    }

    foreign! { deserialize_u64 deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let wrong = self.mismatch(&go_type(std::any::type_name::<V::Value>()));
        let Tree { value, path, unknown } = self;
        let result = match value {
            Value::Null => return visitor.visit_none(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => visitor.visit_i64(number),
                None => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => {
                return visitor.visit_seq(Elements { values: values.into_iter().enumerate(), path, unknown });
            }
            Value::Object(fields) => {
                return visitor.visit_map(Fields {
                    entries: fields.into_iter(),
                    owner: Some(("JSONSchemaProps", &[])),
                    path,
                    unknown,
                    current: Default::default(),
                });
            }
        };
        result.map_err(|_: Failure| wrong)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Null => visitor.visit_bool(false),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.value {
            Value::Null => visitor.visit_f64(0.0),
            Value::Number(number) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            _ => Err(self.mismatch("float64")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Failure> {
        Err(Failure("a type that Kubernetes does not have".to_owned()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if zeros::is_free_form(name) {
            return visitor.visit_newtype_struct(self.value).map_err(de::Error::custom);
        }
        match name {
            "Quantity" => {
                let text = match &self.value {
                    Value::String(text) => text.trim().to_owned(),
                    Value::Number(number) => number.to_string(),
                    Value::Null => "0".to_owned(),
                    _ => return Err(self.mismatch("resource.Quantity")),
                };
                let quantity = Quantity::parse(&text).map_err(|error| Failure(error.to_string()))?;
                self.value = Value::String(quantity.to_string());
                visitor.visit_newtype_struct(self)
            }
            "Time" | "MicroTime" => {
                let text = match &self.value {
                    Value::String(text) => text.clone(),
                    Value::Null => {
                        self.value = Value::from(zeros::ZERO_TIME);
                        return visitor.visit_newtype_struct(self);
                    }
                    _ => return Err(self.mismatch("string")),
                };
                visitor.visit_newtype_struct(self).map_err(|_| {
                    Failure(format!(
                        "parsing time {:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\"",
                        format!("{text:?}")
                    ))
                })
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Tree { value, path, unknown } = self;
        let values = match value {
            Value::Array(values) => values,
            Value::Null => Vec::new(),
            value => {
                let wrong = Tree { value, path, unknown };
                return Err(wrong.mismatch(&go_type(std::any::type_name::<V::Value>())));
            }
        };
        visitor.visit_seq(Elements { values: values.into_iter().enumerate(), path, unknown })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let (path, unknown) = (self.path, self.unknown);
        let entries = self.object(|| go_type(std::any::type_name::<V::Value>()))?.into_iter();
        visitor.visit_map(Fields { entries, owner: None, path, unknown, current: Default::default() })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let (path, unknown) = (self.path, self.unknown);
        let entries = self.object(|| format!("v1.{name}"))?.into_iter();
        let owner = Some((name, fields));
        visitor.visit_map(Fields { entries, owner, path, unknown, current: Default::default() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Failure> {
        Err(Failure("a type that Kubernetes does not have".to_owned()))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.unknown.borrow_mut().push(self.path.to_string());
        visitor.visit_unit()
    }
}
