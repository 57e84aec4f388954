//! Runs that Slurm starts again, and runs it takes only later: each start is recorded as Slurm has it.

use serde_json::{Value, json};

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of, seconds};

/// A training that ends at once when it is started again, and else waits to be.
const SECOND_TIME: &str = "[[ ${SLURM_RESTART_COUNT:-0} -gt 0 ]] || sleep 600";

/// With a checkpoint directory a run may be started again three times.
pub(super) const RESTARTABLE: &str = "[checkpoint]\ndirectory = 'checkpoints'";

/// Each attempt of a run beside the record of the same start: submit, start and end. And the sums.
#[track_caller]
pub(super) fn agrees(cluster: &Cluster, shown: &Value) {
    let attempts = shown["attempts"].as_array().unwrap();
    let rows = cluster.recorded(job_of(shown), "Submit,Start,End,NNodes");
    let number = |text: &String| text.parse::<i64>().unwrap();
    let mut rows: Vec<Vec<i64>> = rows.iter().map(|row| row.iter().map(number).collect()).collect();
    assert_eq!(attempts.len(), rows.len(), "{rows:?} {shown:#}");
    if !cluster.has_accounting() {
        // Who asks only squeue learns of the end of such a start by the requeue that follows it at once.
        for start in 1..rows.len() {
            let (end, requeued) = (rows[start - 1][2], rows[start][0]);
            assert!((0..=2).contains(&(requeued - end)), "{rows:?}");
            rows[start - 1][2] = requeued;
        }
    }
    for (attempt, row) in attempts.iter().zip(&rows) {
        let told = ["submitted_at", "started_at", "ended_at"].map(|time| seconds(&attempt[time]));
        assert_eq!(told, row[..3], "{rows:?} {shown:#}");
    }
    let node_seconds = |(attempt, row): (&Value, &Vec<i64>)| {
        let whole = f64::from(i32::try_from(row[3] * (row[2] - row[1])).unwrap());
        whole * share(attempt)
    };
    let hours = attempts.iter().zip(&rows).map(node_seconds).sum::<f64>() / 3600.0;
    assert!((shown["node_hours"].as_f64().unwrap() - hours).abs() < 1e-9, "{hours} {shown:#}");
}

/// What a start is recorded as that Slurm ended for this reason and follows with another. squeue alone tells only that.
pub(super) fn why(cluster: &Cluster, reason: &'static str) -> &'static str {
    if cluster.has_accounting() { reason } else { "requeued" }
}

/// What of its nodes, of which each has 8 CPUs and 8,000 MiB, was given to an attempt.
pub(super) fn share(attempt: &Value) -> f64 {
    let nodes = f64::from(u32::try_from(attempt["nodes"].as_array().unwrap().len()).unwrap());
    let part = |key: &str, of_node: f64| attempt[key].as_f64().unwrap_or(0.0) / (of_node * nodes);
    part("cpus", 8.0).max(part("memory", 8_000.0))
}

/// Waits until Slurm shows that an attempt runs: it refuses to requeue a job that it has not quite started.
pub(super) fn runs_on_nodes(cluster: &Cluster, run: i64, attempt: usize) {
    wait_until("Slurm shows that it runs", || {
        let shown = cluster.env.show(run);
        shown["state"] == "running" && shown["attempts"][attempt]["slurm_state"] == "RUNNING"
    });
}

/// What the attempts were recorded as: state and reason.
pub(super) fn ends(shown: &Value) -> Vec<(&str, &str)> {
    let attempts = shown["attempts"].as_array().unwrap().iter();
    let word = |value: &'_ Value| {
        value.as_str().map_or("", |text| Box::leak(text.to_owned().into_boxed_str()))
    };
    attempts.map(|attempt| (word(&attempt["state"]), word(&attempt["reason"]))).collect()
}

#[test]
fn a_run_that_is_requeued_by_hand_is_one_run_of_two_attempts() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("requeued", SECOND_TIME, RESTARTABLE));
    let shown = cluster.env.until(run, &["running"]);
    runs_on_nodes(&cluster, run, 0);
    drop(cluster.ask("scontrol", &["requeue", &job_of(&shown).to_string()]));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!(ends(&shown), [("requeued", "requeued"), ("completed", "")], "{shown:#}");
    assert_eq!(shown["attempts"][1]["restart_count"], 1);
    agrees(&cluster, &shown);
    assert_eq!(cluster.jobs_of(run).len(), 1, "it was submitted once");
}

#[test]
fn a_run_that_may_not_be_started_again_cannot_be_requeued() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("once-only", SECOND_TIME, ""));
    let job = job_of(&cluster.env.until(run, &["running"])).to_string();
    let shown = cluster.ask("scontrol", &["-o", "show", "job", &job]);
    assert!(shown.contains(" Requeue=0 "), "{shown}");
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
}

#[test]
fn one_restart_too_many_ends_the_run() {
    let cluster = Cluster::new();
    let never = format!("{RESTARTABLE}\n[failure]\nmax_restarts = 1");
    let run = cluster.env.submit(&cluster.spec("restless", "sleep 600", &never));
    for attempt in 0..2 {
        runs_on_nodes(&cluster, run, attempt);
        let job = job_of(&cluster.env.show(run)).to_string();
        drop(cluster.ask("scontrol", &["requeue", &job]));
    }
    let shown = cluster.env.until(run, &["completed", "failed", "cancelled"]);
    let end = (&shown["state"], &shown["reason"], &shown["message"]);
    let message = json!("restarted more than 1 times");
    assert_eq!(end, (&json!("failed"), &json!("stopped_by_policy"), &message), "{shown:#}");
}

#[test]
fn what_a_submit_limit_keeps_out_waits_and_starts_by_itself() {
    let cluster = Cluster::new();
    let limits = "limits belong to accounts, and without accounting there are none";
    if !cluster.applies(cluster.has_accounting(), limits) {
        return;
    }
    let spec = |name: &str, script: &str| cluster.spec(name, script, "class = 'limited'");
    let go = cluster.env.home().join("go").display().to_string();
    let waits = format!("while [[ ! -e {go} ]]; do sleep 0.1; done");
    let first =
        [cluster.env.submit(&spec("one", &waits)), cluster.env.submit(&spec("two", "true"))];
    // The account may have two jobs in the queue: the third is accepted, and waits for room.
    let third = cluster.env.submit(&spec("three", "true"));
    let shown = cluster.env.until(third, &["pending"]);
    let why = shown["message"].as_str().unwrap();
    assert!(why.contains("AssocMaxSubmitJobLimit"), "{why}");
    assert_eq!(shown["attempts"], json!([]));
    cluster.env.write("go", "");
    for run in [first[0], first[1], third] {
        assert_eq!(cluster.env.until(run, &["completed", "failed"])["state"], "completed");
    }
    assert_eq!(cluster.jobs_of(third).len(), 1);
}

/// Saves at each attempt; asks to be brought back by the first, takes the second's whole time, and ends with the third.
const CHAIN: &str = "echo '{}' >../checkpoints/step-$TRAINYARD_ATTEMPT.json
case $TRAINYARD_ATTEMPT in
  1) exit 75 ;;
  2) sleep 600 ;;
  *) echo \"$TRAINYARD_RESUME_FROM\" >../output/from && mv ../output/from ../output/done ;;
esac";

#[test]
fn a_job_that_has_itself_requeued_goes_on_while_no_daemon_lives() {
    let cluster = Cluster::new();
    let keys = "time_limit = '1m'\n[checkpoint]\n[failure]\nrequeue = 'job'\nrestart_on = ['time_limit']\nwarn_before_end = '10s'";
    let run = cluster.env.submit(&cluster.spec("chain", CHAIN, keys));
    cluster.env.until(run, &["queued", "running", "finishing"]);
    // Whoever asks for it starts a daemon.
    let run_dir = cluster.env.run_dir(run);
    cluster.env.kill_daemon();
    let done = run_dir.join("output/done");
    // A job that Slurm starts again is held for a while, each time.
    for attempt in 2..=3 {
        let log = run_dir.join(format!("logs/{attempt}.out"));
        wait_until(&format!("attempt {attempt} has begun"), || log.exists());
    }
    wait_until("the last attempt is done", || done.exists());
    assert!(cluster.env.daemon_pid().is_none());
    let from = std::fs::read_to_string(&done).unwrap();
    assert!(from.ends_with("/checkpoints/step-2.json\n"), "{from}");
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(cluster.jobs_of(run).len(), 1, "it was submitted once");
    let expected = [("requeued", "exit_code"), ("requeued", "time_limit"), ("completed", "")];
    assert_eq!(ends(&shown), expected, "{shown:#}");
    assert_eq!(shown["attempts"][0]["exit_code"], 75);
    assert_eq!(shown["attempts"][2]["resumed_from_step"], 2);
}

#[test]
fn a_job_that_has_itself_requeued_while_its_run_is_cancelled_does_not_come_back() {
    let cluster = Cluster::new();
    let keys = "[checkpoint]\n[failure]\nrequeue = 'job'\nwarn_before_end = '1m'";
    let saves = "trap \"echo '{}' >../checkpoints/step-1.json; exit 75\" USR1; echo ready; while :; do sleep 0.1; done";
    let run = cluster.env.submit(&cluster.spec("unwanted", saves, keys));
    let log = || cluster.env.line(&format!("logs {run} --attempt 1")).stdout;
    wait_until("it has begun", || log().contains("ready"));
    drop(cluster.env.line(&format!("cancel {run}")).success());
    let shown = cluster.env.until(run, &["cancelled", "failed", "completed"]);
    let end = (&shown["state"], &shown["reason"]);
    assert_eq!(end, (&json!("cancelled"), &json!("cancelled_by_user")), "{shown:#}");
    let job = job_of(&shown).to_string();
    wait_until("Slurm has let go of it", || {
        !cluster.ask("squeue", &["--noheader", "--format=%i %t"]).contains(&format!("{job} PD"))
    });
    assert!(!cluster.env.run_dir(run).join("logs/2.out").exists(), "it trained once");
}
