//! A deterministic simulator: the deciders and the reconciler live through histories that a seed makes up.
//!
//! [`model`] is what is true: jobs, slurmctld, accounting, files, clocks, people. A driver plays the daemon in it: [`core`]
//! the two pure functions in a loop in memory, [`whole`] the real reconciler over a real database. [`truth`] says what must hold, from what is true alone. A history that breaks
//! a rule is taken apart by [`shrink`] and told line by line, with its seed.

mod admission;
mod broken;
mod calls;
mod campaign;
pub(crate) mod chance;
mod core;
mod fates;
mod files;
mod jobs;
mod look;
mod model;
mod observe;
mod shrink;
mod truth;
mod whole;
