//! Nodes that are taken away: by a run of more weight, and by their failure.

use serde_json::json;

use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::{RESTARTABLE, agrees, ends, runs_on_nodes, why};

/// A training that ends at once when it is started again, and else waits to be.
const SECOND_TIME: &str = "[[ ${SLURM_RESTART_COUNT:-0} -gt 0 ]] || sleep 600";

#[test]
fn a_run_whose_nodes_are_taken_away_comes_back() {
    let cluster = Cluster::alone(&[], "");
    let low = format!("class = 'low'\nnodes = 4\n{RESTARTABLE}");
    let run = cluster.env.submit(&cluster.spec("low", SECOND_TIME, &low));
    runs_on_nodes(&cluster, run, 0);
    let other = cluster.env.submit(&cluster.spec("whole", "true", "class = 'whole'"));
    cluster.env.until(other, &["completed"]);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    let reason = why(&cluster, "preempted");
    assert_eq!(ends(&shown), [("requeued", reason), ("completed", "")], "{shown:#}");
    agrees(&cluster, &shown);

    // One that may not be started again ends there.
    let run =
        cluster.env.submit(&cluster.spec("low-once", "sleep 600", "class = 'low'\nnodes = 4"));
    runs_on_nodes(&cluster, run, 0);
    let other = cluster.env.submit(&cluster.spec("whole-again", "true", "class = 'whole'"));
    cluster.env.until(other, &["completed"]);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("preempted")));
    agrees(&cluster, &shown);
}

#[test]
fn a_run_whose_node_fails_comes_back() {
    let cluster = Cluster::alone(&[], "");
    let run = cluster.env.submit(&cluster.spec("unlucky", SECOND_TIME, RESTARTABLE));
    runs_on_nodes(&cluster, run, 0);
    let shown = cluster.env.show(run);
    let node = shown["attempts"][0]["nodes"][0].as_str().unwrap().to_owned();
    let fails = format!("nodename={node}");
    // Drained too, since a node that is only down comes back as soon as its slurmd reports.
    for state in ["state=drain", "state=down"] {
        drop(cluster.ask("scontrol", &["update", &fails, state, "reason=test"]));
    }
    let shown = cluster.env.until(run, &["completed", "failed"]);
    let reason = why(&cluster, "node_failure");
    assert_eq!(ends(&shown), [("requeued", reason), ("completed", "")], "{shown:#}");
    assert_ne!(shown["attempts"][1]["nodes"], json!([node]), "{shown:#}");
    agrees(&cluster, &shown);
    assert_eq!(job_of(&shown), shown["attempts"][0]["job_id"].as_i64().unwrap());
}
