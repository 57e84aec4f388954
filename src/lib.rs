//! The training-run control plane of a Slurm cluster.

pub mod domain;
