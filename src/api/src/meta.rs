//! The metadata of a stored object, read from its bytes without decoding the rest.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::kind::Kind;
use crate::scan;
use crate::selector::Labels;

/// A text that borrows from the JSON where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Str<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(v)))
            }

            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Str::default())
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// Labels or annotations, in the order of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs<'a>(pub Vec<(Str<'a>, Str<'a>)>);

impl Pairs<'_> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
}

impl Labels for Pairs<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Pairs::default())
            }
        }

        deserializer.deserialize_any(Map)
    }
}

/// An owner of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Owner<'a> {
    /// Group and version of the owner's kind.
    pub api_version: Str<'a>,
    /// The owner's kind.
    pub kind: Str<'a>,
    /// The owner's name.
    pub name: Str<'a>,
    /// The owner's uid.
    pub uid: Str<'a>,
    /// Whether the owner is the managing controller.
    pub controller: Option<bool>,
    /// Whether the owner's foreground deletion waits for this object.
    pub block_owner_deletion: Option<bool>,
}

/// What the server needs of an object's metadata for lists, watches and deletion.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Meta<'a> {
    /// The object's name.
    pub name: Str<'a>,
    /// Its namespace, empty for kinds of the whole cluster.
    pub namespace: Str<'a>,
    /// Its uid.
    pub uid: Str<'a>,
    /// Counts changes of what is asked for.
    pub generation: Option<i64>,
    /// RFC 3339, UTC.
    pub creation_timestamp: Option<Str<'a>>,
    /// RFC 3339, UTC; set while the object is being deleted.
    pub deletion_timestamp: Option<Str<'a>>,
    /// Grace of a deletion that is under way, in seconds.
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    pub labels: Pairs<'a>,
    /// Annotations.
    pub annotations: Pairs<'a>,
    /// What must be done before the object goes.
    pub finalizers: Option<Vec<Str<'a>>>,
    /// Owners.
    pub owner_references: Option<Vec<Owner<'a>>>,
}

impl<'a> Meta<'a> {
    /// Reads the metadata of an object's JSON.
    ///
    /// # Errors
    /// When the bytes are no JSON object with `metadata`, or its fields have wrong types.
    pub fn parse(object: &'a [u8]) -> Result<Self, serde_json::Error> {
        match scan::field(object, "metadata") {
            Some(range) => serde_json::from_slice(&object[range]),
            None => Err(serde::de::Error::missing_field("metadata")),
        }
    }

    /// The owner that manages the object.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner<'a>> {
        self.owner_references.iter().flatten().find(|o| o.controller == Some(true))
    }
}

/// The labels of an object's JSON, and nothing else of it.
#[must_use]
pub fn labels(object: &[u8]) -> Pairs<'_> {
    scan::get(object, &["metadata", "labels"])
        .and_then(|labels| serde_json::from_slice(labels).ok())
        .unwrap_or_default()
}

/// The value that a field selector compares, of a stored object.
#[must_use]
pub fn selectable<'a>(kind: &'a Kind, object: &'a [u8], field: &str) -> Cow<'a, str> {
    let at = |path: &[_]| scan::get(object, path).and_then(scan::text).filter(|text| !text.is_empty());
    match field {
        "metadata.name" => at(&["metadata".into(), "name".into()]).unwrap_or_default(),
        "metadata.namespace" => at(&["metadata".into(), "namespace".into()]).unwrap_or_default(),
        _ => kind
            .selectable
            .iter()
            .find(|s| s.name == field)
            .map(|s| {
                at(&s.path)
                    .or_else(|| s.fallback.as_deref().and_then(at))
                    .unwrap_or(Cow::Borrowed(s.missing.as_ref()))
            })
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_without_the_rest() {
        let json = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"a\n":"b"},"finalizers":["x/y"],
            "labels":{"app":"web"},"name":"p","namespace":"n","managedFields":[{"manager":"m"}],"uid":"u",
            "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"ru","controller":true}],
            "generation":3,"deletionTimestamp":null},"spec":{"this is not read"#;
        let meta = Meta::parse(json).unwrap();
        assert_eq!((&*meta.name, &*meta.namespace, &*meta.uid, meta.generation), ("p", "n", "u", Some(3)));
        assert_eq!(meta.annotations.get("a\n"), Some("b"));
        assert_eq!(meta.labels.label("app"), Some("web"));
        assert_eq!(&*meta.controller().unwrap().uid, "ru");
        assert!(meta.deletion_timestamp.is_none());
        assert!(matches!(meta.name.0, Cow::Borrowed(_)));
        assert_eq!(labels(json).get("app"), Some("web"));
    }
}
