//! What runs took, summed: `usage`.

use crate::env::TestEnv;

/// Saves once, goes on, and fails.
const SAVES_AND_FAILS: &str = r#"sleep 1
echo '{"step": 1}' >"$TRAINYARD_CHECKPOINT_DIR/.new"
mv "$TRAINYARD_CHECKPOINT_DIR/.new" "$TRAINYARD_CHECKPOINT_DIR/step-1.json"
sleep 2
exit 3"#;

#[test]
fn usage_sums_what_runs_took_and_tells_what_was_lost() {
    let env = TestEnv::new();
    let said = env.line("usage").success();
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("", "no attempt started in that time\n")
    );
    let spec = env.bash_spec("fails", SAVES_AND_FAILS);
    let text = std::fs::read_to_string(&spec).unwrap();
    let checkpoint = "[checkpoint]\ndirectory = 'checkpoints'\nformat = 'file'\n";
    std::fs::write(&spec, format!("{text}{checkpoint}")).unwrap();
    let runs = [env.submit(&spec), env.submit(&env.bash_spec("works", "sleep 1"))];
    let shown = runs.map(|run| env.until(run, &["completed", "failed"]));
    let hours = |n: usize| shown[n]["node_hours"].as_f64().unwrap();
    let usage = env.line("usage --json").success().json();
    let close = |value: &serde_json::Value, expected: f64| {
        assert!((value.as_f64().unwrap() - expected).abs() < 1e-9, "{value} {expected} {usage:#}");
    };
    assert_eq!(usage["rows"].as_array().unwrap().len(), 1, "{usage:#}");
    assert_eq!(
        (usage["total"]["runs"].as_i64(), usage["total"]["attempts"].as_i64()),
        (Some(2), Some(2))
    );
    close(&usage["total"]["node_hours"], hours(0) + hours(1));
    close(&usage["total"]["failed_node_hours"], hours(0));
    let lost = usage["total"]["lost_node_hours"].as_f64().unwrap() * 3600.0;
    assert!((1.0..hours(0) * 3600.0).contains(&lost), "{lost} s are lost {usage:#}");
    // Every cut is of the same whole.
    for by in ["project", "class", "month"] {
        let cut = env.line(&format!("usage --by {by} --json")).success().json();
        assert_eq!(cut["total"], usage["total"]);
    }
    let csv = env.line("usage --csv --by class").success().stdout;
    assert!(csv.starts_with("key,runs,") && csv.contains("\nlocal,2,2,"), "{csv}");
    let table = env.line("usage").success().stdout;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert_eq!(env.line("usage --until 2000-01-01").success().stdout, "");
    assert_eq!(
        env.line("usage --user nobody --json").success().json()["rows"],
        serde_json::json!([])
    );
}
