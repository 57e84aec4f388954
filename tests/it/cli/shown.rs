//! What the verbs that show something print.

use crate::cli::{assert_table, assert_told, endless, env_with_a_run};
use crate::env::TestEnv;

#[test]
fn a_run_is_shown() {
    let env = env_with_a_run();
    assert_table!(env, env.line("list").success());
    assert_table!(env, env.line("show steps").success());
    assert_told!(env, env.line("metrics @last").success());
    assert_told!(env, env.line("metrics 1 --name loss").success());
    assert_told!(env, env.line("metrics 1 --name accuracy").success());
    assert_told!(env, env.line("logs 1").success());
    assert_told!(env, env.line("logs 1 --source scheduler").success());
    assert_eq!(env.line("logs 1 --tail 0").success().stdout, "");
}

#[test]
fn a_rank_s_own_log_is_shown() {
    let env = TestEnv::new();
    for (name, keys) in [("mixed", ""), ("apart", "rank_logs = true\n")] {
        let spec = env.bash_spec(name, "for line in 1 2 3; do echo \"$RANK: $line\"; done");
        let text = std::fs::read_to_string(&spec).unwrap();
        let two = "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2\n";
        std::fs::write(&spec, format!("{text}{two}{keys}")).unwrap();
        env.until(env.submit(&spec), &["completed"]);
    }
    assert_told!(env, env.line("logs mixed --rank 1").ended(4));
    assert_told!(env, env.line("logs apart --rank 2").ended(4));
    assert_eq!(env.line("logs apart --rank 1").success().stdout, "1: 1\n1: 2\n1: 3\n");
    assert_eq!(env.line("logs apart --rank 0 --tail 1 -f").success().stdout, "0: 3\n");
    assert_eq!(env.line("logs apart").success().stdout.lines().count(), 6);
    let wrong = env.line("logs apart --rank 0 --source scheduler").ended(2).stderr;
    assert!(wrong.contains("no rank printed the log of the source `scheduler`"), "{wrong}");
}

/// Saves two checkpoints of run 1: the newer one was cut off.
fn save_two(env: &TestEnv) {
    let directory = env.show(1)["run_dir"].as_str().unwrap().to_owned() + "/checkpoints";
    let newer = std::path::Path::new(&directory).join("step_4");
    std::fs::write(std::path::Path::new(&directory).join("step-2.json"), "{}").unwrap();
    std::fs::create_dir_all(&newer).unwrap();
    std::fs::write(newer.join("__0_0.distcp"), "half").unwrap();
}

#[test]
fn checkpoints_are_shown() {
    let env = env_with_a_run();
    assert_told!(env, env.line("checkpoints 1").success());
    save_two(&env);
    let shown = env.line("checkpoints 1").success();
    let states: Vec<Vec<&str>> =
        shown.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(
        states,
        [["STEP", "STATE", "FORMAT"], ["4", "incomplete", "dcp"], ["2", "complete", "file"]],
        "{shown}"
    );
    assert!(shown.stderr.starts_with("1 of 2 are complete, in /"), "{shown}");

    let catalogue = env.line("checkpoints @last --json").success().json();
    assert_eq!((&catalogue["count"], &catalogue["complete"]), (&2.into(), &1.into()));
    assert_eq!(catalogue["latest"]["step"], 4);
    assert_eq!(catalogue["latest"]["complete"], false);
    assert!(catalogue["latest"]["created_at"].as_str().unwrap().ends_with('Z'));
    let whole = &catalogue["checkpoints"][1];
    assert_eq!((&whole["bytes"], &whole["files"]), (&2.into(), &1.into()));
    assert_eq!((&whole["attempt"], &whole["metrics"]["loss"]), (&1.into(), &0.7.into()));
    assert_eq!(catalogue["checkpoints"][0]["parent"], 2);
    assert_eq!(catalogue["checkpoints"][0]["why"], "it has no `.metadata`, which is written last");
    assert!(env.line("checkpoints 9").ended(4).stderr.contains("there is no run `9`"));
}

#[test]
fn a_history_is_shown() {
    let env = TestEnv::new();
    let spec = endless(&env);
    env.until(env.submit(&spec), &["running"]);
    let waiting = env.line("submit endless.toml --if-active queue").success();
    assert_eq!(waiting.stdout, "2\n");
    drop(env.line("cancel 2").success());
    env.until(2, &["cancelled"]);
    assert_told!(env, env.line("events 2").success());
    assert_table!(env, env.line("show 2").success());
}

#[test]
fn a_submission_tells_its_number_on_stdout_and_the_rest_on_stderr() {
    let env = TestEnv::new();
    env.bash_spec("plain", "exit 0\n");
    assert_told!(env, env.line("submit plain.toml").success());
    assert_told!(env, env.line("submit plain.toml --dry-run").success());
    env.bash_spec("fails", "exit 7\n");
    let said = env.line("submit fails.toml --wait").ended(1);
    assert_eq!(said.stdout, "2\n");
    assert!(
        said.stderr.ends_with(
            "error: run 2 `fails` failed (exit_code): the training ended with exit code 7\n\
             hint: `trainyard explain 2` says why, `trainyard logs 2` what it printed\n"
        ),
        "{said}"
    );
}

#[test]
fn an_empty_record_is_shown() {
    let env = TestEnv::new();
    assert_told!(env, env.line("list").success());
    assert_told!(env, env.line("classes").success());
    assert_told!(env, env.line("site show").success());
}

#[test]
fn a_site_is_shown_with_the_place_of_each_value() {
    let mut env = TestEnv::new();
    env.use_site(include_str!("../../../site-config/small-lab.toml"));
    assert_told!(env, env.line("classes").success());
    assert_told!(env, env.line("site show").success());
    env.use_site("[local]\nmax_running = 2\n");
    assert_told!(env, env.line("site show").success());
}

#[test]
fn the_daemon_is_shown() {
    let env = TestEnv::new();
    assert_told!(env, env.line("daemon start").success());
    assert_told!(env, env.line("daemon status").success());
    assert_told!(env, env.line("daemon stop").success());
    assert_told!(env, env.line("daemon stop").success());
}

#[test]
fn the_installation_is_judged() {
    let env = TestEnv::new();
    // Limits and what happens at logout are the machine's own.
    let own = |text: &str| {
        let lines = text.lines().filter(|line| {
            !["limits", "logout", "→ run", "→ `loginctl"].iter().any(|word| line.contains(word))
        });
        lines.fold(String::new(), |text, line| text + line + "\n")
    };
    env.write("bin/python3", "");
    let mut command = env.command();
    let said = crate::env::Said::of(command.env("PATH", env.home().join("bin")).arg("doctor"));
    let fine = own(&env.masked(&said.success().stdout));
    insta::assert_snapshot!(fine);
    let said = crate::env::Said::of(env.command().env("PATH", "/nowhere").args([
        "doctor",
        "--state-dir",
        "bin/python3/x",
    ]));
    let bad = said.ended(1);
    assert_eq!(bad.stderr, "error: 1 thing is wrong\n");
    insta::assert_snapshot!(own(&env.masked(&bad.stdout)));
}

#[test]
fn a_long_list_is_read_on_page_by_page() {
    const RUNS: i64 = 1_234;
    let env = env_with_a_run();
    drop(env.line("daemon stop").success());
    let database = rusqlite::Connection::open(env.state_dir().join("trainyard.db")).unwrap();
    let copied = format!(
        "PRAGMA foreign_keys = off;
         CREATE TEMP TABLE copy AS SELECT * FROM run WHERE id = 1;
         ALTER TABLE copy DROP COLUMN is_live;
         WITH RECURSIVE n (id) AS (SELECT 2 UNION ALL SELECT id + 1 FROM n WHERE id < {RUNS})
         INSERT INTO number (id) SELECT id FROM n;"
    );
    database.execute_batch(&copied).unwrap();
    for id in 2..=RUNS {
        let set = "UPDATE copy SET id = ?1, machine = json_set(machine, '$.id', ?1)";
        database.execute(set, [id]).unwrap();
        database.execute("INSERT INTO run SELECT * FROM copy", []).unwrap();
    }
    drop(database);
    let ids = |line: &str| -> Vec<i64> {
        let runs = env.line(line).success().json();
        runs.as_array().unwrap().iter().map(|run| run["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids("list --json --limit 5000"), (1..=RUNS).rev().collect::<Vec<_>>());
    assert_eq!(ids("list --json --limit 1100"), (RUNS - 1099..=RUNS).rev().collect::<Vec<_>>());
    assert_eq!(ids("list --json").len(), 50);
    assert_eq!(ids("list --json --limit 0"), Vec::<i64>::new());
    assert_eq!(ids("list --json --state running"), Vec::<i64>::new());
    assert_eq!(ids("list --json --state completed,failed --limit 3 --since 1d").len(), 3);
    assert_eq!(ids("list --json --name st*s --limit 2").len(), 2);
    assert_eq!(ids("list --json --name tes* --limit 2").len(), 0);
    assert_eq!(ids("list --json --project nlp").len(), 0);
    assert_eq!(ids("list --json --user nobody-of-this-name").len(), 0);
}
