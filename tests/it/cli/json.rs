//! What programs get: the documents of `--json`.

use serde_json::Value;

use crate::cli::{endless, env_with_a_run};
use crate::env::TestEnv;

/// The keys of a run, as they are promised.
const RUN: &str = "id name token owner project state reason message created_at submitted_at started_at ended_at \
    stale_since target cluster class nodes gpus_per_node processes_per_node world_size launcher strategy \
    queue_seconds waiting_seconds elapsed_seconds node_hours gpu_hours charge charge_unit charge_estimated charge_rate_per_hour charge_projected requeue_hold_seconds \
    self_reported progress metrics checkpoints sweep point parameters run_dir spec_digest code datasets";
const ATTEMPT: &str = "attempt job_id array_task_id restart_count state slurm_state reason exit_code signal nodes \
    hardware_class partition qos account time_limit_seconds cpus memory gpus notices submitted_at eligible_at \
    started_at ended_at queue_seconds submit_wait_seconds requeue_hold_seconds requested_class elapsed_seconds accounted node_hours gpu_hours charge resumed_from_step";

#[track_caller]
fn check_keys(object: &Value, keys: &str) {
    let object = object.as_object().unwrap();
    for key in keys.split_whitespace() {
        assert!(object.contains_key(key), "{key} is missing: {:?}", object.keys());
    }
}

/// Every `…_at` is RFC 3339 in UTC, every `…_seconds` and `…_hours` a number; `null` is neither known.
fn check_values(value: &Value, path: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{path}.{key}");
                if value.is_null() {
                    continue;
                }
                if key == "at" || key.ends_with("_at") {
                    let text = value.as_str().unwrap();
                    assert!(text.ends_with('Z'), "{path}: {text}");
                    text.parse::<jiff::Timestamp>().unwrap();
                }
                if key.ends_with("_seconds") || key.ends_with("_hours") {
                    assert!(value.as_f64().is_some_and(|number| number >= 0.0), "{path}: {value}");
                }
                check_values(value, &path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_values(item, path)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_run_has_the_promised_keys() {
    let env = env_with_a_run();
    let run = env.show(1);
    check_keys(&run, RUN);
    check_keys(&run["attempts"][0], ATTEMPT);
    check_keys(&run["progress"], "step steps epoch epochs fraction");
    check_keys(&run["metrics"]["loss"], "last step at");
    check_keys(&run["code"], "digest commit dirty");
    check_values(&run, "run");
    assert_eq!(run["nodes"], 1);
    assert!(run["attempts"][0]["nodes"][0].is_string(), "an attempt's nodes are host names");
    assert_eq!(run["attempts"][0]["state"], "completed");
    assert_eq!(run["progress"]["fraction"], 1.0);
    assert_eq!(run["charge_estimated"], false);

    let listed = env.line("list --json").success().json();
    check_keys(&listed[0], RUN);
    assert!(listed[0].get("attempts").is_none(), "a list has no attempts");
}

#[test]
fn a_live_run_is_estimated() {
    let env = TestEnv::new();
    let spec = endless(&env);
    let said = env.run(["submit", spec.to_str().unwrap(), "--json"]).success();
    let submitted = said.json();
    check_keys(&submitted, RUN);
    assert!(submitted["attempts"].is_array(), "submit gives what show gives");
    let id = submitted["id"].as_i64().unwrap();
    let run = env.until(id, &["running"]);
    assert_eq!(run["charge_estimated"], true);
    assert_eq!(run["ended_at"], Value::Null);
    assert!(env.show(id)["elapsed_seconds"].as_f64() > run["elapsed_seconds"].as_f64(), "it grows");
}

#[test]
fn every_verb_that_prints_data_has_one_document() {
    let env = env_with_a_run();
    env.write("new/keep", "");
    for (line, kind) in [
        ("init new/run.toml", "object"),
        ("check steps.toml", "array"),
        ("render steps.toml", "object"),
        ("submit steps.toml --dry-run", "object"),
        ("submit steps.toml --wait", "object"),
        ("submit steps.toml --key once", "object"),
        ("list", "array"),
        ("list --name none", "array"),
        ("show 1", "object"),
        ("events 1", "array"),
        ("metrics 1", "array"),
        ("metrics 1 --name none", "array"),
        ("logs 1", "object"),
        ("logs 1 --follow", "object"),
        ("wait 1 2", "array"),
        ("classes", "array"),
        ("site show", "array"),
        ("site check", "array"),
        ("doctor", "array"),
        ("daemon start", "object"),
        ("daemon status", "object"),
        ("daemon stop", "object"),
        ("serve --once", "object"),
        ("util schema run", "object"),
        ("util schema site", "object"),
    ] {
        let document = env.line(&format!("{line} --json")).success().json();
        let found = if document.is_array() { "array" } else { "object" };
        assert_eq!(found, kind, "{line}");
        check_values(&document, line);
    }
}

#[test]
fn documents_say_what_the_texts_say() {
    let env = env_with_a_run();
    let logs = env.line("logs 1 --json").success().json();
    assert_eq!(logs, serde_json::json!({ "source": "training", "lines": ["trained"] }));
    let events = env.line("events 1 --json").success().json();
    check_keys(&events[0], "at kind message");
    let metrics = env.line("metrics 1 --name loss --json").success().json();
    let values: Vec<f64> =
        metrics.as_array().unwrap().iter().map(|point| point["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [0.9, 0.8, 0.7, 0.6, 0.5]);
    let status = env.line("daemon status --json").success().json();
    check_keys(&status, "pid socket state_dir version host site");
    check_keys(&status["site"], "sources read_at trouble trouble_since");
    assert_eq!(
        status["pid"].as_i64().map(i32::try_from),
        env.daemon_pid().map(|pid| Ok(pid.as_raw()))
    );
    let site = env.line("site show --json").success().json();
    assert_eq!(site[0]["key"], "site.run_root", "what is in force although no file says it");
    let stopped = env.line("daemon stop --json").success().json();
    assert_eq!(stopped["stopped"], status["pid"]);
    let script = env.line("render steps.toml").success().stdout;
    assert_eq!(env.line("render steps.toml --json").success().json()["script"], script);
}
