//! The table of messages, read when it is needed first.

use std::collections::HashMap;
use std::sync::OnceLock;

/// What a field holds, or its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Bool,
    Integer,
    Double,
    Bytes,
    Message(&'static str),
    /// A message with a list in field 1, which is only the list in JSON.
    ListOf(&'static Field),
}

/// How often a field holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    List,
    Map,
    /// The message's fields belong to the outer object.
    Inline,
}

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// In JSON.
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) shape: Shape,
    pub(super) of: Type,
    /// It is a pointer in Go: its absence is not its zero.
    pointer: bool,
    /// JSON shows a zero.
    pub(super) zero_counts: bool,
}

impl Field {
    /// Whether nothing is written when there is no value, rather than a zero.
    pub(super) fn is_optional(&self) -> bool {
        self.pointer || matches!(self.of, Type::Bytes | Type::ListOf(_))
    }
}

type Schema = HashMap<&'static str, Box<[Field]>>;

/// The kinds of `meta.k8s.io` that every group has.
const IN_ALL_GROUPS: &[&str] = &[
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "PatchOptions",
    "Status",
    "UpdateOptions",
    "WatchEvent",
];

/// The fields of a message, by number.
pub(super) fn fields_of(message: &str) -> Option<&'static [Field]> {
    schema().get(message).map(|fields| &**fields)
}

/// The message of a kind: the first word of the group, the version, the kind.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let name = if IN_ALL_GROUPS.contains(&kind) {
        format!("meta.v1.{kind}")
    } else {
        format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default())
    };
    schema().get_key_value(name.as_str()).map(|(name, _)| *name)
}

/// The whole table.
pub(super) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        include_str!("schema.txt")
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let name = words.next()?;
                let mut fields: Box<[Field]> = words.filter_map(parse_field).collect();
                fields.sort_unstable_by_key(|field| field.number);
                Some((name, fields))
            })
            .collect()
    })
}

fn parse_field(text: &'static str) -> Option<Field> {
    let (name, rest) = text.split_once(':')?;
    let (number, mut of) = rest.split_once(':')?;
    let mut field = Field {
        name,
        number: number.parse().ok()?,
        shape: Shape::Single,
        of: Type::Text,
        pointer: false,
        zero_counts: false,
    };
    loop {
        match of.as_bytes().first()? {
            b'?' => (field.pointer, field.zero_counts) = (true, true),
            b'!' => field.zero_counts = true,
            b'*' => field.shape = Shape::List,
            b'%' => field.shape = Shape::Map,
            b'^' => field.shape = Shape::Inline,
            _ => break,
        }
        of = &of[1..];
    }
    field.of = parse_type(of)?;
    Some(field)
}

fn parse_type(text: &'static str) -> Option<Type> {
    Some(match text.split_at_checked(1)? {
        ("s", _) => Type::Text,
        ("b", _) => Type::Bool,
        ("i", _) => Type::Integer,
        ("d", _) => Type::Double,
        ("y", _) => Type::Bytes,
        ("m", name) => Type::Message(name),
        ("w", element) => {
            let items = Field {
                name: "",
                number: 1,
                shape: Shape::List,
                of: parse_type(element)?,
                pointer: false,
                zero_counts: true,
            };
            // Once per such field of the table, which lives as long as the program.
            Type::ListOf(Box::leak(Box::new(items)))
        }
        _ => return None,
    })
}
