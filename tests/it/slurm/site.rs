//! A site that configures itself, and what a real Slurm says to a site config that does not fit it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{Said, TestEnv, wait_until};
use crate::slurm::cluster::Cluster;

/// A command in a world without a site file, whose shell speaks to the cluster.
fn command(cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = cluster.env.command();
    let sinfo = cluster.path("sinfo");
    command.env("PATH", TestEnv::path(Path::new(&sinfo).parent().unwrap()));
    command.env("SLURM_CONF", cluster.conf()).args(words);
    command
}

pub(super) fn said(cluster: &Cluster, words: &[&str]) -> Said {
    Said::of(&mut command(cluster, words))
}

#[test]
fn the_file_that_slurm_made_passes_the_check_and_runs_the_examples() {
    let cluster = Cluster::without_site();
    let own = ".config/trainyard/site.toml";
    drop(said(&cluster, &["site", "init", "--output", own]).success());
    let text = std::fs::read_to_string(cluster.env.home().join(own)).unwrap();
    let projects = text.lines().filter(|line| line.starts_with("[project."));
    let expected: &[&str] = if cluster.has_accounting() {
        &["[project.limited]", "[project.ml]", "[project.root]"]
    } else {
        &[]
    };
    assert_eq!(projects.collect::<Vec<_>>(), expected, "{text}");
    let judged = said(&cluster, &["site", "check"]).success();
    assert!(!judged.stdout.contains("BAD") && !judged.stdout.contains("note"), "{judged}");
    assert!(judged.stdout.contains("class.main-a100"), "{judged}");
    let judged = said(&cluster, &["doctor"]).success();
    assert!(judged.stdout.contains("things fine; `trainyard site check`"), "{judged}");
    for name in PLAIN_EXAMPLES {
        drop(said(&cluster, &["submit", &example(name), "--wait"]).success());
    }
    let sweep = said(&cluster, &["submit", &example(OPEN_EXAMPLE), "--json"]).success().json()["sweep"]["id"].to_string();
    let point = r#"{"args.learning_rate": 1e-4, "args.momentum": 0.5, "args.batches": 1, "args.schedule": "cosine"}"#;
    drop(said(&cluster, &["sweep", "tell", &sweep, point, "--close"]).success());
    drop(said(&cluster, &["wait", &sweep]).success());
    let run = cluster.env.show(1);
    assert_eq!((&run["state"], &run["class"]), (&"completed".into(), &"main-a100".into()));
    // Whoever adds an example says in which story it runs.
    let all = std::fs::read_dir(Path::new(EXAMPLES)).unwrap();
    let mut all: Vec<String> =
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    all.sort_unstable();
    let mut run: Vec<&str> = TORCH_EXAMPLES.iter().map(|(name, _)| *name).collect();
    run.extend(PLAIN_EXAMPLES);
    run.push(OPEN_EXAMPLE);
    run.sort_unstable();
    assert_eq!(all, run);
}

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// Examples that need nothing but Python.
const PLAIN_EXAMPLES: &[&str] = &["quickstart", "two-ranks"];

/// An open sweep, whose points need nothing but Python; with Optuna beside it another story has it.
const OPEN_EXAMPLE: &str = "optuna";

/// Examples that torchrun starts on a node with several GPUs, with what is said of this cluster where theirs is another one.
pub(super) const TORCH_EXAMPLES: &[(&str, &[&str])] = &[
    ("template", &[]),
    ("exact-resume", &[]),
    ("torchrun", &["--class=main-a100", "--set=distributed.processes_per_node=2"]),
];

pub(super) fn example(name: &str) -> String {
    format!("{EXAMPLES}/{name}/run.toml")
}

#[test]
fn a_class_that_grows_is_there_for_the_next_submission() {
    let mut cluster = Cluster::new();
    let site = std::fs::read_to_string(cluster.env.home().join("site.toml")).unwrap();
    let narrow = site.replace("max_nodes = 4", "max_nodes = 1");
    cluster.env.use_site(&narrow);
    let one = cluster.spec("one", "exit 0", "nodes = 1");
    let two = cluster.spec("two", "exit 0", "nodes = 2");
    let first = cluster.env.submit(&one);
    drop(cluster.env.run([Path::new("submit"), &two]).ended(3));
    let daemon = cluster.env.daemon_pid();
    // The daemon has not looked again when it is asked, and does not refuse by what is over.
    cluster.env.use_site(&site);
    let second = cluster.env.submit(&two);
    for run in [first, second] {
        cluster.env.until(run, &["completed"]);
    }
    assert_eq!(cluster.env.daemon_pid(), daemon);
    // The cluster's own settings change as well, and its runs are followed on.
    let third = cluster.env.submit(&cluster.spec("third", "sleep 3", ""));
    cluster.env.until(third, &["running"]);
    cluster.env.use_site(&site.replace("poll_interval = '1s'", "poll_interval = '2s'"));
    cluster.env.until(third, &["completed"]);
    let log = std::fs::read_to_string(cluster.env.state_dir().join("daemon.log")).unwrap();
    wait_until("its new settings are told", || {
        std::fs::read_to_string(cluster.env.state_dir().join("daemon.log"))
            .unwrap()
            .contains("cluster `test` is asked by its new settings")
    });
    assert!(!log.contains("cannot be used"), "{log}");
}

/// Whether anything of a probe is left: its directory, or a job that is not over.
fn is_left(cluster: &Cluster) -> bool {
    let root = std::fs::read_dir(cluster.env.run_root());
    let mut names = root.into_iter().flatten().map(|entry| entry.unwrap().file_name());
    let jobs = cluster.ask("squeue", &["-h", "-a", "-o", "%j %T"]);
    let lives = |line: &str| line.starts_with("trainyard-probe-") && !line.ends_with("COMPLETING");
    names.any(|name| name.to_string_lossy().starts_with(".probe")) || jobs.lines().any(lives)
}

#[test]
fn a_probe_tells_what_a_node_sees_and_leaves_nothing() {
    let cluster = Cluster::new();
    let found = cluster.env.line("site check --probe cpu --json").success().json();
    let level = |what: &str| {
        let finding = found.as_array().unwrap().iter().find(|it| it["what"] == what);
        finding.unwrap_or_else(|| panic!("{what}: {found}"))["level"].as_str().unwrap().to_owned()
    };
    for what in ["probe", "run root", "files", "clock", "scratch", "umask"] {
        assert_eq!(level(what), "fine", "{what}: {found}");
    }
    for what in ["limit nofile", "limit memlock", "limit stack", "network", "python"] {
        assert_ne!(level(what), "bad", "{what}: {found}");
    }
    assert!(!cluster.env.run_root().exists(), "it was not there before");
    assert!(!is_left(&cluster));
    assert!(cluster.env.daemon_pid().is_none(), "no daemon is needed");

    let lacking = Cluster::with("conda_root = '/opt/none'\n");
    let site = lacking.env.home().join("site.toml");
    let text = std::fs::read_to_string(&site).unwrap();
    std::fs::write(&site, format!("{text}local_scratch = '/dev/null/$SLURM_JOB_ID'\n")).unwrap();
    let told = lacking.env.line("site check --probe whole").ended(3);
    assert!(told.stdout.contains("has no /opt/none/bin/conda"), "{told}");
    assert!(told.stdout.contains("/dev/null/"), "{told}");
    assert!(told.stderr.contains("2 things are wrong"), "{told}");
}

#[test]
fn a_probe_that_does_not_start_or_is_interrupted_is_cancelled() {
    let cluster = Cluster::new();
    let told = cluster.env.line("site check --probe held --timeout 1s").ended(12);
    assert!(
        told.stderr.contains("did not start within 1s, and is cancelled: JobHeldUser"),
        "{told}"
    );
    wait_until("its job and directory are gone", || !is_left(&cluster));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut command = cluster.env.command();
        command.args(["site", "check", "--probe", "held"]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // It says so once the job is there.
        assert!(lines.next().unwrap().unwrap().contains("probes a node"));
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(lines.map(Result::unwrap).any(|line| line.contains("interrupted")));
        wait_until("its job and directory are gone", || !is_left(&cluster));
    }
    let refused = cluster.env.line("site check --probe nowhere").ended(6);
    assert!(refused.stderr.contains("Slurm refused the probe: "), "{refused}");
    drop(cluster.env.line("site check --probe local").ended(2));
    drop(cluster.env.line("site check --probe none").ended(3));
    assert!(!is_left(&cluster));
}

/// Wrong keys of one class, and what is said of them.
const WRONG: &[(&str, &str)] = &[
    ("partition = 'mian'", "the cluster has no partition `mian`"),
    ("partition = 'main'\nconstraint = 'fat'", "no node of partition `main` has the feature `fat`"),
    ("gpus_per_node = 3", "3 GPUs per node, and a node of main has 2"),
    ("gpus_per_node = 1\ngpu_type = 'h100'\ngpu_typed = true", "GPUs of type `h100`"),
    ("cpus_per_node = 9", "9 CPUs, and a job gets at most 8 of a node of main"),
    ("memory_per_node = '9000M'", "9000M, and a job gets at most 8000M of a node of main"),
    ("max_nodes = 5", "5 nodes, and partition main has 4 of that size"),
    ("max_time = '2d'", "2d is longer than partition `main` allows: 1d"),
    ("reservation = 'none'", "the cluster has no reservation `none`"),
    ("licenses = 'matlab'", "the cluster has no license `matlab`"),
    ("nodelist = 'n[4-5]'", "the cluster has no node `n5`"),
];

#[test]
fn a_site_that_does_not_fit_is_told_so_by_the_cluster() {
    let mut cluster = Cluster::new();
    let site = cluster.env.home().join("site.toml");
    let fitting = std::fs::read_to_string(&site).unwrap();
    let mut wrong: Vec<(&str, &str)> = WRONG.to_vec();
    if cluster.has_accounting() {
        wrong.push(("account = 'nope'", "root does not have the Slurm account `nope`"));
        wrong.push(("qos = 'nope'", "Slurm has no QOS `nope`"));
    }
    for (keys, expected) in wrong {
        let default = if keys.contains("partition") { "" } else { "partition = 'main'\n" };
        cluster
            .env
            .use_site(&format!("{fitting}[class.wrong]\ncluster = 'test'\n{default}{keys}\n"));
        let found = cluster.env.line("site check --json").ended(3).json();
        let told = found.as_array().unwrap().iter();
        let of_class: Vec<_> = told
            .filter(|it| it["what"].as_str().unwrap().starts_with("class.wrong"))
            .map(|it| it["told"].as_str().unwrap())
            .collect();
        assert!(of_class.iter().any(|told| told.contains(expected)), "{keys}: {of_class:?}");
    }
}
