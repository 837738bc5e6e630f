//! Strategies of kinds that have a Rust type: everything that is built in.
//!
//! [`TypedKind`] says what is special about a kind; [`strategy`] makes a [`Strategy`] of it. [`decode`] and [`encode`]
//! translate between JSON trees and types with Go's habits. The list of kinds is in `typed/kinds.rs`.
//!
//! Generic code is instantiated for some seventy kinds: it stays thin, the work is done by functions over trees.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec;
use crate::field::Errors;
use crate::kind::Column;
use crate::print::Printer;
use crate::status::ApiError;
use crate::strategy::{Cell, Decoded, NameRule, Object, Part, Strategy};

pub mod decode;
pub mod encode;
mod kinds;
#[cfg(test)]
pub(crate) use kinds::all;
mod zeros;

#[cfg(test)]
mod tests;

/// What is special about a built-in kind; the defaults fit a kind that is plain data.
pub trait TypedKind:
    Metadata<Ty = ObjectMeta> + Resource + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
    /// Whether a write of the object itself leaves `.status` alone.
    const STATUS: bool = false;

    /// Whether annotations count as a change of what is asked for, so that the generation moves. Deployments only.
    const ANNOTATIONS_COUNT: bool = false;

    /// Fills in defaults.
    fn set_defaults(&mut self) {}

    /// Clears what a client may not set at creation, and sets what the server does: the status is cleared already.
    /// `metadata.uid` and `metadata.name` are set.
    fn prepare_create(&mut self) {}

    /// Takes from `old` what a write of `part` may not change, where that is not just the status or all but the
    /// status.
    fn prepare_update(&mut self, _old: &Self, _part: Part<'_>) {}

    /// All that is wrong with a new object, apart from its metadata.
    fn validate_create(&self) -> Errors {
        Errors::new()
    }

    /// All that is wrong with a change.
    fn validate_update(&self, _old: &Self, _part: Part<'_>) -> Errors {
        Errors::new()
    }

    /// Removes the status.
    fn clear_status(&mut self) {}

    /// Takes the status of another object.
    fn copy_status(&mut self, _from: &Self) {}

    /// What is valid as a name.
    fn name_rule() -> NameRule {
        NameRule::DnsSubdomain
    }

    /// How `kubectl get` shows the kind.
    fn printer() -> &'static Printer {
        &crate::print::NAME_AND_AGE
    }
}

/// The strategy of a built-in kind.
#[must_use]
pub fn strategy<T: TypedKind>() -> Arc<dyn Strategy> {
    Arc::new(TypedStrategy::<T>(PhantomData))
}

/// An object as its Rust type.
#[derive(Clone)]
pub struct Typed<T>(pub T);

impl<T: TypedKind> Object for Typed<T> {
    fn metadata(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }

    fn to_value(&self) -> Value {
        encode::to_value(&self.0)
    }

    fn encode(&self) -> Bytes {
        encode::canonical(&self.to_value())
    }

    fn boxed_clone(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

struct TypedStrategy<T>(PhantomData<fn() -> T>);

const FOREIGN: &str = "objects of a strategy come from its own decode";

fn own<T: TypedKind>(object: &dyn Object) -> &T {
    &object.as_any().downcast_ref::<Typed<T>>().expect(FOREIGN).0
}

fn own_mut<T: TypedKind>(object: &mut dyn Object) -> &mut T {
    &mut object.as_any_mut().downcast_mut::<Typed<T>>().expect(FOREIGN).0
}

impl<T: TypedKind> Strategy for TypedStrategy<T> {
    fn decode(&self, json: &[u8]) -> Result<Decoded, ApiError> {
        let parsed = codec::parse(json, codec::Format::Json, T::KIND)?;
        let mut decoded = self.decode_value(parsed.value)?;
        decoded.duplicates = parsed.duplicates;
        Ok(decoded)
    }

    fn decode_value(&self, value: Value) -> Result<Decoded, ApiError> {
        let document = decode::Document::open(value, T::API_VERSION, T::KIND)?;
        let object = document.read::<T>()?;
        Ok(Decoded { object: Box::new(Typed(object)), unknown: document.unknown(), duplicates: Vec::new() })
    }

    fn default(&self, object: &mut dyn Object) {
        own_mut::<T>(object).set_defaults();
    }

    fn prepare_create(&self, object: &mut dyn Object) {
        let object = own_mut::<T>(object);
        if T::STATUS {
            object.clear_status();
        }
        object.prepare_create();
    }

    fn prepare_update(&self, new: &mut dyn Object, old: &dyn Object, part: Part<'_>) {
        let (new, old) = (own_mut::<T>(new), own::<T>(old));
        match part {
            Part::Main if T::STATUS => new.copy_status(old),
            Part::Status => {
                let mut kept = old.clone();
                kept.copy_status(new);
                std::mem::swap(kept.metadata_mut(), new.metadata_mut());
                *new = kept;
            }
            Part::Main | Part::Other(_) => {}
        }
        new.prepare_update(old, part);
    }

    fn validate_create(&self, object: &dyn Object) -> Errors {
        own::<T>(object).validate_create()
    }

    fn validate_update(&self, new: &dyn Object, old: &dyn Object, part: Part<'_>) -> Errors {
        own::<T>(new).validate_update(own::<T>(old), part)
    }

    fn spec_differs(&self, new: &dyn Object, old: &dyn Object) -> bool {
        if T::ANNOTATIONS_COUNT && new.metadata().annotations != old.metadata().annotations {
            return true;
        }
        encode::spec_differs(new.to_value(), old.to_value())
    }

    fn name_rule(&self) -> NameRule {
        T::name_rule()
    }

    fn columns(&self) -> &[Column] {
        T::printer().columns
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Cell> {
        (T::printer().row)(object, now)
    }
}
