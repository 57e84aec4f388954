//! Without any site file: the Slurm on PATH is found.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

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
    assert_eq!(cluster.recorded(attempt["job_id"].as_i64().unwrap(), "ReqCPUS"), [["4"]]);

    let shown = said(&cluster, "site show").success();
    let line = format!("cluster.test.conf = \"{}\"  # found: Slurm at ", cluster.conf());
    assert!(shown.stdout.contains(&line), "{shown}");
    // What is shown can be kept as a file.
    let kept = cluster.env.write("kept.toml", &shown.stdout);
    let from_file = said(&cluster, &format!("classes --json --site {}", kept.display()));
    let now = [
        "nodes_up",
        "nodes_idle",
        "nodes_down",
        "waits",
        "median_wait_seconds",
        "p90_wait_seconds",
    ];
    let configured = |mut classes: Value| {
        for class in classes.as_array_mut().unwrap() {
            for key in now {
                class.as_object_mut().unwrap().remove(key).expect(key);
            }
        }
        classes
    };
    assert_eq!(configured(from_file.success().json()), configured(classes));
    let judged = said(&cluster, "doctor").success();
    assert!(judged.stdout.contains(": cluster `test` with 4 classes\n"), "{judged}");
}

#[test]
fn what_was_found_is_asked_for_once() {
    let cluster = Cluster::without_site();
    drop(said(&cluster, "classes").success());
    let record = record(&cluster.env);
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
    // Another Slurm that is silent does not go by what this one said.
    cluster.spec("run", "exit 0", "");
    let mut silent = command(&cluster, "submit run.toml");
    let refused = Said::of(silent.env("SLURM_CONF", "/nowhere/slurm.conf")).ended(7);
    assert!(refused.stderr.contains("Slurm cannot be reached: "), "{refused}");
}

/// What this machine found.
fn record(env: &TestEnv) -> PathBuf {
    let all = std::fs::read_dir(env.state_dir().join("found-site")).unwrap();
    let all: Vec<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
    let [record] = all.as_slice() else { panic!("{all:?}") };
    record.clone()
}

#[test]
fn what_a_silent_slurm_said_before_stays_in_force() {
    let cluster = Cluster::without_site();
    let slow = cluster.env.home().join("slow");
    let sinfo = cluster.path("sinfo");
    for name in ["sinfo", "scontrol"] {
        let script =
            format!("[ -e {} ] && exit 1\nexec {} \"$@\"\n", slow.display(), cluster.path(name));
        cluster.env.program(&format!("slurm/{name}"), &script);
    }
    let said = |line: &str| {
        let mut command = command(&cluster, line);
        let machines = Path::new(&sinfo).parent().unwrap();
        let path = [&cluster.env.home().join("slurm"), machines, Path::new("/usr/bin:/bin")];
        let path = path.map(|part| part.display().to_string()).join(":");
        Said::of(command.env("PATH", path))
    };
    drop(said("classes").success());
    let path = record(&cluster.env);
    let known = std::fs::read_to_string(&path).unwrap();
    let looked = known.lines().find(|line| line.contains("looked_at")).unwrap();
    std::fs::write(&path, known.replace(looked, "  \"looked_at\": \"2020-01-01T00:00:00Z\","))
        .unwrap();
    // Another login node that shares the home keeps what it found.
    let other = path.with_file_name("other.json");
    std::fs::write(&other, "{}").unwrap();
    std::fs::write(&slow, "").unwrap();
    let shown = said("site show").success();
    assert!(shown.stdout.contains("class.main-a100.partition"), "{shown}");
    assert!(shown.stderr.contains("; what it said before is in force"), "{shown}");
    assert!(said("classes").success().stderr.contains("; what it said before is in force"));
    cluster.spec("fine", "exit 0", "");
    drop(said("check fine.toml").success());
    cluster.spec("gone", "exit 0", "class = \"gone\"");
    let refused = said("check gone.toml").ended(3);
    assert!(refused.stderr.contains("Slurm was asked for its classes and cannot be"), "{refused}");
    assert_eq!(std::fs::read_to_string(other).unwrap(), "{}");
}

#[test]
fn commands_that_nobody_configured_are_no_slurm() {
    let env = TestEnv::new();
    env.bash_spec("run", "exit 0\n");
    drop(env.line("submit run.toml --wait").success());
    assert_eq!(env.show(1)["class"], "local");
    let shown = env.line("classes").success();
    assert_eq!(shown.stderr, "");
    assert!(std::fs::read_to_string(record(&env)).unwrap().contains("\"silence\": null"));
}

#[test]
fn a_daemon_of_another_site_does_not_put_a_run_elsewhere() {
    let env = TestEnv::new();
    env.bash_spec("run", "exit 0\n");
    drop(env.line("submit run.toml --key k --wait").success());
    // A Slurm that is configured only now: no file has changed, so the daemon does not know of it.
    let config = "AccountingStorageType = accounting_storage/none\nClusterName = big\nSLURM_VERSION = 22.05.8";
    let partition = "PartitionName=c AllowGroups=ALL Default=YES MaxNodes=1 MaxTime=UNLIMITED MinNodes=0 State=UP";
    let scontrol =
        format!("case $* in *config) echo '{config}' ;; *) echo '{partition}' ;; esac\n");
    env.program("slurm/scontrol", &scontrol);
    env.program("slurm/sinfo", "echo 'c|1|8|8000|(null)'\n");
    std::fs::remove_file(record(&env)).unwrap();
    let said = |line: &str| {
        let mut command = env.command();
        command.env("PATH", TestEnv::path(&env.home().join("slurm")));
        Said::of(command.args(line.split_whitespace()))
    };
    let refused = said("submit run.toml").ended(11);
    let told = "the run is meant for class `c` of cluster `big`, and the daemon would put it on this machine";
    assert!(refused.stderr.contains(told), "{refused}");
    assert!(refused.stderr.contains("`trainyard daemon stop`"), "{refused}");
    drop(said("submit run.toml --key other").ended(11));
    // Its run is there already.
    assert_eq!(said("submit run.toml --key k").success().stdout, "1\n");
}

#[test]
fn a_silent_slurm_is_not_waited_for_by_each_command_and_only_local_runs_go_on() {
    let env = TestEnv::new();
    env.write("asked", "");
    let home = env.home().display().to_string();
    for name in ["sinfo", "scontrol"] {
        let script = format!("echo asked >> {home}/asked\nsleep 600\n");
        env.program(&format!("slurm/{name}"), &script);
    }
    let said = |line: &str| {
        let mut command = env.command();
        command.env("PATH", TestEnv::path(&env.home().join("slurm")));
        Said::of(command.args(line.split_whitespace()))
    };
    env.bash_spec("local", "exit 0\n");
    for line in
        ["submit local.toml", "check local.toml", "render local.toml", "submit local.toml --key k"]
    {
        let refused = said(line).ended(7);
        let why = "Slurm cannot be reached: ";
        assert!(refused.stderr.contains(why), "{refused}");
        assert!(refused.stderr.contains("did not end within 5 s and was killed"), "{refused}");
        assert!(
            refused.stderr.contains("hint: `--target local` runs it on this machine"),
            "{refused}"
        );
        assert_eq!(refused.stdout, "");
    }
    drop(said("submit local.toml --target local --wait").success());
    assert_eq!(env.show(1)["class"], "local");
    let shown = said("site show").success();
    assert!(shown.stderr.contains("did not end within 5 s and was killed"), "{shown}");
    // What is not on PATH, as in cron, is as silent as it was.
    let from_cron = env.command().args(["check", "local.toml"]).env("PATH", "/nowhere").output();
    assert_eq!(from_cron.unwrap().status.code(), Some(7));
    // A class of the user's own default may be one that Slurm does not name now.
    let own = env.write(".config/trainyard/site.toml", "[site]\ndefault_class = 'main'\n");
    let refused = said("check local.toml").ended(3);
    assert!(refused.stderr.contains("hint: Slurm was asked for its classes and"), "{refused}");
    std::fs::remove_file(own).unwrap();
    let shown = said("classes").success();
    assert!(shown.stderr.contains("did not end within 5 s and was killed"), "{shown}");
    assert_eq!(std::fs::read_to_string(env.home().join("asked")).unwrap(), "asked\n");
}
