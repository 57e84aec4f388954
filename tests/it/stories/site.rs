//! A site file that is changed under a running daemon.

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::env::{TestEnv, wait_until};

/// Trains until the file `go` is there.
const WAITS: &str = "until [ -e \"$HOME/go\" ]; do sleep 0.05; done\n";

fn site(env: &TestEnv) -> Value {
    env.line("daemon status --json").success().json()["site"].clone()
}

fn log(env: &TestEnv) -> String {
    std::fs::read_to_string(env.state_dir().join("daemon.log")).unwrap()
}

#[test]
fn a_changed_file_is_taken_up_and_runs_keep_what_they_were_accepted_with() {
    let mut env = TestEnv::new();
    env.use_site("[local]\nmax_running = 1\n");
    let spec = env.bash_spec("waits", WAITS);
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    env.until(first, &["running"]);
    assert_eq!(env.show(second)["state"], "pending");
    let daemon = env.daemon_pid();

    let elsewhere = env.home().join("elsewhere").display().to_string();
    env.use_site(&format!("[site]\nrun_root = '{elsewhere}'\n[local]\nmax_running = 2\n"));
    env.until(second, &["running"]);
    assert_eq!(env.daemon_pid(), daemon, "the same daemon");
    assert!(env.run_dir(second).starts_with(env.run_root()), "it was accepted before");
    let third = env.submit(&spec);
    assert!(env.run_dir(third).starts_with(&elsewhere));
    assert_eq!(env.show(third)["state"], "pending", "the new limit is one");
    env.write("go", "");
    for run in [first, second, third] {
        env.until(run, &["completed"]);
    }
    assert!(log(&env).contains("a changed site is in force: "), "{}", log(&env));
}

#[test]
fn a_bad_file_leaves_what_was_in_force_and_is_told() {
    let mut env = TestEnv::new();
    env.use_site("[local]\nmax_running = 1\n");
    let spec = env.bash_spec("waits", WAITS);
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    env.until(first, &["running"]);
    let read_at = site(&env)["read_at"].clone();

    env.use_site("[local]\nmax_running = 2\nmax_runing = 3\n");
    wait_until("the bad file is told", || site(&env)["trouble"].is_string());
    let told = site(&env);
    let why = told["trouble"].as_str().unwrap();
    assert!(why.contains("site.toml:3:1: ") && why.contains("max_runing"), "{why}");
    assert_eq!(told["read_at"], read_at, "what was read before is in force");
    assert_eq!(env.show(second)["state"], "pending");
    let shown = env.line("daemon status").success();
    assert!(shown.stdout.contains("its files cannot be used since "), "{shown}");
    assert!(log(&env).contains("what they said before stays in force: "), "{}", log(&env));
    // `doctor` finds the file wrong by itself; the daemon has its own line.
    let judged = env.line("doctor --json").ended(1).json();
    let of_daemon = judged.as_array().unwrap().iter().find(|it| it["what"] == "daemon").unwrap();
    assert_eq!(of_daemon["level"], "bad", "{of_daemon}");

    env.use_site("[local]\nmax_running = 2\n");
    env.until(second, &["running"]);
    assert_eq!(site(&env)["trouble"], Value::Null);
    env.write("go", "");
    env.until(first, &["completed"]);
}

#[test]
fn a_signal_has_the_files_read_at_once() {
    let mut env = TestEnv::new();
    env.use_site("[local]\nmax_running = 1\n");
    drop(env.line("daemon start").success());
    let daemon = env.daemon_pid().unwrap();
    kill(daemon, Signal::SIGHUP).unwrap();
    wait_until("the files were read again", || log(&env).contains("say what they said"));
    std::fs::remove_file(env.home().join("site.toml")).unwrap();
    kill(daemon, Signal::SIGHUP).unwrap();
    wait_until("the missing file is told", || site(&env)["trouble"].is_string());
    assert_eq!(env.daemon_pid(), Some(daemon));
}
