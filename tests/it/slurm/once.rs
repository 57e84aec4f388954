//! Submitted exactly once: the daemon dies while sbatch is under way.

use std::path::Path;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};

/// An sbatch whose first call waits for the file `go` before it submits, as long as its world is there.
const SLOW: &str = r#"#!/bin/bash
if mkdir HOME/first 2>/dev/null; then
  while [[ ! -e HOME/go ]]; do
    [[ -d HOME ]] || exit 1
    sleep 0.05
  done
fi
exec REAL "$@"
"#;

/// A world in which the first sbatch is slow, with a run whose sbatch has been started.
fn while_sbatch_is_under_way() -> (Cluster, i64) {
    let cluster = Cluster::with("sbatch = 'HOME/sbatch'\n");
    let home = cluster.env.home().display().to_string();
    let text = SLOW.replace("HOME", &home).replace("REAL", &cluster.path("sbatch"));
    cluster.program("sbatch", &text);
    let spec = cluster.spec("once", &format!("echo trained >> {home}/trained; sleep 1"), "");
    let mut submit = cluster.env.command().args([Path::new("submit"), &spec]).spawn().unwrap();
    wait_until("sbatch is under way", || cluster.env.home().join("first").exists());
    cluster.env.kill_daemon();
    // It waits for an answer that does not come.
    submit.kill().unwrap();
    submit.wait().unwrap();
    (cluster, 1)
}

fn trained(cluster: &Cluster) -> usize {
    std::fs::read_to_string(cluster.env.home().join("trained")).unwrap_or_default().lines().count()
}

#[test]
fn a_daemon_killed_during_sbatch_finds_the_job_that_came_of_it() {
    let (cluster, run) = while_sbatch_is_under_way();
    cluster.env.write("go", "");
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!(cluster.jobs_of(run), [job_of(&shown)]);
    assert_eq!(trained(&cluster), 1);
}

#[test]
fn an_sbatch_that_submits_after_it_was_given_up_cannot_train() {
    let (cluster, run) = while_sbatch_is_under_way();
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    cluster.env.write("go", "");
    wait_until("the late job has come and gone", || {
        let late: Vec<i64> =
            cluster.jobs_of(run).into_iter().filter(|job| *job != job_of(&shown)).collect();
        late.len() == 1 && cluster.accounted(late[0], "ExitCode") == [["94:0"]]
    });
    assert_eq!(trained(&cluster), 1);
}
