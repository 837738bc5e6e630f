//! What is valid as a name, a label, an annotation key; and names made from `generateName`.
//!
//! Every check gives the messages of Kubernetes (`apimachinery/pkg/util/validation`), none when the value is valid.

use crate::strategy::NameRule;

/// Longest label, in bytes.
pub const LABEL_MAX: usize = 63;
/// Longest subdomain, in bytes.
pub const SUBDOMAIN_MAX: usize = 253;
/// Length of what is put behind `generateName`.
pub const SUFFIX_LEN: usize = 5;
/// Letters and digits without those that look alike or make words.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Messages of a failed check.
pub type Messages = Vec<String>;

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// Upstream is moving from "characters" to "bytes"; keys and values of labels have moved.
fn too_many_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    let examples = examples.iter().map(|e| format!("'{e}', ")).collect::<Vec<_>>().join(" or ");
    format!("{message} (e.g. {examples}regex used for validation is '{regex}')")
}

fn is_inner(value: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = value.as_bytes();
    let ends = bytes.first().copied().is_some_and(edge) && bytes.last().copied().is_some_and(edge);
    ends && bytes.iter().all(|b| edge(*b) || inner(*b))
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn matches_label(value: &str) -> bool {
    is_inner(value, lower_alnum, |b| b == b'-')
}

fn matches_qualified(value: &str) -> bool {
    is_inner(value, |b| b.is_ascii_alphanumeric(), |b| b"-_.".contains(&b))
}

/// RFC 1123 label: names of namespaces, containers, ports.
#[must_use]
pub fn dns_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_MAX {
        messages.push(too_long(LABEL_MAX));
    }
    if !matches_label(value) {
        messages.push(if value.split('.').all(matches_label) {
            "must not contain dots".to_owned()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                 start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            )
        });
    }
    messages
}

/// RFC 1123 subdomain: names of most objects.
#[must_use]
pub fn dns_subdomain(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        messages.push(too_long(SUBDOMAIN_MAX));
    }
    if !value.split('.').all(matches_label) {
        messages.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
             must start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    messages
}

/// RFC 1035 label: names of services.
#[must_use]
pub fn dns1035_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_MAX {
        messages.push(too_long(LABEL_MAX));
    }
    if !matches_label(value) || !value.as_bytes().first().is_some_and(u8::is_ascii_lowercase) {
        messages.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    messages
}

/// What can stand in a URL between slashes.
#[must_use]
pub fn path_segment(value: &str) -> Messages {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"].iter().filter(|c| value.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// Keys of labels and annotations, names of finalizers, conditions and resources: `[prefix/]name`.
#[must_use]
pub fn qualified_name(value: &str) -> Messages {
    let regex = |prefix: &str| {
        let error = regex_error(
            "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character",
            "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
            &["MyName", "my.name", "123-abc"],
        );
        format!("{prefix}{error}")
    };
    let mut messages = Messages::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                let bytes = |m: String| m.replace("253 characters", "253 bytes");
                messages
                    .extend(dns_subdomain(prefix).into_iter().map(|m| format!("prefix part {}", bytes(m))));
            }
            name
        }
        _ => {
            let error = regex("a valid label key ");
            return vec![format!(
                "{error} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        messages.push(format!("name part {}", too_many_bytes(LABEL_MAX)));
    }
    if !matches_qualified(name) {
        messages.push(regex("name part "));
    }
    messages
}

/// Values of labels.
#[must_use]
pub fn label_value(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_MAX {
        messages.push(too_many_bytes(LABEL_MAX));
    }
    if !value.is_empty() && !matches_qualified(value) {
        messages.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
             must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    messages
}

/// Keys of config maps and secrets.
#[must_use]
pub fn config_key(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        messages.push(too_long(SUBDOMAIN_MAX));
    }
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        messages.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." | ".." => messages.push(format!("must not be '{value}'")),
        other if other.starts_with("..") => messages.push("must not start with '..'".to_owned()),
        _ => {}
    }
    messages
}

/// Names of environment variables, as Kubernetes accepts them since 1.34.
#[must_use]
pub fn env_var(value: &str) -> Messages {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Messages::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// Names of container ports (RFC 6335 service names).
#[must_use]
pub fn port_name(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > 15 {
        messages.push(too_long(15));
    }
    if value.is_empty() || !value.bytes().all(|b| lower_alnum(b) || b == b'-') {
        messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        messages.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        messages.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        messages.push("must not begin or end with a hyphen".to_owned());
    }
    messages
}

/// Numbers of ports.
#[must_use]
pub fn port_number(value: i64) -> Messages {
    if (1..=65535).contains(&value) {
        Messages::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

/// Checks an object's name by its kind's rule. With `prefix`, the name is a `generateName`, which may end in a dash.
#[must_use]
pub fn check(rule: NameRule, name: &str, prefix: bool) -> Messages {
    let masked;
    let name = if prefix && name.len() > 1 && name.ends_with('-') {
        masked = format!("{}a", &name[..name.len() - 1]);
        &masked
    } else {
        name
    };
    match rule {
        NameRule::DnsSubdomain => dns_subdomain(name),
        NameRule::DnsLabel => dns_label(name),
        NameRule::Dns1035Label => dns1035_label(name),
        NameRule::PathSegment => path_segment(name),
    }
}

/// Text that is safe in names, from bits.
#[must_use]
pub fn safe_encode(mut bits: u64, len: usize) -> String {
    let radix = SAFE.len() as u64;
    (0..len)
        .map(|_| {
            let digit = usize::try_from(bits % radix).unwrap_or_default();
            bits /= radix;
            char::from(SAFE[digit])
        })
        .collect()
}

/// The name of an object with `generateName`: the base, cut to fit a label, and five characters from random bits.
#[must_use]
pub fn generate(base: &str, random: u64) -> String {
    let mut end = base.len().min(LABEL_MAX - SUFFIX_LEN);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], safe_encode(random, SUFFIX_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_subdomain_is_explained_in_kubernetes_words() {
        assert_eq!(
            dns_subdomain("Bad_Name"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
              must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(dns_subdomain(&"a".repeat(254)), ["must be no more than 253 characters"]);
        assert!(dns_subdomain("a.b-c.1").is_empty());
        assert!(!dns_subdomain("a..b").is_empty());
    }

    #[test]
    fn a_label_with_dots_is_told_so() {
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert!(dns_label("-a")[0].contains("'my-name',  or '123-abc', regex"));
        assert!(dns1035_label("1a")[0].starts_with("a DNS-1035 label"));
    }

    #[test]
    fn a_qualified_name_may_have_one_prefix() {
        assert!(qualified_name("app.kubernetes.io/name").is_empty());
        assert!(qualified_name("MyName").is_empty());
        assert_eq!(qualified_name("/x"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("a/")[0], "name part must be non-empty");
        assert!(qualified_name("a/b/c")[0].ends_with("(e.g. 'example.com/MyName')"));
    }

    #[test]
    fn a_generated_name_fits_a_label_and_its_prefix_may_end_in_a_dash() {
        let name = generate(&format!("{}-", "x".repeat(80)), u64::MAX);
        assert_eq!(name.len(), 63);
        assert!(check(NameRule::DnsSubdomain, "web-", true).is_empty());
        assert!(!check(NameRule::DnsSubdomain, "web-", false).is_empty());
        assert_eq!(check(NameRule::PathSegment, "a/b", false), ["may not contain '/'"]);
        assert!(check(NameRule::PathSegment, "system:node", false).is_empty());
    }
}
