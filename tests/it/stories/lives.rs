//! A run's life on this machine: completed, failed, cancelled, limited, found again.

use crate::env::{TestEnv, wait_until};

#[test]
fn the_quickstart_completes_and_tells_its_story() {
    let env = TestEnv::new();
    let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/run.toml");
    let said = env.run(["submit", spec, "--set", "args.epochs=5", "--wait"]).success();
    assert_eq!(said.stdout, "1\n");
    let run = env.show(1);
    assert_eq!(run["state"], "completed");
    assert_eq!(run["attempts"][0]["exit_code"], 0);
    assert_eq!(run["progress"]["fraction"], 1.0);
    assert!(run["metrics"]["loss"]["last"].as_f64().unwrap() > 0.0);
    assert!(env.line("logs 1").success().stdout.contains("accuracy"));
    assert!(
        env.line("metrics 1 --name loss --json").success().json().as_array().unwrap().len() == 5
    );
    let got = &run["attempts"][0]["environment"];
    let packages = got["packages"].as_array().unwrap();
    assert!(got["complete"] == true && got["python"].is_string(), "{got:#}");
    assert!(packages.iter().all(|package| package["name"].is_string()), "{got:#}");
    assert!(env.line("show 1").success().stdout.contains("got         Python 3."));
    let events = env.line("events 1").success().stdout;
    for step in ["pending → submitting", "submitting → queued", "finishing → completed"] {
        assert!(events.contains(step), "{events}");
    }
    assert!(!events.contains("doubt"), "{events}");
}

#[test]
fn a_failed_training_gives_its_exit_code() {
    let env = TestEnv::new();
    let spec = env.bash_spec("fails", "echo before\nexit 7\n");
    let said = env.run(["submit", spec.to_str().unwrap(), "--wait"]).ended(1);
    assert!(said.stderr.contains("exit code 7"), "{said}");
    let run = env.show(1);
    assert_eq!(
        (run["state"].as_str(), run["reason"].as_str()),
        (Some("failed"), Some("exit_code"))
    );
    assert_eq!(run["attempts"][0]["exit_code"], 7);
    assert_eq!(env.line("logs 1").success().stdout, "before\n");
}

#[test]
fn a_running_run_is_cancelled_with_grace() {
    let env = TestEnv::new();
    let spec = env.bash_spec(
        "slow",
        "trap 'echo told; told=1' TERM\necho up\n\
         until [[ -n $told && -e $TRAINYARD_STOP_FILE ]]; do sleep 0.05; done\necho saved\n",
    );
    let run = env.submit(&spec);
    env.until(run, &["running"]);
    wait_until("the training is up", || env.line("logs 1").stdout.contains("up"));
    drop(env.line("cancel 1").success());
    let view = env.until(run, &["cancelled"]);
    assert_eq!(view["reason"], "cancelled_by_user");
    // Told once: a training may take a second signal for "at once".
    assert_eq!(env.line("logs 1").success().stdout, "up\ntold\nsaved\n");
    assert!(env.line("cancel 1").ended(11).stderr.contains("over already"));
    assert_eq!(env.line("wait 1").code, 1);
}

#[test]
fn a_time_limit_ends_a_run() {
    let env = TestEnv::new();
    let spec = env.bash_spec("endless", "sleep 600 & wait $!\n");
    let said = env
        .run(["submit", spec.to_str().unwrap(), "--set", "compute.time_limit=1s", "--wait"])
        .ended(1);
    assert!(said.stderr.contains("time_limit"), "{said}");
}

#[test]
fn runs_outlive_the_daemon_and_are_found_again() {
    let env = TestEnv::new();
    let spec = env.bash_spec(
        "outlives",
        "until [ -e \"$TRAINYARD_RUN_DIR/go\" ]; do sleep 0.02; done; exit 3\n",
    );
    let run = env.submit(&spec);
    env.until(run, &["running"]);
    let dir = env.run_dir(run);
    env.kill_daemon();
    std::fs::write(dir.join("go"), "").unwrap();
    wait_until("the marker is written", || dir.join("exits/1.json").exists());
    let view = env.until(run, &["failed"]);
    assert_eq!(view["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(view["attempts"][0]["exit_code"], 3);
}

#[test]
fn the_same_key_gives_the_same_run() {
    let env = TestEnv::new();
    let spec = env.bash_spec("keyed", "exit 0\n");
    let spec = spec.to_str().unwrap();
    let first = env.run(["submit", spec, "--key", "k", "--wait"]).success().stdout;
    let again = env.run(["submit", spec, "--key", "k"]).success();
    assert_eq!(again.stdout, first);
    assert!(again.stderr.contains("nothing new was submitted"), "{again}");
    let other = env.run(["submit", spec, "--key", "k", "--set", "args.x=1"]).ended(11);
    assert!(other.stderr.contains("has another spec"), "{other}");
}

#[test]
fn active_runs_of_the_same_name_are_respected() {
    let env = TestEnv::new();
    let spec =
        env.bash_spec("busy", "until [ -e \"$TRAINYARD_RUN_DIR/go\" ]; do sleep 0.02; done\n");
    let spec = spec.to_str().unwrap();
    let first = env.submit(spec.as_ref());
    env.until(first, &["running"]);
    let skipped = env.run(["submit", spec, "--if-active", "skip"]).success();
    assert_eq!(skipped.stdout.trim(), first.to_string());
    let queued = env.run(["submit", spec, "--if-active", "queue"]).success();
    assert!(queued.stderr.contains("waits"), "{queued}");
    let second: i64 = queued.stdout.trim().parse().unwrap();
    assert_eq!(env.show(second)["state"], "pending");
    let replaced = env.run(["submit", spec, "--if-active", "replace"]).success();
    let third: i64 = replaced.stdout.trim().parse().unwrap();
    assert_eq!(env.until(first, &["cancelled"])["reason"], "cancelled_by_user");
    env.until(second, &["cancelled"]);
    env.until(third, &["running"]);
    std::fs::write(env.run_dir(third).join("go"), "").unwrap();
    env.until(third, &["completed"]);
}

#[test]
fn several_ranks_meet_on_this_machine() {
    let env = TestEnv::new();
    let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/two-ranks/run.toml");
    let said = env.run(["submit", spec, "--wait"]).success();
    assert!(said.stderr.contains("completed"), "{said}");
    assert_eq!(env.show(1)["world_size"], 2);
}

#[test]
fn a_fault_of_the_machine_makes_a_run_wait_not_fail() {
    let env = TestEnv::new();
    drop(env.line("list").success());
    // Where local jobs are kept nothing can be made.
    let local = env.state_dir().join("local");
    std::fs::remove_dir_all(&local).unwrap();
    std::fs::write(&local, "in the way").unwrap();
    let spec = env.bash_spec("patient", "exit 0\n");
    let said = env.run(["submit", spec.to_str().unwrap()]).success();
    assert!(said.stderr.contains("waits"), "{said}");
    assert_eq!(env.show(1)["state"], "pending");
    std::fs::remove_file(&local).unwrap();
    env.until(1, &["completed"]);
}
