//! No daemon at all: `serve --once` from cron makes the passes.

use crate::env::{TestEnv, wait_until};
use crate::faults::{Background, waits_for};

#[test]
fn passes_from_cron_see_runs_through_without_a_daemon() {
    let env = TestEnv::new();
    let spec = env.bash_spec("alone", &waits_for(&env, "go"));
    let first = env.submit(&spec);
    env.until(first, &["running"]);
    let queued = env.run(["submit", spec.to_str().unwrap(), "--if-active", "queue"]).success();
    let second: i64 = queued.stdout.trim().parse().unwrap();
    env.kill_daemon();
    std::fs::write(env.home().join("go"), "").unwrap();
    wait_until("all is over", || {
        let report = env.line("serve --once --json").success().json();
        assert_eq!(env.daemon_pid(), None, "a pass leaves nobody behind");
        report["live"] == 0
    });
    for run in [first, second] {
        let view = env.show(run);
        assert_eq!(view["state"], "completed", "{view:#}");
        assert_eq!(view["attempts"].as_array().unwrap().len(), 1);
    }
}

const RUNS: usize = 5;

#[test]
fn several_passes_at_once_are_safe() {
    let env = TestEnv::new();
    let trace = env.home().join("trace");
    let spec = env.bash_spec("crowd", &format!("echo start >>'{}'\n", trace.display()));
    let spec = spec.to_str().unwrap();
    for _ in 0..RUNS {
        let said = env.run(["submit", spec, "--ack-timeout", "0s"]);
        assert!([0, 8].contains(&said.code), "{said}");
        env.kill_daemon();
        let mut passes: Vec<Background> =
            (0..4).map(|_| Background::serve(&env, "--once")).collect();
        assert_eq!(passes.iter_mut().map(Background::end).max(), Some(0));
    }
    wait_until("all are over", || {
        let listed = env.line("list --json").success().json();
        listed.as_array().unwrap().iter().filter(|run| run["state"] == "completed").count() == RUNS
    });
    assert_eq!(std::fs::read_to_string(trace).unwrap(), "start\n".repeat(RUNS));
}

#[test]
fn beside_a_living_daemon_a_pass_does_nothing() {
    let env = TestEnv::new();
    drop(env.line("daemon start").success());
    let pid = env.daemon_pid();
    let said = env.line("serve --once").success();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{said}");
    assert_eq!(env.daemon_pid(), pid);
}

#[test]
fn a_command_in_the_midst_of_a_pass_finds_or_starts_a_daemon() {
    let env = TestEnv::new();
    for _ in 0..10 {
        let mut pass = Background::serve(&env, "--once");
        drop(env.line("list").success());
        pass.end();
        env.kill_daemon();
    }
}
