//! What a project pays for runs on a real Slurm.

use std::path::PathBuf;

use serde_json::json;

use crate::env::{Said, wait_until};
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::{RESTARTABLE, ends, runs_on_nodes};

/// A second of a node costs a hundredth, so that seconds count; `held` jobs stay in the queue.
const KEYS: &str = "\
[class.paid]
cluster = 'test'
partition = 'main'
cpus_per_node = 1
memory_per_node = '50M'
exclusive = true
default_time = '1m'
rate = 36.0
[class.kept]
cluster = 'test'
partition = 'main'
cpus_per_node = 1
memory_per_node = '50M'
directives = ['--hold']
default_time = '1m'
rate = 36.0
";

fn world(budget: f64) -> Cluster {
    Cluster::with(&format!("{KEYS}[project.nlp]\nbudget = {budget:?}\nperiod = 'year'\n"))
}

fn spec(cluster: &Cluster, name: &str, script: &str, compute: &str) -> PathBuf {
    let path = cluster.spec(name, script, compute);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("project = 'nlp'\n{text}")).unwrap();
    path
}

/// What is captured, and what is held.
#[track_caller]
fn budget(cluster: &Cluster) -> (f64, f64) {
    let shown = cluster.env.line("budget nlp --json").success().json();
    let [all, captured, held] =
        ["budget", "captured", "held"].map(|key| shown[0][key].as_f64().unwrap());
    assert!(captured + held <= all + 1e-9, "{shown:#}");
    (captured, held)
}

/// The kinds of the entries of a run, oldest first.
fn kinds(cluster: &Cluster, run: i64) -> Vec<String> {
    let all = cluster.env.line("ledger nlp --json --limit 1000").success().json();
    let own = all.as_array().unwrap().iter().rev().filter(|entry| entry["run"] == run);
    own.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
}

/// Waits until nothing is held and these runs are what was captured, also once accounting has told more of them.
fn costs(cluster: &Cluster, runs: &[i64]) {
    wait_until("what was captured is what they are charged", || {
        let charge = |run: &i64| cluster.env.show(*run)["charge"].as_f64().unwrap();
        let charges: f64 = runs.iter().map(charge).sum();
        let (captured, held) = budget(cluster);
        held.abs() < 1e-9 && charges > 0.0 && (captured - charges).abs() < 1e-5
    });
}

#[test]
fn a_run_pays_for_what_it_used_when_it_is_cancelled_and_when_it_is_done() {
    let cluster = world(100.0);
    let run = cluster.env.submit(&spec(&cluster, "long", "sleep 600", "class = 'paid'"));
    runs_on_nodes(&cluster, run, 0);
    wait_until("it has run for a second", || {
        cluster.env.show(run)["elapsed_seconds"].as_f64().unwrap() > 1.5
    });
    assert!(budget(&cluster).1 > 1.2, "a minute and what it may take to end");
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
    let (captured, held) = budget(&cluster);
    assert!(held.abs() < 1e-9 && captured > 0.0, "{captured} {held}");
    assert_eq!(kinds(&cluster, run)[..3], ["hold", "capture", "release"]);
    let short = cluster.env.submit(&spec(&cluster, "short", "sleep 2", "class = 'paid'"));
    cluster.env.until(short, &["completed"]);
    costs(&cluster, &[run, short]);
}

#[test]
fn each_start_of_slurms_own_takes_a_hold_of_its_own() {
    let cluster = world(100.0);
    let compute = format!("class = 'paid'\n{RESTARTABLE}");
    let run = cluster.env.submit(&spec(&cluster, "again", "sleep 600", &compute));
    runs_on_nodes(&cluster, run, 0);
    let job = job_of(&cluster.env.show(run)).to_string();
    drop(cluster.ask("scontrol", &["requeue", &job]));
    wait_until("its second start is paid for", || {
        kinds(&cluster, run) == ["hold", "capture", "release", "hold"]
    });
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
    costs(&cluster, &[run]);
}

#[test]
fn a_start_of_slurms_own_that_the_budget_has_no_room_for_ends_the_run() {
    // Two minutes and five seconds cost 1.25.
    let cluster = world(1.26);
    let compute = format!("class = 'paid'\n{RESTARTABLE}");
    // From now on the daemon knows how long Slurm takes to end a job.
    drop(cluster.env.line("daemon start").success());
    let first = cluster.env.submit(&cluster.spec("first", "true", ""));
    cluster.env.until(first, &["completed"]);
    let run = cluster.env.submit(&spec(&cluster, "again", "sleep 600", &compute));
    runs_on_nodes(&cluster, run, 0);
    let (_, held) = budget(&cluster);
    assert!((held - 1.25).abs() < 1e-9, "{held}");
    wait_until("it has used more than is left", || {
        cluster.env.show(run)["charge"].as_f64().unwrap() > 0.03
    });
    let job = job_of(&cluster.env.show(run)).to_string();
    drop(cluster.ask("scontrol", &["requeue", &job]));
    let shown = cluster.env.until(run, &["completed", "failed", "cancelled"]);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("budget_exhausted")));
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("it is not started again: project `nlp`"), "{message}");
    assert_eq!(ends(&shown)[0], ("requeued", "requeued"), "{shown:#}");
    costs(&cluster, &[run]);
    wait_until("its job is gone", || {
        let shown = cluster.ask("squeue", &["-h", "-j", &job, "-o", "%T"]);
        shown.trim().is_empty() || shown.contains("CANCELLED")
    });
}

/// Saves when it is warned, and says so.
const SAVES: &str = "save() { touch ../output/saved; exit 75; }\ntrap save USR1\n\
                     while :; do sleep 0.1; done";

/// Lowers the budget until a run that runs has outgrown it.
fn lowered(on_overrun: &str) -> (Cluster, i64) {
    let mut cluster = world(100.0);
    let site = std::fs::read_to_string(cluster.env.home().join("site.toml")).unwrap();
    let compute = "class = 'paid'\ntime_limit = '5m'";
    let run = cluster.env.submit(&spec(&cluster, "saves", SAVES, compute));
    runs_on_nodes(&cluster, run, 0);
    wait_until("it has used more than there will be", || {
        cluster.env.show(run)["charge"].as_f64().unwrap() > 0.02
    });
    let budget = format!("budget = 0.02\n{on_overrun}");
    cluster.env.use_site(&site.replace("budget = 100.0", &budget));
    (cluster, run)
}

#[test]
fn a_run_that_outgrows_its_project_saves_and_is_stopped_where_the_site_says_so() {
    let (cluster, run) = lowered("on_overrun = 'stop'");
    let free = cluster.env.submit(&cluster.spec("free", "sleep 3", "class = 'cpu'"));
    let shown = cluster.env.until(run, &["completed", "failed", "cancelled"]);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("budget_exhausted")));
    let message = shown["message"].as_str().unwrap();
    assert!(
        message.starts_with("project `nlp` in ") && message.contains(" is overrun: 0 of 0.02"),
        "{message}"
    );
    assert!(
        cluster.env.run_dir(run).join("output/saved").exists(),
        "{}",
        cluster.env.line(&format!("events {run}"))
    );
    wait_until("what it used is captured, and nothing is held", || {
        let shown = cluster.env.line("budget nlp --json").success().json();
        shown[0]["held"] == 0.0 && shown[0]["captured"].as_f64().unwrap() > 0.02
    });
    // Whoever pays nothing goes on.
    assert_eq!(cluster.env.until(free, &["completed", "failed"])["state"], "completed");
}

#[test]
fn a_run_that_outgrows_its_project_goes_on_to_its_end_otherwise() {
    let (cluster, run) = lowered("");
    wait_until("the overrun is told", || {
        let shown = cluster.env.line("budget nlp --json").success().json();
        shown[0]["overrun"].as_f64().unwrap() > 1.0
    });
    let before = cluster.env.show(run)["charge"].as_f64().unwrap();
    wait_until("it goes on for several looks of the daemon", || {
        let shown = cluster.env.show(run);
        assert_eq!(shown["state"], "running", "{shown:#}");
        shown["charge"].as_f64().unwrap() > before + 0.05
    });
    assert!(!cluster.env.run_dir(run).join("output/saved").exists());
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
}

#[test]
fn a_hundred_submissions_at_once_never_take_a_budget_over() {
    // At least ten fit, whether or not the daemon knows yet how long Slurm takes to end a job.
    let cluster = world(15.2);
    let spec = spec(&cluster, "racing", "true", "class = 'kept'");
    drop(cluster.env.line("daemon start").success());
    let said: Vec<Said> = std::thread::scope(|scope| {
        let submit = || cluster.env.run(["submit", spec.to_str().unwrap(), "--ack-timeout", "60s"]);
        let racers: Vec<_> = (0..100).map(|_| scope.spawn(submit)).collect();
        wait_until("some are taken in", || budget(&cluster).1 > 3.0);
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let of = |code: i32| said.iter().filter(|said| said.code == code).count();
    assert!(
        of(0) >= 10 && of(0) + of(9) == 100,
        "{}",
        said.iter().map(Said::to_string).collect::<String>()
    );
    let (_, held) = budget(&cluster);
    assert!(held > 15.2 - 1.5, "what is left is less than a start takes: {held}");
    let runs = cluster.env.line("list --json --limit 1000").success().json();
    let runs: Vec<String> =
        runs.as_array().unwrap().iter().map(|run| run["id"].to_string()).collect();
    assert_eq!(runs.len(), of(0));
    drop(cluster.env.run(["cancel".to_owned()].iter().chain(&runs)).success());
    wait_until("all is given back", || budget(&cluster) == (0.0, 0.0));
}

#[test]
fn where_slurm_does_not_tell_what_is_left_a_run_waits_or_is_let_in_with_a_warning() {
    let keys = "[project.nlp]\naccount = 'ml'\nbudget = 'slurm'\n";
    let mut cluster = Cluster::with(&format!("{KEYS}{keys}"));
    // Since 23.02 Slurm counts unless it is told not to.
    let counts = cluster.ask("scontrol", &["show", "config"]).contains("priority/multifactor");
    if !cluster.applies(!counts || !cluster.has_accounting(), "this Slurm counts what is used") {
        return;
    }
    let spec = spec(&cluster, "unknown", "true", "class = 'paid'");
    let said = cluster.env.run(["submit", spec.to_str().unwrap()]).success();
    const WHY: &str =
        "Slurm has not told what account `ml` has left on cluster `test`: test gave no answer: it ";
    assert!(said.stderr.contains(WHY), "{said}");
    let run: i64 = said.stdout.trim().parse().unwrap();
    wait_until("it says why it waits", || {
        let shown = cluster.env.show(run);
        shown["state"] == "pending" && shown["message"].as_str().unwrap_or("").starts_with(WHY)
    });
    let shown = cluster.env.line("budget nlp").success();
    assert!(shown.stdout.contains(" unknown") && shown.stderr.contains(WHY), "{shown}");
    let checked = cluster.env.line("site check").ended(3);
    assert!(checked.stdout.contains("it is \"slurm\", and this Slurm "), "{checked}");
    // Whoever only wants to be warned goes on.
    let site = std::fs::read_to_string(cluster.env.home().join("site.toml")).unwrap();
    let warns = site.replace("budget = 'slurm'", "budget = 'slurm'\non_exhausted = 'warn'");
    cluster.env.use_site(&warns);
    assert_eq!(cluster.env.until(run, &["completed", "failed"])["state"], "completed");
    let said = cluster.env.line(&format!("events {run}"));
    assert!(said.stdout.contains(WHY), "{said}");
}
