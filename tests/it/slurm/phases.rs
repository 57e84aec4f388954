//! The daemon dies in every phase of a run's life, and the next one goes on from there.

use std::path::Path;

use serde_json::json;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::agrees;

#[test]
fn a_daemon_that_dies_in_every_phase_loses_nothing() {
    let cluster = Cluster::new();
    let home = cluster.env.home().display().to_string();
    let training = format!(
        "while [[ ! -e {home}/go ]]; do sleep 0.05; done; echo trained >>{home}/trained; touch {home}/over"
    );
    let run = cluster.env.submit(&cluster.spec("mortal", &training, "class = 'held'"));
    let kill_after = |states: &[&str]| {
        let shown = cluster.env.until(run, states);
        cluster.env.kill_daemon();
        shown
    };
    // Accepted by Slurm, and held there.
    let job = job_of(&kill_after(&["queued"]));
    drop(cluster.ask("scontrol", &["release", &job.to_string()]));
    // Under way; it ends while no daemon is there.
    kill_after(&["running"]);
    cluster.env.write("go", "");
    wait_until("the training is over", || cluster.env.home().join("over").exists());
    // At its end, confirmed or not.
    kill_after(&["finishing", "completed"]);
    let shown = kill_after(&["completed"]);
    assert_eq!((&shown["reason"], job_of(&shown)), (&json!(null), job), "{shown:#}");
    agrees(&cluster, &shown);
    let trained = std::fs::read_to_string(Path::new(&home).join("trained")).unwrap();
    assert_eq!((trained.as_str(), cluster.jobs_of(run)), ("trained\n", vec![job]));
    // Over is over.
    let again = cluster.env.show(run);
    assert_eq!((&again["state"], &again["ended_at"]), (&json!("completed"), &shown["ended_at"]));
}
