//! Stories on a real Slurm, which `tests/cluster/up` starts. Without one they fail, and say so.

mod cluster;
mod found;
mod lives;
mod once;
