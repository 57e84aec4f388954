//! Runs that are submitted by themselves.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::env::{TestEnv, wait_until, wait_within};

/// A spec whose runs leave a line in `trace`.
fn spec(env: &TestEnv, name: &str, schedule: &str) -> PathBuf {
    let path = env.bash_spec(name, "echo \"$TRAINYARD_RUN_ID\" >>\"$HOME/trace\"\n");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}[schedule]\n{schedule}\n")).unwrap();
    path
}

fn runs(env: &TestEnv) -> Vec<Value> {
    env.line("list --json").success().json().as_array().unwrap().clone()
}

fn one(env: &TestEnv, name: &str) -> Value {
    env.line(&format!("schedule list {name} --json")).success().json()
}

/// What became of the newest planned times.
fn outcomes(env: &TestEnv, name: &str) -> Vec<String> {
    let firings = one(env, name)["firings"].clone();
    let outcome = |firing: &Value| firing["outcome"].as_str().unwrap().to_owned();
    firings.as_array().unwrap().iter().map(outcome).collect()
}

#[expect(clippy::disallowed_methods, reason = "planned times are moved relative to now")]
fn ago(seconds: i64) -> i64 {
    (Timestamp::now() - SignedDuration::from_secs(seconds)).as_millisecond()
}

/// Changes the record while no daemon is there: time passes, or the daemon had ended at a worse moment.
fn change(env: &TestEnv, sql: &str) {
    env.kill_daemon();
    let database = rusqlite::Connection::open(env.state_dir().join("trainyard.db")).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
}

fn next(env: &TestEnv, name: &str) -> Timestamp {
    one(env, name)["next"][0].as_str().unwrap().parse().unwrap()
}

const NEVER_TODAY: &str = "cron = '0 0 29 2 *'\ntimezone = 'UTC'";

#[test]
fn a_schedule_is_taken_on_changed_paused_and_forgotten() {
    let env = TestEnv::new();
    let path = spec(&env, "nightly", "cron = '0 2 * * *'\ntimezone = 'Europe/Berlin'");
    let checked = env.line("check nightly.toml").success();
    assert!(checked.stdout.starts_with("nightly.toml: fine\n  next  "), "{checked}");
    assert_eq!(checked.stdout.matches(" 02:00 CE").count(), 5, "{checked}");
    let submitted = env.line("submit nightly.toml").success();
    assert!(submitted.stderr.contains("one run now: the spec's [schedule]"), "{submitted}");
    assert!(env.line("schedule list").success().stderr.contains("there are no schedules"));

    let added = env.line("schedule add nightly.toml").success();
    assert_eq!(added.stdout.lines().count(), 5, "{added}");
    assert!(added.stderr.contains("schedule `nightly` added: 0 2 * * *, Europe/Berlin"), "{added}");
    assert!(added.stderr.contains("nothing starts the daemon after a reboot"), "{added}");
    let again = env.line("schedule add nightly.toml").success();
    assert!(again.stderr.contains("is as it was"), "{again}");
    let text = std::fs::read_to_string(&path).unwrap().replace("0 2 *", "0 3 *");
    std::fs::write(&path, text).unwrap();
    let changed = env.line("schedule add nightly.toml --set schedule.catch_up=true").success();
    let told = "cron: 0 2 * * * → 0 3 * * *, catch_up: false → true, flags: none → --set schedule";
    assert!(changed.stderr.contains(told), "{changed}");

    assert!(env.line("schedule pause nightly").success().stderr.contains("paused"));
    assert!(env.line("schedule list").success().stdout.contains("  paused  "));
    assert_eq!(one(&env, "nightly")["next"], serde_json::json!([]));
    drop(env.line("schedule resume nightly").success());
    assert_eq!(one(&env, "nightly")["next"].as_array().unwrap().len(), 5);
    drop(env.line("schedule delete nightly").success());
    assert_eq!(env.line("schedule list --json").success().json(), serde_json::json!([]));
    for verb in ["list", "pause", "resume", "run-now", "delete"] {
        let said = env.line(&format!("schedule {verb} nightly")).ended(4);
        assert!(said.stderr.contains("there is no schedule `nightly`"), "{said}");
    }
    env.until(1, &["completed"]);
    assert_eq!(runs(&env).len(), 1, "only what was submitted by hand");
}

#[test]
fn a_spec_without_a_schedule_or_with_a_wrong_one_is_refused() {
    let env = TestEnv::new();
    let path = env.bash_spec("plain", "exit 0\n");
    let said = env.run(["schedule", "add", path.to_str().unwrap()]).ended(3);
    assert!(said.stderr.contains("plain.toml has no [schedule]"), "{said}");
    spec(&env, "wrong", "cron = '0 25 * * *'\ntimezone = 'Europe/Berln'\nif_active = 'wait'");
    for verb in ["check", "submit", "schedule add"] {
        let said = env.line(&format!("{verb} wrong.toml")).ended(3);
        for told in [
            "wrong.toml:6:8",
            "`25` is no hour",
            "wrong.toml:7:12",
            "did you mean `Europe/Berlin`?",
            "wrong.toml:8:13",
        ] {
            assert!(said.stderr.contains(told), "{told}: {said}");
        }
    }
}

#[test]
fn a_run_that_is_asked_for_is_one_as_at_any_other_time() {
    let env = TestEnv::new();
    let path = spec(&env, "asked", NEVER_TODAY);
    let waits = format!("until test -e {}/go; do sleep 0.05; done\n", env.home().display());
    env.write("asked-code/train.sh", &waits);
    drop(env.line("schedule add asked.toml").success());
    assert_eq!(env.line("schedule run-now asked").success().stdout, "1\n");
    let key = env.show(1)["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("schedule 1 at 2"), "{key}");
    // The first one is active.
    let second = env.line("schedule run-now asked").success();
    assert_eq!(second.stdout, "1\n");
    assert!(second.stderr.contains("skipped: asked for by hand; run 1 was active"), "{second}");
    env.write("go", "");
    env.until(1, &["completed"]);
    // The spec and the code are read as they are then.
    env.write("asked-code/train.sh", "echo other\n");
    let text = std::fs::read_to_string(&path).unwrap().replace("29 2", "28 2");
    std::fs::write(&path, text).unwrap();
    assert_eq!(env.line("schedule run-now asked").success().stdout, "2\n");
    env.until(2, &["completed"]);
    assert_eq!(env.line("logs 2").success().stdout, "other\n");
    let told = "the file says another [schedule] (cron: 0 0 29 2 * → 0 0 28 2 *)";
    assert!(env.line("schedule list asked").success().stdout.contains(told));
    std::fs::rename(&path, env.home().join("moved.toml")).unwrap();
    let failed = env.line("schedule run-now asked").ended(1);
    assert!(failed.stderr.contains("cannot read"), "{failed}");
    std::fs::write(&path, "nam = 1\n").unwrap();
    let failed = env.line("schedule run-now asked").ended(1);
    assert!(failed.stderr.contains("asked.toml:1:1: unknown key `nam`"), "{failed}");
    assert_eq!(outcomes(&env, "asked"), ["failed", "failed", "submitted", "skipped", "submitted"]);
    let listed = env.line("schedule list").success();
    assert!(listed.stdout.lines().all(|line| line.chars().count() <= 80), "{listed}");
    assert!(listed.stdout.contains("failed: "), "{listed}");
    assert_eq!(runs(&env).len(), 2);
}

#[test]
fn a_daemon_stays_for_a_schedule_and_is_awake_in_time() {
    let env = TestEnv::new();
    spec(&env, "minutely", "cron = '* * * * *'\ntimezone = 'UTC'");
    let mut serve = env.command();
    serve.args(["serve", "--detached", "--idle-after", "1s"]);
    let mut daemon = serve.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until("it serves", || env.line("daemon status").code == 0);
    drop(env.line("schedule add minutely.toml").success());
    let planned = next(&env, "minutely");
    // Nobody asks for anything meanwhile, so an idle daemon would be gone.
    wait_within(Duration::from_secs(100), "a run of its own", || env.home().join("trace").exists());
    assert!(daemon.try_wait().unwrap().is_none(), "it waits for the next one");
    let schedule = one(&env, "minutely");
    let firing = &schedule["firings"][0];
    let at: Timestamp = firing["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        (&firing["outcome"], &firing["run"]),
        (&"submitted".into(), &1.into()),
        "{schedule:#}"
    );
    assert_eq!(firing["planned"].as_str().unwrap().parse::<Timestamp>().unwrap(), planned);
    assert!(at.duration_since(planned) < SignedDuration::from_secs(10), "{schedule:#}");
    drop(env.line("schedule pause minutely").success());
    wait_until("nobody needs it any more", || daemon.try_wait().unwrap().is_some());
}

#[test]
fn what_was_missed_is_told_or_made_up_for_with_one_run() {
    let env = TestEnv::new();
    // Once an hour, the last time half an hour ago.
    let last = Timestamp::from_millisecond(ago(1800) / 60_000 * 60_000).unwrap();
    let minute = last.as_second() / 60 % 60;
    let first = (last - SignedDuration::from_hours(3)).as_millisecond();
    for (name, catch_up) in [("lost", "false"), ("kept", "true")] {
        let schedule =
            format!("cron = '{minute} * * * *'\ntimezone = 'UTC'\ncatch_up = {catch_up}");
        spec(&env, name, &schedule);
        drop(env.line(&format!("schedule add {name}.toml")).success());
        change(&env, &format!("UPDATE schedule SET next_at = {first} WHERE name = '{name}'"));
    }
    wait_until("all that was due is done with", || {
        let known = |name| outcomes(&env, name).first().is_some_and(|outcome| outcome != "begun");
        known("lost") && known("kept")
    });
    let kept = one(&env, "kept")["firings"].clone();
    assert_eq!(
        (kept.as_array().unwrap().len(), &kept[0]["outcome"]),
        (1, &"submitted".into()),
        "{kept:#}"
    );
    assert!(kept[0]["why"].as_str().unwrap().starts_with("makes up for 3 times"), "{kept:#}");
    assert_eq!(kept[0]["planned"].as_str().unwrap().parse::<Timestamp>().unwrap(), last);
    env.until(kept[0]["run"].as_i64().unwrap(), &["completed"]);
    let lost = one(&env, "lost")["firings"].clone();
    assert_eq!((lost.as_array().unwrap().len(), &lost[0]["outcome"]), (1, &"missed".into()));
    let told = "no daemon was there in time: 4 times, the last ";
    assert!(lost[0]["why"].as_str().unwrap().starts_with(told), "{lost:#}");
    // None more for the same hours, however often it starts.
    env.kill_daemon();
    assert_eq!((runs(&env).len(), outcomes(&env, "lost").len()), (1, 1));
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_leaves_one_run_for_each_time() {
    let env = TestEnv::new();
    let path = spec(&env, "cut", NEVER_TODAY);
    drop(env.line("schedule add cut.toml").success());
    drop(env.line("schedule run-now cut").success());
    env.until(1, &["completed"]);
    // As if it had been killed when the run was accepted and nobody had been told yet.
    let began = "UPDATE firing SET outcome = 'begun', run = NULL, why = ''";
    change(&env, began);
    let firing = || one(&env, "cut")["firings"][0].clone();
    wait_until("it knows again", || firing()["outcome"] == "submitted");
    assert_eq!((firing()["run"].clone(), runs(&env).len()), (1.into(), 1));
    // The same when the spec has changed, or gone.
    std::fs::remove_file(path).unwrap();
    change(&env, began);
    wait_until("it knows again", || firing()["outcome"] == "submitted");
    assert_eq!((firing()["run"].clone(), runs(&env).len()), (1.into(), 1));
    // As if it had been killed before the run was accepted: the time is another one then.
    spec(&env, "cut", NEVER_TODAY);
    change(
        &env,
        &format!("UPDATE firing SET outcome = 'begun', run = NULL, planned = {}", ago(60)),
    );
    wait_until("it has its run", || firing()["outcome"] == "submitted");
    env.until(2, &["completed"]);
    // Too late to be made up for.
    change(
        &env,
        &format!("UPDATE firing SET outcome = 'begun', run = NULL, planned = {}", ago(3600)),
    );
    wait_until("it is over", || firing()["outcome"] == "missed");
    assert_eq!(runs(&env).len(), 2);
}

#[test]
fn a_sweep_is_submitted_once_for_each_time() {
    let env = TestEnv::new();
    let schedule = format!("{NEVER_TODAY}\n[sweep.parameters]\n'args.seed' = [1, 2]");
    spec(&env, "swept", &schedule);
    drop(env.line("schedule add swept.toml").success());
    let said = env.line("schedule run-now swept").success();
    assert_eq!(said.stdout, "1\n", "the sweep's own number");
    assert!(said.stderr.contains("sweep 1: asked for by hand"), "{said}");
    assert_eq!(runs(&env).len(), 2);
    change(&env, "UPDATE firing SET outcome = 'begun', run = NULL");
    wait_until("it knows again", || outcomes(&env, "swept") == ["submitted"]);
    assert_eq!(runs(&env).len(), 2);
}

#[test]
fn a_clock_that_is_set_back_brings_no_time_twice_unless_it_was_wrong() {
    let env = TestEnv::new();
    spec(&env, "clocked", "cron = '* * * * *'\ntimezone = 'UTC'");
    drop(env.line("schedule add clocked.toml").success());
    // It was an hour ahead when the next time was worked out.
    let hour = ago(-3600);
    let ahead = format!("UPDATE schedule SET next_at = {hour}, as_of = {hour}");
    change(&env, &ahead);
    assert_eq!(next(&env, "clocked").as_millisecond(), hour, "it waits until that is over");
    // It was in another year.
    let year = ago(-31_536_000);
    change(&env, &format!("UPDATE schedule SET next_at = {year}, as_of = {year}"));
    wait_until("it goes by the clock as it is", || next(&env, "clocked").as_millisecond() < hour);
}

#[test]
fn schedules_that_nobody_takes_up_are_told() {
    let env = TestEnv::new();
    spec(&env, "alone", "cron = '0 0 29 2 *'");
    drop(env.line("schedule add alone.toml").success());
    let doctor = || {
        let said = env.line("doctor --json");
        let findings = said.json();
        let finding = findings.as_array().unwrap().iter().find(|one| one["what"] == "schedules");
        finding.cloned().unwrap_or_default()
    };
    assert_eq!(doctor()["level"], "fine", "{}", doctor());
    drop(env.line("daemon stop").success());
    let told = doctor();
    assert_eq!(told["level"], "note", "{told}");
    assert!(told["told"].as_str().unwrap().starts_with("1 schedule, and no daemon runs"), "{told}");
    change(&env, &format!("UPDATE schedule SET next_at = {}", ago(1200)));
    let told = doctor();
    assert_eq!(told["level"], "bad", "{told}");
    // With a daemon it is told what became of it.
    wait_until("it is missed", || outcomes(&env, "alone") == ["missed"]);
    assert_eq!(doctor()["level"], "note", "{}", doctor());
    drop(env.line("schedule pause alone").success());
    drop(env.line("daemon stop").success());
    assert_eq!(doctor(), Value::Null);
}

#[test]
fn one_pass_from_cron_submits_what_is_due() {
    let env = TestEnv::new();
    spec(&env, "once", NEVER_TODAY);
    drop(env.line("schedule add once.toml").success());
    change(&env, &format!("UPDATE schedule SET next_at = {}", ago(600)));
    drop(env.line("serve --once").success());
    assert_eq!(env.daemon_pid(), None);
    wait_until("it trains without a daemon", || env.home().join("trace").exists());
    drop(env.line("serve --once").success());
    env.until(1, &["completed"]);
    assert_eq!(runs(&env).len(), 1);
}
