//! Stories on a real Slurm, which `tests/cluster/up` starts. Without one they fail, and say so.

mod cluster;
mod crowd;
mod latency;
mod lives;
mod names;
mod once;
mod poison;
mod refused;
mod scripts;
