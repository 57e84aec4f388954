//! A Slurm without accounting whose plug-in refuses some jobs and renames all others.

use std::path::Path;

use serde_json::json;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of, seconds};

const OPTIONS: &[&str] = &["--no-accounting", "--reject"];

/// What squeue says of a finished job: state, start and end.
fn finished(cluster: &Cluster, job: i64) -> Vec<String> {
    let format = "%T|%S|%e";
    let text = cluster.ask("squeue", &["-h", "-t", "all", "-j", &job.to_string(), "-o", format]);
    text.trim().split('|').map(str::to_owned).collect()
}

#[test]
fn without_accounting_runs_are_followed_to_their_end() {
    let cluster = Cluster::alone(OPTIONS, "lost_after = '5s'\n");
    // Completed, failed and cancelled, with the times that Slurm has; the plug-in has renamed every job.
    let done = cluster.env.submit(&cluster.spec("done", "sleep 1", ""));
    let shown = cluster.env.until(done, &["completed", "failed"]);
    let attempt = &shown["attempts"][0];
    let told = [
        attempt["slurm_state"].as_str().unwrap().to_owned(),
        seconds(&attempt["started_at"]).to_string(),
        seconds(&attempt["ended_at"]).to_string(),
    ];
    assert_eq!(finished(&cluster, job_of(&shown)), told);
    let text =
        cluster.ask("squeue", &["-h", "-t", "all", "-j", &job_of(&shown).to_string(), "-o", "%j"]);
    assert!(text.starts_with("site-1-done."), "it was renamed: {text}");

    let fails = cluster.env.submit(&cluster.spec("fails", "exit 7", ""));
    let shown = cluster.env.until(fails, &["completed", "failed"]);
    assert_eq!(
        (&shown["reason"], &shown["attempts"][0]["exit_code"]),
        (&json!("exit_code"), &json!(7))
    );
    assert_eq!(finished(&cluster, job_of(&shown))[0], "FAILED");

    let long = cluster.env.submit(&cluster.spec("long", "sleep 600", ""));
    cluster.env.until(long, &["running"]);
    drop(cluster.env.line(&format!("cancel {long}")).success());
    let shown = cluster.env.until(long, &["cancelled"]);
    assert_eq!(shown["reason"], "cancelled_by_user");
    assert_eq!(finished(&cluster, job_of(&shown))[0], "CANCELLED");

    forgotten(&cluster);
    refused(&cluster);
}

/// Nobody looked until slurmctld had forgotten the job: what the script wrote at its end decides, and is marked so.
fn forgotten(cluster: &Cluster) {
    let run = cluster.env.submit(&cluster.spec("unwatched", "sleep 1; exit 3", ""));
    let job = job_of(&cluster.env.show(run)).to_string();
    cluster.env.kill_daemon();
    wait_until("slurmctld has forgotten the job", || {
        cluster.ask("squeue", &["-h", "-t", "all", "-o", "%A"]).lines().all(|id| id != job)
    });
    let shown = cluster.env.until(run, &["completed", "failed"]);
    let end = (&shown["state"], &shown["reason"], &shown["self_reported"]);
    assert_eq!(end, (&json!("failed"), &json!("exit_code"), &json!(true)), "{shown:#}");
    assert_eq!(shown["attempts"][0]["exit_code"], 3);
}

/// The plug-in's own words are all there is to say.
fn refused(cluster: &Cluster) {
    let spec = cluster.spec("unwanted", "true", "sbatch = ['--comment=reject-me']");
    let said = cluster.env.run([Path::new("submit"), &spec]).ended(6);
    for words in ["this site refuses such jobs.", "Ask for help at the front desk (rule 7)."] {
        assert!(said.stderr.contains(words), "{said}");
    }
    let runs = cluster.env.line("list --json").success().json();
    let newest = &runs[0];
    assert_eq!((&newest["state"], &newest["reason"]), (&json!("failed"), &json!("rejected")));
    assert!(newest["message"].as_str().unwrap().contains("front desk"), "{newest:#}");
}
