//! Environments of requirements, built with real packages of the Python index.
//!
//! The index must be reachable as pip finds it on this machine, and these tests fail where it is not: that they were run
//! is their worth. What needs no index has none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::{TestEnv, wait_until};

/// A spec `NAME.toml` with these requirements, whose training imports something.
pub(crate) fn spec(env: &TestEnv, name: &str, requirements: &str, python: &str) -> PathBuf {
    env.write(&format!("{name}-code/train.py"), python);
    env.write(&format!("{name}.txt"), requirements);
    env.write(
        &format!("{name}.toml"),
        &format!(
            "name = \"{name}\"\n[code]\npath = \"{name}-code\"\nentry_point = \"train.py\"\n\
             [environment]\nrequirements = \"{name}.txt\"\n"
        ),
    )
}

/// The environments that were begun, finished or not.
fn builds(env: &TestEnv) -> Vec<PathBuf> {
    let all = list(&env.run_root().join(".store/environments"));
    all.iter().flat_map(|place| list(&place.join("builds"))).collect()
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn build_log(env: &TestEnv, run: i64) -> String {
    env.line(&format!("logs {run} --source build")).success().stdout
}

/// Waits for a run's good end; where the index is the trouble, that is said.
#[track_caller]
fn completes(env: &TestEnv, run: i64) {
    let shown = env.until(run, &["completed", "failed", "cancelled"]);
    assert_eq!(
        shown["state"],
        "completed",
        "{shown:#}\n{}\n(these tests need pip to reach a Python index)",
        build_log(env, run)
    );
}

#[test]
fn twenty_runs_share_one_build_of_what_was_captured() {
    const RUNS: usize = 20;
    let mut env = TestEnv::new();
    env.use_site("[build]\npip_args = [\"--no-compile\"]\n");
    env.write("pins.txt", "six==1.16.0\n");
    let python = "import os, six, idna\nprint(six.__version__, os.environ['VIRTUAL_ENV'])\n";
    let spec = spec(&env, "many", "-c pins.txt\nsix\nidna\n", python);
    let started: Vec<i64> = (0..RUNS).map(|_| env.submit(&spec)).collect();
    // What is built is what was there.
    fs::write(env.home().join("pins.txt"), "six==0.0.0\n").unwrap();
    fs::remove_file(env.home().join("many.txt")).unwrap();
    for run in &started {
        completes(&env, *run);
    }
    let built = builds(&env);
    assert_eq!(built.len(), 1, "{built:?}");
    let logs: Vec<String> = started.iter().map(|run| build_log(&env, *run)).collect();
    assert!(logs.iter().all(|log| log.contains("six-1.16.0")), "{logs:?}");
    let pips = logs.iter().filter(|log| log.contains("waiting for it"));
    assert_eq!(pips.count(), 0);
    for run in &started {
        let log = env.line(&format!("logs {run}")).success().stdout;
        assert!(log.starts_with("1.16.0 ") && log.contains("/.store/environments/"), "{log}");
    }
    let shown = env.show(started[0]);
    let got = &shown["attempts"][0]["environment"];
    let six = got["packages"].as_array().unwrap().iter().find(|package| package["name"] == "six");
    assert_eq!(six.unwrap()["version"], "1.16.0", "{got:#}");
    let events = env.line("events 1").success().stdout;
    assert!(events.contains("preparing → pending"), "{events}");

    // Another day, the same requirements: nothing is built.
    env.write("many.txt", "-c pins.txt\nsix\nidna\n");
    env.write("pins.txt", "six==1.16.0\n");
    let again = env.submit(&spec);
    completes(&env, again);
    assert_eq!(builds(&env), built);
    assert!(build_log(&env, again).contains("was built before"));

    // What was cleared away meanwhile is built again.
    fs::remove_file(built[0].join("complete")).unwrap();
    completes(&env, env.submit(&spec));
    assert_eq!(builds(&env).len(), 2);
}

#[test]
fn a_broken_requirement_fails_with_what_pip_said() {
    let env = TestEnv::new();
    let spec = spec(&env, "broken", "six==99.99.99\n", "print('never')\n");
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    for run in [first, second] {
        let shown = env.until(run, &["failed", "completed"]);
        assert_eq!(
            (&shown["state"], &shown["reason"]),
            (&"failed".into(), &"preparation_failed".into())
        );
        let said = env.line(&format!("show {run}")).success().stdout;
        assert!(said.contains("No matching distribution found for six==99.99.99"), "{said}");
        let log = build_log(&env, run);
        assert!(log.contains("No matching distribution"), "{log}");
        assert_eq!(shown["attempts"], serde_json::json!([]));
    }
    assert_eq!(builds(&env), Vec::<PathBuf>::new(), "half an environment was left");
    assert!(!env.run_dir(first).join("logs/1.out").exists(), "it was started");
}

/// A `python3` that is slow to build, and tells when it began.
fn slow_python(env: &TestEnv) {
    let real = "PATH=${PATH#*:}; ";
    env.program(
        ".no-slurm/python3",
        &format!(
            "if [[ $1 == -m ]]; then echo $$ >>{home}/began; until [[ -e {home}/go ]]; do sleep 0.05; done; fi\n\
             {real}exec python3 \"$@\"\n",
            home = env.home().display()
        ),
    );
}

fn began(env: &TestEnv) -> Vec<i32> {
    let text = fs::read_to_string(env.home().join("began")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_alive(pid: i32) -> bool {
    crate::env::is_alive(nix::unistd::Pid::from_raw(pid))
}

#[test]
fn a_build_outlives_a_killed_daemon_or_is_begun_again() {
    let env = TestEnv::new();
    slow_python(&env);
    let run = env.submit(&spec(&env, "killed", "", "print('trained')\n"));
    wait_until("the build began", || began(&env).len() == 1);
    assert_eq!(env.show(run)["state"], "preparing");
    env.kill_daemon();
    // The next daemon waits for the builder that was left at work.
    assert_eq!(env.show(run)["state"], "preparing");
    wait_until("the second builder waits", || build_log(&env, run).contains("waiting for it"));
    assert_eq!(began(&env).len(), 1);
    fs::write(env.home().join("go"), "").unwrap();
    completes(&env, run);
    assert_eq!((began(&env).len(), builds(&env).len()), (1, 1));

    // Builder and daemon are both killed: half a build is in nobody's way.
    fs::remove_file(env.home().join("go")).unwrap();
    let run = env.submit(&spec(&env, "both", "# another\n", "print('trained')\n"));
    wait_until("the build began", || began(&env).len() == 2);
    env.kill_daemon();
    let python = nix::unistd::Pid::from_raw(began(&env)[1]);
    let group = nix::unistd::getpgid(Some(python)).unwrap();
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    fs::write(env.home().join("go"), "").unwrap();
    completes(&env, run);
    assert_eq!(began(&env).len(), 3);
}

#[test]
fn a_run_that_is_prepared_can_be_cancelled_and_others_go_on() {
    let env = TestEnv::new();
    slow_python(&env);
    let spec = spec(&env, "wanted", "", "print('trained')\n");
    let (first, second) = (env.submit(&spec), env.submit(&spec));
    wait_until("the build began", || began(&env).len() == 1);
    drop(env.line(&format!("cancel {first}")).success());
    let shown = env.until(first, &["cancelled"]);
    assert_eq!(shown["reason"], "cancelled_by_user");
    assert!(is_alive(began(&env)[0]), "another run waits for it");
    drop(env.line(&format!("cancel {second}")).success());
    env.until(second, &["cancelled"]);
    wait_until("the build is ended", || !is_alive(began(&env)[0]));
    fs::write(env.home().join("go"), "").unwrap();
    completes(&env, env.submit(&spec));
}

#[test]
fn one_pass_from_cron_builds_and_starts() {
    let env = TestEnv::new();
    let spec = spec(&env, "cron", "", "print('trained')\n");
    let run = env.submit(&spec);
    env.kill_daemon();
    drop(env.line("serve --once").success());
    completes(&env, run);
}

/// A real uv, which trusts whom this machine trusts; none where pip cannot install it. It is installed once for all runs of
/// the tests.
fn uv(env: &TestEnv) -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv");
    let uv = cache.join("bin/uv");
    if !uv.exists() {
        let new = env.home().join("uv");
        let made =
            env.bash("python3 -m venv uv && uv/bin/pip install --quiet uv").status().unwrap();
        if !made.success() {
            return None;
        }
        drop(fs::create_dir_all(cache.join("bin")));
        fs::copy(new.join("bin/uv"), cache.join("bin/.new")).unwrap();
        fs::rename(cache.join("bin/.new"), &uv).unwrap();
    }
    let exec = format!("UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1 exec {} \"$@\"\n", uv.display());
    Some(env.program(".no-slurm/uv", &exec))
}

#[test]
fn uv_builds_where_it_is_installed_and_the_record_says_which_tool_did() {
    let env = TestEnv::new();
    let spec = spec(&env, "quick", "six==1.16.0\n", "import six\nprint(six.__version__)\n");
    let built_with = |run: i64| {
        completes(&env, run);
        assert_eq!(env.line(&format!("logs {run}")).success().stdout, "1.16.0\n");
        env.show(run)["attempts"][0]["environment"]["built_with"].as_str().unwrap().to_owned()
    };
    let first = built_with(env.submit(&spec));
    assert!(first.starts_with("pip "), "{first}");
    fs::remove_file(builds(&env)[0].join("complete")).unwrap();
    if uv(&env).is_none() {
        println!("does not apply: pip cannot install uv here");
        return;
    }
    let second = env.submit(&spec);
    let tool = built_with(second);
    assert!(tool.starts_with("uv "), "{tool}\n{}", build_log(&env, second));
    assert!(!build_log(&env, second).contains("once more with pip"));
    // Where it does not get there, pip does.
    env.program(".no-slurm/uv", "echo 'uv: no'\nexit 2\n");
    drop(env.write("quick.txt", "six==1.16.0\n# another\n"));
    let third = env.submit(&spec);
    let tool = built_with(third);
    assert!(tool.starts_with("pip "), "{tool}");
    assert!(build_log(&env, third).contains("once more with pip"));
}

#[test]
fn an_environment_that_no_run_has_is_removed_when_it_was_not_used_for_long() {
    let env = TestEnv::new();
    let first = spec(&env, "first", "# one\n", "print('trained')\n");
    let second = spec(&env, "second", "# two\n", "print('trained')\n");
    for spec in [&first, &second] {
        completes(&env, env.submit(spec));
    }
    let place = |run: i64| {
        let link = fs::read_link(env.run_dir(run).join("environment/venv")).unwrap();
        link.ancestors().nth(2).unwrap().to_owned()
    };
    let (one, two) = (place(1), place(2));
    let age = |place: &Path| {
        let old = format!("touch -d '4 hours ago' {}/lock", place.display());
        assert!(env.bash(&old).status().unwrap().success());
    };
    age(&one);
    age(&two);
    assert!(env.line("site gc").success().stderr.contains("nothing to remove"), "runs have them");
    drop(env.line("delete 1 --yes").success());
    let said = env.line("site gc").success();
    let short = one.file_name().unwrap().to_str().unwrap()[..12].to_owned();
    assert!(said.stdout.contains("environment") && said.stdout.contains(&short), "{said}");
    assert!(said.stdout.contains("ago") && said.stderr.contains("could be removed"), "{said}");
    assert!(one.join("venv/complete").exists(), "only told");
    let lock = fs::File::options().append(true).open(one.join("lock")).unwrap();
    lock.lock().unwrap();
    drop(env.line("site gc --yes").success());
    assert!(one.join("venv/complete").exists(), "a builder has it");
    drop(lock);
    // A run that is given it has it from then on.
    completes(&env, env.submit(&first));
    drop(env.line("delete 3 --yes").success());
    drop(env.line("site gc --yes").success());
    assert!(one.join("venv/complete").exists(), "it was used a moment ago");
    age(&one);
    let said = env.line("site gc --yes --json").success().json();
    assert_eq!(said[0]["unused"][0]["kind"], "environment");
    assert!(!one.exists() && two.join("venv/complete").exists());
    completes(&env, env.submit(&first));
}

#[test]
fn what_cannot_be_captured_is_told_at_its_line() {
    let env = TestEnv::new();
    let spec = spec(&env, "local", "six\n-e .\n", "");
    for verb in ["check", "submit"] {
        let said = env.line(&format!("{verb} {}", spec.display())).ended(3);
        assert!(said.stderr.contains("local.txt:2: `-e .` is a path of this machine"), "{said}");
    }
    fs::remove_file(env.home().join("local.txt")).unwrap();
    let said = env.line("check local.toml").ended(3);
    assert!(said.stderr.contains("there is no file"), "{said}");
}
