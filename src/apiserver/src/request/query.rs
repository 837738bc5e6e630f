//! Parameters in the query of a URL, read with the API server's habits.

use copepod_api::status::ApiError;

/// Decodes `%xx` (and `+` as a space, in queries). Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> String {
    if !text.bytes().any(|b| b == b'%' || (plus_is_space && b == b'+')) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (b'+', ..) if plus_is_space => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Encodes text for a path segment or a query value.
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The parameters of a request, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL after the question mark.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value of a parameter, `None` also when it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A switch: there and neither `false` nor `0`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 when the value is no number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name).map(|value| value.parse().map_err(|_| bad_number(value))).transpose()
    }
}

fn bad_number(value: &str) -> ApiError {
    ApiError::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_switches_follow_go() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+d&watch&pretty=0&x=%zz&x=2");
        assert_eq!(query.get("labelSelector"), Some("a=b,c d"));
        assert!(query.flag("watch"));
        assert!(!query.flag("pretty"));
        assert!(!query.flag("absent"));
        assert_eq!(query.all("x").collect::<Vec<_>>(), ["%zz", "2"]);
        assert!(query.number("x").is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let text = "system:node:a b/ü+%";
        assert_eq!(percent_decode(&percent_encode(text), true), text);
    }
}
