//! What exceeds a quota waits, says so, and starts by itself.

use serde_json::Value;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of, seconds};
use crate::slurm::requeue::{RESTARTABLE, runs_on_nodes};

const KEYS: &str = "\
[class.few]
cluster = 'test'
partition = 'main'
cpus_per_node = 1
memory_per_node = '50M'
max_nodes = 4
default_time = '5m'
max_running = { user = 2 }
max_running_nodes = { project = 3 }
[project.nlp]
";

fn spec(cluster: &Cluster, name: &str, keys: &str) -> std::path::PathBuf {
    let go = cluster.env.home().join("go").display().to_string();
    let script = format!("until [[ -e '{go}' ]]; do sleep 0.2; done");
    cluster.spec(name, &script, &format!("class = 'few'\n{keys}"))
}

fn states(cluster: &Cluster, runs: &[i64]) -> Vec<String> {
    runs.iter().map(|run| cluster.env.show(*run)["state"].as_str().unwrap().to_owned()).collect()
}

/// The most runs that were with Slurm at one moment, from the first submission of each to its end.
fn most_at_once(shown: &[Value]) -> usize {
    let span = |run: &Value| (seconds(&run["submitted_at"]), seconds(&run["ended_at"]));
    let spans: Vec<(i64, i64)> = shown.iter().map(span).collect();
    let at = |moment: i64| spans.iter().filter(|(from, to)| (*from..*to).contains(&moment)).count();
    spans.iter().map(|(from, _)| at(*from)).max().unwrap_or(0)
}

#[test]
fn runs_beyond_a_quota_wait_and_start_by_themselves() {
    let cluster = Cluster::with(KEYS);
    let runs: Vec<i64> = (1..=4)
        .map(|n| cluster.env.submit(&spec(&cluster, &format!("run-{n}"), RESTARTABLE)))
        .collect();
    cluster.env.until(runs[0], &["running"]);
    cluster.env.until(runs[1], &["running"]);
    let why = "2 runs of root of class `few` may be submitted at once (`max_running`), and no more";
    wait_until("it is said why the others wait", || {
        runs[2..].iter().all(|run| cluster.env.show(*run)["message"] == why)
    });
    let said = cluster.env.line(&format!("explain {}", runs[2])).success();
    assert!(said.stdout.contains("`max_running`"), "{said}");
    assert_eq!(cluster.jobs_of(runs[2]), Vec::<i64>::new(), "Slurm knows nothing of it");
    // What Slurm starts again keeps its place.
    runs_on_nodes(&cluster, runs[0], 0);
    let job = job_of(&cluster.env.show(runs[0])).to_string();
    drop(cluster.ask("scontrol", &["requeue", &job]));
    wait_until("it is started again", || {
        let shown = cluster.env.show(runs[0]);
        shown["attempts"].as_array().unwrap().len() == 2
    });
    assert_eq!(states(&cluster, &runs)[2..], ["pending", "pending"]);
    std::fs::write(cluster.env.home().join("go"), "").unwrap();
    let shown: Vec<Value> =
        runs.iter().map(|run| cluster.env.until(*run, &["completed", "failed"])).collect();
    assert_eq!(states(&cluster, &runs), ["completed"; 4]);
    assert_eq!(most_at_once(&shown), 2, "{shown:#?}");
}

#[test]
fn nodes_of_a_project_are_counted_and_a_run_that_could_never_start_is_told() {
    let cluster = Cluster::with(KEYS);
    let of = |nodes: u32| format!("nodes = {nodes}\n");
    let project = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("project = 'nlp'\n{text}")).unwrap();
        path
    };
    let never = project(spec(&cluster, "never", &of(4)));
    let said = cluster.env.run(["check".as_ref(), never.as_os_str()]).ended(3);
    let why = "nodes asked: 4; project `nlp` of class `few` may have at most 3 at once";
    assert!(said.stderr.contains(why), "{said}");
    let first = cluster.env.submit(&project(spec(&cluster, "first", &of(2))));
    cluster.env.until(first, &["queued", "running"]);
    let second = cluster.env.submit(&project(spec(&cluster, "second", &of(2))));
    let why = "runs of project `nlp` of class `few` may have 3 nodes at once \
               (`max_running_nodes`), and not enough of them are left for 2 more";
    wait_until("it waits for nodes", || cluster.env.show(second)["message"] == why);
    std::fs::write(cluster.env.home().join("go"), "").unwrap();
    for run in [first, second] {
        assert_eq!(cluster.env.until(run, &["completed", "failed"])["state"], "completed");
    }
}
