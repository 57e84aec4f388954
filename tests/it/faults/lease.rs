//! Who may serve a state directory that several machines see.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::env::{TestEnv, is_alive, wait_until};
use crate::faults::talk;

fn lease_file(env: &TestEnv) -> PathBuf {
    env.state_dir().join("lease.json")
}

/// A lease as another machine writes it.
const ELSEWHERE: &str =
    r#"{"host":"another-node","process":{"pid":4711,"start_ticks":1,"boot_id":"its own"}}"#;

#[test]
fn a_lease_of_another_machine_is_only_broken_by_hand() {
    let env = TestEnv::new();
    env.write(".local/state/trainyard/lease.json", ELSEWHERE);
    let said = env.line("list").ended(5);
    insta::assert_snapshot!(talk(&env, &said), @"
    error: the daemon could not be started: a daemon on another-node (process 4711) serves this state directory
    hint: stop it there, or, if that machine is gone for good, `trainyard daemon start --take-over`
    ");
    drop(env.line("serve").ended(11));
    drop(env.line("serve --once").ended(11));
    assert_eq!(std::fs::read_to_string(lease_file(&env)).unwrap(), ELSEWHERE);
    drop(env.line("daemon start --take-over").success());
    let pid = env.daemon_pid();
    assert!(pid.is_some_and(is_alive));
    // Where this machine serves there is nothing to take over.
    drop(env.line("daemon start --take-over").success());
    assert_eq!(env.daemon_pid(), pid);
}

#[test]
fn a_lease_of_a_dead_process_is_broken() {
    let env = TestEnv::new();
    drop(env.line("list").success());
    env.kill_daemon();
    let lease = std::fs::read_to_string(lease_file(&env)).unwrap();
    drop(env.line("list").success());
    env.kill_daemon();
    // A living process that has its number is another one.
    let mut other: serde_json::Value = serde_json::from_str(&lease).unwrap();
    other["process"]["pid"] = std::process::id().into();
    std::fs::write(lease_file(&env), other.to_string()).unwrap();
    drop(env.line("list").success());
    assert_ne!(env.daemon_pid().unwrap().as_raw().unsigned_abs(), std::process::id());
}

#[test]
fn a_lease_that_was_cut_does_not_block() {
    let env = TestEnv::new();
    for rubbish in ["", &ELSEWHERE[..20], "\0\0\0\0", "[]"] {
        env.write(".local/state/trainyard/lease.json", rubbish);
        drop(env.line("list").success());
        env.kill_daemon();
    }
}

#[test]
fn a_daemon_that_lost_its_lease_ends_and_leaves_the_new_one_alone() {
    let env = TestEnv::new();
    drop(env.line("list").success());
    let pid = env.daemon_pid().unwrap();
    // Unreadable for a moment is no news.
    let (lease, aside) = (lease_file(&env), env.home().join("lease"));
    std::fs::write(&aside, ELSEWHERE).unwrap();
    let socket = env.state_dir().join("daemon.sock");
    std::fs::remove_file(&socket).unwrap();
    let _theirs = UnixListener::bind(&socket).unwrap();
    std::fs::rename(&aside, &lease).unwrap();
    wait_until("it ends", || !is_alive(pid));
    assert_eq!(std::fs::read_to_string(&lease).unwrap(), ELSEWHERE);
    assert!(socket.exists());
}
