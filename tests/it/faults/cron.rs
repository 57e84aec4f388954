//! As cron starts it: without HOME, without PATH, and several at once.

use std::collections::BTreeSet;

use nix::unistd::{User, getuid};

use crate::env::{Said, TestEnv};
use crate::faults::Other;

#[test]
fn an_empty_environment_is_enough() {
    let env = TestEnv::new();
    let root = env.home().join("runs");
    let site = env.write("site.toml", &format!("[site]\nrun_root = \"{}\"\n", root.display()));
    let spec = env.bash_spec("bare", "echo \"home=$HOME user=$USER path=$PATH\"\n");
    let other = Other::at(env.home().join("state"));
    let bare = |arguments: &[&str]| {
        let mut command = env.command();
        command.env_clear().current_dir("/").args(["--state-dir", other.0.to_str().unwrap()]);
        Said::of(command.args(["--site", site.to_str().unwrap()]).args(arguments))
    };
    drop(bare(&["submit", spec.to_str().unwrap(), "--wait"]).success());
    let user = User::from_uid(getuid()).unwrap().unwrap();
    let log = bare(&["logs", "1"]).success().stdout;
    let expected = format!(
        "home={} user={} path=/usr/local/bin:/usr/bin:/bin\n",
        user.dir.display(),
        user.name
    );
    assert_eq!(log, expected);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this is what a crontab says")]
fn a_lock_around_a_submission_does_not_last_as_long_as_the_daemon() {
    let env = TestEnv::new();
    let spec = env.bash_spec("locked", &super::waits_for(&env, "go"));
    let lock = env.home().join("lock");
    let mut submit = std::process::Command::new("flock");
    submit.arg(&lock).arg(env!("CARGO_BIN_EXE_trainyard")).arg("submit").arg(&spec);
    submit.env_clear().env("HOME", env.home());
    drop(Said::of(&mut submit).success());
    env.until(1, &["running"]);
    assert!(env.daemon_pid().is_some(), "and the supervisor of the run lives, too");
    let mut next = std::process::Command::new("flock");
    drop(Said::of(next.arg("--nonblock").arg(&lock).arg("true")).success());
    env.write("go", "");
}

/// What this many processes said that submitted at the same time.
fn at_once(env: &TestEnv, count: usize, arguments: &[&str]) -> BTreeSet<String> {
    std::thread::scope(|scope| {
        let submitting: Vec<_> =
            (0..count).map(|_| scope.spawn(|| env.run(arguments).success().stdout)).collect();
        submitting.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn run_dirs(env: &TestEnv) -> usize {
    let names = std::fs::read_dir(env.run_root()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
}

#[test]
fn one_key_from_many_processes_is_one_run() {
    let env = TestEnv::new();
    let spec = env.bash_spec("keyed", "exit 0\n");
    let told = at_once(&env, 20, &["submit", spec.to_str().unwrap(), "--key", "same"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(env.line("list --json").success().json().as_array().unwrap().len(), 1);
    assert_eq!(run_dirs(&env), 1, "those that came second leave nothing");
}

#[test]
fn skip_from_many_processes_is_one_run() {
    let env = TestEnv::new();
    let spec = env.bash_spec("busy", &super::waits_for(&env, "go"));
    let told = at_once(&env, 12, &["submit", spec.to_str().unwrap(), "--if-active", "skip"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(run_dirs(&env), 1);
    // Each that queues waits for all before it.
    let told = at_once(&env, 4, &["submit", spec.to_str().unwrap(), "--if-active", "queue"]);
    assert_eq!(told.len(), 4);
    let states = env.line("list --json").success().json();
    let pending = states.as_array().unwrap().iter().filter(|run| run["state"] == "pending").count();
    assert_eq!(pending, 4, "{states:#}");
}
