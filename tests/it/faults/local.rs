//! Local runs when the daemon, their supervisor, their files or the machine go away.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{TestEnv, is_alive, wait_until};
use crate::faults::waits_for;

fn record_file(env: &TestEnv) -> PathBuf {
    let mut spools = std::fs::read_dir(env.state_dir().join("local")).unwrap();
    spools.next().unwrap().unwrap().path().join("job.json")
}

fn record(env: &TestEnv) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(record_file(env)).unwrap()).unwrap()
}

/// Everybody in the session that a supervisor leads, itself first.
fn session(supervisor: i64) -> Vec<Pid> {
    let mut members = vec![Pid::from_raw(i32::try_from(supervisor).unwrap())];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let pid = entry.file_name().to_string_lossy().parse::<i64>();
        // After the name come the state, the parent, the group and the session.
        if fields.split_whitespace().nth(3) == Some(&supervisor.to_string())
            && let Ok(pid) = pid
            && pid != supervisor
        {
            members.push(Pid::from_raw(i32::try_from(pid).unwrap()));
        }
    }
    members
}

fn end_all(members: &[Pid]) {
    for pid in members {
        kill(*pid, Signal::SIGKILL).ok();
    }
    wait_until("they are gone", || !members.iter().any(|pid| is_alive(*pid)));
}

/// A run that runs until the file `go` is there, then exits with this code.
fn running(env: &TestEnv, code: i32) -> i64 {
    let up = env.home().join("up");
    let script = format!("touch '{}'\n{}exit {code}\n", up.display(), waits_for(env, "go"));
    let run = env.submit(&env.bash_spec("held", &script));
    wait_until("it trains", || up.exists());
    env.until(run, &["running"]);
    run
}

fn go(env: &TestEnv) {
    std::fs::write(env.home().join("go"), "").unwrap();
}

fn one_attempt(view: &serde_json::Value) -> &serde_json::Value {
    let attempts = view["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{view:#}");
    &attempts[0]
}

/// A supervisor that was just being started holds the dead daemon's socket until it becomes another program.
fn kill_and_start(env: &TestEnv) {
    env.kill_daemon();
    wait_until("a daemon answers", || env.line("daemon start").code == 0);
}

#[test]
fn a_run_is_found_again_whenever_the_daemon_is_killed() {
    let env = TestEnv::new();
    let run = {
        let spec = env.bash_spec("held", &format!("{}exit 5\n", waits_for(&env, "go")));
        let said = env.run(["submit", spec.to_str().unwrap(), "--ack-timeout", "0s"]);
        said.stdout.trim().parse::<i64>().unwrap()
    };
    kill_and_start(&env);
    env.until(run, &["running"]);
    kill_and_start(&env);
    let dir = env.run_dir(run);
    go(&env);
    // Its end is told, and perhaps seen, but the daemon may be killed before it is recorded.
    let told =
        || std::fs::read_to_string(dir.join("events.jsonl")).is_ok_and(|t| t.contains("ended"));
    wait_until("its end is told", told);
    kill_and_start(&env);
    let view = env.until(run, &["failed"]);
    assert_eq!(one_attempt(&view)["exit_code"], 5);
    assert_eq!(view["self_reported"], false);
}

#[test]
fn after_a_reboot_a_run_is_lost_within_the_grace() {
    let env = TestEnv::new();
    let run = running(&env, 0);
    env.kill_daemon();
    let mut record = record(&env);
    end_all(&session(record["process"]["pid"].as_i64().unwrap()));
    record["process"]["boot_id"] = "the boot before".into();
    std::fs::write(record_file(&env), record.to_string()).unwrap();
    let asked = Instant::now();
    let view = env.until(run, &["failed", "completed", "cancelled"]);
    assert_eq!((&view["state"], &view["reason"]), (&"failed".into(), &"lost".into()), "{view:#}");
    assert_eq!(one_attempt(&view)["reason"], "lost");
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    drop(env.line(&format!("wait {run}")).ended(1));
}

#[test]
fn without_its_supervisor_the_scripts_own_marker_decides() {
    let env = TestEnv::new();
    let run = running(&env, 6);
    let supervisor =
        Pid::from_raw(i32::try_from(record(&env)["process"]["pid"].as_i64().unwrap()).unwrap());
    end_all(&[supervisor]);
    // It trains on, and is known to.
    drop(env.line("serve --once").success());
    assert_eq!(env.show(run)["state"], "running");
    go(&env);
    let view = env.until(run, &["failed", "completed", "cancelled"]);
    assert_eq!(
        (&view["state"], &view["reason"]),
        (&"failed".into(), &"exit_code".into()),
        "{view:#}"
    );
    assert_eq!(one_attempt(&view)["exit_code"], 6);
    assert_eq!(view["self_reported"], true);
}

#[test]
fn a_run_whose_processes_were_all_killed_is_lost() {
    let env = TestEnv::new();
    let run = running(&env, 0);
    end_all(&session(record(&env)["process"]["pid"].as_i64().unwrap()));
    let view = env.until(run, &["failed", "completed", "cancelled"]);
    assert_eq!(view["reason"], "lost", "{view:#}");
}

#[test]
fn a_run_directory_that_is_deleted_does_not_end_its_run() {
    let env = TestEnv::new();
    let run = running(&env, 7);
    std::fs::remove_dir_all(env.run_dir(run)).unwrap();
    drop(env.line("logs 1"));
    go(&env);
    let view = env.until(run, &["failed", "completed", "cancelled"]);
    assert_eq!(view["reason"], "exit_code", "{view:#}");
    assert_eq!(one_attempt(&view)["exit_code"], 7);
}

#[test]
fn a_log_that_is_deleted_does_not_disturb() {
    let env = TestEnv::new();
    let spec =
        env.bash_spec("talks", &format!("echo before\n{}echo after\n", waits_for(&env, "go")));
    let run = env.submit(&spec);
    wait_until("it talks", || env.line("logs 1").stdout == "before\n");
    for log in std::fs::read_dir(env.run_dir(run).join("logs")).unwrap() {
        std::fs::remove_file(log.unwrap().path()).unwrap();
    }
    assert_eq!(env.line("logs 1").success().stdout, "");
    go(&env);
    env.until(run, &["completed"]);
    drop(env.line("logs 1 -f").success());
}

/// A program for the script's PATH.
fn tool(env: &TestEnv, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let tool = env.write(&format!("bin/{name}"), text);
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn submit_with_tools(env: &TestEnv, spec: &Path) -> i64 {
    let mut command = env.command();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", env.home().join("bin").display());
    let said = crate::env::Said::of(command.env("PATH", path).args([Path::new("submit"), spec]));
    said.success().stdout.trim().parse().unwrap()
}

#[test]
fn a_claim_that_was_revoked_is_respected_and_the_run_is_submitted_again() {
    let env = TestEnv::new();
    // The first script comes too late: the daemon has taken its claim.
    let first = env.home().join("first");
    tool(
        &env,
        "ln",
        &format!(
            "#!/bin/bash\nmkdir '{}' 2>/dev/null && exec /bin/ln -sn revoked \"${{@: -1}}\"\nexec /bin/ln \"$@\"\n",
            first.display()
        ),
    );
    let trace = env.home().join("trace");
    let spec = env.bash_spec("late", &format!("echo start >>'{}'\n", trace.display()));
    let run = submit_with_tools(&env, &spec);
    let view = env.until(run, &["failed", "completed", "cancelled"]);
    assert_eq!(view["state"], "completed", "{view:#}");
    assert_eq!(std::fs::read_to_string(trace).unwrap(), "start\n");
    let attempts = view["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{view:#}");
    assert_eq!(attempts[0]["reason"], "superseded", "{view:#}");
}

#[test]
fn a_run_whose_directory_is_gone_before_it_starts_is_rejected_with_the_reason() {
    let env = TestEnv::new();
    let spec = env.bash_spec("held", &waits_for(&env, "go"));
    let first = env.submit(&spec);
    let queued = env.run(["submit", spec.to_str().unwrap(), "--if-active", "queue"]).success();
    let second: i64 = queued.stdout.trim().parse().unwrap();
    std::fs::remove_dir_all(env.run_dir(second)).unwrap();
    go(&env);
    env.until(first, &["completed"]);
    let view = env.until(second, &["failed", "completed", "cancelled"]);
    assert_eq!(view["state"], "failed", "{view:#}");
    assert_eq!(view["reason"], "rejected", "{view:#}");
    assert!(view["message"].as_str().unwrap().ends_with("job.sh is gone"), "{view:#}");
}
