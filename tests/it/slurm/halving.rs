//! Points that are stopped early on Slurm: their tasks are over sooner, and the best point trains to its end.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;
use crate::slurm::sweeps::until_over;

const POINTS: i64 = 9;
const BEST: i64 = 6;

/// A training of 24 seconds whose loss falls to a floor of its own. It heeds the warning.
const TRAINING: &str = "while [[ $# -gt 0 ]]; do [[ $1 == --floor ]] && floor=$2; shift; done\n\
    for ((line = 1; line <= 24; line++)); do\n\
    printf '{\"step\": %d, \"val_loss\": %d}\\n' $((line * 100)) $((floor * 100 + 50 / line)) >>\"$TRAINYARD_METRICS_PATH\"\n\
    sleep 1\n\
    [[ -e $TRAINYARD_STOP_FILE ]] && exit 75\n\
    done\n\
    exit 0\n";

const KEYS: &str = "[sweep]\nobjective = { metric = 'val_loss', goal = 'minimize' }\n\
    parameters = { args.floor = [9, 8, 7, 6, 5, 4, 1, 3, 2] }\n\
    [sweep.early_stopping]\nmethod = 'asha'\nmin_steps = 200\nmax_steps = 1000\n";

#[test]
fn points_that_fall_behind_are_over_sooner_and_the_best_is_kept() {
    let cluster = Cluster::new();
    let path = cluster.spec("early", TRAINING, "");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{KEYS}")).unwrap();
    let sweep = cluster.env.submit(&path);
    until_over(&cluster, sweep);
    let points: Vec<Value> = (0..POINTS)
        .map(|point| cluster.env.line(&format!("show {sweep}:{point} --json")).success().json())
        .collect();
    let (stopped, kept): (Vec<_>, Vec<_>) =
        points.iter().partition(|point| point["reason"] == "stopped_early");
    assert!(stopped.len() >= 4, "{points:#?}");
    assert!(kept.iter().all(|point| point["state"] == "completed"), "{kept:#?}");
    assert!(kept.iter().any(|point| point["point"] == BEST), "the best is kept: {kept:#?}");
    for point in &stopped {
        assert_eq!(point["state"], "cancelled", "{point:#}");
        let told = point["message"].as_str().unwrap();
        assert!(told.starts_with("rung ") && told.contains(" is not "), "{told}");
        let history = cluster.env.line(&format!("events {}", point["id"])).success().stdout;
        assert!(history.contains(told), "{history}");
    }
    if cluster.has_accounting() {
        sooner_by_accounting(&cluster, &points[usize::try_from(BEST).unwrap()], &stopped);
    }
}

/// By what Slurm counts, each point that was stopped took less than the best, and all of them together half at most.
#[expect(clippy::print_stdout, reason = "a measurement is told")]
#[track_caller]
fn sooner_by_accounting(cluster: &Cluster, best: &Value, stopped: &[&Value]) {
    let task = |point: &Value| {
        let attempt = &point["attempts"][0];
        format!("{}_{}", attempt["job_id"], attempt["array_task_id"])
    };
    let job = best["attempts"][0]["job_id"].to_string();
    let words = ["-D", "-X", "-n", "-P", "-j", &job, "--format=JobID,ElapsedRaw,NNodes,End"];
    let mut took = BTreeMap::new();
    wait_until("accounting has told the ends of all", || {
        let counted = cluster.ask("sacct", &words);
        took = counted
            .lines()
            .map(|line| line.split('|').collect::<Vec<_>>())
            .filter(|words| words[3] != "Unknown")
            .map(|words| (words[0].to_owned(), node_seconds(words[1], words[2])))
            .collect();
        stopped.iter().chain([&best]).all(|point| took.contains_key(&task(point)))
    });
    let full = took[&task(best)];
    let each: Vec<i64> = stopped.iter().map(|point| took[&task(point)]).collect();
    println!("node-seconds: {full} of the best, {each:?} of those that were stopped");
    assert!(each.iter().all(|seconds| *seconds < full), "{each:?}, {full} of the best");
    let (sum, count) = (each.iter().sum::<i64>(), i64::try_from(each.len()).unwrap());
    assert!(sum * 2 <= full * count, "{each:?}, {full} of the best");
}

fn node_seconds(seconds: &str, nodes: &str) -> i64 {
    seconds.parse::<i64>().unwrap() * nodes.parse::<i64>().unwrap()
}
