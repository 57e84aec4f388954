//! The warning before the end: trainings that save and come back, that hear nothing, and that are cancelled.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;
use crate::slurm::requeue::ends;

/// In Python: saves and asks to be brought back when it is warned, and is done when it comes back.
const SAVES: &str = r#"import os, signal, sys, time
def save(*_):
    with open(f"{os.environ['TRAINYARD_OUTPUT_PATH']}/saved.{os.environ['RANK']}", "w") as file:
        file.write(str(os.path.exists(os.environ["TRAINYARD_STOP_FILE"])))
    time.sleep(2)
    sys.exit(75)
if os.environ["TRAINYARD_ATTEMPT"] == "1":
    signal.signal(signal.SIGUSR1, save)
    os.write(1, b"ready\n")
    time.sleep(600)
"#;

/// The same in bash, with a process beside it that would be ended by the signal.
const SAVES_IN_BASH: &str = "[[ $TRAINYARD_ATTEMPT == 1 ]] || exit 0
sleep 600 & helper=$!
save() { sleep 1; kill -0 $helper && touch ../output/saved.bash; kill $helper; exit 75; }
trap save USR1
while :; do sleep 0.1; done";

/// Slurm warns up to half a minute early, and a limit is a minute at least.
const KEYS: &str =
    "[compute]\ntime_limit = '1m'\n[failure]\nmax_restarts = 1\nwarn_before_end = '20s'\n";

fn python(cluster: &Cluster, name: &str, training: &str, keys: &str) -> PathBuf {
    cluster.env.write(&format!("{name}-code/train.py"), training);
    let code = format!("[code]\npath = '{name}-code'\nentry_point = 'train.py'\n");
    cluster.env.write(&format!("{name}.toml"), &format!("{code}{keys}"))
}

fn bash(cluster: &Cluster, name: &str, training: &str, keys: &str) -> PathBuf {
    let path = cluster.env.bash_spec(name, training);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{keys}")).unwrap();
    path
}

fn saved(cluster: &Cluster, run: i64) -> Vec<String> {
    let entries = std::fs::read_dir(cluster.env.run_dir(run).join("output")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn was_warned(cluster: &Cluster, run: i64) -> bool {
    let events = cluster.env.line(&format!("events {run}")).success().stdout;
    events.contains("SIGUSR1 told the script that the end is near")
}

#[test]
fn trainings_that_are_warned_of_their_time_limit_save_and_come_back_or_reach_it() {
    let cluster = Cluster::new();
    let two_nodes =
        KEYS.replace("[failure]", "nodes = 2\n[distributed]\nlauncher = 'srun'\n[failure]");
    let sleeps = "import time\ntime.sleep(600)";
    let one = cluster.env.submit(&python(&cluster, "one", SAVES, KEYS));
    let shell = cluster.env.submit(&bash(&cluster, "shell", SAVES_IN_BASH, KEYS));
    let two = cluster.env.submit(&python(&cluster, "two", SAVES, &two_nodes));
    let deaf = cluster.env.submit(&python(&cluster, "deaf", sleeps, &two_nodes));
    for (run, expected) in
        [(one, &["saved.0"][..]), (shell, &["saved.bash"]), (two, &["saved.0", "saved.1"])]
    {
        let shown = cluster.env.until(run, &["completed", "failed"]);
        let log = cluster.env.line(&format!("logs {run} --attempt 1")).stdout;
        assert_eq!(ends(&shown), [("failed", "exit_code"), ("completed", "")], "{shown:#}\n{log}");
        assert_eq!(shown["attempts"][0]["exit_code"], 75);
        assert_eq!(saved(&cluster, run), expected, "{log}");
        assert!(was_warned(&cluster, run));
    }
    let stop_file_was_there = cluster.env.run_dir(two).join("output/saved.1");
    assert_eq!(std::fs::read_to_string(stop_file_was_there).unwrap(), "True");
    assert!(!cluster.env.run_dir(one).join("stop.1").exists(), "the second attempt removed it");
    let waited = cluster.env.line(&format!("wait {deaf}"));
    let shown = cluster.env.show(deaf);
    assert_eq!(ends(&shown), [("failed", "time_limit")], "{waited} {shown:#}");
    assert_eq!(shown["attempts"][0]["slurm_state"], "TIMEOUT", "{shown:#}");
    assert!(cluster.env.run_dir(deaf).join("stop.1").exists() && was_warned(&cluster, deaf));
}

#[test]
fn trainings_that_are_cancelled_may_save_and_those_that_hear_nothing_are_ended_soon() {
    let cluster = Cluster::new();
    let nodes = "[compute]\nnodes = 2\n[distributed]\nlauncher = 'srun'\n[failure]\nwarn_before_end = '2m'\n";
    let saves = cluster.env.submit(&python(&cluster, "saves", SAVES, nodes));
    let looks = "echo ready; until [[ -e $TRAINYARD_STOP_FILE ]]; do sleep 0.1; done; sleep 2; touch ../output/looked";
    let looks = cluster.env.submit(&bash(&cluster, "looks", looks, ""));
    let deaf = cluster.env.submit(&bash(&cluster, "deaf", "echo ready; sleep 600", nodes));
    let log = |run: i64| cluster.env.line(&format!("logs {run}")).stdout;
    for run in [saves, looks, deaf] {
        wait_until("it has begun", || log(run).contains("ready"));
    }
    wait_until("both ranks have begun", || log(saves).matches("ready").count() == 2);
    drop(cluster.env.line(&format!("cancel {saves} {looks} {deaf}")).success());
    for run in [saves, looks, deaf] {
        let shown = cluster.env.until(run, &["cancelled", "failed", "completed"]);
        let end = (&shown["state"], &shown["reason"]);
        assert_eq!(end, (&json!("cancelled"), &json!("cancelled_by_user")), "{shown:#}");
        assert!(was_warned(&cluster, run));
    }
    assert_eq!(saved(&cluster, saves), ["saved.0", "saved.1"], "{}", log(saves));
    assert_eq!(saved(&cluster, looks), ["looked"], "{}", log(looks));
    let stopped = |run| {
        let shown: Value = cluster.env.show(run);
        shown["attempts"][0]["slurm_state"].as_str().unwrap().to_owned()
    };
    // The first has ended by itself, the last by scancel: long before the two minutes were over.
    assert_eq!((stopped(saves), stopped(deaf)), ("FAILED".to_owned(), "CANCELLED".to_owned()));
}
