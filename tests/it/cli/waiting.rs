//! Waiting, and what the exit code tells of it.

use std::io::{BufRead as _, BufReader, Read as _};

use crate::cli::{assert_told, endless};
use crate::env::TestEnv;

#[test]
fn waiting_ends_in_time_and_the_run_goes_on() {
    let env = TestEnv::new();
    let run = env.submit(&endless(&env));
    env.until(run, &["running"]);
    assert_told!(env, env.line("wait 1 --timeout 0s").ended(12));
    let document = env.line("wait 1 --timeout 0s --json").ended(12).json();
    assert_eq!(document[0]["state"], "running", "it is given as it is");
    assert_eq!(env.show(run)["state"], "running");
    std::fs::write(env.run_dir(run).join("go"), "").unwrap();
    let said = env.line("wait 1 --timeout 10m").success();
    assert_eq!(said.stdout, "", "how it ended is talk");
    assert!(said.stderr.contains("run 1 `endless` completed after"), "{said}");
}

#[test]
fn a_submission_whose_wait_times_out_still_gives_its_document() {
    let env = TestEnv::new();
    let spec = endless(&env);
    let spec = spec.to_str().unwrap();
    let said = env.run(["submit", spec, "--wait", "--timeout", "0s", "--json"]).ended(12);
    assert_eq!(said.json()["id"], 1);
    assert_eq!(env.run(["submit", spec, "--wait", "--timeout", "0s"]).ended(12).stdout, "2\n");
}

#[test]
fn of_several_runs_the_worst_decides() {
    let env = TestEnv::new();
    let good = env.submit(&env.bash_spec("good", "exit 0\n"));
    let bad = env.submit(&env.bash_spec("bad", "exit 3\n"));
    drop(env.line(&format!("wait {good}")).success());
    let document = env.line(&format!("wait {bad} {good} --json")).ended(1).json();
    assert_eq!(
        (&document[0]["state"], &document[1]["state"]),
        (&"failed".into(), &"completed".into())
    );
    assert_told!(env, env.line("wait bad").ended(1));
}

#[test]
fn a_wait_outlives_the_daemon() {
    let env = TestEnv::new();
    let run = env.submit(&endless(&env));
    env.until(run, &["running"]);
    let dir = env.run_dir(run);
    let mut command = env.command();
    command.args(["wait", "1"]).stderr(std::process::Stdio::piped());
    let mut waiting = command.spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "run 1: running\n", "it has begun to wait");
    env.kill_daemon();
    std::fs::write(dir.join("go"), "").unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("completed"), "{rest}");
}

#[test]
fn skipping_ends_with_0_whatever_the_active_run_is_doing() {
    let env = TestEnv::new();
    let run = env.submit(&endless(&env));
    env.until(run, &["running"]);
    let skipped = env.line("submit endless.toml --if-active skip --ack-timeout 0s").success();
    assert_told!(env, skipped);
    let document = env.line("submit endless.toml --if-active skip --json").success().json();
    assert_eq!(document["id"], run);
}

#[test]
fn a_run_that_waits_by_its_own_rules_is_accepted() {
    let env = TestEnv::new();
    let run = env.submit(&endless(&env));
    env.until(run, &["running"]);
    let queued = env.line("submit endless.toml --if-active queue").success();
    assert_told!(env, queued);
}
