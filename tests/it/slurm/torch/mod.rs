//! Real `PyTorch` on a real Slurm: torchrun over two nodes with two processes each, which talk by gloo.
//!
//! They need the environment of `tests/launchers/environment torch`, which `tests/run --torch` makes.

mod examples;
mod failures;
mod kills;
mod ranks;
mod resume;

use std::path::PathBuf;

use crate::environments::made_environment;
use crate::slurm::cluster::Cluster;

/// Where `PyTorch` is. None where there is none, which the story says.
fn environment(cluster: &Cluster) -> Option<String> {
    if !cluster.has_machines_python() {
        return None;
    }
    let environment = made_environment("torch");
    let why_not = "there is no PyTorch: `tests/launchers/environment torch` installs it";
    cluster.applies(environment.is_some(), why_not);
    environment
}

/// A cluster whose runs find `PyTorch`.
struct Torch {
    cluster: Cluster,
    /// Of a spec: the environment, and the two nodes with two processes each.
    keys: String,
}

impl Torch {
    /// None where there is no `PyTorch`, which the story says.
    fn new() -> Option<Self> {
        let cluster = Cluster::new();
        let environment = environment(&cluster)?;
        let keys = format!(
            "[environment]\nvenv = '{environment}'\n[compute]\nclass = 'cpu'\nnodes = 2\n\
             [distributed]\nlauncher = 'torchrun'\nprocesses_per_node = 2\n"
        );
        Some(Self { cluster, keys })
    }

    /// A spec `NAME.toml` whose training is this Python.
    fn spec(&self, name: &str, training: &str) -> PathBuf {
        let env = &self.cluster.env;
        env.write(&format!("{name}-code/train.py"), training);
        let code = format!("[code]\npath = '{name}-code'\nentry_point = 'train.py'\n");
        env.write(&format!("{name}.toml"), &format!("{code}{}", self.keys))
    }

    /// What a training printed.
    fn log(&self, run: i64) -> String {
        self.cluster.env.line(&format!("logs {run}")).success().stdout
    }
}
