//! Without any site file: the Slurm on PATH is found.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::env::{Said, TestEnv};
use crate::slurm::cluster::Cluster;

/// A command in a world without a site file, whose shell speaks to the cluster.
fn command(cluster: &Cluster, line: &str) -> Command {
    let mut command = cluster.env.command();
    let sinfo = cluster.path("sinfo");
    command.env("PATH", TestEnv::path(Path::new(&sinfo).parent().unwrap()));
    command.env("SLURM_CONF", cluster.conf()).args(line.split_whitespace());
    command
}

fn said(cluster: &Cluster, line: &str) -> Said {
    Said::of(&mut command(cluster, line))
}

#[test]
fn the_slurm_on_path_is_found_and_runs_execute_on_it() {
    let cluster = Cluster::without_site();
    let classes = said(&cluster, "classes --json").success().json();
    let shown: Vec<_> = classes
        .as_array()
        .unwrap()
        .iter()
        .map(|class| (class["name"].as_str().unwrap(), class["is_default"].as_bool().unwrap()))
        .collect();
    let found = ["low-a100", "low-v100", "main-a100", "main-v100", "local"];
    assert_eq!(shown, found.map(|name| (name, name == "main-a100")));
    let found = json!([2, "v100", 8, "7500M", 2, 86_400, 600]);
    let keys = "gpus_per_node gpu_type cpus_per_node memory_per_node max_nodes max_time_seconds \
                default_time_seconds";
    let class: Vec<_> = keys.split_whitespace().map(|key| &classes[1][key]).collect();
    assert_eq!(json!(class), found);

    cluster.spec("found", "echo trained", "gpus_per_node = 1");
    drop(said(&cluster, "submit found.toml --class low-v100 --wait").success());
    // From here on no command needs PATH to find it: the daemon has it in force.
    let run = cluster.env.show(1);
    let attempt = &run["attempts"][0];
    assert_eq!((&run["state"], &attempt["partition"]), (&json!("completed"), &json!("low")));
    assert_eq!(cluster.accounted(attempt["job_id"].as_i64().unwrap(), "ReqCPUS"), [["4"]]);

    let shown = said(&cluster, "site show").success();
    let line = format!("cluster.test.conf = \"{}\"  # found: Slurm at ", cluster.conf());
    assert!(shown.stdout.contains(&line), "{shown}");
    // What is shown can be kept as a file.
    let kept = cluster.env.write("kept.toml", &shown.stdout);
    let from_file = said(&cluster, &format!("classes --json --site {}", kept.display()));
    assert_eq!(from_file.success().json(), classes);
    let judged = said(&cluster, "doctor").success();
    assert!(judged.stdout.contains(": cluster `test` with 4 classes\n"), "{judged}");
}

#[test]
fn what_was_found_is_asked_for_once() {
    let cluster = Cluster::without_site();
    let record = cluster.env.state_dir().join("found-site.json");
    drop(said(&cluster, "classes").success());
    let first = std::fs::read_to_string(&record).unwrap();
    drop(said(&cluster, "daemon start").success());
    drop(said(&cluster, "classes").success());
    assert_eq!(std::fs::read_to_string(&record).unwrap(), first);
    // Long ago: whoever comes next looks again.
    let mut old: serde_json::Value = serde_json::from_str(&first).unwrap();
    old["looked_at"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&record, old.to_string()).unwrap();
    drop(said(&cluster, "classes").success());
    let again = std::fs::read_to_string(&record).unwrap();
    assert!(!again.contains("2020-01-01") && again.contains("main-a100"), "{again}");
    // Silent now: what it said before stays.
    std::fs::write(&record, old.to_string()).unwrap();
    let mut silent = command(&cluster, "site show");
    let shown = Said::of(silent.env("SLURM_CONF", "/nowhere/slurm.conf")).success();
    assert!(shown.stdout.contains("class.main-a100.partition"), "{shown}");
    assert!(shown.stderr.contains("; what it said before is in force"), "{shown}");
}

#[test]
fn a_silent_slurm_is_not_waited_for_by_each_command_and_local_runs_go_on() {
    let env = TestEnv::new();
    env.write("asked", "");
    let home = env.home().display().to_string();
    for name in ["sinfo", "scontrol"] {
        let script = format!("#!/bin/bash\necho asked >> {home}/asked\nsleep 600\n");
        let path = env.write(&format!("slurm/{name}"), &script);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    let said = |line: &str| {
        let mut command = env.command();
        command.env("PATH", TestEnv::path(&env.home().join("slurm")));
        Said::of(command.args(line.split_whitespace()))
    };
    env.bash_spec("local", "exit 0\n");
    drop(said("submit local.toml --wait").success());
    assert_eq!(env.show(1)["class"], "local");
    let shown = said("site show").success();
    assert!(shown.stderr.contains("did not end within 5 s and was killed"), "{shown}");
    drop(said("classes").success());
    assert_eq!(std::fs::read_to_string(env.home().join("asked")).unwrap(), "asked\n");
}
