//! The table of every built-in kind of Kubernetes 1.36 that is served in version 1 or 2.
//!
//! One file per API group (or a few small ones). What an entry does not say is the usual: all verbs, stored under its
//! own group, no generation, an update needs no resource version and creates nothing.

mod admission;
mod apps;
mod auth;
mod core;
mod extensions;
mod networking;
mod policy;
mod resource;
mod storage;

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::{NamespaceResourceScope, Resource};

use crate::kind::{
    Access, Conversion, Gvk, Kind, Retention, Scope, SelectableField, Subresource, Text, Verb,
};
use crate::typed::{self, TypedKind};

/// Verbs of a subresource that is a part of an object.
const PART: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
const CREATE: &[Verb] = &[Verb::Create];
const GET: &[Verb] = &[Verb::Get];
const UPDATE: &[Verb] = &[Verb::Update];
/// Verbs of streams.
const STREAM: &[Verb] = &[Verb::Create, Verb::Get];
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];

/// All built-in kinds.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    let groups = [
        core::kinds(),
        apps::kinds(),
        auth::kinds(),
        networking::kinds(),
        policy::kinds(),
        storage::kinds(),
        admission::kinds(),
        extensions::kinds(),
        resource::kinds(),
    ];
    groups.into_iter().flatten().map(|builder| builder.0).collect()
}

/// An entry of the table.
struct Builder(Kind);

/// The usual entry of a type.
fn kind<T: TypedKind>() -> Builder {
    let namespaced = TypeId::of::<<T as Resource>::Scope>() == TypeId::of::<NamespaceResourceScope>();
    let group = T::GROUP;
    Builder(Kind {
        gvk: Gvk { group: group.into(), version: T::VERSION.into(), kind: T::KIND.into() },
        list_kind: format!("{}List", T::KIND).into(),
        plural: T::URL_PATH_SEGMENT.into(),
        singular: T::KIND.to_ascii_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: if namespaced { Scope::Namespaced } else { Scope::Cluster },
        verbs: Verb::ALL,
        subresources: Vec::new(),
        selectable: Vec::new(),
        storage: (if group.is_empty() { "core" } else { group }.into(), T::URL_PATH_SEGMENT.into()),
        retention: Retention::Durable,
        generation: false,
        graceful: false,
        create_on_update: false,
        unconditional_update: true,
        conversion: None,
        strategy: typed::strategy::<T>(),
    })
}

/// A kind that is answered and not stored.
fn review<T: TypedKind>() -> Builder {
    let mut builder = kind::<T>();
    builder.0.verbs = Verb::CREATE_ONLY;
    builder
}

fn gvk(group: &'static str, version: &'static str, kind: &'static str) -> Option<Gvk> {
    Some(Gvk { group: group.into(), version: version.into(), kind: kind.into() })
}

fn path(dotted: &'static str) -> Vec<Text> {
    dotted.split('.').map(Text::Borrowed).collect()
}

impl Builder {
    fn short(mut self, names: &[&'static str]) -> Self {
        self.0.short_names = names.iter().map(|n| Text::Borrowed(n)).collect();
        self
    }

    fn category(mut self, name: &'static str) -> Self {
        self.0.categories.push(name.into());
        self
    }

    fn verbs(mut self, verbs: &'static [Verb]) -> Self {
        self.0.verbs = verbs;
        self
    }

    fn sub(mut self, name: &'static str, gvk: Option<Gvk>, verbs: &'static [Verb], access: Access) -> Self {
        self.0.subresources.push(Subresource { name: name.into(), gvk, verbs, access });
        self
    }

    fn status(self) -> Self {
        self.sub("status", None, PART, Access::Status)
    }

    fn scale(self) -> Self {
        let access = Access::Scale {
            spec_replicas: ".spec.replicas".into(),
            status_replicas: ".status.replicas".into(),
            selector: ".spec.selector".into(),
        };
        self.sub("scale", gvk("autoscaling", "v1", "Scale"), PART, access)
    }

    fn part(self, name: &'static str, verbs: &'static [Verb]) -> Self {
        self.sub(name, None, verbs, Access::Part)
    }

    /// A core/v1 options kind, or the kind itself where `options` is empty, over a handler of its own.
    fn connect(self, name: &'static str, options: &'static str, verbs: &'static [Verb]) -> Self {
        let gvk = if options.is_empty() { None } else { gvk("", "v1", options) };
        self.sub(name, gvk, verbs, Access::Connect)
    }

    /// A field for selectors whose name is its path.
    fn field(self, name: &'static str) -> Self {
        self.field_at(name, name, "")
    }

    fn field_at(mut self, name: &'static str, at: &'static str, missing: &'static str) -> Self {
        self.0.selectable.push(SelectableField {
            name: name.into(),
            path: path(at),
            missing: missing.into(),
            fallback: None,
        });
        self
    }

    /// Where the last field is found when it is not at its own path.
    fn or(mut self, at: &'static str) -> Self {
        if let Some(field) = self.0.selectable.last_mut() {
            field.fallback = Some(path(at));
        }
        self
    }

    fn generation(mut self) -> Self {
        self.0.generation = true;
        self
    }

    fn graceful(mut self) -> Self {
        self.0.graceful = true;
        self
    }

    fn create_on_update(mut self) -> Self {
        self.0.create_on_update = true;
        self
    }

    fn conditional_update(mut self) -> Self {
        self.0.unconditional_update = false;
        self
    }

    fn relaxed(mut self) -> Self {
        self.0.retention = Retention::Relaxed;
        self
    }

    fn expiring(mut self, hours: u64) -> Self {
        self.0.retention = Retention::Expiring(Duration::from_secs(hours * 3600));
        self
    }

    fn stored_as(mut self, group: &'static str, conversion: &'static dyn Conversion) -> Self {
        self.0.storage.0 = group.into();
        self.0.conversion = Some(conversion);
        self
    }
}

/// The built-in kinds, shared.
pub(crate) fn shared() -> Vec<Arc<Kind>> {
    kinds().into_iter().map(Arc::new).collect()
}
