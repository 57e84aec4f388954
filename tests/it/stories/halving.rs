//! A sweep whose points are stopped early costs less than half, and finds the same best point.

use serde_json::Value;

use crate::env::{TestEnv, wait_until};

const POINTS: i64 = 27;

/// A training whose loss falls with its steps to a floor of its own: 27 lines of 100 steps. It heeds the warning.
const TRAINING: &str = "while [[ $# -gt 0 ]]; do [[ $1 == --floor ]] && floor=$2; shift; done\n\
    for ((line = 1; line <= 27; line++)); do\n\
    sleep 0.6\n\
    loss=$((20000 + 4000 * floor + 200000 / line + (floor * 7 + line * 13) % 11 * 300))\n\
    printf '{\"step\": %d, \"val_loss\": 0.%06d}\\n' $((line * 100)) $loss >>\"$TRAINYARD_METRICS_PATH\"\n\
    [[ -e $TRAINYARD_STOP_FILE ]] && exit 75\n\
    done\n\
    exit 0\n";

const EARLY_STOPPING: &str =
    "[sweep.early_stopping]\nmethod = \"asha\"\nmin_steps = 100\nmax_steps = 2700\n";

/// The points of a sweep, once all are over.
fn points(env: &TestEnv, name: &str, keys: &str) -> Vec<Value> {
    // The best is the 14th.
    let floors: Vec<String> =
        (0..POINTS).map(|point| ((point * 10 + 5) % POINTS).to_string()).collect();
    let path = env.bash_spec(name, TRAINING);
    let text = std::fs::read_to_string(&path).unwrap();
    let sweep = format!(
        "[sweep]\nobjective = {{ metric = \"val_loss\", goal = \"minimize\" }}\n\
         parameters = {{ args.floor = [{}] }}\n",
        floors.join(", ")
    );
    std::fs::write(&path, format!("{text}{sweep}{keys}")).unwrap();
    let sweep = env.submit(&path);
    until_over(env, sweep);
    (0..POINTS)
        .map(|point| env.line(&format!("show {sweep}:{point} --json")).success().json())
        .collect()
}

fn until_over(env: &TestEnv, sweep: i64) {
    wait_until("all points are over", || {
        let shown = env.line(&format!("sweep show {sweep} --json")).success().json();
        let mut states = shown["states"].as_object().unwrap().keys();
        states.all(|state| ["completed", "failed", "cancelled"].contains(&state.as_str()))
    });
}

/// What points took together: node-hours, and steps.
fn taken(points: &[Value]) -> (f64, i64) {
    let hours = points.iter().map(|point| point["node_hours"].as_f64().unwrap()).sum();
    let steps = points.iter().map(|point| point["progress"]["step"].as_i64().unwrap()).sum();
    (hours, steps)
}

fn best(points: &[Value]) -> &Value {
    let loss = |point: &&Value| point["metrics"]["val_loss"]["last"].as_f64().unwrap();
    points.iter().min_by(|one, other| loss(one).total_cmp(&loss(other))).unwrap()
}

/// Points whose third line says this of the loss, as programs write what is no number; the last goes on.
const DIVERGING: &str = "loss=(0.5 NaN '\"nan\"' -Infinity)\n\
    while [[ $# -gt 0 ]]; do [[ $1 == --n ]] && n=$2; shift; done\n\
    for ((step = 100; step <= 300; step += 100)); do\n\
    value=0.$((9 - n))$((step / 100)); [[ $step == 300 ]] && value=${loss[n]}\n\
    printf '{\"step\": %d, \"val_loss\": %s}\\n' $step \"$value\" >>\"$TRAINYARD_METRICS_PATH\"\n\
    done\n\
    for ((turn = 0; turn < 1000 && n > 0; turn++)); do\n\
    [[ -e $TRAINYARD_STOP_FILE ]] && exit 75\n\
    sleep 0.1\n\
    done\n\
    exit 0\n";

#[test]
fn a_training_that_diverges_is_stopped_and_its_metric_is_shown_as_no_number() {
    let env = TestEnv::new();
    let path = env.bash_spec("diverging", DIVERGING);
    let text = std::fs::read_to_string(&path).unwrap();
    let keys = "[sweep]\nobjective = { metric = \"val_loss\", goal = \"maximize\" }\n\
                parameters = { args.n = [0, 1, 2, 3] }\n\
                [sweep.early_stopping]\nmethod = \"asha\"\nmin_steps = 300\n";
    std::fs::write(&path, format!("{text}{keys}")).unwrap();
    let sweep = env.submit(&path);
    until_over(&env, sweep);
    for (point, word) in [(1, "nan"), (2, "nan"), (3, "-inf")] {
        let shown = env.line(&format!("show {sweep}:{point} --json")).success().json();
        assert_eq!(
            (&shown["state"], &shown["reason"]),
            (&"cancelled".into(), &"stopped_early".into())
        );
        let message = format!(
            "rung 0 at step 300: val_loss is {word}, which is no finite number and counts as the worst"
        );
        assert_eq!(shown["message"], message);
        assert_eq!(shown["metrics"]["val_loss"]["last"], word);
        let one = env.line(&format!("metrics {sweep}:{point} --name val_loss --json"));
        assert_eq!(one.success().json()[2]["value"], word);
        let table = env.line(&format!("metrics {sweep}:{point}")).success().stdout;
        assert!(table.contains(&format!(" {word} ")) && table.contains('×'), "{table}");
        let text = env.line(&format!("show {sweep}:{point}")).success().stdout;
        assert!(text.contains(&format!("val_loss {word} at step 300")), "{text}");
    }
    assert_eq!(env.line(&format!("show {sweep}:0 --json")).json()["state"], "completed");
    // Points go by the best that was a number.
    let compared = env.line(&format!("sweep compare {sweep} --json")).success().json();
    let points = compared["points"].as_array().unwrap().iter();
    let told: Vec<(&Value, &Value, &Value)> =
        points.map(|point| (&point["point"], &point["best"], &point["last"])).collect();
    let expected =
        serde_json::json!([[0, 0.92, 0.5], [1, 0.82, "nan"], [2, 0.72, "nan"], [3, 0.62, "-inf"]]);
    assert_eq!(serde_json::json!(told), expected);
}

#[test]
fn early_stopping_saves_half_of_the_node_hours_and_keeps_the_best_point() {
    let env = TestEnv::new();
    let full = points(&env, "full", "");
    let early = points(&env, "early", EARLY_STOPPING);
    let ((full_hours, full_steps), (hours, steps)) = (taken(&full), taken(&early));
    println!(
        "full grid: {:.1} node-seconds, {full_steps} steps; early stopping: {:.1} node-seconds ({:.0} %), {steps} steps ({:.0} %)",
        full_hours * 3600.0,
        hours * 3600.0,
        100.0 * hours / full_hours,
        100 * steps / full_steps,
    );
    assert!(hours <= full_hours / 2.0, "{hours} of {full_hours} node-hours");
    assert!(steps <= full_steps / 2, "{steps} of {full_steps} steps");
    let (best, of_all) = (best(&early), best(&full));
    assert_eq!(best["parameters"], of_all["parameters"]);
    assert_eq!((&best["state"], &best["progress"]["step"]), (&"completed".into(), &2700.into()));
    for point in &early {
        let ended = (point["state"].as_str().unwrap(), point["reason"].as_str().unwrap_or(""));
        assert!([("completed", ""), ("cancelled", "stopped_early")].contains(&ended), "{point}");
    }
    let stopped = early.iter().find(|point| point["reason"] == "stopped_early").unwrap();
    let message = stopped["message"].as_str().unwrap();
    assert!(message.starts_with("rung ") && message.contains(" is not "), "{message}");
    // Each decision is in the history of its point.
    let history = env.line(&format!("events {} --json", best["id"])).success().stdout;
    for rung in ["rung 0 at step 100: val_loss ", "rung 1 at step 300: ", "rung 2 at step 900: "] {
        assert!(history.contains(rung) && history.contains("goes on"), "{rung}: {history}");
    }
}
