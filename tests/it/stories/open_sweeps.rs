//! Sweeps that somebody else drives: they are told points while they run, and asked what came of them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::env::{Said, TestEnv, wait_until};

pub(super) const KEYS: &str = "[sweep]\nmethod = 'open'\nmax_points = 4\nmax_parallel = 2\n\
                    objective = { metric = 'loss', goal = 'minimize' }\n[sweep.parameters]\n\
                    args.lr = { log_uniform = [1e-5, 1e-1] }\nargs.opt = ['sgd', 'adam']\n\
                    args.momentum = { uniform = [0, 1], when = { args.opt = 'sgd' } }\n";

/// An open sweep that is accepted as sweep 1. Its points leave a line in `trained`, and report their learning rate.
pub(super) fn open(env: &TestEnv, work: &str, keys: &str) -> PathBuf {
    let script = format!(
        "{work}\necho \"{{\\\"step\\\": 1, \\\"loss\\\": $2}}\" >>\"$TRAINYARD_METRICS_PATH\"\n\
         echo \"$TRAINYARD_SWEEP_POINT $*\" >>\"$HOME/trained\"\n"
    );
    let path = env.bash_spec("tune", &script);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{keys}")).unwrap();
    let said = env.run(["submit".into(), path.clone()]).success();
    assert_eq!(said.stdout, "1\n");
    path
}

pub(super) fn trained(env: &TestEnv) -> Vec<String> {
    let text = std::fs::read_to_string(env.home().join("trained")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

pub(super) fn tell(env: &TestEnv, parameters: &Value, more: &[&str]) -> Said {
    let parameters = parameters.to_string();
    env.run(["sweep", "tell", "1", &parameters].iter().chain(more))
}

/// Lines to the standard input.
fn tell_lines(env: &TestEnv, lines: &str) -> Said {
    let mut command = env.command();
    command.args(["sweep", "tell", "tune", "-"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Said::of_child(child, "sweep tell tune -")
}

pub(super) fn ask(env: &TestEnv, more: &str) -> Value {
    env.line(&format!("sweep ask 1 {more}")).success().json()
}

fn state(env: &TestEnv) -> String {
    let shown = env.line("sweep show 1 --json").success().json();
    shown["state"].as_str().unwrap().to_owned()
}

pub(super) fn adam(lr: f64) -> Value {
    json!({ "args.lr": lr, "args.opt": "adam" })
}

#[test]
fn points_are_told_while_a_sweep_runs_and_their_results_are_asked_for() {
    let env = TestEnv::new();
    drop(open(&env, "", KEYS));
    assert_eq!(state(&env), "waiting");
    drop(env.line("show 1").ended(4));
    drop(env.line("show 1:0").ended(4));
    let nothing = ask(&env, "");
    let standing = json!({
        "sweep": 1, "state": "waiting", "open": true, "over": false, "points": 0, "max_points": 4,
        "after": 0, "results": [],
    });
    assert_eq!(nothing, standing);
    let told =
        tell(&env, &json!({ "args": { "lr": 1e-3, "opt": "sgd" }, "args.momentum": 1 }), &[]);
    let told = told.success().json();
    assert_eq!(
        told["told"],
        json!([{
            "point": 0, "run": 2, "key": null, "new": true,
            "parameters": { "args.lr": 0.001, "args.opt": "sgd", "args.momentum": 1 },
        }])
    );
    assert_eq!(told["points"], 1);
    let first = ask(&env, "--wait");
    let result = &first["results"][0];
    assert_eq!(
        (&first["after"], &result["point"], &result["run"]),
        (&json!(1), &json!(0), &json!(2))
    );
    assert_eq!((&result["state"], &result["best"]), (&json!("completed"), &json!(0.001)));
    assert_eq!(result["metrics"], json!({ "loss": 0.001 }));
    assert_eq!(result["parameters"]["args.opt"], "sgd");
    // It has nobody under way, and may be told more.
    assert_eq!(state(&env), "waiting");
    drop(env.line("sweep ask 1 --after 1 --wait --timeout 0s").ended(12));
    let lines = "{\"args.lr\": 1e-2, \"args.opt\": \"adam\"}\n\n\
                 {\"key\": \"b\", \"parameters\": {\"args.lr\": 1e-4, \"args.opt\": \"adam\"}}\n";
    let told = tell_lines(&env, lines).success().json();
    let keys: Vec<&Value> = told["told"].as_array().unwrap().iter().map(|it| &it["key"]).collect();
    assert_eq!(keys, [&Value::Null, &json!("b")]);
    let mut seen = Vec::new();
    let mut after = 1;
    while seen.len() < 2 {
        let answer = ask(&env, &format!("--after {after} --wait --limit 1"));
        after = answer["after"].as_i64().unwrap();
        seen.push(answer["results"][0]["point"].as_i64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!((seen, after), (vec![1, 2], 3));
    // Numbers reach the training as they were written.
    let expected =
        ["0 --lr 0.001 --opt sgd --momentum 1", "1 --lr 1e-2 --opt adam", "2 --lr 1e-4 --opt adam"];
    assert_eq!(trained(&env), expected);
    let compared = env.line("sweep compare 1 --json").success().json();
    assert_eq!(compared["points"][0]["point"], 2);
    let closed = env.line("sweep tell tune --close").success().json();
    assert_eq!((&closed["open"], &closed["over"]), (&json!(false), &json!(true)));
    assert_eq!(state(&env), "completed");
    assert_eq!(ask(&env, "--after 3 --wait")["results"], json!([]));
    let waited = env.line("wait 1").success();
    assert!(waited.stderr.contains("completed with all of its 3 points"), "{waited}");
    drop(tell(&env, &adam(0.1), &[]).ended(11));
}

#[test]
fn a_key_is_a_point_also_when_the_daemon_is_killed_and_the_sweep_is_closed() {
    let env = TestEnv::new();
    let spec = open(&env, "", KEYS);
    let told = |lr: f64| tell(&env, &adam(lr), &["--key", "trial-0"]);
    assert_eq!(told(0.01).success().json()["told"][0]["run"], 2);
    env.kill_daemon();
    let again = told(0.01).success();
    assert_eq!(
        (&again.json()["told"][0]["run"], &again.json()["told"][0]["new"]),
        (&json!(2), &json!(false))
    );
    assert!(again.stderr.contains("nothing new was submitted"), "{again}");
    drop(told(0.02).ended(11));
    let both = "{\"key\": \"k\", \"parameters\": {\"args.lr\": 0.1, \"args.opt\": \"adam\"}}\n";
    drop(tell_lines(&env, &both.repeat(2)).ended(2));
    assert_eq!(ask(&env, "--wait")["results"][0]["key"], "trial-0");
    drop(env.line("sweep tell 1 --close").success());
    assert_eq!(told(0.01).success().json()["told"][0]["point"], 0);
    assert_eq!(trained(&env), ["0 --lr 0.01 --opt adam"]);
    // Another sweep of the same spec has keys of its own, and one of a key is the same sweep.
    let submit = |more: &str| env.line(&format!("submit {} {more}", spec.display())).success();
    let number = submit("--key night").stdout;
    let again = submit("--key night");
    assert_eq!(again.stdout, number);
    assert!(again.stderr.contains("has this key already"), "{again}");
    let number = number.trim();
    let other =
        env.line(&format!("submit {} --key night --set sweep.max_points=3", spec.display()));
    let other = other.ended(11);
    assert!(other.stderr.contains(&format!("`night` was given to sweep {number}")), "{other}");
    assert!(other.stderr.contains(&format!("`trainyard sweep show {number}` shows")), "{other}");
}

#[test]
fn what_was_not_declared_is_refused_and_nothing_is_lost() {
    let env = TestEnv::new();
    drop(open(&env, "sleep 300", KEYS));
    let refused = |parameters: Value, why: &str| {
        let said = tell(&env, &parameters, &[]).ended(3);
        assert!(said.stderr.contains(why), "{said}");
    };
    refused(adam(0.2), "`args.lr` cannot be 0.2: it is between 1e-5 and 0.1");
    refused(
        json!({ "args.lr": "x", "args.opt": "adam" }),
        "`args.lr` cannot be \"x\": it is a number",
    );
    refused(json!({ "args.lr": 0.1 }), "`args.opt` is missing");
    refused(json!({ "args.lr": 0.1, "args.opt": "lion" }), "that is none of its values");
    refused(json!({ "args.lr": 0.1, "args.opt": "sgd" }), "`args.momentum` is missing");
    let mut more = adam(0.1);
    more["args.momentum"] = 0.5.into();
    refused(more, "this point has no `args.momentum`: its `when` does not hold");
    refused(
        json!({ "args.lr": 0.1, "args.opt": "adam", "args.l": 1 }),
        "`args.l` is no parameter of the sweep",
    );
    refused(json!({}), "`args.lr` is missing");
    drop(env.run(["sweep", "tell", "1", "[]"]).ended(2));
    drop(env.run(["sweep", "tell", "1", "{"]).ended(3));
    // One wrong point, and none is taken.
    let said = tell_lines(&env, "{\"args.lr\": 0.1, \"args.opt\": \"adam\"}\n{\"args.lr\": 0.1}\n")
        .ended(3);
    assert!(said.stderr.contains("the points:2:1"), "{said}");
    assert_eq!(ask(&env, "")["points"], 0);
    drop(env.line("sweep tell 9 {}").ended(4));
    let five = "{\"args.lr\": 0.1, \"args.opt\": \"adam\"}\n".repeat(5);
    let said = tell_lines(&env, &five).ended(11);
    assert!(said.stderr.contains("there is no room for 5 more"), "{said}");
    assert_eq!(tell(&env, &adam(0.1), &[]).success().json()["told"][0]["point"], 0);
    // A sweep that has its points from its spec is told none.
    let keys = "[sweep.parameters]\n'args.lr' = [0.1, 0.2]\n";
    let grid = env.bash_spec("grid", "true");
    std::fs::write(&grid, std::fs::read_to_string(&grid).unwrap() + keys).unwrap();
    let grid = env.submit(&grid);
    drop(env.line(&format!("sweep tell {grid} {{}}")).ended(2));
    drop(env.line(&format!("sweep ask {grid}")).ended(2));
    // The end of an open sweep: nothing more is taken, and what runs is cancelled.
    drop(env.line("sweep cancel 1").success());
    wait_until("the sweep is cancelled", || state(&env) == "cancelled");
    drop(tell(&env, &adam(0.1), &[]).ended(11));
    let ended = ask(&env, "--wait");
    assert_eq!(
        (&ended["results"][0]["state"], &ended["over"]),
        (&json!("cancelled"), &json!(true))
    );
    drop(env.line("sweep cancel 1").ended(11));
}

#[test]
fn an_open_sweep_is_checked_rendered_and_estimated_before_it_has_points() {
    let env = TestEnv::new();
    let spec = open(&env, "", KEYS).display().to_string();
    let checked = env.line(&format!("check {spec}")).success();
    assert!(
        checked.stdout.contains("fine: open for at most 4 points, 1 set of resources"),
        "{checked}"
    );
    let rendered = env.line(&format!("render {spec}")).success();
    assert!(rendered.stdout.contains("--opt\n    sgd\n"), "{rendered}");
    drop(env.line(&format!("render {spec} --point 0")).ended(4));
    let estimate = env.line(&format!("estimate {spec} --json")).success().json();
    assert_eq!(estimate["points"], 4);
    let dry = env.line(&format!("submit {spec} --dry-run")).success();
    assert!(dry.stderr.contains("would submit `tune` as an open sweep"), "{dry}");
    let shown = env.line("sweep show tune").success();
    assert!(shown.stdout.contains("sweep 1 tune: waiting"), "{shown}");
    assert!(shown.stdout.contains("open        for 4 points in all"), "{shown}");
    // What nobody drives is no sweep of its own in the list of runs.
    assert_eq!(env.line("list --json").success().json(), json!([]));
    let closed = env.line("sweep cancel 1 --json").success().json();
    assert_eq!(closed[0]["state"], "completed");
}

#[test]
fn an_open_sweep_that_waits_is_active_to_those_that_skip_or_replace() {
    let env = TestEnv::new();
    let spec = open(&env, "", KEYS).display().to_string();
    let skipped = env.line(&format!("submit {spec} --if-active skip")).success();
    assert_eq!(skipped.stdout, "1\n");
    assert!(skipped.stderr.contains("sweep 1 `tune` is active (waiting)"), "{skipped}");
    let next = env.line(&format!("submit {spec} --if-active replace")).success().stdout;
    assert_eq!(next, "2\n", "no directory was made for what was skipped");
    assert_eq!(state(&env), "completed", "it takes no more points");
    drop(tell(&env, &adam(0.1), &[]).ended(11));
    let told = env.run(["sweep", "tell", next.trim(), &adam(0.1).to_string()]).success();
    assert_eq!(told.json()["told"][0]["point"], 0);
    // Closed and over, it holds nobody up.
    drop(env.line(&format!("sweep tell {} --close", next.trim())).success());
    drop(env.line(&format!("wait {}", next.trim())).success());
    let third = env.line(&format!("submit {spec} --if-active skip")).success().stdout;
    assert_ne!(third, next);
}

#[test]
fn a_value_that_is_no_finite_number_is_told_as_its_word() {
    let env = TestEnv::new();
    let work = r#"trap 'echo "{\"step\": 2, \"loss\": NaN, \"norm\": -Infinity}" >>"$TRAINYARD_METRICS_PATH"' EXIT"#;
    drop(open(&env, work, KEYS));
    drop(tell(&env, &adam(0.01), &[]).success());
    let result = ask(&env, "--wait")["results"][0].clone();
    assert_eq!((&result["best"], &result["step"]), (&json!(0.01), &json!(1)), "{result}");
    assert_eq!(result["last"], "nan");
    assert_eq!(result["metrics"], json!({ "loss": "nan", "norm": "-inf" }));
}
