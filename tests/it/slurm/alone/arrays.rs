//! A sweep with far more points than an array may have tasks, and than may be submitted at once, while its daemon is killed
//! again and again. `TRAINYARD_SWEEP_POINTS` and `TRAINYARD_SWEEP_KILLS` say how many points there are and how often it is
//! killed; `TRAINYARD_SWEEP_ARRAY_SIZE` and `TRAINYARD_SWEEP_SUBMITTED` what Slurm allows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::env::wait_within;
use crate::slurm::cluster::Cluster;
use crate::slurm::sweeps::{each_once, most_at_once, states, sweep, trained};

/// What a machine that builds does in a minute or two.
const POINTS: u32 = 500;
const KILLS: u32 = 10;
const ARRAY_SIZE: u32 = 51;
/// The most that Slurm takes of one user at once.
const SUBMITTED: u32 = 150;
const AT_ONCE: usize = 10;

#[expect(clippy::disallowed_methods, reason = "a campaign is told how large it is")]
fn number(variable: &str, default: u32) -> u32 {
    let said = std::env::var(variable).ok();
    said.map_or(default, |said| said.parse().expect("a number"))
}

/// Points take a while, and the machine may have other things to do.
fn patience(points: u32) -> Duration {
    Duration::from_mins(1) + Duration::from_millis(1_300) * points
}

#[test]
fn a_cluster_without_arrays_refuses_a_sweep_and_says_what_to_do() {
    let cluster = Cluster::alone(&["--array-size", "1"], "");
    let spec = sweep(&cluster, "none", "", "[sweep.parameters]\n'args.n' = [1, 2]\n");
    let said = cluster.env.run(["submit", spec.to_str().unwrap()]).ended(3);
    let told = said.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
    for words in [
        "cluster `test` takes no job arrays, as which the points of a sweep are submitted",
        "help: its slurm.conf says so, by `MaxArraySize` or by `max_array_tasks` of `SchedulerParameters`",
        "submit the points as runs of their own error: 1 problem; nothing was submitted",
    ] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(cluster.env.line("sweep list --json").success().stdout.trim(), "[]");
    // What the sweep is made of goes there.
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, text.split("[sweep.").next().unwrap()).unwrap();
    let run = cluster.env.submit(&spec);
    cluster.env.until(run, &["completed", "failed"]);
}

#[test]
fn a_sweep_beyond_all_limits_runs_each_point_once_whatever_becomes_of_the_daemon() {
    let points = number("TRAINYARD_SWEEP_POINTS", POINTS);
    let kills = number("TRAINYARD_SWEEP_KILLS", KILLS);
    let size = number("TRAINYARD_SWEEP_ARRAY_SIZE", ARRAY_SIZE);
    let cluster = Cluster::alone(&["--array-size", &size.to_string(), "--jobs", "50000"], "");
    if cluster.has_accounting() {
        let most = number("TRAINYARD_SWEEP_SUBMITTED", SUBMITTED);
        let limit = format!("MaxSubmitJobs={most}");
        drop(cluster.ask("sacctmgr", &["-i", "-Q", "modify", "user", "root", "set", &limit]));
    }
    let keys = format!(
        "[sweep]\nmax_parallel = {AT_ONCE}\n[sweep.parameters]\n'args.n' = {{ range = [0, {points}] }}\n"
    );
    let spec = sweep(&cluster, "many", "", &keys);
    let sweep = cluster.env.submit(&spec);
    let (began, patience) = (Instant::now(), patience(points));
    let over = |states: &BTreeMap<String, i64>| states.get("completed").copied().unwrap_or(0);
    let mut killed = 0;
    let mut next = 1;
    let mut last = BTreeMap::new();
    wait_within(patience, "all points have completed", || {
        last = states(&cluster, sweep);
        // Spread over the whole sweep.
        if killed < kills && over(&last) >= i64::from(next * points / (kills + 1)) {
            cluster.env.kill_daemon();
            killed += 1;
            next += 1;
        }
        last.keys().all(|state| ["completed", "failed", "cancelled"].contains(&state.as_str()))
    });
    let trained = trained(&cluster);
    println!(
        "{points} points in arrays of {size}, {killed} kills: {:?}, at most {} at a time",
        began.elapsed(),
        most_at_once(&trained)
    );
    assert_eq!(last, BTreeMap::from([("completed".to_owned(), i64::from(points))]));
    each_once(&trained, i64::from(points));
    assert!(most_at_once(&trained) <= AT_ONCE, "{} at a time", most_at_once(&trained));
    assert_eq!(killed, kills);
}
