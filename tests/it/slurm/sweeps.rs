//! Sweeps on Slurm: as job arrays, each point once, and never too many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;

/// The spec of a sweep over `args.n`, whose points each leave a line in `trained` of the world: point, argument, and when
/// they began and ended, in nanoseconds.
pub(super) fn sweep(cluster: &Cluster, name: &str, work: &str, keys: &str) -> PathBuf {
    let trained = cluster.env.home().join("trained").display().to_string();
    let script = format!(
        "begin=$(date +%s%N)\n{work}\n\
         echo \"$TRAINYARD_SWEEP_POINT $2 $begin $(date +%s%N) $TRAINYARD_ATTEMPT\" >>'{trained}'\n"
    );
    let path = cluster.spec(name, &script, "");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{keys}")).unwrap();
    path
}

/// One line that a point left.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) point: i64,
    pub(super) argument: String,
    began: i64,
    ended: i64,
}

pub(super) fn trained(cluster: &Cluster) -> Vec<Trained> {
    let text = std::fs::read_to_string(cluster.env.home().join("trained")).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Trained {
            point: words[0].parse().unwrap(),
            argument: words[1].to_owned(),
            began: words[2].parse().unwrap(),
            ended: words[3].parse().unwrap(),
        }
    };
    text.lines().map(line).collect()
}

/// The most that trained at one moment.
pub(super) fn most_at_once(trained: &[Trained]) -> usize {
    let at =
        |moment: i64| trained.iter().filter(|it| (it.began..it.ended).contains(&moment)).count();
    trained.iter().map(|it| at(it.began)).max().unwrap_or(0)
}

/// Each point trained once.
#[track_caller]
pub(super) fn each_once(trained: &[Trained], points: i64) {
    let mut all: Vec<i64> = trained.iter().map(|it| it.point).collect();
    all.sort_unstable();
    assert_eq!(all, (0..points).collect::<Vec<_>>());
}

pub(super) fn states(cluster: &Cluster, sweep: i64) -> BTreeMap<String, i64> {
    let shown = cluster.env.line(&format!("sweep show {sweep} --json")).success().json();
    serde_json::from_value(shown["states"].clone()).unwrap()
}

/// Waits until all points are over.
pub(super) fn until_over(cluster: &Cluster, sweep: i64) -> BTreeMap<String, i64> {
    let mut last = BTreeMap::new();
    wait_until("all points are over", || {
        last = states(cluster, sweep);
        last.keys().all(|state| ["completed", "failed", "cancelled"].contains(&state.as_str()))
    });
    last
}

fn points(cluster: &Cluster, sweep: i64) -> Vec<Value> {
    let listed = cluster.env.line(&format!("list --sweep {sweep} --limit 5000 --json"));
    let mut runs: Vec<Value> = listed.success().json().as_array().unwrap().clone();
    runs.reverse();
    runs
}

fn show(cluster: &Cluster, reference: &str) -> Value {
    cluster.env.line(&format!("show {reference} --json")).success().json()
}

#[test]
fn a_sweep_is_one_array_and_each_point_is_a_run() {
    let cluster = Cluster::new();
    let keys = "[sweep]\nmax_parallel = 3\n[sweep.parameters]\n'args.n' = { range = [0, 12] }\n";
    let spec = sweep(&cluster, "lr", "sleep 0.5", keys);
    let sweep = cluster.env.submit(&spec);
    assert_eq!(until_over(&cluster, sweep), BTreeMap::from([("completed".to_owned(), 12)]));
    let trained = trained(&cluster);
    each_once(&trained, 12);
    assert!(trained.iter().all(|it| it.argument == it.point.to_string()), "{trained:?}");
    assert!(most_at_once(&trained) <= 3, "{trained:?}");
    let point = show(&cluster, &format!("{sweep}:7"));
    assert_eq!((&point["sweep"], &point["point"]), (&sweep.into(), &7.into()));
    assert_eq!(point["parameters"], serde_json::json!({ "args.n": 7 }));
    let jobs: BTreeSet<i64> = (0..12)
        .map(|n| show(&cluster, &format!("{sweep}:{n}"))["attempts"][0]["job_id"].as_i64().unwrap())
        .collect();
    assert_eq!(jobs.len(), 1, "one array: {jobs:?}");
    assert_eq!(point["attempts"][0]["array_task_id"], 7);
    let log = cluster.env.line(&format!("logs {sweep}:7 --source training")).success();
    assert_eq!(log.stdout, "");
    assert_eq!(points(&cluster, sweep).len(), 12);
    if cluster.has_accounting() {
        elapsed_is_what_slurm_counts(&cluster, sweep, *jobs.first().unwrap());
    }
}

/// What each point took is what accounting has of its task.
#[track_caller]
fn elapsed_is_what_slurm_counts(cluster: &Cluster, sweep: i64, job: i64) {
    let told = |point: &Value| {
        let shown = show(cluster, &format!("{sweep}:{}", point["point"]));
        let attempt = &shown["attempts"][0];
        (format!("{job}_{}", attempt["array_task_id"]), attempt["node_hours"].as_f64().unwrap())
    };
    let words = ["-D", "-X", "-n", "-P", "-j", &job.to_string(), "--format=JobID,ElapsedRaw"];
    wait_until("accounting has told all of it", || {
        let counted = cluster.ask("sacct", &words);
        points(cluster, sweep).iter().map(told).all(|(task, node_hours)| {
            let line = counted.lines().find(|line| line.starts_with(&format!("{task}|")));
            let seconds = line.and_then(|line| line.split('|').nth(1)?.parse::<f64>().ok());
            // A point has one of a node's eight CPUs.
            seconds.is_some_and(|seconds| (node_hours * 3600.0 - seconds / 8.0).abs() < 1e-6)
        })
    });
}

#[test]
fn one_point_is_cancelled_and_one_that_failed_is_started_again() {
    let cluster = Cluster::new();
    let home = cluster.env.home().display().to_string();
    let work = format!(
        "[[ $2 != 1 || -e '{home}/mended' ]] || exit 3\n[[ $2 != 2 ]] || sleep 300\n[[ $2 != 3 ]] || until [[ -e '{home}/go' ]]; do sleep 0.1; done"
    );
    let keys = "[sweep.parameters]\n'args.n' = [0, 1, 2, 3]\n";
    let sweep = cluster.env.submit(&sweep(&cluster, "some", &work, keys));
    let state = |n: i64| show(&cluster, &format!("{sweep}:{n}"))["state"].clone();
    wait_until("point 1 has failed and the others run", || {
        state(0) == "completed"
            && state(1) == "failed"
            && state(2) == "running"
            && state(3) == "running"
    });
    drop(cluster.env.line(&format!("cancel {sweep}:2")).success());
    wait_until("point 2 is cancelled", || state(2) == "cancelled");
    assert_eq!(state(3), "running", "the others go on");
    std::fs::write(cluster.env.home().join("mended"), "").unwrap();
    drop(cluster.env.line(&format!("resume {sweep}:1")).success());
    wait_until("point 1 has completed", || state(1) == "completed");
    let again = show(&cluster, &format!("{sweep}:1"));
    let attempts: Vec<(&Value, &Value)> = again["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (&attempt["attempt"], &attempt["state"]))
        .collect();
    assert_eq!(attempts, [(&1.into(), &"failed".into()), (&2.into(), &"completed".into())]);
    std::fs::write(cluster.env.home().join("go"), "").unwrap();
    let states = until_over(&cluster, sweep);
    assert_eq!(states, BTreeMap::from([("cancelled".to_owned(), 1), ("completed".to_owned(), 3)]));
}

#[test]
fn a_whole_sweep_is_cancelled_what_waits_and_what_runs() {
    let cluster = Cluster::new();
    let keys = "[sweep]\nmax_parallel = 2\n[sweep.parameters]\n'args.n' = { range = [0, 40] }\n";
    let sweep = cluster.env.submit(&sweep(&cluster, "all", "sleep 300", keys));
    wait_until("two points run", || states(&cluster, sweep).get("running") == Some(&2));
    let said = cluster.env.line(&format!("sweep cancel {sweep}")).success();
    assert_eq!(said.stderr, format!("40 points of sweep {sweep} being cancelled\n"));
    assert_eq!(until_over(&cluster, sweep), BTreeMap::from([("cancelled".to_owned(), 40)]));
    let left = cluster.ask("squeue", &["-h", "--me", "-t", "PENDING,RUNNING", "-o", "%j"]);
    assert!(!left.contains(&format!("{sweep}-all@")), "{left}");
    let again = cluster.env.line(&format!("sweep cancel {sweep}")).ended(11);
    assert!(again.stderr.contains("is over already: cancelled"), "{again}");
}

#[test]
fn cancels_that_were_not_delivered_are_delivered_together() {
    let cluster = Cluster::with("commands = 'HOME/bin'\n");
    let env = &cluster.env;
    for name in ["sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr", "srun"] {
        let path = env.write(&format!("bin/{name}"), "");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(cluster.path(name), path).unwrap();
    }
    let (home, scancel) = (env.home().display(), cluster.path("scancel"));
    let script = format!(
        "[[ -e '{home}/works' ]] || exit 1\necho \"$*\" >>'{home}/asked'\nexec {scancel} \"$@\"\n"
    );
    env.program("bin/scancel", &script);
    let keys = "[sweep.parameters]\n'args.n' = { range = [0, 12] }\n";
    let sweep = env.submit(&sweep(&cluster, "unheard", "sleep 300", keys));
    wait_until("they run", || states(&cluster, sweep).get("running") == Some(&12));
    drop(env.line(&format!("sweep cancel {sweep}")).success());
    wait_until("they are being stopped", || states(&cluster, sweep).get("stopping") == Some(&12));
    env.kill_daemon();
    env.write("works", "");
    assert_eq!(until_over(&cluster, sweep), BTreeMap::from([("cancelled".to_owned(), 12)]));
    let asked = std::fs::read_to_string(env.home().join("asked")).unwrap();
    let warned: Vec<&str> = asked.lines().filter(|line| line.starts_with("--batch ")).collect();
    // Those of which the next daemon learns something first have their turn in its next pass.
    assert!((1..=4).contains(&warned.len()), "{asked}");
}
