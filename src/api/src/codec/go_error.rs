//! Errors of the JSON reader in the words of Go's `encoding/json`, which clients and tests know.

/// Go's text for an error of `serde_json` about these bytes.
pub(super) fn describe(json: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("recursion limit") {
        return "exceeded max depth".to_owned();
    }
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let Some(found) = at(json, error.line(), error.column()) else { return text };
    let place = [
        ("key must be a string", "looking for beginning of object key string"),
        ("trailing comma", "looking for beginning of value"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing characters", "after top-level value"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
        ("expected ident", "in literal"),
        ("expected value", "looking for beginning of value"),
    ];
    let place = place.iter().find(|(start, _)| text.starts_with(start));
    match place {
        Some((_, place)) => format!("invalid character {} {place}", quote(found)),
        None => text,
    }
}

/// The character at a line and column, which count from one, columns in bytes.
fn at(json: &[u8], line: usize, column: usize) -> Option<char> {
    let line = json.split(|b| *b == b'\n').nth(line.checked_sub(1)?)?;
    let rest = line.get(column.checked_sub(1)?..)?;
    if rest.is_empty() {
        return Some('\n');
    }
    let rest = &rest[..rest.len().min(4)];
    match std::str::from_utf8(rest) {
        Ok(text) => text.chars().next(),
        Err(e) => std::str::from_utf8(&rest[..e.valid_up_to()])
            .ok()
            .and_then(|t| t.chars().next())
            .or(Some(char::REPLACEMENT_CHARACTER)),
    }
}

fn quote(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c if c.is_control() => format!("'{}'", c.escape_debug()),
        c => format!("'{c}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mistakes_read_as_in_go() {
        for (json, expected) in [
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("[", "unexpected end of JSON input"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(json).unwrap_err();
            assert_eq!(describe(json.as_bytes(), &error), expected, "{json}");
        }
    }
}
