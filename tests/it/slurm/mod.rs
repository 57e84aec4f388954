//! Stories on a real Slurm, which `tests/cluster/up` starts. Without one they fail, and say so.

mod alone;
mod builds;
mod cluster;
mod cluster_keys;
mod code;
mod containers;
mod crowd;
mod data;
mod found;
mod from_script;
mod hostile;
mod keys;
mod latency;
mod launchers;
mod lives;
mod names;
mod once;
mod phases;
mod poison;
mod records;
mod refused;
mod requeue;
mod scripts;
mod secrets;
mod silent;
mod torch;
