//! What a request is about, read from method and path alone: the input of authorization, metrics and routing.

use http::Method;

use super::query::{Query, percent_decode};

/// A request's verb and target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for paths that are no
    /// resources the method in lower case.
    pub(crate) verb: &'static str,
    /// The decoded path.
    pub(crate) path: String,
    /// The resource, when the path names one.
    pub(crate) resource: Option<ResourcePath>,
}

/// The parts of `/apis/<group>/<version>/namespaces/<namespace>/<resource>/<name>/<subresource>/<rest>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// What follows the subresource, with its slash: the target of a proxy request.
    pub(crate) rest: String,
}

impl RequestInfo {
    /// Reads method, path and the parameters that change the verb.
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let decoded = percent_decode(path, false);
        let Some((mut resource, watch)) = parse_resource(path) else {
            return Self { verb: lower(method), path: decoded, resource: None };
        };
        let verb = match (resource.name.is_some(), method.as_str()) {
            _ if watch => "watch",
            (_, "POST") => "create",
            (_, "PUT") => "update",
            (_, "PATCH") => "patch",
            (true, "DELETE") => "delete",
            (false, "DELETE") => "deletecollection",
            (true, "GET" | "HEAD") => "get",
            (false, "GET" | "HEAD") if query.flag("watch") => "watch",
            (false, "GET" | "HEAD") => "list",
            _ => lower(method),
        };
        if resource.name.is_none() && matches!(verb, "list" | "watch" | "deletecollection") {
            resource.name = exact_name(query);
        }
        Self { verb, path: decoded, resource: Some(resource) }
    }

    /// Whether the request may last as long as the client likes.
    pub(crate) fn long_running(&self) -> bool {
        let sub = self.resource.as_ref().and_then(|r| r.subresource.as_deref());
        self.verb == "watch" || matches!(sub, Some("log" | "exec" | "attach" | "portforward" | "proxy"))
    }

    /// Whether the request only reads.
    pub(crate) fn read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch" | "head" | "options")
    }
}

/// A selector for one name makes a list a look-up, also for authorization.
fn exact_name(query: &Query) -> Option<String> {
    let selector = copepod_api::selector::FieldSelector::parse(query.text("fieldSelector")?).ok()?;
    selector.exact("metadata.name").map(str::to_owned)
}

fn lower(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "other",
    }
}

/// The resource of a path, and whether the path has the old `watch` prefix.
fn parse_resource(path: &str) -> Option<(ResourcePath, bool)> {
    let mut parts = path.trim_matches('/').split('/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let mut found = ResourcePath::default();
    match next()? {
        "api" => {}
        "apis" => found.group = percent_decode(next()?, false),
        _ => return None,
    }
    found.version = percent_decode(next()?, false);
    let mut first = next()?;
    let watch = first == "watch";
    if watch {
        first = next()?;
    }
    let mut rest: Vec<&str> = parts.collect();
    // `namespaces/a/status` is about the namespace itself; `namespaces/a/pods` about the pods in it.
    if first == "namespaces" && rest.len() > 1 && !matches!(rest[1], "status" | "finalize") {
        found.namespace = Some(percent_decode(rest[0], false));
        found.resource = percent_decode(rest[1], false);
        rest.drain(..2);
    } else {
        found.resource = percent_decode(first, false);
        if first == "namespaces" {
            found.namespace = rest.first().map(|name| percent_decode(name, false));
        }
    }
    let mut rest = rest.into_iter();
    found.name = rest.next().map(|name| percent_decode(name, false));
    found.subresource = rest.next().map(|sub| percent_decode(sub, false));
    found.rest = rest.fold(String::new(), |text, part| text + "/" + part);
    Some((found, watch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &str, url: &str) -> RequestInfo {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        RequestInfo::parse(&Method::from_bytes(method.as_bytes()).unwrap(), path, &Query::parse(query))
    }

    #[test]
    fn verbs_and_targets_are_those_of_kubernetes() {
        let cases = [
            ("GET", "/api/v1/namespaces", "list", "namespaces", None, None, None),
            ("GET", "/api/v1/namespaces/a", "get", "namespaces", Some("a"), Some("a"), None),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update",
                "namespaces",
                Some("a"),
                Some("a"),
                Some("finalize"),
            ),
            ("POST", "/api/v1/namespaces/a/pods", "create", "pods", Some("a"), None, None),
            ("GET", "/api/v1/namespaces/a/pods/b/log", "get", "pods", Some("a"), Some("b"), Some("log")),
            ("GET", "/api/v1/pods?watch=1", "watch", "pods", None, None, None),
            ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Db", "list", "pods", None, Some("b"), None),
            ("GET", "/api/v1/watch/namespaces/a/pods", "watch", "pods", Some("a"), None, None),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection",
                "deployments",
                Some("a"),
                None,
                None,
            ),
            (
                "GET",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "get",
                "clusterroles",
                None,
                Some("system:node"),
                None,
            ),
        ];
        for (method, url, verb, resource, namespace, name, sub) in cases {
            let info = info(method, url);
            let path = info.resource.unwrap();
            assert_eq!(
                (
                    info.verb,
                    path.resource.as_str(),
                    path.namespace.as_deref(),
                    path.name.as_deref(),
                    path.subresource.as_deref()
                ),
                (verb, resource, namespace, name, sub),
                "{method} {url}"
            );
        }
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in ["/", "/healthz", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1/"] {
            assert_eq!(info("GET", path).resource, None, "{path}");
        }
        let proxy = info("GET", "/api/v1/namespaces/a/pods/b/proxy/x/y").resource.unwrap();
        assert_eq!(proxy.rest, "/x/y");
    }
}
