//! What cron does: hardly any environment, several at once, and a mail for whatever is said.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::env::{Said, TestEnv, wait_until};

/// A world that is found without HOME.
fn yard() -> TestEnv {
    let mut env = TestEnv::new();
    env.use_site(&format!("[site]\nrun_root = \"{}\"\n", env.run_root().display()));
    env
}

/// The program as `env -i` starts it.
fn bare(env: &TestEnv, arguments: &[&str]) -> Said {
    let (state, site) = (env.state_dir(), env.home().join("site.toml"));
    let mut command = env.command();
    command.env_clear().current_dir("/").arg("--state-dir").arg(state).arg("--site").arg(site);
    Said::of(command.args(arguments))
}

fn silent(said: Said) {
    let said = said.success();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{said}");
}

#[test]
fn twenty_at_once_with_one_key_are_one_run_and_say_nothing() {
    let env = yard();
    let spec = env.bash_spec("nightly", "exit 0\n");
    let line = ["submit", "--quiet", spec.to_str().unwrap(), "--key", "nightly-2026-05-01"];
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| silent(bare(&env, &line)));
        }
    });
    let runs = env.line("list --json").success().json();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
    // Those that came second may have taken numbers.
    let run = runs[0]["id"].as_i64().unwrap();
    env.until(run, &["completed"]);
    silent(bare(&env, &line));
    silent(bare(&env, &["rerun", &run.to_string(), "-q", "--key", "again", "--wait"]));
    // Who wants the document gets it, and no more.
    let told = bare(&env, &["submit", "-q", "--json", line[2], "--key", line[4]]).success();
    assert_eq!((told.json()["id"].as_i64(), told.stderr.as_str()), (Some(run), ""));
}

/// Files that are left in the run root, besides what is kept of code.
fn left(env: &TestEnv) -> Vec<String> {
    let names = std::fs::read_dir(env.run_root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn twenty_at_once_with_a_sweep_are_one_sweep_and_say_nothing() {
    let env = yard();
    let go = env.home().join("go");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done\n", go.display());
    let spec = env.bash_spec("grid", &waits);
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[sweep]\nparameters = {{ args.n = [1, 2, 3] }}\n"))
        .unwrap();
    let keyed = ["submit", "--quiet", spec.to_str().unwrap(), "--key", "grid-2026-05-01"];
    let skips = ["submit", "--quiet", spec.to_str().unwrap(), "--if-active", "skip"];
    for (line, count) in [(keyed, 1), (skips, 1)] {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| silent(bare(&env, &line)));
            }
        });
        let sweeps = env.line("sweep list --json").success().json();
        assert_eq!(sweeps.as_array().unwrap().len(), count, "{sweeps:#}");
        assert_eq!(left(&env).len(), count, "{:?}", left(&env));
    }
    let sweep = env.line("sweep list --json").success().json()[0]["id"].as_i64().unwrap();
    let runs = env.line("list --json").success().json();
    assert_eq!(runs.as_array().unwrap().len(), 3, "{runs:#}");
    // Who is not quiet is told.
    let told = bare(&env, &["submit", skips[2], "--if-active", "skip"]).success();
    assert_eq!(told.stdout, format!("{sweep}\n"));
    assert!(told.stderr.starts_with(&format!("sweep {sweep} `grid` is active (")), "{told}");
    assert_eq!(told.stderr.lines().count(), 1, "{told}");
    std::fs::write(go, "").unwrap();
    drop(env.line(&format!("wait {sweep}")).success());
    // Once it is over, the key has it still, and skipping begins a new one.
    silent(bare(&env, &keyed));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| silent(bare(&env, &[skips.as_slice(), &["--wait"]].concat())));
        }
    });
    let runs = env.line("list --json").success().json();
    assert!(all_over(&env) && runs.as_array().unwrap().len().is_multiple_of(3), "{runs:#}");
}

#[test]
fn what_goes_wrong_is_one_line() {
    let env = yard();
    let spec = env.bash_spec("wrong", "exit 3\n");
    let spec = spec.to_str().unwrap();
    let other = env.home().join("none.toml");
    for (code, more, words) in [
        (1, "--wait", "error: run 1 `wrong` failed (exit_code)"),
        (0, "--key a", ""),
        (
            11,
            "--key a --set args.x=1",
            "error: the key `a` was given to run 2, which has another spec",
        ),
        (3, "--set args=1 --set nonsense=2", "(and 1 more)"),
        (12, "--wait --timeout 0s --set code.entry_point=train.sh", "is not over yet; it goes on"),
    ] {
        let words_of_line = more.split_whitespace().collect::<Vec<_>>();
        let said =
            bare(&env, &[&["submit", "-q", spec], words_of_line.as_slice()].concat()).ended(code);
        assert_eq!(said.stdout, "", "{said}");
        assert_eq!(said.stderr.lines().count(), usize::from(code != 0), "{said}");
        assert!(said.stderr.contains(words), "{said}");
    }
    let missing = bare(&env, &["submit", "-q", other.to_str().unwrap()]).ended(3);
    assert_eq!(missing.stderr.lines().count(), 1, "{missing}");
    let pending = bare(&env, &["submit", "-q", spec, "--ack-timeout", "0s", "--name", "late"]);
    assert!(pending.code == 0 || pending.stderr.starts_with("run "), "{pending}");
    // On another login node, while the first one serves: nothing is taken, and it is said who serves.
    env.kill_daemon();
    let before = env.line("list --json").success().json();
    env.kill_daemon();
    let lease = r#"{"host":"login1","process":{"pid":4711,"start_ticks":1,"boot_id":"its own"}}"#;
    let mine = std::fs::read(env.state_dir().join("lease.json")).unwrap();
    std::fs::write(env.state_dir().join("lease.json"), lease).unwrap();
    let elsewhere = bare(&env, &["submit", "-q", spec, "--key", "b"]).ended(5);
    assert_eq!(elsewhere.stderr.lines().count(), 1, "{elsewhere}");
    assert!(elsewhere.stderr.contains("a daemon on login1 (process 4711) serves"), "{elsewhere}");
    std::fs::write(env.state_dir().join("lease.json"), mine).unwrap();
    let count = |runs: &serde_json::Value| runs.as_array().unwrap().len();
    assert_eq!(count(&env.line("list --json").success().json()), count(&before));
}

#[test]
fn a_pass_that_sees_something_happen_says_nothing() {
    let env = yard();
    let go = env.home().join("go");
    let spec =
        env.bash_spec("passed", &format!("until [ -e {} ]; do sleep 0.02; done\n", go.display()));
    silent(bare(&env, &["submit", "-q", spec.to_str().unwrap()]));
    env.until(1, &["running"]);
    env.kill_daemon();
    std::fs::write(go, "").unwrap();
    wait_until("a pass has seen its end", || {
        silent(bare(&env, &["serve", "--once"]));
        bare(&env, &["serve", "--once", "--json"]).success().json()["live"] == 0
    });
    assert_eq!(env.show(1)["state"], "completed");
}

/// The variables and the commands of a crontab.
fn crontab(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let mut variables = BTreeMap::new();
    let mut commands = Vec::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line.split_once('=') {
            Some((name, value)) if name.chars().all(|c| c.is_ascii_uppercase()) => {
                variables.insert(name.to_owned(), value.to_owned());
            }
            Some(_) | None => {
                let times = line.split_whitespace().take(5).count();
                assert_eq!(times, 5, "{line}");
                let command = line.splitn(6, ' ').nth(5).unwrap().trim();
                commands.push(in_shell(command));
            }
        }
    }
    (variables, commands)
}

/// What cron gives to the shell: what stands before a `%` that is not escaped.
fn in_shell(command: &str) -> String {
    let unescaped = command.replace("\\%", "\0");
    assert!(!unescaped.contains('%'), "cron ends this at its `%`: {command}");
    unescaped.replace('\0', "%")
}

#[test]
fn every_line_of_the_crontab_does_what_it_says() {
    let env = yard();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("site-config/crontab");
    let text =
        std::fs::read_to_string(path).unwrap().replace("/home/me", env.home().to_str().unwrap());
    let go = env.home().join("go");
    for name in ["nightly", "hourly", "weekly", "fresh"] {
        let script = format!("until [ -e {} ]; do sleep 0.02; done\n", go.display());
        let spec = env.bash_spec(name, &script);
        let spec = std::fs::read_to_string(spec).unwrap();
        env.write(&format!("exp/{name}.toml"), &spec.replace("path = \"", "path = \"../"));
    }
    let (variables, commands) = crontab(&text);
    assert_eq!(commands.len(), 6);
    let run = |command: &String| {
        let mut shell = shell(&variables["SHELL"], command);
        shell.env_clear().current_dir("/").envs(&variables);
        shell.env("TRAINYARD", env!("CARGO_BIN_EXE_trainyard"));
        shell.env("TRAINYARD_STATE_DIR", env.state_dir());
        shell.env("TRAINYARD_SITE", env.home().join("site.toml"));
        Said::of(&mut shell).success()
    };
    for command in commands.iter().chain(&commands) {
        let said = run(command);
        let is_report = command.contains(" usage ");
        assert_eq!(said.stdout.is_empty(), !is_report, "{command}: {said}");
        assert!(is_report || said.stderr.is_empty(), "{command}: {said}");
    }
    let runs = env.line("list --json").success().json();
    let states = |name: &str| -> Vec<String> {
        let all = runs.as_array().unwrap().iter().filter(|run| run["name"] == name);
        all.map(|run| run["state"].as_str().unwrap().to_owned()).collect()
    };
    for name in ["nightly", "hourly", "weekly"] {
        assert_eq!(states(name).len(), 1, "{name} twice is once: {runs:#}");
    }
    assert_eq!(states("fresh").len(), 2, "{runs:#}");
    let older = runs.as_array().unwrap().iter().rfind(|run| run["name"] == "fresh");
    env.until(older.unwrap()["id"].as_i64().unwrap(), &["cancelled"]);
    std::fs::write(go, "").unwrap();
    wait_until("all are over", || env.line("serve --once").code == 0 && all_over(&env));
}

fn all_over(env: &TestEnv) -> bool {
    let runs = env.line("list --json").success().json();
    let is_over = |run: &serde_json::Value| {
        ["completed", "cancelled"].contains(&run["state"].as_str().unwrap())
    };
    runs.as_array().unwrap().iter().all(is_over)
}

#[expect(clippy::disallowed_methods, reason = "this is what cron starts")]
fn shell(shell: &str, command: &str) -> Command {
    let mut started = Command::new(shell);
    started.args(["-c", command]);
    started
}
