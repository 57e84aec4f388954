//! Stories on a real Slurm, which `tests/cluster/up` starts. Without one they fail, and say so.

mod alone;
mod cluster;
mod cluster_keys;
mod found;
mod keys;
mod lives;
mod once;
