//! Discovery documents: which groups, versions and resources there are.

use serde_json::{Map, Value, json};

use crate::kind::{Gvk, Kind, Scope, Verb};
use crate::registry::{Group, Registry, Version};

/// The form of aggregated discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregated {
    /// `apidiscovery.k8s.io/v2`.
    V2,
    /// `apidiscovery.k8s.io/v2beta1`.
    V2Beta1,
}

impl Aggregated {
    /// The version in an `Accept` parameter `v=` and in `apiVersion`.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Aggregated::V2 => "v2",
            Aggregated::V2Beta1 => "v2beta1",
        }
    }

    /// The media type of the answer.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Aggregated::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Aggregated::V2Beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
        }
    }
}

/// `/api`: APIVersions. `address` is host and port that clients reach the server at.
#[must_use]
pub fn api_versions(registry: &Registry, address: &str) -> Value {
    let versions: Vec<&str> =
        registry.group("").iter().flat_map(|g| &g.versions).map(|v| v.name.as_ref()).collect();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`: APIGroupList.
#[must_use]
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> =
        registry.groups().iter().filter(|g| !g.name.is_empty()).map(group_fields).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`: APIGroup.
#[must_use]
pub fn group(group: &Group) -> Value {
    let mut value = group_fields(group);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    value
}

fn group_fields(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|v| json!({"groupVersion": group.group_version(v), "version": v.name}))
        .collect();
    json!({"name": group.name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/v1` and `/apis/<group>/<version>`: APIResourceList.
#[must_use]
pub fn resource_list(group: &Group, version: &Version) -> Value {
    let resources: Vec<Value> = version.kinds().flat_map(|kind| resources(kind)).collect();
    let mut list = json!({
        "kind": "APIResourceList", "groupVersion": group.group_version(version), "resources": resources});
    if !group.name.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

/// A resource and its subresources.
fn resources(kind: &Kind) -> Vec<Value> {
    let namespaced = kind.scope == Scope::Namespaced;
    let mut own = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": namespaced,
        "kind": kind.gvk.kind, "verbs": verbs(kind.verbs)});
    add_names(kind, &mut own);
    let mut all = vec![own];
    let mut subresources: Vec<_> = kind.subresources.iter().collect();
    subresources.sort_by(|a, b| a.name.cmp(&b.name));
    for sub in subresources {
        let gvk = sub.gvk.as_ref().unwrap_or(&kind.gvk);
        let mut value = json!({
            "name": format!("{}/{}", kind.plural, sub.name), "singularName": "", "namespaced": namespaced,
            "kind": gvk.kind, "verbs": verbs(sub.verbs)});
        if (&gvk.group, &gvk.version) != (&kind.gvk.group, &kind.gvk.version) {
            value["group"] = json!(gvk.group);
            value["version"] = json!(gvk.version);
        }
        all.push(value);
    }
    all
}

fn add_names(kind: &Kind, value: &mut Value) {
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|v| v.as_str()).collect()
}

/// Aggregated discovery of the core group (`/api`) or of all others (`/apis`).
#[must_use]
pub fn aggregated(registry: &Registry, core: bool, form: Aggregated) -> Value {
    let items: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|g| g.name.is_empty() == core)
        .map(|group| {
            let mut metadata = Map::new();
            if !core {
                metadata.insert("name".to_owned(), json!(group.name));
            }
            let versions: Vec<Value> = group.versions.iter().map(aggregated_version).collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", form.version()),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_version(version: &Version) -> Value {
    let resources: Vec<Value> = version.kinds().map(|kind| aggregated_resource(kind)).collect();
    json!({"version": version.name, "resources": resources, "freshness": "Current"})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let scope = if kind.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" };
    let mut value = json!({
        "resource": kind.plural, "responseKind": response_kind(&kind.gvk, kind), "scope": scope,
        "singularResource": kind.singular, "verbs": verbs(kind.verbs)});
    add_names(kind, &mut value);
    if !kind.subresources.is_empty() {
        let mut subresources: Vec<_> = kind.subresources.iter().collect();
        subresources.sort_by(|a, b| a.name.cmp(&b.name));
        let subresources: Vec<Value> = subresources
            .into_iter()
            .map(|sub| {
                let gvk = sub.gvk.as_ref().unwrap_or(&kind.gvk);
                json!({"subresource": sub.name, "responseKind": response_kind(gvk, kind), "verbs": verbs(sub.verbs)})
            })
            .collect();
        value["subresources"] = subresources.into();
    }
    value
}

/// Group and version are empty where they are those of the resource.
fn response_kind(gvk: &Gvk, of: &Kind) -> Value {
    let own = (&gvk.group, &gvk.version) == (&of.gvk.group, &of.gvk.version);
    let (group, version) = if own { ("", "") } else { (gvk.group.as_ref(), gvk.version.as_ref()) };
    json!({"group": group, "version": version, "kind": gvk.kind})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(list: &'a Value, field: &str, name: &str) -> &'a Value {
        list.as_array().unwrap().iter().find(|v| v[field] == name).unwrap()
    }

    #[test]
    fn groups_and_their_preferred_versions_are_listed() {
        let registry = Registry::builtin();
        assert_eq!(api_versions(&registry, "1.2.3.4:6443")["versions"], json!(["v1"]));
        let list = group_list(&registry);
        assert_eq!(list["groups"][0]["name"], "apiregistration.k8s.io");
        let autoscaling = find(&list["groups"], "name", "autoscaling");
        assert_eq!(
            autoscaling["preferredVersion"],
            json!({"groupVersion": "autoscaling/v2", "version": "v2"})
        );
        assert_eq!(group(registry.group("apps").unwrap())["kind"], "APIGroup");
    }

    #[test]
    fn the_core_resources_are_those_of_kubernetes() {
        let registry = Registry::builtin();
        let core = registry.group("").unwrap();
        let list = resource_list(core, &core.versions[0]);
        let names: Vec<&str> =
            list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        let expected = "bindings componentstatuses configmaps endpoints events limitranges namespaces \
            namespaces/finalize namespaces/status nodes nodes/proxy nodes/status persistentvolumeclaims \
            persistentvolumeclaims/status persistentvolumes persistentvolumes/status pods pods/attach pods/binding \
            pods/ephemeralcontainers pods/eviction pods/exec pods/log pods/portforward pods/proxy pods/resize \
            pods/status podtemplates replicationcontrollers replicationcontrollers/scale \
            replicationcontrollers/status resourcequotas resourcequotas/status secrets serviceaccounts \
            serviceaccounts/token services services/proxy services/status";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        let eviction = find(&list["resources"], "name", "pods/eviction");
        assert_eq!(
            *eviction,
            json!({"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
                "version": "v1", "kind": "Eviction", "verbs": ["create"]})
        );
        let namespaces = find(&list["resources"], "name", "namespaces");
        assert_eq!(
            namespaces["verbs"],
            json!(["create", "delete", "get", "list", "patch", "update", "watch"])
        );
        assert_eq!(namespaces["namespaced"], json!(false));
    }

    #[test]
    fn aggregated_discovery_nests_subresources() {
        let registry = Registry::builtin();
        let list = aggregated(&registry, false, Aggregated::V2);
        assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
        let apps =
            list["items"].as_array().unwrap().iter().find(|i| i["metadata"]["name"] == "apps").unwrap();
        let deployments = find(&apps["versions"][0]["resources"], "resource", "deployments");
        assert_eq!(deployments["shortNames"], json!(["deploy"]));
        assert_eq!(deployments["responseKind"], json!({"group": "", "version": "", "kind": "Deployment"}));
        assert_eq!(
            deployments["subresources"][0],
            json!({"subresource": "scale", "verbs": ["get", "patch", "update"],
                "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}})
        );
        let core = aggregated(&registry, true, Aggregated::V2Beta1);
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    }
}
