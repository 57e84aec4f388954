//! Environments of requirements that are built as jobs of a class: one job for all runs that wait for it, whatever happens
//! to the job, to the daemon, or to what sbatch says.
//!
//! As the stories of `stories/requirements.rs`, these need a Python index that pip can reach.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::{TestEnv, wait_until};
use crate::slurm::cluster::Cluster;
use crate::stories::requirements::spec;

/// Builds are jobs of class `cpu`; `more` are further keys of the cluster, and sections behind them.
fn world(more: &str) -> Cluster {
    Cluster::with(&format!("{more}\n[build]\nwhere = 'class:cpu'\n"))
}

/// One whose Python is slow to build: until the world has a file `go`.
fn slow_world(class: &str) -> Cluster {
    let prologue = "prologue = 'PATH=HOME/slow:$PATH'\n[class.short]\ncluster = 'test'\npartition = 'main'\nmax_time = '1m'";
    let keys = format!("[cluster.test.script]\n{prologue}\n[build]\nwhere = 'class:{class}'\n");
    let cluster = Cluster::with(&keys);
    let home = cluster.env.home().display().to_string();
    cluster.env.program(
        "slow/python3",
        &format!(
            "if [[ $1 == -m ]]; then echo began >>{home}/began; until [[ -e {home}/go ]]; do sleep 0.05; done; fi\n\
             PATH=${{PATH#*:}}; exec python3 \"$@\"\n"
        ),
    );
    cluster
}

fn began(env: &TestEnv) -> usize {
    fs::read_to_string(env.home().join("began")).unwrap_or_default().lines().count()
}

/// The ids and states of all jobs that build in this world.
fn build_jobs(cluster: &Cluster) -> Vec<(String, String)> {
    let root = cluster.env.run_root().display().to_string();
    let text = cluster.ask("squeue", &["-h", "-a", "-t", "all", "-o", "%A|%T|%j|%Z"]);
    let fields = text.lines().map(|line| line.split('|').collect::<Vec<_>>());
    fields
        .filter(|row| row[2].starts_with("build-") && row[3].starts_with(&root))
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect()
}

/// The environments that were begun, finished or not.
fn environments(env: &TestEnv) -> Vec<PathBuf> {
    let list = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let all = list(&env.run_root().join(".store/environments"));
    all.iter().flat_map(|place| list(&place.join("builds"))).collect()
}

fn build_log(env: &TestEnv, run: i64) -> String {
    env.line(&format!("logs {run} --source build")).success().stdout
}

#[track_caller]
fn completes(env: &TestEnv, run: i64) {
    let shown = env.until(run, &["completed", "failed", "cancelled"]);
    assert_eq!(shown["state"], "completed", "{shown:#}\n{}", build_log(env, run));
}

#[track_caller]
fn fails_to_prepare(env: &TestEnv, run: i64, words: &str) {
    let shown = env.until(run, &["completed", "failed", "cancelled"]);
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&"failed".into(), &"preparation_failed".into()),
        "{shown:#}"
    );
    assert_eq!(shown["attempts"], serde_json::json!([]));
    let said = env.line(&format!("show {run}")).success().stdout;
    assert!(said.contains(words), "{said}");
}

#[test]
fn three_runs_share_one_job_that_builds() {
    let cluster = world("");
    let env = &cluster.env;
    let python = "import os, six\nprint(six.__version__, os.environ['VIRTUAL_ENV'])\n";
    let spec = spec(env, "shared", "six==1.16.0\n", python);
    let runs: Vec<i64> = (0..3).map(|_| env.submit(&spec)).collect();
    for run in &runs {
        completes(env, *run);
    }
    let jobs = build_jobs(&cluster);
    assert_eq!((jobs.len(), environments(env).len()), (1, 1), "{jobs:?}");
    for run in &runs {
        let log = build_log(env, *run);
        assert!(log.contains(&format!("job {}", jobs[0].0)) && log.contains("six-1.16.0"), "{log}");
        let said = env.line(&format!("logs {run}")).success().stdout;
        assert!(said.starts_with("1.16.0 ") && said.contains("/.store/environments/"), "{said}");
    }
    let tool = env.show(runs[0])["attempts"][0]["environment"]["built_with"].clone();
    assert!(tool.as_str().unwrap().starts_with("pip "), "{tool}");
    // What is built is named by the node's own Python, so the next job has nothing to do.
    let again = env.submit(&spec);
    completes(env, again);
    assert!(build_log(env, again).contains("was built before"));
    assert_eq!(environments(env).len(), 1);
}

#[test]
fn a_broken_requirement_fails_with_what_pip_said() {
    let cluster = world("");
    let env = &cluster.env;
    let spec = spec(env, "broken", "six==99.99.99\n", "print('never')\n");
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    for run in [first, second] {
        fails_to_prepare(env, run, "No matching distribution found for six==99.99.99");
        assert!(build_log(env, run).contains("No matching distribution"));
    }
    assert_eq!(environments(env), Vec::<PathBuf>::new(), "half an environment was left");
    // Another try is another job.
    let third = env.submit(&spec);
    fails_to_prepare(env, third, "No matching distribution found");
}

#[test]
fn a_cancelled_job_is_told_and_another_try_builds() {
    let cluster = slow_world("cpu");
    let env = &cluster.env;
    let spec = spec(env, "ended", "", "print('trained')\n");
    let run = env.submit(&spec);
    wait_until("the build began", || began(env) == 1);
    let cancelled = build_jobs(&cluster).remove(0).0;
    drop(cluster.ask("scancel", &[&cancelled]));
    fails_to_prepare(env, run, "ended as CANCELLED");
    fs::write(env.home().join("go"), "").unwrap();
    completes(env, env.submit(&spec));
    // Slurm may have forgotten the first by now.
    assert!(build_jobs(&cluster).iter().any(|(job, ..)| *job != cancelled));
}

#[test]
fn a_job_that_reaches_its_time_limit_is_told() {
    let cluster = slow_world("short");
    let env = &cluster.env;
    let run = env.submit(&spec(env, "limit", "", "print('trained')\n"));
    wait_until("the build began", || began(env) == 1);
    // Slurm looks at limits every half a minute.
    let waited = ["wait", &run.to_string(), "--timeout", "3m"];
    drop(env.run(waited).ended(1));
    fails_to_prepare(env, run, "reached its time limit");
}

#[test]
fn a_daemon_that_is_killed_finds_the_job_again() {
    let cluster = slow_world("cpu");
    let env = &cluster.env;
    let spec = spec(env, "killed", "", "print('trained')\n");
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    wait_until("the build began", || began(env) == 1);
    env.kill_daemon();
    assert_eq!(env.show(first)["state"], "preparing");
    env.kill_daemon();
    fs::write(env.home().join("go"), "").unwrap();
    // It is over before the next daemon looks.
    wait_until("the job is over", || build_jobs(&cluster)[0].1 == "COMPLETED");
    for run in [first, second] {
        completes(env, run);
    }
    assert_eq!((began(env), build_jobs(&cluster).len(), environments(env).len()), (1, 1, 1));
}

#[test]
fn the_job_ends_with_the_last_run_that_waits_for_it() {
    let cluster = slow_world("cpu");
    let env = &cluster.env;
    let spec = spec(env, "wanted", "", "print('trained')\n");
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    wait_until("the build began", || began(env) == 1);
    drop(env.line(&format!("cancel {first}")).success());
    env.until(first, &["cancelled"]);
    // Its directory is the one that the build happens in, and stays.
    assert_eq!(build_jobs(&cluster)[0].1, "RUNNING", "another run waits for it");
    drop(env.line(&format!("cancel {second}")).success());
    env.until(second, &["cancelled"]);
    wait_until("the job is ended", || build_jobs(&cluster)[0].1 == "CANCELLED");
    fs::write(env.home().join("go"), "").unwrap();
    completes(env, env.submit(&spec));
}

#[test]
fn a_build_goes_on_when_the_run_that_it_began_for_is_deleted() {
    let cluster = slow_world("cpu");
    let env = &cluster.env;
    let spec = spec(env, "deleted", "", "print('trained')\n");
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    wait_until("the build began", || began(env) == 1);
    drop(env.line(&format!("cancel {first}")).success());
    env.until(first, &["cancelled"]);
    drop(env.line(&format!("delete {first} --yes")).success());
    fs::write(env.home().join("go"), "").unwrap();
    completes(env, second);
}

#[test]
fn an_answer_that_is_lost_makes_no_second_job() {
    let cluster = world("sbatch = 'HOME/sbatch'");
    let env = &cluster.env;
    let real = cluster.path("sbatch");
    env.program(
        "sbatch",
        &format!(
            "[[ $* == *--job-name=build-* ]] || exec {real} \"$@\"\n{real} \"$@\" >/dev/null\n\
             echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2\nexit 1\n"
        ),
    );
    let run = env.submit(&spec(env, "doubt", "", "print('trained')\n"));
    completes(env, run);
    assert_eq!(build_jobs(&cluster).len(), 1);
}

#[test]
fn a_job_that_slurm_refuses_is_told() {
    let cluster = Cluster::with("[build]\nwhere = 'class:nowhere'\n");
    let env = &cluster.env;
    let run = env.submit(&spec(env, "refused", "", "print('never')\n"));
    fails_to_prepare(env, run, "invalid partition specified: nope");
}
