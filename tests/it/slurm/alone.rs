//! What a Slurm does in bad times: each story has one of its own to freeze, kill and start again.

mod arrays;
mod bad_nodes;
mod charges;
mod plain;
mod polls;
mod preempt;
mod purses;

use std::path::Path;
use std::time::Instant;

use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::env::{is_alive, wait_until};
use crate::slurm::cluster::{Cluster, job_of};

/// A training that leaves a line in `trained` of the world when it is done.
fn training(cluster: &Cluster, seconds: u32) -> String {
    format!(
        "sleep {seconds}; echo \"$TRAINYARD_RUN_ID\" >> {}/trained",
        cluster.env.home().display()
    )
}

/// The runs that have trained, once for each time.
fn trained(cluster: &Cluster) -> Vec<i64> {
    let text = std::fs::read_to_string(cluster.env.home().join("trained")).unwrap_or_default();
    let mut runs: Vec<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
    runs.sort_unstable();
    runs
}

#[test]
fn a_slurmctld_frozen_during_submissions_gets_each_of_them_once() {
    const RUNS: i64 = 10;
    let cluster = Cluster::alone(&[], "");
    let spec = cluster.spec("frozen", &training(&cluster, 0), "");
    cluster.daemon("freeze", "slurmctld");
    let frozen = Instant::now();
    let submits: Vec<_> = (0..RUNS)
        .map(|_| cluster.env.command().args([Path::new("submit"), &spec]).spawn().unwrap())
        .collect();
    // sbatch gives up after ten seconds: the first of them has an answer that is none.
    wait_until("the first answer was lost", || {
        let runs = cluster.env.line("list --json").success().json();
        runs.as_array().unwrap().iter().any(|run| run["message"] != "")
    });
    for mut submit in submits {
        assert_eq!(submit.wait().unwrap().code(), Some(8), "accepted, and not acknowledged");
    }
    wait_until("15 s are over", || frozen.elapsed().as_secs() >= 15);
    cluster.daemon("thaw", "slurmctld");
    let runs: Vec<i64> = (1..=RUNS).collect();
    for run in &runs {
        assert_eq!(cluster.env.until(*run, &["completed", "failed"])["state"], "completed");
    }
    let jobs: Vec<usize> = runs.iter().map(|run| cluster.jobs_of(*run).len()).collect();
    assert_eq!((jobs, trained(&cluster)), (vec![1; runs.len()], runs));
}

#[test]
fn runs_wait_for_a_slurm_that_is_away_and_those_under_way_go_on() {
    let cluster = Cluster::alone(&[], "");
    let before = cluster.env.submit(&cluster.spec("before", &training(&cluster, 8), ""));
    cluster.env.until(before, &["running"]);
    cluster.daemon("stop", "slurmctld");
    let spec = cluster.spec("away", &training(&cluster, 0), "");
    for _ in 0..2 {
        let said = cluster.env.run([Path::new("submit"), &spec]).ended(8);
        assert!(said.stdout.trim().parse::<i64>().is_ok(), "it is numbered: {said}");
    }
    let why = "Unable to contact slurm controller (connect failure)";
    wait_until("Slurm's words are shown", || {
        [2, 3].iter().all(|run| {
            let shown = cluster.env.show(*run);
            shown["state"] == "submitting" && shown["message"].as_str().unwrap().contains(why)
        })
    });
    let shown = cluster.env.show(before);
    assert!(shown["state"] == "running" || shown["state"] == "finishing", "{shown:#}");
    assert_ne!(shown["stale_since"], Value::Null, "{shown:#}");
    wait_until("the run that was running has trained", || trained(&cluster) == [before]);
    cluster.up_again();
    for run in [before, 2, 3] {
        let shown = cluster.env.until(run, &["completed", "failed"]);
        assert_eq!((&shown["state"], &shown["stale_since"]), (&json!("completed"), &Value::Null));
        assert_eq!(cluster.recorded(job_of(&shown), "State"), [["COMPLETED"]]);
    }
    assert_eq!(trained(&cluster), [before, 2, 3]);
}

#[test]
fn a_run_that_waits_for_an_absent_slurm_can_be_cancelled() {
    let cluster = Cluster::alone(&["--no-accounting"], "");
    cluster.daemon("stop", "slurmctld");
    let spec = cluster.spec("away", &training(&cluster, 0), "");
    drop(cluster.env.run([Path::new("submit"), &spec]).ended(8));
    drop(cluster.env.line("cancel 1").success());
    let shown = cluster.env.until(1, &["cancelled"]);
    assert_eq!((&shown["reason"], &shown["attempts"]), (&json!("cancelled_by_user"), &json!([])));
    cluster.up_again();
    let after = cluster.env.submit(&cluster.spec("after", &training(&cluster, 0), ""));
    cluster.env.until(after, &["completed"]);
    assert_eq!(trained(&cluster), [after]);
}

/// slurmctld dies at a moment after it has accepted a job whose first attempt trains for so long, and is started again.
fn forgotten(seconds: u32, lost_after: &str, moment: fn(&Cluster, i64)) -> Value {
    let cluster = Cluster::alone(&[], &format!("lost_after = '{lost_after}'\n"));
    let home = cluster.env.home().display();
    let first =
        format!("[[ $TRAINYARD_ATTEMPT -gt 1 ]] || {{ echo $$ >{home}/first; sleep {seconds}; }}");
    let training = format!("{first}\n{}", training(&cluster, 0));
    let spec = cluster.spec("forgotten", &training, "");
    // slurmctld saves at once what comes after a quiet time, and what comes next only some seconds later.
    drop(cluster.ask("sbatch", &["--hold", "--wrap=true", "--chdir=/tmp", "--output=/dev/null"]));
    let run = cluster.env.submit(&spec);
    moment(&cluster, run);
    cluster.daemon("kill", "slurmctld");
    cluster.up_again();
    let waited = cluster.env.line(&format!("wait {run}"));
    let shown = cluster.env.show(run);
    assert_eq!(shown["state"], "completed", "{waited} {shown:#}");
    assert_eq!(trained(&cluster), [run], "{shown:#}");
    // Its first attempt may never have started.
    let first = std::fs::read_to_string(cluster.env.home().join("first")).ok();
    let first = first.map(|pid| Pid::from_raw(pid.trim().parse().unwrap()));
    assert!(!first.is_some_and(is_alive), "what trained first is over: {shown:#}");
    let attempts = shown["attempts"].as_array().unwrap();
    for lost in &attempts[..attempts.len() - 1] {
        assert_eq!(lost["reason"], "lost", "{shown:#}");
    }
    shown
}

fn a_second_later(_: &Cluster, _: i64) {
    let acknowledged = Instant::now();
    wait_until("the job is a second old", || acknowledged.elapsed().as_secs() >= 1);
}

#[test]
fn a_forgotten_job_that_ends_by_itself_is_believed() {
    forgotten(3, "12s", a_second_later);
}

#[test]
fn a_forgotten_job_that_is_ended_is_a_lost_attempt_and_is_made_up_for() {
    // Slurm ends it when its node reports: soon after the restart, and again after 20 s.
    let shown = forgotten(120, "30s", |cluster, run| {
        cluster.env.until(run, &["running"]);
    });
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2, "{shown:#}");
}

#[test]
fn a_run_that_is_cancelled_in_doubt_leaves_no_job_in_the_queue() {
    let cluster = Cluster::alone(&["--no-accounting"], "");
    let spec = cluster.spec("doubtful", &training(&cluster, 0), "class = 'held'");
    cluster.daemon("freeze", "slurmctld");
    drop(cluster.env.run([Path::new("submit"), &spec]).ended(8));
    wait_until("the answer was lost", || {
        cluster.env.show(1)["message"].as_str().unwrap().contains("was lost")
    });
    drop(cluster.env.line("cancel 1").success());
    // From here on no job of it can train; whether there is one that waits is not known yet.
    let claims = cluster.env.run_dir(1).join("claims");
    wait_until("its claim is taken", || std::fs::read_dir(&claims).unwrap().next().is_some());
    assert_eq!(cluster.env.show(1)["state"], "stopping");
    cluster.daemon("thaw", "slurmctld");
    // The job is there after all, and held: nobody would ever start or end it.
    let shown = cluster.env.until(1, &["cancelled"]);
    assert_eq!(shown["reason"], "cancelled_by_user");
    let jobs = cluster.jobs_of(1);
    assert_eq!(jobs.len(), 1, "{shown:#}");
    let state = cluster.ask("squeue", &["-h", "-t", "all", "-o", "%T"]);
    assert_eq!((state.trim(), trained(&cluster)), ("CANCELLED", vec![]));
}
