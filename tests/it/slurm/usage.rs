//! `usage --reconcile`: our record beside that of Slurm's accounting.

use serde_json::Value;

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;
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
