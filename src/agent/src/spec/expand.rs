//! `$(VAR)` in commands, arguments and environment values.

/// Replaces `$(NAME)` by what `lookup` knows; an unknown name stays as it is, `$$` is a plain `$`.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if rest.starts_with('(')
            && let Some(end) = rest.find(')')
        {
            let name = &rest[1..end];
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push('$');
                    out.push_str(&rest[..=end]);
                }
            }
            rest = &rest[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_are_replaced_as_kubernetes_documents_it() {
        let lookup = |name: &str| match name {
            "A" => Some("a"),
            "EMPTY" => Some(""),
            "B" => Some("$(A)"),
            _ => None,
        };
        for (text, expected) in [
            ("$(A)", "a"),
            ("x$(A)y$(A)", "xaya"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$$$$(A)", "$$(A)"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$(EMPTY)", ""),
            ("$(B)", "$(A)"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("$", "$"),
            ("a$$b$", "a$b$"),
            ("$()", "$()"),
            ("ü$(A)ß", "üaß"),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
