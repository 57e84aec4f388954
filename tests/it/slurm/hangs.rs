//! A training over two nodes of which one rank never comes: it is ended, looked into, and goes on from what it had saved.

use std::collections::BTreeSet;

use serde_json::json;

use crate::slurm::cluster::Cluster;

/// Saves three steps; then, in the first attempt, all its ranks wait and cannot be asked to end.
const HANGS: &str = r#"import json, os, pathlib, signal, time
resumed = os.environ.get("TRAINYARD_RESUME_FROM")
first = json.load(open(resumed))["step"] + 1 if resumed else 1
for step in range(first, first + 3):
    if os.environ["RANK"] == "0":
        path = pathlib.Path(os.environ["TRAINYARD_CHECKPOINT_DIR"], f"step-{step}.json")
        path.write_text(json.dumps({"step": step}))
if not resumed:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
"#;

const KEYS: &str = "[compute]
nodes = 2
time_limit = '10m'
[distributed]
launcher = 'srun'
[checkpoint]
[failure]
max_restarts = 1
restart_on = ['hung']
no_progress_timeout = '5s'
";

#[test]
fn a_training_that_hangs_on_two_nodes_goes_on_from_its_newest_checkpoint() {
    let cluster = Cluster::new();
    cluster.env.write("hangs-code/train.py", HANGS);
    let code = "[code]\npath = 'hangs-code'\nentry_point = 'train.py'\n";
    let spec = cluster.env.write("hangs.toml", &format!("name = 'hangs'\n{code}{KEYS}"));
    let run = cluster.env.submit(&spec);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    let attempts = shown["attempts"].as_array().unwrap();
    let ends: Vec<_> =
        attempts.iter().map(|it| (&it["reason"], &it["resumed_from_step"])).collect();
    assert_eq!(ends, [(&json!("hung"), &json!(null)), (&json!(null), &json!(3))], "{shown:#}");
    // What the ranks of both nodes waited for.
    let files = std::fs::read_dir(cluster.env.run_dir(run).join("logs/1.stacks")).unwrap();
    let mut hosts = BTreeSet::new();
    for file in files {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("train.py") && text.contains("Waits in: ") {
            hosts.insert(
                path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned(),
            );
        }
    }
    let nodes = attempts[0]["nodes"].as_array().unwrap();
    let nodes = nodes.iter().map(|node| node.as_str().unwrap().to_owned()).collect();
    assert_eq!(hosts, nodes, "{shown:#}");
    let events = cluster.env.line(&format!("events {run}")).success().stdout;
    let why =
        "no line of its log, no metric and no checkpoint for 5s; this is restart 1 of at most 1";
    assert!(events.contains(why), "{events}");
}
