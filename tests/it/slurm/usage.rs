//! `usage --reconcile`: our record beside that of Slurm's accounting.

use serde_json::Value;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, seconds};
use crate::slurm::requeue::{RESTARTABLE, runs_on_nodes};

const TWICE: &str = "[[ ${SLURM_RESTART_COUNT:-0} -gt 0 ]] || sleep 600";

fn compared(cluster: &Cluster) -> Value {
    cluster.env.line("usage --reconcile --json").success().json()
}

/// Changes the record behind the daemon's back.
fn spoil(cluster: &Cluster, sql: &str) {
    let database = cluster.env.state_dir().join("trainyard.db");
    let database = rusqlite::Connection::open(database).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
}

#[test]
fn our_record_is_that_of_accounting_and_each_difference_is_told() {
    let cluster = Cluster::new();
    let applies = cluster.has_accounting();
    if !cluster.applies(applies, "there is no accounting to compare with") {
        return;
    }
    let requeued = cluster.env.submit(&cluster.spec("twice", TWICE, RESTARTABLE));
    let plain = cluster.env.submit(&cluster.spec("plain", "sleep 2", "nodes = 2"));
    runs_on_nodes(&cluster, requeued, 0);
    let job = cluster.env.show(requeued)["attempts"][0]["job_id"].to_string();
    drop(cluster.ask("scontrol", &["requeue", &job]));
    for run in [requeued, plain] {
        let shown = cluster.env.until(run, &["completed", "failed"]);
        assert_eq!(shown["state"], "completed", "{shown:#}");
    }
    wait_until("accounting has told of all of it", || {
        let now = compared(&cluster);
        now["starts"] == 3 && now["differences"] == serde_json::json!([])
    });
    let said = cluster.env.line("usage --reconcile").success();
    assert_eq!(said.stdout, "", "{said}");
    assert!(
        said.stderr.contains("3 starts compared:") && said.stderr.contains("; 0 differences"),
        "{said}"
    );
    spoil(
        &cluster,
        &format!(
            "UPDATE attempt SET record = json_set(record, '$.elapsed_seconds', 86400) WHERE run = {plain}"
        ),
    );
    spoil(&cluster, &format!("DELETE FROM attempt WHERE run = {requeued} AND n = 1"));
    let now = compared(&cluster);
    let told: Vec<&str> = now["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["message"].as_str().unwrap())
        .collect();
    assert_eq!(told.len(), 2, "{now:#}");
    assert!(told.contains(&"accounting alone has this start"), "{now:#}");
    assert!(told.iter().any(|message| message.starts_with("ran 86400 s, accounted ")), "{now:#}");
    let table = cluster.env.line("usage --reconcile").success().stdout;
    assert!(table.contains("48.0000"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn an_estimate_tells_when_slurm_would_start_it_and_how_long_starts_have_waited() {
    let cluster = Cluster::alone(&[], "");
    let probe = cluster.spec("probe", "true", "class = 'whole'\nnodes = 4");
    let told = |more: &str| -> Value {
        let mut line = vec!["estimate", probe.to_str().unwrap(), "--json"];
        line.extend(more.split_whitespace());
        cluster.env.run(line).success().json()
    };
    // Nobody has waited yet, and all nodes are free.
    let before = told("");
    assert_eq!(before["start"]["history"], Value::Null, "{before:#}");
    let busy = cluster.spec("busy", "sleep 600", "class = 'whole'\nnodes = 4\ntime_limit = '10m'");
    let busy = cluster.env.submit(&busy);
    runs_on_nodes(&cluster, busy, 0);
    let started = seconds(&cluster.env.show(busy)["started_at"]);
    assert!((seconds(&before["start"]["slurm_at"]) - started).abs() <= 60, "{before:#}");
    // Behind it, at the end of its ten minutes; Slurm may round to its own interval.
    wait_until("Slurm reckons with the job that runs", || {
        let told = told("");
        told["start"]["slurm_at"].is_string()
            && (seconds(&told["start"]["slurm_at"]) - started - 600).abs() <= 120
    });
    let after = told("");
    let history = &after["start"]["history"];
    assert_eq!((&history["waits"]["count"], &history["alike"]), (&1.into(), &"class".into()));
    assert_eq!(history["waits"]["median_seconds"], history["waits"]["p90_seconds"]);
    let text = cluster.env.run(["estimate", probe.to_str().unwrap()]).success().stdout;
    assert!(text.contains("as 1 start of yours did"), "{text}");
    assert!(text.contains("starts it at ") && text.contains("as its queue is now"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // What Slurm would not take is said in its words, and nothing was submitted meanwhile.
    let refused = told("--class nowhere --nodes 1");
    assert_eq!(refused["start"]["slurm_at"], Value::Null);
    let words = refused["start"]["slurm_says"].as_str().unwrap();
    assert!(words.contains("nvalid partition"), "{refused:#}");
    assert_eq!(cluster.ask("squeue", &["-h", "-t", "all", "-o", "%A"]).lines().count(), 1);
    drop(cluster.env.line(&format!("cancel {busy}")).success());
    cluster.env.until(busy, &["cancelled"]);
}

#[test]
fn classes_tell_what_their_nodes_do_and_how_long_starts_waited() {
    let cluster = Cluster::new();
    let of_class = |name: &str| -> Value {
        let classes = cluster.env.line("classes --json").success().json();
        let found = classes.as_array().unwrap().iter().find(|class| class["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {classes:#}")).clone()
    };
    // Nobody looks where no daemon serves.
    assert_eq!(of_class("cpu")["nodes_up"], Value::Null);
    let run = cluster.env.submit(&cluster.spec("short", "true", ""));
    cluster.env.until(run, &["completed"]);
    let partition = cluster.ask("sinfo", &["-h", "-p", "main", "-o", "%D"]);
    let nodes: i64 = partition.trim().parse().unwrap();
    let shown = of_class("cpu");
    let known = |key: &str| shown[key].as_i64().unwrap();
    assert_eq!(known("nodes_up") + known("nodes_down"), nodes, "{shown:#}");
    assert!(known("nodes_up") > 0 && known("nodes_idle") <= known("nodes_up"), "{shown:#}");
    assert_eq!(known("waits"), 1, "{shown:#}");
    assert_eq!(shown["median_wait_seconds"], shown["p90_wait_seconds"], "{shown:#}");
    assert_eq!(of_class("whole")["waits"], Value::Null);
    let table = cluster.env.line("classes").success().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}
