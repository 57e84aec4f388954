//! Every launcher on a real Slurm, over two nodes: JAX and MPI for real, the others by stand-ins.
//!
//! As the stories of `stories/requirements.rs`, those of JAX and MPI need a Python index that pip can reach.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::environments::environment;
use crate::script::launchers::{STAND_INS, TRAINING};
use crate::slurm::cluster::Cluster;

fn spec(cluster: &Cluster, launcher: &str, training: &str, more: &str) -> PathBuf {
    let env = &cluster.env;
    env.write(&format!("{launcher}-code/train.py"), training);
    env.write(
        &format!("{launcher}.toml"),
        &format!(
            "[code]\npath = '{launcher}-code'\nentry_point = 'train.py'\n\
             [distributed]\nlauncher = '{launcher}'\nprocesses_per_node = 2\n{more}"
        ),
    )
}

/// Trains, and gives the log.
#[track_caller]
fn trained(cluster: &Cluster, spec: &Path) -> (Value, String) {
    let run = cluster.env.submit(spec);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    let log = cluster.env.line(&format!("logs {run}")).stdout;
    let scheduler = cluster.env.line(&format!("logs {run} --source scheduler")).stdout;
    assert_eq!(shown["state"], "completed", "{shown:#}\n{log}\n{scheduler}");
    (shown, log)
}

const TWO_NODES: &str = "[compute]\nclass = 'cpu'\nnodes = 2\n";

#[test]
fn every_rank_of_two_nodes_knows_its_place_whatever_the_launcher() {
    let prologue = format!(
        "export PATH={STAND_INS}/bin:$PATH PYTHONPATH={STAND_INS}/python PYTHONDONTWRITEBYTECODE=1"
    );
    let cluster = Cluster::with(&format!(
        "srun_args = ['--mpi=none']\n[cluster.test.script]\nprologue = '{prologue}'\n"
    ));
    let keys = format!("rank_logs = true\n{TWO_NODES}");
    for launcher in ["srun", "torchrun", "accelerate", "deepspeed", "mpi", "jax"] {
        let (shown, log) = trained(&cluster, &spec(&cluster, launcher, TRAINING, &keys));
        assert_eq!((&shown["launcher"], &shown["world_size"]), (&launcher.into(), &4.into()));
        let nodes = shown["attempts"][0]["nodes"].as_array().unwrap();
        let head = nodes[0].as_str().unwrap();
        for rank in 0..4 {
            let line = format!("knows: {rank} {} 2 {} 4 {head} 2", rank % 2, rank / 2);
            assert_eq!(log.matches(&line).count(), 1, "{launcher}: {line}\n{log}");
            let own = cluster.env.line(&format!("logs {} --rank {rank}", shown["id"]));
            let own = own.success().stdout;
            assert!(own.starts_with(&line), "{launcher}: {line}\n{own}");
            assert_eq!(own.matches("knows: ").count(), 1, "{launcher}: {own}");
        }
    }
}

#[test]
fn jax_adds_up_over_two_nodes_and_on_this_machine() {
    let cluster = Cluster::new();
    if !cluster.has_machines_python() {
        return;
    }
    let training = "import jax
jax.distributed.initialize()
from jax.experimental.multihost_utils import process_allgather
everyone = process_allgather(jax.numpy.array([jax.process_index() + 1]))
print(f'process {jax.process_index()} of {jax.process_count()}: {int(everyone.sum())}', flush=True)
";
    let environment = format!("[environment]\nvenv = '{}'\n", environment("jax-and-mpi"));
    for (compute, of, sum) in [(TWO_NODES, 4, 10), ("[compute]\ntarget = 'local'\n", 2, 3)] {
        let spec = spec(&cluster, "jax", training, &format!("{compute}{environment}"));
        let (_, log) = trained(&cluster, &spec);
        for process in 0..of {
            assert!(log.contains(&format!("process {process} of {of}: {sum}")), "{log}");
        }
    }
}

#[test]
fn mpi_adds_up_over_two_nodes_and_on_this_machine() {
    let cluster = Cluster::with("srun_args = ['--mpi=pmi2']\n");
    if !cluster.has_machines_python() {
        return;
    }
    let training = "import os
from mpi4py import MPI
world = MPI.COMM_WORLD
assert [str(world.rank), str(world.size)] == [os.environ['RANK'], os.environ['WORLD_SIZE']]
print(f'rank {world.rank} of {world.size}: {world.allreduce(world.rank + 1)}', flush=True)
";
    let environment = format!("[environment]\nvenv = '{}'\n", environment("jax-and-mpi"));
    for (compute, of, sum) in [(TWO_NODES, 4, 10), ("[compute]\ntarget = 'local'\n", 2, 3)] {
        let spec = spec(&cluster, "mpi", training, &format!("{compute}{environment}"));
        let (_, log) = trained(&cluster, &spec);
        for rank in 0..of {
            assert!(log.contains(&format!("rank {rank} of {of}: {sum}")), "{log}");
        }
    }
}

#[test]
fn mpi_is_refused_where_slurm_has_none_by_default() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&spec(&cluster, "mpi", "print('trained')", TWO_NODES));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["reason"], "launch_failed", "{shown:#}");
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("Slurm's MpiDefault is none"), "{message}");
}

#[test]
fn nodes_that_cannot_find_the_first_one_are_named_before_anything_trains() {
    let cluster = Cluster::with("node_address = '{node}.nowhere.invalid'\n");
    let run = cluster.env.submit(&spec(&cluster, "srun", "print('trained')", TWO_NODES));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["reason"], "launch_failed", "{shown:#}");
    let nodes = shown["attempts"][0]["nodes"].as_array().unwrap();
    let [head, other] = [0, 1].map(|n| nodes[n].as_str().unwrap());
    let told =
        format!("the first node's name {head}.nowhere.invalid does not resolve on: {head} {other}");
    assert_eq!(shown["message"], told.as_str());
    assert!(!cluster.env.line(&format!("logs {run}")).stdout.contains("trained"));
}
