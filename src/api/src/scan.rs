//! Finds values in JSON bytes without building a tree.
//!
//! Made for stored objects, which are valid JSON: on anything else the answer is `None`, never a panic.

use std::borrow::Cow;
use std::ops::Range;

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The position behind the string whose opening quote is at `at`.
fn skip_string(json: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The position behind the value that starts at `at`.
fn skip_value(json: &[u8], at: usize) -> Option<usize> {
    match json.get(at)? {
        b'"' => skip_string(json, at),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = at;
            loop {
                match json.get(at)? {
                    b'"' => {
                        at = skip_string(json, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let len = json[at..].iter().take_while(|b| !b",]} \t\r\n".contains(b)).count();
            (len > 0).then_some(at + len)
        }
    }
}

/// The range of a field's value in the object at the start of `json`.
///
/// A key that is written with escapes is not found; no field of Kubernetes needs them.
#[must_use]
pub fn field(json: &[u8], name: &str) -> Option<Range<usize>> {
    let mut at = skip_space(json, 0);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(json, at + 1);
    while json.get(at) == Some(&b'"') {
        let key_end = skip_string(json, at)?;
        let key = &json[at + 1..key_end - 1];
        at = skip_space(json, key_end);
        if json.get(at) != Some(&b':') {
            return None;
        }
        at = skip_space(json, at + 1);
        let end = skip_value(json, at)?;
        if key == name.as_bytes() {
            return Some(at..end);
        }
        at = skip_space(json, end);
        if json.get(at) != Some(&b',') {
            return None;
        }
        at = skip_space(json, at + 1);
    }
    None
}

/// The bytes of the value at a path of object fields.
#[must_use]
pub fn get<'a, S: AsRef<str>>(json: &'a [u8], path: &[S]) -> Option<&'a [u8]> {
    let mut value = json;
    for name in path {
        value = &value[field(value, name.as_ref())?];
    }
    Some(value)
}

/// A scalar as text: strings without quotes, numbers and booleans as they are written, null as nothing.
#[must_use]
pub fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    match value.first()? {
        b'"' => {
            let inner = value.get(1..value.len() - 1)?;
            if inner.contains(&b'\\') {
                serde_json::from_slice::<String>(value).ok().map(Cow::Owned)
            } else {
                std::str::from_utf8(inner).ok().map(Cow::Borrowed)
            }
        }
        b'n' | b'{' | b'[' => None,
        _ => std::str::from_utf8(value).ok().map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_behind_anything() {
        let json = br#" { "a" : "x\"}{" , "b":[{"c":"]"},1], "m":{"n":{"o":"p\u0041"},"t":true,"z":null} } "#;
        let found = |path: &[&str]| get(json, path).and_then(text).map(Cow::into_owned);
        assert_eq!(found(&["m", "n", "o"]).as_deref(), Some("pA"));
        assert_eq!(found(&["m", "t"]).as_deref(), Some("true"));
        assert_eq!(found(&["m", "z"]), None);
        assert_eq!(found(&["m", "q"]), None);
        assert_eq!(get(json, &["b"]), Some(br#"[{"c":"]"},1]"#.as_slice()));
    }

    #[test]
    fn broken_json_is_no_panic() {
        for json in ["", "{", "{\"a\"", "{\"a\":", "{\"a\":{", "{\"a\":\"", "{\"a\":\"\\", "[1]", "{\"a\":1"]
        {
            assert_eq!(get(json.as_bytes(), &["b"]), None, "{json}");
        }
    }
}
