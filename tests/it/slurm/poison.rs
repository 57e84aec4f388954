//! What surrounds the daemon, its limits, its umask and its variables, is nothing to the jobs it submits.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::env::{Said, wait_until};
use crate::slurm::cluster::Cluster;

/// What a person's shell, or the job that a daemon is started in, may hold. Each would change what Slurm's commands do.
const POISON: &[(&str, &str)] = &[
    ("SBATCH_ACCOUNT", "nobody"),
    ("SBATCH_EXPORT", "NONE"),
    ("SBATCH_GRES", "gpu:7"),
    ("SBATCH_JOB_NAME", "poisoned"),
    ("SBATCH_NO_REQUEUE", "1"),
    ("SBATCH_PARTITION", "nope"),
    ("SBATCH_QOS", "few"),
    ("SBATCH_TIMELIMIT", "1"),
    ("SBATCH_WAIT", "1"),
    ("SACCT_FORMAT", "User"),
    ("SLURM_CLUSTERS", "foo"),
    ("SLURM_CONF", "/nonexistent"),
    ("SLURM_EXPORT_ENV", "NONE"),
    ("SLURM_JOB_ID", "1"),
    ("SLURM_NTASKS", "7"),
    ("SLURM_STEP_ID", "3"),
    ("SLURM_TIME_FORMAT", "relative"),
    ("SLURM_UMASK", "0000"),
    ("SQUEUE_FORMAT", "%u"),
    ("SQUEUE_SORT", "foo"),
    ("SQUEUE_STATES", "FAILED"),
    ("SQUEUE_USERS", "nobody"),
    ("SRUN_DEBUG", "4"),
    ("BASH_ENV", "/nonexistent/poison"),
    ("POISON", "everywhere"),
];

/// The limits, umask and variables of a training. One node and few words in them, so that two can be compared.
const TRAINING: &str = "ulimit -a >$TRAINYARD_OUTPUT_PATH/limits
umask >$TRAINYARD_OUTPUT_PATH/umask
env -0 | sort -z | tr '\\n\\0' ' \\n' >$TRAINYARD_OUTPUT_PATH/variables
";

/// Variables whose values are another job's by nature. That they are there is compared.
const OF_THE_JOB: &[&str] = &[
    "MASTER_PORT",
    "SLURM_JOBID",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_TASK_PID",
    "SLURM_JOB_START_TIME",
    "SLURM_JOB_END_TIME",
];

/// What a training found around it.
#[derive(Debug, PartialEq, Eq)]
struct Around {
    limits: String,
    umask: String,
    variables: BTreeMap<String, String>,
}

/// The program as a poisoned shell starts it: the daemon that comes of it inherits everything.
#[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
fn poisoned(cluster: &Cluster) -> Command {
    let clean = cluster.env.command();
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -t 3600 -n 512 -l 64; umask 077; exec \"$@\"", "bash"]);
    command.arg(clean.get_program()).env_clear().current_dir(cluster.env.home());
    command.envs(clean.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(POISON.iter().copied());
    command
}

/// A daemon that serves a world from a poisoned shell.
fn serve_poisoned(cluster: &Cluster) -> Child {
    let daemon = poisoned(cluster).arg("serve").stderr(Stdio::null()).spawn().unwrap();
    wait_until("the daemon serves", || {
        cluster.env.line("daemon status").code == 0 && cluster.env.daemon_pid().is_some()
    });
    daemon
}

/// Submits with this command, and gives what the training found.
fn around(cluster: &Cluster, submit: &mut Command) -> Around {
    let spec = cluster.spec("around", TRAINING, "nodelist = 'n1'");
    drop(Said::of(submit.args([Path::new("submit"), &spec])).success());
    let shown = cluster.env.until(1, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    read(cluster, &shown)
}

fn read(cluster: &Cluster, shown: &Value) -> Around {
    let output = cluster.env.run_dir(1).join("output");
    let file = |name: &str| std::fs::read_to_string(output.join(name)).unwrap();
    let token = shown["token"].as_str().unwrap();
    let masked = |(name, value): (&str, &str)| {
        let value = match name {
            name if OF_THE_JOB.contains(&name) => "of the job".to_owned(),
            "TRAINYARD_LOCAL_SCRATCH" | "TMPDIR" => value.replace(token, "TOKEN"),
            _ => cluster.env.masked(value),
        };
        (name.to_owned(), value)
    };
    let variables = file("variables");
    let variables = variables.lines().map(|line| line.split_once('=').unwrap()).map(masked);
    Around { limits: file("limits"), umask: file("umask"), variables: variables.collect() }
}

/// A limit of the process that serves a world, as `/proc` spells it.
fn daemon_has(cluster: &Cluster, limit: &str, value: &str) -> bool {
    let pid = cluster.env.daemon_pid().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
    line.split_whitespace().next() == Some(value)
}

#[test]
fn a_poisoned_environment_does_not_reach_the_job() {
    let clean = Cluster::new();
    let expected = around(&clean, &mut clean.env.command());
    let cluster = Cluster::new();
    let mut daemon = serve_poisoned(&cluster);
    assert!(daemon_has(&cluster, "Max open files", "512"));
    assert!(daemon_has(&cluster, "Max cpu time", "3600"));
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", daemon.id())).unwrap();
    assert!(environment.contains("SBATCH_TIMELIMIT=1"), "{environment}");
    let found = around(&cluster, &mut poisoned(&cluster));
    assert_eq!(found.limits, expected.limits);
    assert_eq!(found.umask, expected.umask);
    assert_eq!(found.variables, expected.variables);
    // It is a whole environment that was compared.
    for name in ["HOME", "PATH", "SLURM_JOB_ID", "SLURM_CONF", "TRAINYARD_RUN_ID"] {
        assert!(found.variables.contains_key(name), "{name}: {found:#?}");
    }
    cluster.env.kill_daemon();
    daemon.wait().unwrap();
}

#[test]
fn a_daemon_that_a_poisoned_shell_starts_submits_as_any_other() {
    let clean = Cluster::new();
    let expected = around(&clean, &mut clean.env.command());
    let cluster = Cluster::new();
    // The first command starts it.
    let found = around(&cluster, &mut poisoned(&cluster));
    assert!(daemon_has(&cluster, "Max open files", "512"));
    assert_eq!(found, expected);
}
