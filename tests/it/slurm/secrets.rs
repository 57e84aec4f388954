//! Secrets on a real Slurm: every rank on every node has them, at each start, and nobody else.

use std::path::PathBuf;

use serde_json::json;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::{RESTARTABLE, runs_on_nodes};
use crate::stories::secrets::{TRAINING, holders, spec, sum};

#[test]
fn all_ranks_on_two_nodes_have_the_secrets_at_each_start_and_slurm_has_not() {
    let cluster = Cluster::new();
    let home = cluster.env.home().display().to_string();
    let training = format!(
        "{TRAINING}[[ $RANK != 0 ]] || echo up >>{home}/up\n\
         until [[ -e {home}/go && ${{SLURM_RESTART_COUNT:-0}} -gt 0 ]]; do sleep 0.1; done\n"
    );
    let more = format!(
        "[compute]\nclass = 'cpu'\nnodes = 2\n[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2\n{RESTARTABLE}"
    );
    let run = cluster.env.submit(&spec(&cluster.env, &training, &more));
    let has_line = |attempt: u32, rank: u32| {
        let log = cluster.env.line(&format!("logs {run} --attempt {attempt}")).stdout;
        log.contains(&format!("rank={rank} secret={} plain=abc", sum()))
    };
    let all_have =
        |attempt| wait_until("all ranks have them", || (0..4).all(|rank| has_line(attempt, rank)));
    runs_on_nodes(&cluster, run, 0);
    all_have(1);
    let own = cluster.env.home().join("secrets.env");
    let kept = cluster.env.run_dir(run).join("secrets.env");
    assert_eq!(holders(cluster.env.home(), &own), std::slice::from_ref(&kept));
    let job = job_of(&cluster.env.show(run)).to_string();
    drop(cluster.ask("scontrol", &["requeue", &job]));
    all_have(2);
    let slurm_dir = PathBuf::from(cluster.variable("TRAINYARD_CLUSTER_DIR"));
    let mut shown = vec![cluster.ask("scontrol", &["show", "job", "--details", &job])];
    shown.push(cluster.ask("scontrol", &["show", "step", &job]));
    if cluster.has_accounting() {
        shown.push(cluster.ask("sacct", &["-P", "-D", "-o", "ALL", "-j", &job]));
    }
    let script = cluster.ask("scontrol", &["write", "batch_script", &job, "-"]);
    assert!(script.contains("secrets.env"));
    shown.push(script);
    assert!(shown.iter().all(|text| !text.contains("zq_1")), "{shown:?}");
    cluster.env.write("go", "");
    let last = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(last["state"], json!("completed"), "{last:#}");
    wait_until("the secrets are removed", || !kept.exists());
    cluster.env.kill_daemon();
    assert_eq!(holders(cluster.env.home(), &own), Vec::<PathBuf>::new());
    assert_eq!(holders(&slurm_dir.join("log"), &own), Vec::<PathBuf>::new());
}
