//! Chooses a node for every pod that has none.
//!
//! * [`cluster`]: the scheduler's own picture of nodes and what is placed on them.
//! * [`plan`]: a pure function from a pod and the picture to a node, or to the reasons why there is none.
//!   [`filter`] has the rules that a node must pass, [`score`] says which of the passing ones is best.
//! * [`queue`]: pods that wait: for their turn, for a back-off, or for a change that could help them.
//! * [`bind`]: what is written to the API.
//!
//! One task owns picture and queue, so that no two decisions contradict each other; binding runs beside it.

mod affinity;
mod bind;
mod cluster;
mod filter;
mod plan;
mod queue;
mod run;
mod score;

pub use run::{Config, run};
