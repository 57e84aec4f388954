//! Lives of runs on a real Slurm, compared with what Slurm's records say about them.

use std::path::Path;

use serde_json::{Value, json};

use crate::slurm::cluster::{Cluster, job_of, seconds};
use crate::slurm::requeue::share;

#[test]
fn a_run_over_two_nodes_agrees_with_slurms_records() {
    let cluster = Cluster::new();
    let training = "echo \"rank $RANK of $WORLD_SIZE\"; sleep 2";
    let spec = cluster.spec(
        "two",
        training,
        "nodes = 2\n[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2",
    );
    let run = cluster.env.submit(&spec);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    let attempt = &shown["attempts"][0];
    let rows = cluster.recorded(job_of(&shown), "State,Submit,Start,End,NNodes,Partition,Account");
    let told = [
        attempt["slurm_state"].as_str().unwrap().to_owned(),
        seconds(&attempt["submitted_at"]).to_string(),
        seconds(&attempt["started_at"]).to_string(),
        seconds(&attempt["ended_at"]).to_string(),
        attempt["nodes"].as_array().unwrap().len().to_string(),
        attempt["partition"].as_str().unwrap().to_owned(),
        // Without accounting there is none.
        attempt["account"].as_str().unwrap_or_default().to_owned(),
    ];
    assert_eq!(rows, [told]);
    let (start, end) = (seconds(&attempt["started_at"]), seconds(&attempt["ended_at"]));
    assert_eq!(
        attempt["queue_seconds"],
        json!(
            0.0_f64
                .max(f64::from(i32::try_from(start - seconds(&attempt["submitted_at"])).unwrap()))
        )
    );
    let whole = f64::from(i32::try_from(2 * (end - start)).unwrap()) / 3600.0;
    let hours = whole * share(attempt);
    assert!((shown["node_hours"].as_f64().unwrap() - hours).abs() < 1e-9, "{shown:#}");
    let got = &attempt["environment"];
    assert!(got["complete"] == true && got["host"].is_string(), "{got:#}");
    let log = std::fs::read_to_string(cluster.env.run_dir(run).join("logs/1.out")).unwrap();
    for rank in 0..4 {
        assert!(log.contains(&format!("rank {rank} of 4")), "{log}");
    }
}

#[test]
fn a_training_that_fails_keeps_its_exit_code() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("fails", "exit 7", ""));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("exit_code")));
    assert_eq!(shown["attempts"][0]["exit_code"], 7);
    assert_eq!(cluster.recorded(job_of(&shown), "State,ExitCode"), [["FAILED", "7:0"]]);
}

#[test]
fn a_run_is_cancelled_while_it_runs() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("long", "sleep 600", ""));
    cluster.env.until(run, &["running"]);
    drop(cluster.env.line(&format!("cancel {run}")).success());
    let shown = cluster.env.until(run, &["cancelled"]);
    assert_eq!(shown["reason"], "cancelled_by_user");
    let rows = cluster.recorded(job_of(&shown), "State,End,ExitCode");
    assert!(rows[0][0].starts_with("CANCELLED"), "{rows:?}");
    assert_eq!(rows[0][1], seconds(&shown["ended_at"]).to_string());
}

#[test]
fn a_run_is_cancelled_while_it_is_queued() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("held", "true", "class = 'held'"));
    let shown = cluster.env.until(run, &["queued"]);
    let job = job_of(&shown);
    drop(cluster.env.line(&format!("cancel {run}")).success());
    let shown = cluster.env.until(run, &["cancelled"]);
    assert_eq!(shown["attempts"][0]["started_at"], Value::Null, "{shown:#}");
    assert_eq!(shown["node_hours"], json!(0.0));
    let state = cluster.ask("squeue", &["-h", "-t", "all", "-j", &job.to_string(), "-o", "%T"]);
    assert_eq!(state.trim(), "CANCELLED");
}

#[test]
fn a_held_run_says_so_and_runs_when_another_hand_releases_it() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("released", "true", "class = 'held'"));
    crate::env::wait_until("Slurm's reason is shown", || {
        let shown = cluster.env.show(run);
        shown["state"] == "queued" && shown["message"] == "JobHeldUser"
    });
    let job = job_of(&cluster.env.show(run));
    drop(cluster.ask("scontrol", &["release", &job.to_string()]));
    cluster.env.until(run, &["completed"]);
}

#[test]
fn a_run_that_reaches_its_time_limit_fails_with_that_reason() {
    // OverTimeLimit and the scheduler's own rhythm: Slurm ends it up to a minute late.
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("limit", "sleep 600", "time_limit = '1m'"));
    let waited = cluster.env.line(&format!("wait {run}"));
    let shown = cluster.env.show(run);
    assert_eq!(shown["reason"], "time_limit", "{waited}");
    assert_eq!(shown["attempts"][0]["slurm_state"], "TIMEOUT");
    assert_eq!(shown["attempts"][0]["time_limit_seconds"], 60);
    assert_eq!(cluster.recorded(job_of(&shown), "State"), [["TIMEOUT"]]);
}

#[test]
fn what_slurm_rejects_is_told_in_its_own_words() {
    let cluster = Cluster::new();
    let spec = cluster.spec("nowhere", "true", "class = 'nowhere'");
    let said = cluster.env.run([Path::new("submit"), &spec]).ended(6);
    let told = cluster.env.masked(&said.stderr);
    assert!(told.contains("invalid partition specified: nope"), "{told}");
    let shown = cluster.env.show(1);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("rejected")));
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("invalid partition specified: nope"), "{message}");
    assert!(
        message.contains("Batch job submission failed: Invalid partition name specified"),
        "{message}"
    );
}

#[test]
fn a_job_that_another_hand_cancels_is_cancelled_by_somebody_else() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("by-hand", "sleep 600", ""));
    let shown = cluster.env.until(run, &["running"]);
    drop(cluster.ask("scancel", &[&job_of(&shown).to_string()]));
    let shown = cluster.env.until(run, &["cancelled", "failed"]);
    let end = (&shown["state"], &shown["reason"]);
    assert_eq!(end, (&json!("cancelled"), &json!("cancelled_by_admin")), "{shown:#}");
}
