//! Signals, and the end of a daemon that nobody needs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::env::{TestEnv, is_alive, wait_until};
use crate::faults::{Background, waits_for};

#[test]
fn sigterm_drains_and_loses_no_accepted_run() {
    let env = TestEnv::new();
    let spec = env.bash_spec("load", "exit 0\n");
    let spec = spec.to_str().unwrap();
    let holds = env.bash_spec("holds", &waits_for(&env, "go"));
    let held = env.submit(&holds);
    env.until(held, &["running"]);
    let _followers = [
        Background::start(env.command().args(["logs", "-f", &held.to_string()])),
        Background::start(env.command().args(["wait", &held.to_string()])),
    ];
    let (going, accepted) = (AtomicBool::new(true), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while going.load(Ordering::Relaxed) {
                    let said = env.run(["submit", spec, "--ack-timeout", "0s"]);
                    // In the middle of a drain a request may find nobody; a number that was told stands.
                    assert!([0, 5, 8].contains(&said.code), "{said}");
                    accepted.lock().unwrap().extend(said.stdout.trim().parse::<i64>().ok());
                }
            });
        }
        for round in 1..=3 {
            wait_until("some are accepted", || accepted.lock().unwrap().len() >= round * 4);
            let Some(pid) = env.daemon_pid() else { continue };
            let asked = Instant::now();
            // It may have ended by itself.
            kill(pid, Signal::SIGTERM).ok();
            wait_until("the daemon is gone", || !is_alive(pid));
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        }
        going.store(false, Ordering::Relaxed);
    });
    std::fs::write(env.home().join("go"), "").unwrap();
    let accepted = accepted.into_inner().unwrap();
    for run in accepted.iter().copied().chain([held]) {
        let view = env.until(run, &["completed", "failed"]);
        assert_eq!(view["state"], "completed", "{view:#}");
    }
}

#[test]
fn sighup_does_not_kill() {
    let env = TestEnv::new();
    let mut daemon = Background::serve(&env, "");
    wait_until("it serves", || env.line("daemon status").code == 0);
    for signal in [Signal::SIGHUP, Signal::SIGXFSZ, Signal::SIGHUP] {
        daemon.signal(signal);
        drop(env.line("list").success());
    }
    assert!(!daemon.has_ended());
    assert_eq!(env.daemon_pid(), Some(daemon.pid()));
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.end(), 0);
}

#[test]
fn a_daemon_that_nobody_needs_ends_but_not_while_a_run_is_live() {
    let env = TestEnv::new();
    let mut unneeded = Background::serve(&env, "--detached --idle-after 0s");
    assert_eq!(unneeded.end(), 0);

    let mut daemon = Background::serve(&env, "--detached --idle-after 1s");
    wait_until("it serves", || env.line("daemon status").code == 0);
    let tick =
        format!("while [ ! -e '{}' ]; do echo; sleep 0.1; done", env.home().join("go").display());
    let spec = env.bash_spec("ticks", &format!("{tick} >ticks\n"));
    let run = env.submit(&spec);
    let ticks = env.run_dir(run).join("work/ticks");
    assert_eq!(env.daemon_pid(), Some(daemon.pid()));
    // By the training's own clock, and without asking the daemon, it is idle for much longer than it may be.
    wait_until("time passes", || std::fs::read(&ticks).is_ok_and(|ticks| ticks.len() >= 25));
    assert!(!daemon.has_ended());
    std::fs::write(env.home().join("go"), "").unwrap();
    assert_eq!(daemon.end(), 0);
    assert!(!env.state_dir().join("lease.json").exists());
    assert_eq!(env.show(run)["state"], "completed");
}
