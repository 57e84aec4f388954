//! The training-run control plane of a Slurm cluster. docs/ARCHITECTURE.md is the map.

pub mod domain;
pub mod files;
pub mod hands;
pub mod local;
pub mod ports;
pub mod store;
