//! Strangers in the inbox: rubbish, and the events of other state directories.

use std::fs::File;
use std::time::Duration;

use crate::env::{TestEnv, wait_until};
use crate::faults::{Other, waits_for};

/// A token that no daemon here gave out.
fn stranger(n: usize) -> String {
    let digit =
        |place: u32| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(n >> (5 * place)) & 31]);
    format!("ty{}{}{}{}", "z".repeat(17), digit(2), digit(1), digit(0))
}

#[test]
fn strangers_neither_break_nor_slow_a_pass_and_are_left_alone() {
    let env = TestEnv::new();
    let inbox = env.run_root().join(".inbox");
    std::fs::create_dir_all(&inbox).unwrap();
    let of = |n: usize| inbox.join(format!("{}.0.0.ended.json", stranger(n)));
    for n in 0..5_000 {
        std::fs::write(of(n), "{\"token\":\"x\"}").unwrap();
    }
    File::create(inbox.join("huge")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(inbox.join("garbage.json"), [0xff; 5_000]).unwrap();
    std::fs::create_dir(inbox.join("directory")).unwrap();
    let old = File::options().write(true).open(of(7)).unwrap();
    let long_ago = old.metadata().unwrap().modified().unwrap() - Duration::from_hours(8 * 24);
    old.set_modified(long_ago).unwrap();

    let spec = env.bash_spec("calm", "exit 0\n");
    for _ in 0..3 {
        drop(env.run(["submit", spec.to_str().unwrap(), "--wait"]).success());
    }
    wait_until("what is old is swept away", || !of(7).exists());
    let names: Vec<String> = std::fs::read_dir(&inbox)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    // Ours are taken as they come; one that came after its run was over waits for the next sweep.
    let strangers = names.iter().filter(|name| name.starts_with("tyzzzzzzzzzzzzzzzzz")).count();
    assert_eq!(strangers, 4_999);
    for name in ["huge", "garbage.json", "directory"] {
        assert!(names.iter().any(|there| there == name), "{name}");
    }
    assert!(names.len() < 5_020, "{}", names.len());
}

#[test]
fn two_state_directories_share_a_run_root() {
    let env = TestEnv::new();
    let spec = env.bash_spec("shared", &waits_for(&env, "go"));
    let other = Other::at(env.home().join("other-state"));
    let theirs = other.submit(&env, &spec);
    wait_until("theirs runs", || other.state_of(&env, theirs) == "running");
    end(&other, &env);
    // Both count from 1; the second takes the next free name.
    let ours = env.submit(&spec);
    env.until(ours, &["running"]);
    assert_ne!(ours, theirs);
    std::fs::write(env.home().join("go"), "").unwrap();
    env.until(ours, &["completed"]);
    let inbox = env.run_root().join(".inbox");
    let ended = || {
        let names = std::fs::read_dir(&inbox).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with("ended.json")).count()
    };
    wait_until("theirs has said its end", || ended() == 1);
    // Passes of ours do not take it.
    let again = env.submit(&spec);
    env.until(again, &["completed"]);
    assert_eq!(ended(), 1);
    wait_until("theirs completes", || other.state_of(&env, theirs) == "completed");
    let events = other.run(&env, &format!("events {theirs}")).success().stdout;
    assert!(events.contains("running → "), "{events}");
}

fn end(other: &Other, env: &TestEnv) {
    drop(other.run(env, "daemon stop").success());
}
