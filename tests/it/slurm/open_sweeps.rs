//! Open sweeps on Slurm: what is told goes as arrays, each point once, and never too many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::Value;

use crate::env::{Said, wait_until};
use crate::slurm::cluster::Cluster;
use crate::slurm::sweeps::{each_once, most_at_once, sweep, trained, until_over};

const KEYS: &str = "[sweep]\nmethod = 'open'\nmax_points = 100\nmax_parallel = 3\n\
                    [sweep.parameters]\nargs.n = { integer = [0, 99] }\ncompute.time_limit = ['5m', '6m']\n";

fn line(n: i64, minutes: i64) -> String {
    format!(
        "{{\"key\": \"{n}\", \"parameters\": {{\"args.n\": {n}, \"compute.time_limit\": \"{minutes}m\"}}}}\n"
    )
}

fn tell(cluster: &Cluster, sweep: i64, lines: &str) -> Said {
    let file = cluster.env.write("points.jsonl", lines);
    let mut command = cluster.env.command();
    command.args(["sweep", "tell", &sweep.to_string(), "-"]);
    command.stdin(Stdio::from(std::fs::File::open(file).unwrap()));
    Said::of(&mut command)
}

fn job_of(cluster: &Cluster, sweep: i64, point: i64) -> (Value, Value) {
    let shown = cluster.env.line(&format!("show {sweep}:{point} --json")).success().json();
    let attempt = &shown["attempts"][0];
    (attempt["job_id"].clone(), attempt["array_task_id"].clone())
}

#[test]
fn what_an_open_sweep_is_told_goes_as_arrays_and_trains_once() {
    let cluster = Cluster::new();
    let sweep = cluster.env.submit(&sweep(&cluster, "tuned", "sleep 0.5", KEYS));
    let six: String = (0..6).map(|n| line(n, 5)).collect();
    let told = tell(&cluster, sweep, &six).success().json();
    assert_eq!(told["points"], 6);
    // The daemon may die at any time, and whoever drives the sweep tells it again.
    cluster.env.kill_daemon();
    let again = tell(&cluster, sweep, &six).success().json();
    assert!(again["told"].as_array().unwrap().iter().all(|told| told["new"] == false), "{again}");
    let mut after = 0;
    let mut ended = Vec::new();
    while ended.len() < 6 {
        let asked = cluster.env.line(&format!("sweep ask {sweep} --after {after} --wait"));
        let asked = asked.success().json();
        after = asked["after"].as_i64().unwrap();
        let points = asked["results"].as_array().unwrap().iter();
        ended.extend(points.map(|result| result["point"].as_i64().unwrap()));
    }
    assert_eq!(ended.iter().collect::<BTreeSet<_>>().len(), 6, "each is told once: {ended:?}");
    let first: BTreeSet<String> =
        (0..6).map(|n| job_of(&cluster, sweep, n).0.to_string()).collect();
    assert_eq!(first.len(), 1, "one array: {first:?}");
    // More of them, of which one has other resources: an array for each, whose indices begin anew.
    let more: String = (6..9).map(|n| line(n, 5)).chain([line(9, 6)]).collect();
    drop(tell(&cluster, sweep, &more).success());
    drop(cluster.env.line(&format!("sweep tell {sweep} --close")).success());
    assert_eq!(until_over(&cluster, sweep), BTreeMap::from([("completed".to_owned(), 10)]));
    let trained = trained(&cluster);
    each_once(&trained, 10);
    assert!(trained.iter().all(|it| it.argument == it.point.to_string()), "{trained:?}");
    assert!(most_at_once(&trained) <= 3, "{trained:?}");
    let (job, index) = job_of(&cluster, sweep, 8);
    assert!(!first.contains(&job.to_string()), "{job} is a later one than {first:?}");
    assert_eq!(index, 2);
    assert_ne!(job_of(&cluster, sweep, 9).0, job);
    let shown = cluster.env.line(&format!("show {sweep}:9 --json")).success().json();
    assert_eq!(shown["attempts"][0]["time_limit_seconds"], 360);
    drop(cluster.env.line(&format!("wait {sweep}")).success());
}

#[test]
fn a_sweep_that_is_cancelled_takes_no_more_and_its_points_are_cancelled() {
    let cluster = Cluster::new();
    let sweep = cluster.env.submit(&sweep(&cluster, "tuned", "sleep 300", KEYS));
    drop(tell(&cluster, sweep, &(0..5).map(|n| line(n, 5)).collect::<String>()).success());
    wait_until("some of them run", || {
        let shown = cluster.env.line(&format!("sweep show {sweep} --json")).success().json();
        shown["states"]["running"] == 3
    });
    drop(cluster.env.line(&format!("sweep cancel {sweep}")).success());
    assert_eq!(until_over(&cluster, sweep), BTreeMap::from([("cancelled".to_owned(), 5)]));
    drop(tell(&cluster, sweep, &line(5, 5)).ended(11));
    let asked = cluster.env.line(&format!("sweep ask {sweep} --wait")).success().json();
    assert_eq!((&asked["over"], asked["results"].as_array().unwrap().len()), (&true.into(), 5));
}
