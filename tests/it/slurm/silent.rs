//! A Slurm that does not answer holds up its own runs, and nobody else's.

use std::path::Path;

use serde_json::{Value, json};

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;

/// A squeue that hangs as long as there is a file `hang`.
const HANGS: &str = r#"
touch HOME/asked
while [[ -e HOME/hang ]]; do sleep 0.1; done
exec REAL "$@"
"#;

#[test]
fn a_squeue_that_hangs_holds_up_no_local_run() {
    let cluster = Cluster::with("squeue = 'HOME/squeue'\n");
    let home = cluster.env.home().display().to_string();
    let text = HANGS.replace("HOME", &home).replace("REAL", &cluster.path("squeue"));
    cluster.env.program("squeue", &text);
    cluster.env.write("hang", "");
    let on_slurm = cluster.env.submit(&cluster.spec("waits", "sleep 600", ""));
    wait_until("squeue hangs", || cluster.env.home().join("asked").exists());
    // It hangs for half a minute at least; a pass that waited for it would hold up this run for as long.
    let spec = cluster.spec("local", "true", "target = 'local'");
    let local = ["submit", "--wait", "--timeout", "20s"].map(Path::new);
    drop(cluster.env.run(local.into_iter().chain([spec.as_path()])).success());
    let shown = cluster.env.show(on_slurm);
    assert!(["queued", "running"].contains(&shown["state"].as_str().unwrap()), "{shown:#}");
    std::fs::remove_file(cluster.env.home().join("hang")).unwrap();
    wait_until("Slurm is heard again", || {
        let shown = cluster.env.show(on_slurm);
        shown["attempts"][0]["slurm_state"] == "RUNNING" && shown["stale_since"] == Value::Null
    });
    drop(cluster.env.line(&format!("cancel {on_slurm}")).success());
    assert_eq!(cluster.env.until(on_slurm, &["cancelled"])["reason"], json!("cancelled_by_user"));
}
