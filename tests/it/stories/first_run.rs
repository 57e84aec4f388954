//! The first submission of somebody at a terminal.

use std::process::Command;

use crate::env::{Said, TestEnv};

/// Runs the program at a terminal (util-linux's `script` makes one) with these lines typed in.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn at_a_terminal(env: &TestEnv, line: &str, typed: &str) -> Said {
    let program = env!("CARGO_BIN_EXE_trainyard");
    let mut command = Command::new("bash");
    command.args([
        "-c",
        "printf '%s' \"$1\" | script -qec \"$2\" /dev/null",
        "-",
        typed,
        &format!("{program} {line}"),
    ]);
    command.env_clear().current_dir(env.home()).env("HOME", env.home()).env("TERM", "dumb");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    Said::of(&mut command)
}

#[test]
fn the_first_submission_asks_where_runs_go_and_only_the_first() {
    let env = TestEnv::new();
    env.bash_spec("first", "exit 0\n");
    let asked = at_a_terminal(&env, "submit first.toml --wait", "my-runs\n").success();
    assert!(asked.stdout.contains("Where should run directories go?"), "{asked}");
    assert!(env.home().join("my-runs/1-first/job.sh").exists(), "{asked}");
    let again = at_a_terminal(&env, "submit first.toml --wait", "").success();
    assert!(!again.stdout.contains("Where should"), "{again}");
    assert!(env.home().join("my-runs/2-first").exists());
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let env = TestEnv::new();
    let spec = env.bash_spec("quiet", "exit 0\n");
    let said = env.run(["submit", spec.to_str().unwrap(), "--wait"]).success();
    assert!(!said.stderr.contains("Where should"), "{said}");
    assert!(env.run_root().join("1-quiet").exists(), "{said}");
}
