//! What a run would cost and wait, before it is submitted.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::assert_told;
use crate::env::{TestEnv, wait_until};

/// An hour, and the minute and a half that it may take to end, cost 1.025 for each node.
const SITE: &str = "[site]\nrun_root = 'HOME/trainyard'\ndefault_class = 'cpu'\n\
                    [cluster.main]\ncommands = 'HOME/slurm'\n\
                    [class.cpu]\ncluster = 'main'\npartition = 'p'\ncpus_per_node = 1\n\
                    memory_per_node = '1G'\nmax_nodes = 4\ndefault_time = '1h'\nrate = 1.0\n";

/// A world whose Slurm reckons so, and whatever else it is asked cannot be reached.
fn world(sbatch: &str, projects: &str) -> TestEnv {
    let mut env = TestEnv::new();
    let away = "error: Unable to contact slurm controller (connect failure)";
    for name in ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo"] {
        env.program(&format!("slurm/{name}"), &format!("echo '{name}: {away}' >&2\nexit 1\n"));
    }
    if !sbatch.is_empty() {
        let test = format!("echo \"$*\" >>HOME/asked\necho '{sbatch}' >&2\n");
        let script = format!(
            "if [[ $1 == --test-only ]]; then\n{test}exit\nfi\necho '{away}' >&2\nexit 1\n"
        );
        env.program("slurm/sbatch", &script.replace("HOME", &env.home().display().to_string()));
    }
    let site = format!("{SITE}{projects}").replace("HOME", &env.home().display().to_string());
    env.use_site(&site);
    env.write("code/train.sh", "exit 0\n");
    env.write(
        "run.toml",
        "project = 'nlp'\n[code]\npath = 'code'\nentry_point = 'train.sh'\n[compute]\nnodes = 2\n",
    );
    env
}

const AT_ONCE: &str =
    "sbatch: Job 7 to start at 1000000000 using 2 processors on nodes n[1-2] in partition p";

fn estimate(env: &TestEnv, more: &str, code: i32) -> Value {
    env.line(&format!("estimate run.toml --json {more}")).ended(code).json()
}

#[test]
fn what_is_told_is_what_would_be_set_aside() {
    let env = world(AT_ONCE, "[project.nlp]\nbudget = 5.0\nperiod = 'none'\n");
    assert_told!(env, env.line("estimate run.toml"));
    let told = estimate(&env, "", 0);
    assert_eq!((&told["node_hours"], &told["charge_at_limit"]), (&json!(2.0), &json!(2.0)));
    assert_eq!((&told["charge"], &told["unit"]), (&json!(2.05), &json!("unit")));
    assert_eq!((&told["sufficient"], &told["budget"]["available"]), (&json!(true), &json!(5.0)));
    assert_eq!(told["start"]["slurm_at"], "2001-09-09T01:46:40Z");
    // The request of the script, and nothing of it was submitted.
    let asked = std::fs::read_to_string(env.home().join("asked")).unwrap();
    assert!(asked.contains("--wrap=: ") && asked.contains(" --nodes=2 "), "{asked}");
    assert_eq!(env.line("list --json").success().json(), json!([]));
    drop(env.line("submit run.toml --ack-timeout 0s").ended(8));
    let entries = env.line("ledger nlp --json").success().json();
    let hold = entries.as_array().unwrap().iter().find(|entry| entry["kind"] == "hold").unwrap();
    assert_eq!(hold["amount"], told["charge"]);
    let told = estimate(&env, "--nodes 3", 9);
    let budget = &told["budget"];
    assert_eq!((&budget["held"], &budget["available"]), (&json!(2.05), &json!(2.95)));
    assert_eq!((&told["sufficient"], &told["is_refused"]), (&json!(false), &json!(true)));
}

#[test]
fn what_does_not_suffice_ends_as_a_submission_would() {
    let mut env = world(AT_ONCE, "[project.nlp]\nbudget = 1.5\nperiod = 'none'\n");
    assert_told!(env, env.line("estimate run.toml"));
    let told = estimate(&env, "", 9)["shortage"].as_str().unwrap().to_owned();
    let said = env.line("submit run.toml").ended(9);
    assert!(said.stderr.contains(&told), "{told} {said}");
    drop(env.line("estimate run.toml --nodes 1").success());
    // A budget that is raised counts for who asks a moment later.
    let site = std::fs::read_to_string(env.home().join("site.toml")).unwrap();
    env.use_site(&site.replace("budget = 1.5", "budget = 2.1"));
    assert_eq!(estimate(&env, "", 0)["budget"]["budget"], 2.1);
    let warns = "budget = 0.5\non_exhausted = 'warn'";
    env.use_site(&site.replace("budget = 1.5", warns));
    let mut told = Value::Null;
    wait_until("the daemon has taken it up", || {
        told = estimate(&env, "", 0);
        told["sufficient"] == false
    });
    assert_eq!(told["is_refused"], false);
    let said = env.line("estimate run.toml").success();
    assert!(said.stderr.starts_with("warning: project `nlp` has 0.5 of 0.5"), "{said}");
}

#[test]
fn a_sweep_costs_what_its_points_do() {
    let env = world("", "[project.nlp]\nbudget = 20.0\n");
    let run = std::fs::read_to_string(env.home().join("run.toml")).unwrap();
    let sweep = "[sweep.parameters]\ncompute.nodes = [1, 2]\nargs.seed = { range = [0, 3] }\n";
    env.write("run.toml", &run.replace("nodes = 2\n", sweep));
    let told = estimate(&env, "", 0);
    assert_eq!((&told["points"], &told["resource_sets"]), (&json!(6), &json!(2)));
    assert_eq!((&told["node_hours"], &told["charge"]), (&json!(9.0), &json!(9.225)));
    let checked = env.line("check run.toml --json").success().json();
    assert_eq!(checked[0]["sweep"]["charge_max"], told["charge_at_limit"]);
    assert_told!(env, env.line("estimate run.toml --set compute.time_limit=\"3h\"").ended(9));
}

#[test]
fn what_costs_nothing_or_is_wrong_is_told_as_such() {
    let env = world("", "[project.nlp]\nbudget = 5.0\n");
    let told = estimate(&env, "--target local --class local --nodes 1", 0);
    assert_eq!((&told["charge"], &told["budget"]), (&Value::Null, &Value::Null));
    assert_eq!((&told["sufficient"], &told["start"]["slurm_at"]), (&json!(true), &Value::Null));
    let told = estimate(&env, "", 0);
    let silence = told["start"]["slurm_says"].as_str().unwrap();
    assert!(silence.contains("gave no answer: sbatch: error: Unable to contact"), "{silence}");
    let said = env.line("estimate run.toml --nodes 9").ended(3);
    assert!(said.stderr.contains("nodes asked: 9") && said.stdout.is_empty(), "{said}");
    drop(env.run([Path::new("estimate"), Path::new("nowhere.toml")]).ended(3));
}
