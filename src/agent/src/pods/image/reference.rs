//! The grammar of image names (the distribution project's reference format).

/// Longest name without tag and digest.
const MAX_NAME: usize = 255;

/// Checks an image name.
///
/// # Errors
/// Why it is none, in the words users know.
pub(super) fn check(image: &str) -> Result<(), String> {
    let invalid = || "invalid reference format".to_owned();
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    if digest.is_some_and(|d| !is_digest(d)) {
        return Err(invalid());
    }
    let (domain, remote) = match rest.split_once('/') {
        Some((first, remote)) if is_domain_like(first) => (Some(first), remote),
        _ => (None, rest),
    };
    let (path, tag) = match remote.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (remote, None),
    };
    if domain.is_some_and(|d| !is_domain(d)) || tag.is_some_and(|t| !is_tag(t)) {
        return Err(invalid());
    }
    if !path.split('/').all(is_component) {
        let lower = path.to_ascii_lowercase();
        if lower != path && lower.split('/').all(is_component) {
            let shown = if domain.is_none() && !path.contains('/') {
                format!("library/{path}")
            } else {
                path.to_owned()
            };
            return Err(format!("invalid reference format: repository name ({shown}) must be lowercase"));
        }
        return Err(invalid());
    }
    if path.len() + domain.map_or(0, str::len) > MAX_NAME {
        return Err(format!("repository name must not be more than {MAX_NAME} characters"));
    }
    Ok(())
}

/// Whether the part before the first slash is a registry rather than a path.
fn is_domain_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let part = |p: &str| {
        !p.is_empty()
            && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !p.starts_with('-')
            && !p.ends_with('-')
    };
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good_host = match v6 {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(part),
    };
    good_host && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(component: &str) -> bool {
    let mut words = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let edges = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edges(component.chars().next())
        && edges(component.chars().last())
        && words.all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128
        && tag.chars().next().is_some_and(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || "+.-_".contains(c))
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_are_judged_as_registries_judge_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for good in [
            "busybox".to_owned(),
            "busybox:1.36".into(),
            "a/b/c_d--e.f".into(),
            "localhost/x:y".into(),
            "reg.example:5000/team/x:T_1.2-3".into(),
            "[::1]:5000/x".into(),
            format!("busybox@{digest}"),
            format!("reg.io/x:1@{digest}"),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "NOT/a:valid:name",
            "a b",
            "x:",
            ":x",
            "a//b",
            "a/",
            "x@sha256:1",
            "-a",
            "a..b",
            "http://x/y",
        ] {
            assert_eq!(check(bad), Err("invalid reference format".to_owned()), "{bad}");
        }
        assert_eq!(
            check("BusyBox").unwrap_err(),
            "invalid reference format: repository name (library/BusyBox) must be lowercase"
        );
    }
}
