//! Many runs that are over before anybody looks: none is lost, and their times are those of Slurm's records.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of, seconds};

const RUNS: i64 = 20;

/// Waits until all runs are over and gives them, oldest first.
fn all_ended(cluster: &Cluster) -> Vec<Value> {
    let runs: Vec<String> = (1..=RUNS).map(|run| run.to_string()).collect();
    drop(cluster.env.line(&format!("wait {} --timeout 2m", runs.join(" "))).success());
    (1..=RUNS).map(|run| cluster.env.show(run)).collect()
}

/// Every run completed in its first attempt, with the times of its job.
fn check_against_records(cluster: &Cluster, runs: &[Value]) {
    let mut jobs: Vec<i64> = runs.iter().map(job_of).collect();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(jobs.len(), runs.len(), "each run has a job of its own: {jobs:?}");
    for shown in runs {
        assert_eq!(shown["state"], "completed", "{shown:#}");
        let attempts = shown["attempts"].as_array().unwrap();
        let [attempt] = attempts.as_slice() else { panic!("one attempt: {shown:#}") };
        let told = ["submitted_at", "started_at", "ended_at"]
            .map(|time| seconds(&attempt[time]).to_string());
        let rows = cluster.recorded(job_of(shown), "Submit,Start,End");
        assert_eq!(rows, [told], "{shown:#}");
        assert_eq!(shown["self_reported"], false, "{shown:#}");
    }
}

#[test]
fn twenty_short_runs_in_a_row_are_all_seen_to_their_end() {
    let cluster = Cluster::new();
    let spec = cluster.spec("short", "true", "");
    for run in 1..=RUNS {
        assert_eq!(cluster.env.submit(&spec), run);
    }
    check_against_records(&cluster, &all_ended(&cluster));
}

#[test]
fn twenty_short_runs_at_once_are_all_seen_to_their_end() {
    let cluster = Cluster::new();
    let spec = cluster.spec("short", "true", "");
    let submit = || {
        let mut command = cluster.env.command();
        command.args([Path::new("submit"), &spec]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut submits: Vec<_> = (0..RUNS).map(|_| submit()).collect();
    wait_until("all are submitted", || {
        submits.iter_mut().all(|submit| submit.try_wait().unwrap().is_some())
    });
    for submit in &mut submits {
        assert!(submit.wait().unwrap().success());
    }
    check_against_records(&cluster, &all_ended(&cluster));
}
