//! A project never spends what it does not have.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::env::{Said, TestEnv, wait_until};

/// An hour, and the minute and a half that it may take to end, cost 1.025.
const CLASSES: &str = "[cluster.main]\ncommands = 'HOME/slurm'\n\
                       [class.cpu]\ncluster = 'main'\npartition = 'p'\ncpus_per_node = 1\nmemory_per_node = '1G'\n\
                       max_nodes = 4\ndefault_time = '1h'\nrate = 1.0\n";

/// A world whose Slurm cannot be reached, so that what is submitted goes on being submitted, and with these projects.
fn world(projects: &str) -> TestEnv {
    let mut env = TestEnv::new();
    for name in ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo"] {
        let words = "error: Unable to contact slurm controller (connect failure)";
        env.program(&format!("slurm/{name}"), &format!("echo '{name}: {words}' >&2\nexit 1\n"));
    }
    let home = env.home().display().to_string();
    let site =
        format!("[site]\nrun_root = 'HOME/trainyard'\ndefault_class = 'cpu'\n{CLASSES}{projects}");
    env.use_site(&site.replace("HOME", &home));
    env
}

/// A spec of the project `nlp`.
fn spec(env: &TestEnv, name: &str, script: &str) -> PathBuf {
    let path = env.bash_spec(name, script);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("project = 'nlp'\n{text}")).unwrap();
    path
}

fn budget(env: &TestEnv) -> Value {
    env.line("budget nlp --json").success().json()[0].clone()
}

/// What is spent, and what is held.
#[track_caller]
fn within(budget: &Value) -> (f64, f64) {
    let [all, captured, held, available] = ["budget", "captured", "held", "available"]
        .map(|key| budget[key].as_f64().unwrap_or_else(|| panic!("{budget:#}")));
    assert!(captured + held <= all + 1e-9, "{budget:#}");
    assert!((all - captured - held - available).abs() < 1e-6, "{budget:#}");
    (captured, held)
}

fn entries(env: &TestEnv, kind: &str) -> Vec<Value> {
    let all = env.line("ledger nlp --json --limit 1000").success().json();
    all.as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).cloned().collect()
}

/// Whoever had looked after any of the entries: never more than the budget.
fn never_over(env: &TestEnv, budget: f64) {
    let all = env.line("ledger nlp --json --limit 1000").success().json();
    let mut taken = 0.0;
    for entry in all.as_array().unwrap().iter().rev() {
        taken += match entry["kind"].as_str().unwrap() {
            "hold" => entry["amount"].as_f64().unwrap(),
            "release" => -entry["amount"].as_f64().unwrap(),
            _ => 0.0,
        };
        assert!(taken <= budget + 1e-9, "{all:#}");
    }
}

#[test]
fn a_hundred_submissions_at_once_never_take_a_budget_over() {
    const SUBMISSIONS: usize = 100;
    let env = world("[project.nlp]\nbudget = 10.0\nperiod = 'year'\n");
    let spec = spec(&env, "racing", "exit 0\n");
    drop(env.line("daemon start").success());
    let (racing, refusals) = (AtomicBool::new(true), AtomicUsize::new(0));
    let mut kills = 0;
    let said: Vec<Said> = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut looks = 0;
            while racing.load(Ordering::Relaxed) {
                let said = env.line("budget nlp --json");
                if said.code == 0 {
                    within(&said.json()[0]);
                    looks += 1;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            looks
        });
        let (env, spec, refusals) = (&env, &spec, &refusals);
        let submit = move |n: usize| {
            let mut last = None;
            wait_until("it is taken in or refused", || {
                let key = format!("key-{n}");
                let line = ["submit", path(spec), "--key", &key, "--ack-timeout", "0s"];
                let said = env.run(line);
                // The daemon may die before it has answered.
                let is_answered = said.code != 5;
                last = Some(said);
                is_answered
            });
            let said = last.unwrap();
            refusals.fetch_add(usize::from(said.code == 9), Ordering::Relaxed);
            said
        };
        let racers: Vec<_> = (0..SUBMISSIONS).map(|n| scope.spawn(move || submit(n))).collect();
        // Before any is taken in, between them, and while the others are refused.
        let mut kill = || {
            env.kill_daemon();
            kills += usize::from(racers.iter().any(|racer| !racer.is_finished()));
        };
        for taken_in in [0, 1, 3, 5, 7, 9] {
            wait_until("so many are taken in", || holds(env) >= Some(taken_in));
            kill();
        }
        for refused in [1, 30] {
            wait_until("so many are refused", || refusals.load(Ordering::Relaxed) >= refused);
            kill();
        }
        let said = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        racing.store(false, Ordering::Relaxed);
        assert!(watching.join().unwrap() > 0, "it was looked at meanwhile");
        said
    });
    assert!(kills >= 5, "the daemon was killed {kills} times while they raced");
    let taken: Vec<&Said> = said.iter().filter(|said| said.code == 8).collect();
    let refused = said.iter().filter(|said| said.code == 9).count();
    assert_eq!((taken.len(), refused), (9, SUBMISSIONS - 9), "{:?}", codes(&said));
    assert!(said.iter().all(|said| said.code == 8 || said.stdout.is_empty()));
    assert_eq!(entries(&env, "hold").len(), 9);
    let (captured, held) = within(&budget(&env));
    assert_eq!((captured, held), (0.0, 9.225));
    never_over(&env, 10.0);
    let runs = env.line("list --json").success().json();
    assert_eq!(runs.as_array().unwrap().len(), 9, "what was refused left nothing behind");
}

/// How many holds are on the disk, whether or not a daemon lives; none at a moment at which that cannot be read.
fn holds(env: &TestEnv) -> Option<u32> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = env.state_dir().join("trainyard.db");
    let database = rusqlite::Connection::open_with_flags(database, flags).ok()?;
    let sql = "SELECT count(*) FROM ledger WHERE kind = 'hold'";
    database.query_row(sql, [], |row| row.get(0)).ok()
}

fn codes(said: &[Said]) -> Vec<i32> {
    said.iter().map(|said| said.code).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_run_that_is_cancelled_gives_back_what_it_did_not_use_at_once() {
    let env = world("[project.nlp]\nbudget = 10.0\n");
    let spec = spec(&env, "long", "sleep 600\n");
    let said = env.run(["submit", path(&spec), "--target", "local", "--class", "cpu"]).success();
    let run: i64 = said.stdout.trim().parse().unwrap();
    env.until(run, &["running"]);
    let (captured, held) = within(&budget(&env));
    assert_eq!((captured, held), (0.0, 1.025));
    drop(env.line(&format!("cancel {run}")).success());
    let ended = env.until(run, &["cancelled"]);
    let (captured, held) = within(&budget(&env));
    assert!(held.abs() < 1e-9, "{held}");
    let charge = ended["charge"].as_f64().unwrap();
    assert!((captured - charge).abs() < 1e-6 && captured > 0.0, "{captured} {charge}");
    let (capture, release) = (entries(&env, "capture"), entries(&env, "release"));
    assert_eq!((capture.len(), release.len()), (1, 1));
    assert_eq!(capture[0]["at"], release[0]["at"]);
    let all = capture[0]["amount"].as_f64().unwrap() + release[0]["amount"].as_f64().unwrap();
    assert!((all - 1.025).abs() < 1e-9, "{all}");
}

#[test]
fn what_a_budget_has_no_room_for_is_refused_and_leaves_nothing_behind() {
    let env = world("[project.nlp]\nbudget = 1.5\nperiod = 'none'\n[project.cv]\n");
    let spec = spec(&env, "large", "exit 0\n");
    let said = env.run(["submit", path(&spec), "--nodes", "2"]).ended(9);
    insta::assert_snapshot!(env.masked(&said.to_string()));
    assert_eq!(env.line("list --json").success().json(), serde_json::json!([]));
    let left: Vec<_> = std::fs::read_dir(env.run_root()).unwrap().map(Result::unwrap).collect();
    assert!(
        left.iter().all(|entry| entry.file_name().to_string_lossy().starts_with('.')),
        "{left:?}"
    );
    insta::assert_snapshot!(env.line("budget"));
    insta::assert_snapshot!(env.line("budget cv"));
    insta::assert_snapshot!(env.line("budget vision").ended(4));
    insta::assert_snapshot!(env.line("ledger vision").ended(4));
    assert_eq!(env.line("ledger cv --json").success().json(), serde_json::json!([]));
    let shown = budget(&env);
    let keys = ["project", "period", "budget", "captured", "held", "available", "unit"];
    let shown = keys.map(|key| shown[key].to_string()).join(" ");
    assert_eq!(shown, "\"nlp\" \"none\" 1.5 0.0 0.0 1.5 \"unit\"");
}

#[test]
fn a_budget_that_only_warns_lets_it_in_and_says_so() {
    let env = world("[project.nlp]\nbudget = 1.0\non_exhausted = 'warn'\n");
    let spec = spec(&env, "over", "exit 0\n");
    let said = env.run(["submit", path(&spec), "--ack-timeout", "0s"]).ended(8);
    let told = "warning: project `nlp` has 1 of 1 charge units left";
    assert!(said.stderr.contains(told), "{said}");
    let events = env.line("events 1").success();
    assert!(events.stdout.contains("project `nlp` has 1 of 1 charge units left"), "{events}");
    let shown = budget(&env);
    assert_eq!((&shown["held"], &shown["overrun"]), (&1.025.into(), &0.025.into()), "{shown:#}");
    let table = env.line("budget").success().stdout;
    assert!(table.contains("overrun"), "{table}");
}

#[test]
fn a_run_that_was_accepted_waits_until_the_budget_has_room() {
    let env = world("[project.nlp]\nbudget = 1.1\n");
    let spec = spec(&env, "waiting", "sleep 600\n");
    let submit = |more: &[&str]| {
        let line = ["submit", path(&spec), "--target", "local", "--class", "cpu"];
        env.run(line.iter().chain(more))
    };
    let first: i64 = submit(&[]).success().stdout.trim().parse().unwrap();
    env.until(first, &["running"]);
    drop(submit(&[]).ended(9));
    // Behind the first one it is let in as if that were over.
    let second: i64 = submit(&["--if-active", "replace"]).success().stdout.trim().parse().unwrap();
    env.until(first, &["cancelled"]);
    env.until(second, &["running"]);
    assert_eq!(entries(&env, "hold").len(), 2);
    within(&budget(&env));
    drop(env.line(&format!("cancel {second}")).success());
    env.until(second, &["cancelled"]);
}

#[test]
fn a_budget_that_changes_counts_under_a_running_daemon_and_from_the_next_on() {
    let mut env = world("[project.nlp]\nbudget = 1.5\n");
    let file = env.home().join("site.toml");
    assert_eq!(budget(&env)["budget"], 1.5);
    drop(env.line("daemon stop").success());
    let text = std::fs::read_to_string(file).unwrap();
    env.use_site(&text.replace("budget = 1.5", "budget = 3"));
    assert_eq!(budget(&env)["budget"], 3.0);
    let grants = entries(&env, "grant");
    let told: Vec<_> = grants.iter().map(|it| (&it["amount"], it["who"].as_str())).collect();
    assert_eq!(told, [(&1.5.into(), Some("site file")), (&1.5.into(), Some("site file"))]);
    // Under the daemon, which says that another period begins anew.
    env.use_site(&text.replace("budget = 1.5", "budget = 4\nperiod = 'year'"));
    wait_until("it is taken up and granted", || entries(&env, "grant").len() == 3);
    assert_eq!(budget(&env)["budget"], 4.0);
    let log = std::fs::read_to_string(env.state_dir().join("daemon.log")).unwrap();
    let told = "the `period` of project `nlp` is `year` now and was `none`";
    assert!(log.contains(told), "{log}");
}

/// Whoever raises a budget and submits does not wait for the daemon's next look at the file.
#[test]
fn a_budget_that_was_raised_a_moment_ago_lets_it_in() {
    let mut env = world("[project.nlp]\nbudget = 0.5\n");
    let spec = spec(&env, "asks", "true");
    drop(env.run(["submit", path(&spec)]).ended(9));
    let text = std::fs::read_to_string(env.home().join("site.toml")).unwrap();
    env.use_site(&text.replace("budget = 0.5", "budget = 50"));
    drop(env.run(["submit", path(&spec)]).ended(8));
}

#[test]
fn budgets_that_cannot_be_meant_are_told_at_their_place() {
    for (keys, told) in [
        ("budget = -1", "`project.nlp.budget` must be a finite number, 0 or more"),
        ("budget = nan", "`project.nlp.budget` must be a finite number, 0 or more"),
        ("budget = 2e9", "`project.nlp.budget` is more than 1000000000 charge units"),
        ("budget = 'lots'", "`project.nlp.budget` must be a number"),
        (
            "budget = 'slurm'",
            "`project.nlp.budget` is \"slurm\", and the project has no Slurm account",
        ),
        (
            "budget = 'slurm'\naccount = 'ml'\nperiod = 'year'",
            "`project.nlp.period` has no meaning where `budget` is \"slurm\"",
        ),
        (
            "budget = 'slurm'\naccount = 'ml'\non_overrun = 'stop'",
            "`project.nlp.on_overrun` has no meaning where `budget` is \"slurm\"",
        ),
        ("budget = 1\nperiod = 'week'", "`project.nlp.period`"),
        ("budget = 1\non_exhausted = 'ask'", "`project.nlp.on_exhausted`"),
        ("budget = 1\non_overrun = 'warn'", "`project.nlp.on_overrun` cannot be `warn`"),
    ] {
        let env = world(&format!("[project.nlp]\n{keys}\n"));
        let said = env.line("site show").ended(3);
        assert!(said.stderr.contains(told) && said.stderr.contains("site.toml:"), "{keys}: {said}");
    }
}

#[test]
fn runs_that_were_accepted_wait_for_credit_and_say_so() {
    let env = world("[local]\nmax_running = 2\n[project.nlp]\nbudget = 1.1\n");
    let submit = |spec: &Path| {
        let said = env.run(["submit", path(spec), "--target", "local", "--class", "cpu"]).success();
        said.stdout.trim().parse::<i64>().unwrap()
    };
    let free = env.bash_spec("free", "sleep 600\n");
    let before = [submit(&free), submit(&free)];
    let paid = spec(&env, "paid", "sleep 600\n");
    // Nothing is held for what waits.
    let (first, second) = (submit(&paid), submit(&paid));
    for run in before {
        drop(env.line(&format!("cancel {run}")).success());
    }
    env.until(first, &["running"]);
    let mut message = String::new();
    wait_until("it is said what is missing", || {
        message = env.show(second)["message"].as_str().unwrap().to_owned();
        message.contains("project `nlp` has no room for this start, which may take 1.025 charge")
    });
    let explained = env.line(&format!("explain {second}")).success();
    assert!(explained.stdout.contains(&message), "{explained}");
    within(&budget(&env));
    assert!(env.line(&format!("ledger --release {first}")).ended(11).stdout.is_empty());
    drop(env.line(&format!("cancel {first}")).success());
    env.until(second, &["running"]);
    drop(env.line(&format!("cancel {second}")).success());
    env.until(second, &["cancelled"]);
}

#[test]
fn a_ledger_that_does_not_add_up_stops_its_project_and_is_told() {
    let env = world("[project.nlp]\nbudget = 10.0\n");
    let paid = spec(&env, "paid", "exit 0\n");
    drop(env.run(["submit", path(&paid), "--ack-timeout", "0s"]).ended(8));
    drop(env.line("daemon stop").success());
    let database = rusqlite::Connection::open(env.state_dir().join("trainyard.db")).unwrap();
    database.execute("UPDATE balance SET held = 0", []).unwrap();
    drop(database);
    let said = env.run(["submit", path(&paid)]).success();
    assert!(said.stderr.contains("does not add up"), "{said}");
    let shown = env.until(2, &["pending"]);
    assert!(shown["message"].as_str().unwrap().contains("does not add up"), "{shown:#}");
    let told = env.line("budget").success();
    assert!(told.stdout.contains("wrong") && told.stderr.contains("does not add up"), "{told}");
    drop(env.run(["estimate", path(&paid)]).ended(9));
    let findings = env.line("doctor --json").ended(1).json();
    let findings = findings.as_array().unwrap();
    let bad = findings.iter().find(|finding| finding["what"] == "budgets").unwrap();
    assert_eq!(bad["level"], "bad", "{bad:#}");
    assert_eq!(entries(&env, "hold").len(), 1);
}
