//! The job script: how it reads, that nothing in it can be misread, and what it does when bash runs it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]
#![expect(clippy::disallowed_methods, reason = "the scripts are run as a scheduler would run them")]

mod built;
mod containers;
mod data;
mod environment;
mod hosts;
pub(crate) mod launchers;
mod layouts;
mod local;
mod looks;
mod points;
mod probe;
mod quoting;
mod ranks;
mod record;
mod requeue;
pub(crate) mod resume;
mod scratch;
mod slurm;
mod warnings;
mod watchdog;
mod world;
