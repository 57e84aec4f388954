//! The warning before the end of a run on this machine.

use serde_json::json;

use crate::env::{TestEnv, wait_until};

/// Saves when it is warned the first time, and is done when it comes back.
const SAVES: &str = "[[ $TRAINYARD_ATTEMPT == 1 ]] || exit 0
trap '[[ -e $TRAINYARD_STOP_FILE ]] && echo saved; exit 75' USR1
echo ready
while :; do sleep 0.05; done";

const LIMIT: &str =
    "[compute]\ntime_limit = '5s'\n[failure]\nmax_restarts = 1\nwarn_before_end = '4s'\n";

/// Submits a training of bash, with more keys.
fn submit(env: &TestEnv, name: &str, training: &str, keys: &str) -> i64 {
    let path = env.bash_spec(name, training);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{keys}")).unwrap();
    env.submit(&path)
}

fn log(env: &TestEnv, run: i64) -> String {
    env.line(&format!("logs {run} --attempt 1")).stdout
}

#[test]
fn a_training_that_is_warned_of_its_time_limit_saves_and_comes_back_or_reaches_it() {
    let env = TestEnv::new();
    let saves = submit(&env, "saves", SAVES, LIMIT);
    let fails = submit(&env, "fails", "trap 'exit 3' USR1\nwhile :; do sleep 0.05; done", LIMIT);
    let deaf = submit(&env, "deaf", "exec sleep 600", LIMIT);
    let shown = env.until(saves, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}\n{}", log(&env, saves));
    let attempts = shown["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["exit_code"]), (2, &json!(75)), "{shown:#}");
    assert_eq!(log(&env, saves), "ready\nsaved\n");
    for (run, code, why) in
        [(fails, json!(3), "after it was warned"), (deaf, json!(143), "reached")]
    {
        let shown = env.until(run, &["completed", "failed"]);
        assert_eq!((&shown["state"], &shown["reason"]), (&json!("failed"), &json!("time_limit")));
        assert_eq!(shown["attempts"][0]["exit_code"], code, "{shown:#}");
        assert!(shown["message"].as_str().unwrap().contains(why), "{shown:#}");
        assert!(env.run_dir(run).join("stop.1").exists());
    }
}

#[test]
fn a_training_that_is_cancelled_may_save_and_one_that_hears_nothing_is_not_waited_for() {
    let env = TestEnv::new();
    let keys = "[failure]\nwarn_before_end = '5m'\n";
    let saves = submit(&env, "saves", SAVES, keys);
    let deaf = submit(&env, "deaf", "echo ready; exec sleep 600", keys);
    // It would hear the warning, and goes on: it is ended when it is cancelled once more.
    let busy = "trap 'echo warned' USR1; trap 'echo told; exit 1' TERM\necho ready\nwhile :; do sleep 0.05; done";
    let busy = submit(&env, "busy", busy, keys);
    for run in [saves, deaf, busy] {
        wait_until("it has begun", || log(&env, run).contains("ready"));
        env.until(run, &["running"]);
    }
    drop(env.line(&format!("cancel {saves} {deaf} {busy}")).success());
    for run in [saves, deaf] {
        let shown = env.until(run, &["cancelled", "failed", "completed"]);
        assert_eq!(shown["reason"], "cancelled_by_user", "{shown:#}");
    }
    assert_eq!(log(&env, saves), "ready\nsaved\n");
    assert_eq!(
        (env.show(busy)["state"].as_str(), log(&env, busy).as_str()),
        (Some("stopping"), "ready\nwarned\n")
    );
    drop(env.line(&format!("cancel {busy}")).success());
    assert_eq!(env.until(busy, &["cancelled"])["reason"], "cancelled_by_user");
    assert_eq!(log(&env, busy), "ready\nwarned\ntold\n");
}
