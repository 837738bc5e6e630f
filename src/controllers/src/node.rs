//! Nodes: a silent one is marked and tainted, its pods are evicted; each gets a pod CIDR.
//!
//! * [`health`]: conditions of a node that no longer renews its Lease; taints that follow conditions.
//! * [`evict`]: pods that do not tolerate a `NoExecute` taint, or only for a time.
//! * [`cidr`]: pod CIDRs, never given twice.

mod cidr;
mod evict;
mod health;

use crate::Context;

pub(crate) fn start(context: &Context) {
    let monitor = context.named("node-controller");
    health::start(&monitor);
    evict::start(&context.named("taint-eviction-controller"));
    cidr::start(&monitor);
}
