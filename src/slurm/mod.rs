//! [`Scheduler`](crate::ports::Scheduler) of a Slurm cluster, over its own commands and nothing else.
//!
//! Each command has a file that owns what is asked and how the answer is read, as pure functions of text: [`squeue`],
//! [`sacct`], [`nodes`], [`config`], [`assoc_mgr`], and [`answer`] for sbatch. [`commands`] runs them, [`poll`] says when, [`queue`] what else
//! has to be asked, [`identity`] says whose a record is, [`found`] makes a site config of a cluster that nobody
//! described, [`survey`] asks what a described one is compared with, and [`SlurmScheduler`] puts them together. An answer that cannot be believed is a
//! [`Silence`](crate::ports::Silence), never an absence.

pub mod answer;
mod assoc_mgr;
pub mod commands;
pub mod config;
#[cfg(test)]
mod documented;
mod fields;
pub mod found;
pub mod identity;
pub(crate) mod nodes;
pub mod poll;
pub mod probe;
mod queue;
#[cfg(test)]
mod recordings;
pub mod sacct;
mod scheduler;
pub mod sighting;
pub mod squeue;
pub mod survey;
mod tasks;
mod witnesses;
mod would_start;

pub use commands::{Account, Tools};
pub use scheduler::SlurmScheduler;
