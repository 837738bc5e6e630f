//! OpenAPI v3 documents, made from the resource descriptors.
//!
//! Paths, operations and parameters are complete; bodies are described as plain objects. kubectl reads here which
//! parameters a PATCH takes before it sends one.

use serde_json::{Map, Value, json};

use crate::hash::fnv1a;
use crate::kind::{Gvk, Kind, Scope, Subresource, Verb};
use crate::registry::{Group, Registry, Version};

/// Path of a group version below `/openapi/v3/`: `api/v1` or `apis/apps/v1`.
#[must_use]
pub fn path(group: &Group, version: &Version) -> String {
    let prefix = if group.name.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", group.group_version(version))
}

/// `/openapi/v3`: where the documents are. The hash in a URL changes with the document.
#[must_use]
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for group in registry.groups() {
        for version in &group.versions {
            let path = path(group, version);
            let url = format!("/openapi/v3/{path}?hash={}", hash(version));
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The hash of a group version's document: it covers all that the document is made from.
#[must_use]
pub fn hash(version: &Version) -> String {
    let mut hash = fnv1a(env!("CARGO_PKG_VERSION").as_bytes(), crate::hash::FNV_OFFSET);
    for kind in version.kinds() {
        let text =
            format!("{:?}{:?}{:?}{:?}{:?}", kind.gvk, kind.plural, kind.scope, kind.verbs, kind.subresources);
        hash = fnv1a(text.as_bytes(), hash);
    }
    format!("{hash:016X}")
}

/// The document of a group version.
#[must_use]
pub fn document(group: &Group, version: &Version) -> Value {
    let base = format!("/{}", path(group, version));
    let mut paths = Map::new();
    for kind in version.kinds() {
        add_kind(kind, &base, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": {}},
    })
}

fn add_kind(kind: &Kind, base: &str, paths: &mut Map<String, Value>) {
    let namespaced = kind.scope == Scope::Namespaced;
    let collection = if namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{base}/{}", kind.plural)
    };
    let mut scope = Vec::new();
    if namespaced {
        scope.push(in_path("namespace"));
        let all = verbs(kind, &[Verb::List], "", Shape::Collection);
        add_path(format!("{base}/{}", kind.plural), all, &[], paths);
    }
    let whole = verbs(kind, &[Verb::List, Verb::Create, Verb::DeleteCollection], "", Shape::Collection);
    add_path(collection.clone(), whole, &scope, paths);

    scope.push(in_path("name"));
    let one = verbs(kind, &[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete], "", Shape::Object);
    add_path(format!("{collection}/{{name}}"), one, &scope, paths);
    for sub in &kind.subresources {
        add_path(format!("{collection}/{{name}}/{}", sub.name), of_subresource(kind, sub), &scope, paths);
    }
}

fn add_path(path: String, operations: Vec<(&str, Value)>, scope: &[Value], paths: &mut Map<String, Value>) {
    if operations.is_empty() {
        return;
    }
    let mut item: Map<String, Value> = operations.into_iter().map(|(m, o)| (m.to_owned(), o)).collect();
    let mut parameters = scope.to_vec();
    parameters.push(in_query("pretty", "string"));
    item.insert("parameters".to_owned(), parameters.into());
    paths.insert(path, Value::Object(item));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Collection,
    Object,
}

fn verbs(kind: &Kind, wanted: &[Verb], suffix: &str, shape: Shape) -> Vec<(&'static str, Value)> {
    wanted
        .iter()
        .filter(|verb| kind.verbs.contains(verb))
        .map(|verb| (method(*verb), operation(*verb, kind, &kind.gvk, suffix, shape)))
        .collect()
}

fn of_subresource(kind: &Kind, sub: &Subresource) -> Vec<(&'static str, Value)> {
    let gvk = sub.gvk.as_ref().unwrap_or(&kind.gvk);
    sub.verbs
        .iter()
        .map(|verb| (method(*verb), operation(*verb, kind, gvk, &camel(&sub.name), Shape::Object)))
        .collect()
}

fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "post",
        Verb::Delete | Verb::DeleteCollection => "delete",
        Verb::Get | Verb::List | Verb::Watch => "get",
        Verb::Patch => "patch",
        Verb::Update => "put",
    }
}

fn action(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "post",
        Verb::Update => "put",
        other => other.as_str(),
    }
}

fn operation(verb: Verb, kind: &Kind, gvk: &Gvk, suffix: &str, shape: Shape) -> Value {
    let group = match kind.gvk.group.as_ref() {
        "" => "Core".to_owned(),
        other => camel(other.trim_end_matches(".k8s.io")),
    };
    let name = match verb {
        Verb::Get => "read",
        Verb::Update => "replace",
        Verb::DeleteCollection => "deleteCollection",
        other => other.as_str(),
    };
    let namespaced = if kind.scope == Scope::Namespaced { "Namespaced" } else { "" };
    let version = camel(&kind.gvk.version);
    let content = |types: &[&str]| {
        let types: Map<String, Value> =
            types.iter().map(|t| ((*t).to_owned(), json!({"schema": {"type": "object"}}))).collect();
        json!(types)
    };
    let answer = content(&["application/json", "application/yaml"]);
    let mut responses = json!({"200": {"description": "OK", "content": answer}});
    if verb == Verb::Create {
        responses["201"] = json!({"description": "Created", "content": answer});
    }
    responses["401"] = json!({"description": "Unauthorized"});
    let mut operation = json!({
        "operationId": format!("{name}{group}{version}{namespaced}{}{suffix}", kind.gvk.kind),
        "tags": [format!("{}_{}", snake(&group), kind.gvk.version)],
        "x-kubernetes-action": action(verb),
        "x-kubernetes-group-version-kind": {"group": gvk.group, "version": gvk.version, "kind": gvk.kind},
        "parameters": parameters(verb, shape),
        "responses": responses,
    });
    let body = match verb {
        Verb::Create | Verb::Update => content(&["application/json", "application/yaml"]),
        Verb::Delete | Verb::DeleteCollection => content(&["application/json"]),
        Verb::Patch => content(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ]),
        Verb::Get | Verb::List | Verb::Watch => return operation,
    };
    let required = !matches!(verb, Verb::Delete | Verb::DeleteCollection);
    operation["requestBody"] = json!({"required": required, "content": body});
    operation
}

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const FORCE: &[(&str, &str)] = &[("force", "boolean")];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const DELETE_MANY: &[(&str, &str)] = &[
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("timeoutSeconds", "integer"),
];

fn parameters(verb: Verb, shape: Shape) -> Vec<Value> {
    let groups: &[&[(&str, &str)]] = match (verb, shape) {
        (Verb::List | Verb::Watch, _) | (Verb::Get, Shape::Collection) => &[LIST],
        (Verb::Get, Shape::Object) => &[],
        (Verb::Create | Verb::Update, _) => &[WRITE],
        (Verb::Patch, _) => &[WRITE, FORCE],
        (Verb::Delete, _) => &[DELETE],
        (Verb::DeleteCollection, _) => &[DELETE, DELETE_MANY],
    };
    groups.iter().flat_map(|g| g.iter()).map(|(name, kind)| in_query(name, kind)).collect()
}

fn in_query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn in_path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

/// `flowcontrol.apiserver` becomes `FlowcontrolApiserver`.
fn camel(text: &str) -> String {
    text.split(['.', '-'])
        .map(|part| {
            let mut chars = part.chars();
            chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
        })
        .collect()
}

/// `FlowcontrolApiserver` becomes `flowcontrolApiserver`.
fn snake(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps() -> Value {
        let registry = Registry::builtin();
        let group = registry.group("apps").unwrap();
        document(group, &group.versions[0])
    }

    #[test]
    fn the_index_names_every_group_version() {
        let registry = Registry::builtin();
        let index = index(&registry);
        let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
        assert!(index["paths"]["api/v1"].is_object());
    }

    #[test]
    fn kubectl_finds_the_parameters_of_a_patch() {
        let document = apps();
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
        let names: Vec<&str> =
            patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    }

    #[test]
    fn scale_and_collections_have_their_own_paths() {
        let document = apps();
        let paths = document["paths"].as_object().unwrap();
        let scale = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
        assert_eq!(scale["operationId"], "readAppsV1NamespacedDeploymentScale");
        assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
        assert_eq!(paths["/apis/apps/v1/deployments"]["get"]["x-kubernetes-action"], "list");
    }

    #[test]
    fn the_hash_changes_with_the_kinds() {
        let registry = Registry::builtin();
        let less = registry.without(|k| k.plural == "deployments");
        let hash = |r: &Registry| super::hash(&r.group("apps").unwrap().versions[0]);
        assert_eq!(hash(&registry), hash(&Registry::builtin()));
        assert_ne!(hash(&registry), hash(&less));
    }
}
