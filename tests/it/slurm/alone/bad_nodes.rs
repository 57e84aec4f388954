//! Nodes that fail under runs, and come back at once: the next attempt is given others.

use serde_json::{Value, json};
use trainyard::domain::nodelist::expand;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::{RESTARTABLE, ends, runs_on_nodes, why};

/// A training that ends when it is told to, by a file, in its second attempt or a later one.
fn training(cluster: &Cluster) -> String {
    let go = cluster.env.home().join("go").display().to_string();
    format!("while [[ $TRAINYARD_ATTEMPT = 1 || ! -e {go} ]]; do sleep 0.1; done")
}

/// The nodes that an attempt was given.
fn nodes_of(shown: &Value, attempt: usize) -> Vec<String> {
    let nodes = shown["attempts"][attempt]["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node.as_str().unwrap().to_owned()).collect()
}

fn set(cluster: &Cluster, node: &str, states: &[&str]) {
    for state in states {
        let state = format!("state={state}");
        let node = format!("nodename={node}");
        drop(cluster.ask("scontrol", &["update", &node, &state, "reason=test"]));
    }
}

/// Lets a node fail: what it runs goes on, and slurmctld hears nothing of it any more. Drained too, for a release that
/// believes otherwise what slurmd said a moment before.
fn fail(cluster: &Cluster, node: &str) {
    cluster.daemon("freeze", node);
    set(cluster, node, &["drain", "down"]);
}

/// It comes back, and is as good as any for Slurm.
fn come_back(cluster: &Cluster, node: &str) {
    cluster.daemon("thaw", node);
    set(cluster, node, &["resume"]);
}

/// The nodes that Slurm does not give to a job. It keeps the list as it was told to it.
fn excluded(cluster: &Cluster, job: i64) -> Vec<String> {
    let shown = cluster.ask("scontrol", &["-o", "show", "job", &job.to_string()]);
    let word = shown.split_whitespace().find_map(|word| word.strip_prefix("ExcNodeList="));
    let mut nodes = expand(word.unwrap_or_else(|| panic!("{shown}"))).unwrap();
    nodes.sort_unstable();
    nodes
}

/// The history of a run, as lines of one kind.
fn told(cluster: &Cluster, run: i64, kind: &str) -> Vec<String> {
    let events = cluster.env.line(&format!("events {run} --json")).success().json();
    let of_kind = events.as_array().unwrap().iter().filter(|event| event["kind"] == kind);
    of_kind.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// Nodes that are remembered, with the attempts that they failed under.
fn remembered(cluster: &Cluster) -> Vec<(String, i64)> {
    let bad = cluster.env.line("site bad-nodes --json").success().json();
    let node =
        |bad: &Value| (bad["node"].as_str().unwrap().to_owned(), bad["count"].as_i64().unwrap());
    bad.as_array().unwrap().iter().map(node).collect()
}

#[test]
fn a_job_that_slurm_starts_again_is_kept_away_from_the_node_that_failed() {
    let cluster = Cluster::alone(&[], "");
    let env = &cluster.env;
    let compute = format!("nodes = 2\nexclude = 'n4'\n{RESTARTABLE}");
    let run = env.submit(&cluster.spec("unlucky", &training(&cluster), &compute));
    runs_on_nodes(&cluster, run, 0);
    let first = nodes_of(&env.show(run), 0);
    fail(&cluster, &first[0]);
    wait_until("the job is kept away from it", || !told(&cluster, run, "avoided").is_empty());
    // Before the job starts again.
    come_back(&cluster, &first[0]);
    let shown = env.show(run);
    let reason = why(&cluster, "node_failure");
    assert_eq!(shown["attempts"][0]["failed_nodes"], json!([first[0]]), "{shown:#}");
    assert_eq!(shown["avoids"][0]["node"], json!(first[0]), "{shown:#}");
    assert_eq!(excluded(&cluster, job_of(&shown)), [&first[0], "n4"]);
    let expected = format!("it keeps away from {} ({reason} in attempt 1 of run {run})", first[0]);
    assert_eq!(told(&cluster, run, "avoided"), [expected]);
    let text = env.line(&format!("show {run}")).success();
    assert!(text.stdout.contains(&format!("avoids      {} ({reason}", first[0])), "{text}");

    let bad = env.line("site bad-nodes --json").success().json();
    let expected = json!([{
        "cluster": "test", "node": first[0], "since": bad[0]["since"], "until": bad[0]["until"],
        "why": reason, "run": run, "attempt": 1, "job": format!("test:{}", job_of(&shown)), "count": 1,
    }]);
    assert_eq!(bad, expected);
    let cleared = env.line(&format!("site bad-nodes --clear {}", first[0])).success();
    assert!(cleared.stdout.contains(&first[0]), "{cleared}");
    assert_eq!(remembered(&cluster), []);

    env.write("go", "");
    let shown = env.until(run, &["completed", "failed"]);
    assert_eq!(ends(&shown), [("requeued", reason), ("completed", "")], "{shown:#}");
    assert!(!nodes_of(&shown, 1).contains(&first[0]), "{shown:#}");
    assert_eq!(cluster.jobs_of(run).len(), 1, "it was submitted once");
}

/// Slurm is told not to start the job again by itself, and its node fails.
fn fail_for_good(cluster: &Cluster, run: i64) -> String {
    runs_on_nodes(cluster, run, 0);
    let shown = cluster.env.show(run);
    let job = format!("jobid={}", job_of(&shown));
    drop(cluster.ask("scontrol", &["update", &job, "requeue=0"]));
    let node = nodes_of(&shown, 0).remove(0);
    fail(cluster, &node);
    wait_until("its attempt is over", || {
        cluster.env.show(run)["attempts"][0]["reason"] == "node_failure"
    });
    come_back(cluster, &node);
    node
}

#[test]
fn a_new_submission_keeps_away_from_the_node_that_failed_and_others_do_when_it_fails_again() {
    let cluster = Cluster::alone(&[], "");
    let env = &cluster.env;
    env.write("go", "");
    let compute = format!("exclude = 'n4'\n{RESTARTABLE}");
    let spec = |name: &str, compute: &str| cluster.spec(name, &training(&cluster), compute);
    let first = env.submit(&spec("first", &compute));
    let node = fail_for_good(&cluster, first);
    assert_eq!(remembered(&cluster), [(node.clone(), 1)]);
    let shown = env.until(first, &["completed", "failed"]);
    assert_eq!(ends(&shown), [("failed", "node_failure"), ("completed", "")], "{shown:#}");
    assert_ne!(nodes_of(&shown, 1), [node.as_str()], "{shown:#}");
    assert_eq!(excluded(&cluster, job_of(&shown)), [&node, "n4"]);
    assert_eq!(cluster.jobs_of(first).len(), 2);

    // One failure is between the node and that run.
    let second = env.submit(&spec("second", &compute));
    assert_eq!(fail_for_good(&cluster, second), node, "the node that Slurm gives first");
    assert_eq!(remembered(&cluster), [(node.clone(), 2)]);
    env.until(second, &["completed", "failed"]);
    let held = |name: &str, failure: &str| {
        let compute = format!("class = 'held'\n{failure}");
        let run = env.submit(&cluster.spec(name, "true", &compute));
        let shown = env.until(run, &["queued"]);
        let excluded = excluded(&cluster, job_of(&shown));
        drop(env.line(&format!("cancel {run}")).success());
        excluded
    };
    assert_eq!(held("third", ""), [node.as_str()], "everybody keeps away from it now");
    assert_eq!(held("willing", "[failure]\nexclude_failed_nodes = false"), [""; 0]);
    drop(env.line("site bad-nodes --clear-all").success());
    assert_eq!(held("fourth", ""), [""; 0]);
}

#[test]
fn a_run_that_needs_all_nodes_takes_the_one_that_failed() {
    let cluster = Cluster::alone(&[], "");
    let env = &cluster.env;
    let compute = format!("nodes = 4\n{RESTARTABLE}");
    let run = env.submit(&cluster.spec("whole", &training(&cluster), &compute));
    runs_on_nodes(&cluster, run, 0);
    fail(&cluster, "n2");
    wait_until("the history says so", || !told(&cluster, run, "avoided").is_empty());
    come_back(&cluster, "n2");
    let reason = why(&cluster, "node_failure");
    let expected = format!(
        "it may be given n2 ({reason} in attempt 1 of run {run}): fewer than the 4 asked would be left"
    );
    assert_eq!(told(&cluster, run, "avoided"), [expected]);
    assert_eq!(remembered(&cluster), [("n2".to_owned(), 1)], "of four it was this one");
    env.write("go", "");
    let shown = env.until(run, &["completed", "failed"]);
    assert_eq!(ends(&shown), [("requeued", reason), ("completed", "")], "{shown:#}");
    assert_eq!(excluded(&cluster, job_of(&shown)), [""; 0]);
}
