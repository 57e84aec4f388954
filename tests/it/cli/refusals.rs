//! What is refused, with which exit code and in which words.

use std::process::Stdio;

use crate::cli::{assert_told, endless, env_with_a_run};
use crate::env::{Said, TestEnv};

/// Verbs, flags and values that are promised and not built: an error that says so, never accepted and ignored.
const LATER: &[&str] = &[
    "hold 1",
    "release 1",
    "util openapi",
    "submit run.toml --evaluation-pack x",
    "logs 1 --level info",
];

#[test]
fn what_is_not_built_is_refused_as_such() {
    let env = TestEnv::new();
    env.bash_spec("run", "exit 0\n");
    for line in LATER {
        let said = env.line(line).ended(2);
        assert!(said.stderr.contains("not supported by this version"), "{said}");
        assert_eq!(said.stdout, "", "{said}");
    }
}

#[test]
fn usage_errors_end_with_2() {
    let env = TestEnv::new();
    env.bash_spec("run", "exit 0\n");
    for line in [
        "frobnicate",
        "show",
        "wait",
        "cancel",
        "resume",
        "resume 1 --from x",
        "check",
        "list --state runing",
        "list --since yesterday",
        "list --limit many",
        "submit run.toml --set compute.nodes",
        "usage --since yesterday",
        "usage --since 2026-05-01 --until 2026-05-01",
        "usage --by colour",
        "usage --csv --json",
        "submit run.toml --if-active perhaps",
        "submit run.toml --timeout 5s",
        "submit run.toml --poll 5s",
        "logs 1 --source stdout",
        "util schema spec",
        "util man --json",
        "--color sometimes list",
    ] {
        let said = env.line(line).ended(2);
        assert!(said.stderr.starts_with("error: "), "{said}");
        assert_eq!(said.stdout, "", "{said}");
    }
}

#[test]
fn a_run_that_is_not_there_ends_with_4() {
    let env = env_with_a_run();
    for line in ["show", "events", "logs", "metrics", "wait", "cancel", "resume"] {
        for run in ["7", "nobody", "-7x"] {
            let said = env.run([line, "--", run]).ended(4);
            assert!(said.stderr.contains(&format!("there is no run `{run}`")), "{said}");
        }
        drop(env.run([line, ""]).ended(4));
    }
    assert_told!(env, env.line("show 7"));
    assert_told!(env, env.line("logs 1 --attempt 2").ended(4));
}

#[test]
fn a_name_means_its_active_run_or_its_only_one() {
    let env = TestEnv::new();
    assert_told!(env, env.line("show @last").ended(4));
    let spec = endless(&env);
    let first = env.submit(&spec);
    env.until(first, &["running"]);
    assert_eq!(env.line("show endless --json").success().json()["id"], first);
    let second = env.submit(&spec);
    env.until(second, &["running"]);
    assert_told!(env, env.line("show endless").ended(2));
    assert_eq!(env.line("show @last --json").success().json()["id"], second);
    drop(env.line(&format!("cancel {first}")).success());
    env.until(first, &["cancelled"]);
    assert_eq!(env.line("show endless --json").success().json()["id"], second);
    drop(env.line(&format!("cancel {second}")).success());
    env.until(second, &["cancelled"]);
    assert_told!(env, env.line("wait endless").ended(2));
}

#[test]
fn conflicts_end_with_11() {
    let env = env_with_a_run();
    assert_told!(env, env.line("cancel 1").ended(11));
    let spec = env.bash_spec("keyed", "exit 0\n");
    drop(env.run(["submit", spec.to_str().unwrap(), "--key", "k", "--wait"]).success());
    assert_told!(env, env.line("submit keyed.toml --key k --set args.x=1").ended(11));
    // The key is looked up before anything else: the run is given although its code is gone.
    std::fs::remove_dir_all(env.home().join("keyed-code")).unwrap();
    assert_eq!(env.line("submit keyed.toml --key k").success().stdout, "2\n");
    assert_told!(env, env.line("submit keyed.toml --key other").ended(3));
}

#[test]
fn of_several_runs_the_others_are_cancelled_all_the_same() {
    let env = TestEnv::new();
    let run = env.submit(&endless(&env));
    env.until(run, &["running"]);
    let said = env.line("cancel 7 endless 8 --json").ended(4);
    assert_eq!(said.json()[0]["id"], run);
    assert!(said.stderr.contains("`7`") && said.stderr.contains("`8`"), "{said}");
    env.until(run, &["cancelled"]);
}

#[test]
fn a_daemon_that_cannot_be_had_ends_with_5() {
    let env = TestEnv::new();
    env.write("file", "");
    env.bash_spec("run", "exit 0\n");
    assert_told!(env, env.line("list --state-dir file/state").ended(5));
    assert_told!(env, env.line("submit run.toml --socket none.sock").ended(5));
    assert_told!(env, env.line("daemon status").ended(5));
    let findings = env.line("doctor --state-dir file/state --json").ended(1).json();
    assert_eq!((&findings[0]["what"], &findings[0]["level"]), (&"state".into(), &"bad".into()));
}

#[test]
fn a_second_daemon_says_who_is_there() {
    let env = TestEnv::new();
    drop(env.line("daemon start").success());
    assert_told!(env, env.line("serve").ended(11));
    // For cron it is enough that somebody makes the passes.
    assert_eq!(
        env.line("serve --once --json").success().json()["decided"],
        serde_json::Value::Null
    );
}

#[test]
fn another_site_file_than_the_daemons_is_a_conflict() {
    let env = TestEnv::new();
    env.write("other.toml", "[site]\nname = \"other\"\n");
    drop(env.line("daemon start").success());
    env.bash_spec("fine", "exit 0\n");
    assert_told!(env, env.line("submit fine.toml --site other.toml").ended(11));
    // Nothing else is decided by it.
    drop(env.line("list --site other.toml").success());
}

#[test]
fn a_variable_set_to_nothing_is_not_set() {
    let env = TestEnv::new();
    let mut command = env.command();
    for name in ["SITE", "STATE_DIR", "SOCKET", "HOST", "COLOR"] {
        command.env(format!("TRAINYARD_{name}"), "");
    }
    drop(Said::of(command.arg("list")).success());
    let said = Said::of(env.command().env("TRAINYARD_HOST", "x").arg("list")).ended(2);
    assert!(said.stderr.contains("write ssh://"), "{said}");
    let home = env.home().join("elsewhere");
    let variable =
        Said::of(env.command().env("TRAINYARD_STATE_DIR", &home).args(["doctor", "--json"]));
    assert!(variable.stdout.contains("elsewhere"), "{variable}");
}

#[test]
fn an_answer_that_cannot_be_written_is_told() {
    let env = TestEnv::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = env.command().arg("classes").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(70));
    insta::assert_snapshot!(String::from_utf8_lossy(&said.stderr));
}
