//! A disk that takes no more. `ulimit -f` stands for it: every user can set it, on every file system.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::env::{Said, TestEnv, wait_until};
use crate::faults::{Background, talk, waits_for};

#[expect(
    clippy::disallowed_methods,
    reason = "tests start the program they test, and what surrounds it"
)]
fn program(name: &str) -> Command {
    Command::new(name)
}

/// A shell in this world that first runs `setup`, then becomes our program.
fn after(env: &TestEnv, setup: &str, arguments: &str) -> Command {
    let ours = env.command();
    let mut command = program("bash");
    command.env_clear().current_dir(env.home());
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?.to_owned()))));
    command.arg("-c").arg(format!("{setup}; exec \"$0\" {arguments}")).arg(ours.get_program());
    command
}

#[test]
fn a_full_disk_keeps_a_daemon_from_starting_with_one_sentence() {
    let env = TestEnv::new();
    let said = Said::of(&mut after(&env, "trap '' XFSZ; ulimit -f 0", "list")).ended(5);
    insta::assert_snapshot!(talk(&env, &said), @"
    error: the daemon could not be started: cannot write in the state directory HOME/.local/state/trainyard: File too large (os error 27)
    hint: make room or mend its permissions, or give another place with --state-dir
    ");
    drop(env.line("list").success());
}

/// What the run root holds beside the inbox.
fn run_dirs(env: &TestEnv) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(env.run_root()).unwrap();
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    entries.map(|entry| entry.unwrap().path()).filter(|path| !hidden(path)).collect()
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_things_go_on_when_there_is_room() {
    let env = TestEnv::new();
    let spec = env.bash_spec("first", &waits_for(&env, "go"));
    let more = env.bash_spec("more", &waits_for(&env, "go"));
    // Not even a line of its log can be written.
    env.write(".local/state/trainyard/daemon.log", &"full\n".repeat(120_000));
    let daemon = Background::start(&mut after(&env, "ulimit -S -f 512", "serve --detached"));
    wait_until("it serves", || env.line("daemon status").code == 0);
    let first = env.submit(&spec);
    env.until(first, &["running"]);

    let mut accepted = vec![first];
    let mut refused = None;
    wait_until("the disk is full", || {
        let said = env.run(["submit", more.to_str().unwrap(), "--ack-timeout", "0s"]);
        accepted.extend(said.stdout.trim().parse::<i64>().ok());
        let is_full = said.code == 70;
        assert!(is_full || said.code == 0 || said.code == 8, "{said}");
        refused = Some(said);
        is_full
    });
    insta::assert_snapshot!(talk(&env, &refused.unwrap()), @"
    error: the disk of the state directory takes no more: it is full, over quota or failing; nothing was recorded
    hint: make room and try again; runs that are running go on
    ");
    let known = env.line("list --json --limit 1000").success().json();
    let known: Vec<_> =
        known.as_array().unwrap().iter().map(|run| run["run_dir"].as_str()).collect();
    let known: BTreeSet<PathBuf> = known.into_iter().map(|dir| dir.unwrap().into()).collect();
    assert_eq!(known.len(), accepted.len());
    assert_eq!(run_dirs(&env), known, "a refused submission leaves nothing");

    // They end while nothing can be recorded.
    std::fs::write(env.home().join("go"), "").unwrap();
    let marker = env.run_dir(first).join("exits/1.json");
    wait_until("the first has ended", || marker.exists());
    assert_eq!(env.show(first)["state"], "running");

    let pid = daemon.pid().to_string();
    let freed = program("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
    assert!(freed.success());
    for run in accepted {
        let view = env.until(run, &["completed", "failed"]);
        assert_eq!(view["state"], "completed", "{view:#}");
        assert_eq!(view["attempts"].as_array().unwrap().len(), 1);
    }
    assert_eq!(env.daemon_pid(), Some(daemon.pid()), "the same daemon goes on");
    let last = env.submit(&more);
    env.until(last, &["completed"]);
}
