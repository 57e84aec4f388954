//! From cron to Slurm: nothing in the environment, and Slurm's commands where they are on most machines.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::env::{Said, wait_until};
use crate::slurm::cluster::Cluster;
use crate::slurm::sweeps::{each_once, states, sweep, trained, until_over};

/// A cluster whose commands are where cron looks for them, and its site without a word on where that is; none of others.
fn as_found() -> Option<(Cluster, PathBuf)> {
    let cluster = Cluster::new();
    let is_debians = cluster.variable("TRAINYARD_CLUSTER_RELEASE") == "22.05";
    if !cluster.applies(is_debians, "its commands are not on the built-in path") {
        return None;
    }
    let site = cluster.env.home().join("site.toml");
    let text = std::fs::read_to_string(&site).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("commands =")).collect();
    std::fs::write(&site, without.join("\n")).unwrap();
    Some((cluster, site))
}

/// Submits twenty times at once, each time as cron does; nobody says anything.
#[track_caller]
fn twenty_at_once(cluster: &Cluster, site: &Path, arguments: &[&Path]) {
    let env = &cluster.env;
    let submit = || {
        let mut command = env.command();
        command.env_clear().current_dir("/").arg("--state-dir").arg(env.state_dir());
        command.arg("--site").arg(site).args(["submit", "--quiet"]);
        let said = Said::of(command.args(arguments)).success();
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{said}");
    };
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(submit);
        }
    });
}

#[test]
fn twenty_from_cron_with_one_key_are_one_job() {
    let Some((cluster, site)) = as_found() else { return };
    let env = &cluster.env;
    let spec = cluster.spec("nightly", "echo done >> trained", "");
    twenty_at_once(&cluster, &site, &["--key".as_ref(), "nightly".as_ref(), spec.as_path()]);
    let runs = env.line("list --json").success().json();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
    let run = runs[0]["id"].as_i64().unwrap();
    env.until(run, &["completed"]);
    assert_eq!(cluster.jobs_of(run).len(), 1);
}

#[test]
fn twenty_from_cron_with_a_sweep_are_one_array() {
    let Some((cluster, site)) = as_found() else { return };
    let env = &cluster.env;
    let waits = format!("until [[ -e '{}' ]]; do sleep 0.1; done", env.home().join("go").display());
    let spec =
        sweep(&cluster, "grid", &waits, "[sweep.parameters]\n'args.n' = { range = [0, 5] }\n");
    twenty_at_once(&cluster, &site, &["--key".as_ref(), "grid".as_ref(), spec.as_path()]);
    let sweeps = || env.line("sweep list --json").success().json().as_array().unwrap().clone();
    assert_eq!(sweeps().len(), 1, "{:#?}", sweeps());
    let id = sweeps()[0]["id"].as_i64().unwrap();
    wait_until("its points run", || states(&cluster, id).get("running") == Some(&5));
    // While it is active, lines that skip submit nothing.
    twenty_at_once(&cluster, &site, &["--if-active".as_ref(), "skip".as_ref(), spec.as_path()]);
    let told = env.run(["submit", "--if-active", "skip", spec.to_str().unwrap()]).success();
    assert_eq!(told.stdout, format!("{id}\n"));
    assert!(told.stderr.contains(&format!("sweep {id} `grid` is active (")), "{told}");
    assert_eq!(sweeps().len(), 1, "{:#?}", sweeps());
    std::fs::write(env.home().join("go"), "").unwrap();
    until_over(&cluster, id);
    each_once(&trained(&cluster), 5);
    let jobs = cluster.ask("squeue", &["-h", "-a", "-t", "all", "-o", "%F|%Z"]);
    let dir = sweeps()[0]["sweep_dir"].as_str().unwrap().to_owned();
    let jobs: BTreeSet<&str> = jobs
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(_, at)| at.starts_with(&dir))
        .map(|(job, _)| job)
        .collect();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
}
