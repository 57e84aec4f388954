//! What becomes of checkpoints that are not kept.

use std::collections::BTreeSet;
use std::path::Path;

use crate::env::{TestEnv, wait_until};

/// Saves ten checkpoints from where it goes on, or two where it was brought back; the third is the best.
const TRAINING: &str = r#"
from=0 count=10
if [[ -n $TRAINYARD_RESUME_FROM ]]; then
  from=${TRAINYARD_RESUME_FROM##*-} from=${from%.json} count=2
fi
echo "from $from, every $TRAINYARD_CHECKPOINT_EVERY_STEPS"
for ((i = from + 1; i <= from + count; i++)); do
  loss=$((i == 3 ? 1 : 10 + i))
  echo "{\"step\": $i, \"loss\": $loss}" >>"$TRAINYARD_METRICS_PATH"
  echo "{\"step\": $i}" >"$TRAINYARD_CHECKPOINT_DIR/.new"
  mv "$TRAINYARD_CHECKPOINT_DIR/.new" "$TRAINYARD_CHECKPOINT_DIR/step-$i.json"
done
"#;

const RULES: &str = "keep_last = 2\nkeep_every_steps = 4\nevery_steps = 1\n\
                     keep_best = { metric = \"loss\", goal = \"minimize\" }\n";

fn spec(env: &TestEnv, training: &str, rules: &str) -> std::path::PathBuf {
    let spec = env.bash_spec("saves", training);
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[checkpoint]\n{rules}")).unwrap();
    spec
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn steps(steps: &[u32]) -> BTreeSet<String> {
    steps.iter().map(|step| format!("step-{step}.json")).collect()
}

#[track_caller]
fn until_there_are(directory: &Path, wanted: &[u32]) {
    let mut last = BTreeSet::new();
    wait_until(&format!("{wanted:?} are there"), || {
        last = names(directory);
        last == steps(wanted)
    });
}

#[test]
fn exactly_those_that_the_spec_keeps_are_left_and_gone_on_from() {
    let env = TestEnv::new();
    let spec = spec(&env, TRAINING, RULES);
    drop(env.run(["submit", spec.to_str().unwrap(), "--wait"]).success());
    let directory = env.run_dir(1).join("checkpoints");
    until_there_are(&directory, &[3, 4, 8, 9, 10]);
    let events = || env.line("events 1").success().stdout;
    wait_until("all is told", || events().matches("  removed  ").count() == 5);
    let told = env.masked(&events());
    let line = "the checkpoint of step 7 (HOME/trainyard/1-saves/checkpoints/step-7.json, 12 B) is deleted: \
                not one of the newest 2, no multiple of 4, not the best `loss`";
    assert!(told.contains(line), "{told}");
    let listed = env.line("checkpoints 1 --json").success().json();
    assert_eq!((&listed["count"], &listed["complete"]), (&5.into(), &5.into()));
    wait_until("the record says so", || env.show(1)["checkpoints"]["count"] == 5);
    assert_eq!(env.show(1)["state"], "completed");

    // What an interrupted removal has left is removed the next time.
    std::fs::create_dir(directory.join(".trainyard-removed.step-2.json")).unwrap();
    drop(env.line("resume 1").success());
    drop(env.line("wait 1").success());
    assert!(env.line("logs 1").success().stdout.contains("from 10, every 1\n"));
    until_there_are(&directory, &[3, 4, 8, 11, 12]);
    let told = events();
    assert!(told.contains("the removal of `step-2.json`, which was interrupted"), "{told}");
    assert_eq!(env.show(1)["attempts"][1]["resumed_from_step"], 10);
}

#[test]
fn where_another_run_saves_too_nothing_goes_until_it_is_over() {
    let env = TestEnv::new();
    let shared = env.home().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let rules = format!("directory = '{}'\n", shared.display());
    let other = env.submit(&spec(&env, "exec sleep 600", &rules));
    env.until(other, &["running"]);
    let own = env.submit(&spec(&env, TRAINING, &format!("{rules}keep_last = 1\n")));
    env.until(own, &["completed"]);
    wait_until("it is told why they stay", || {
        let told = env.line(&format!("events {own}")).success().stdout;
        told.contains(&format!("run {other} is under way and saves there too"))
    });
    assert_eq!(names(&shared).len(), 10);
    drop(env.line(&format!("cancel {other}")).success());
    env.until(other, &["cancelled"]);
    // It would be tried again after ten minutes, and by another daemon at once.
    env.kill_daemon();
    drop(env.show(own));
    until_there_are(&shared, &[10]);
}

#[test]
fn a_plan_says_what_would_go_and_why_and_removes_nothing() {
    let env = TestEnv::new();
    let spec = spec(&env, TRAINING, "");
    drop(env.run(["submit", spec.to_str().unwrap(), "--wait"]).success());
    let none = env.line("checkpoints 1 --retention-plan").success();
    assert!(none.stderr.contains("the spec of run 1 has no `checkpoint.keep_last`: all are kept"));
    assert_eq!(none.stdout.matches("keep").count(), 10, "{none}");
    let tried = env.line("checkpoints 1 --retention-plan --keep-last 8").success();
    insta::assert_snapshot!(tried.stdout, @r"
    STEP  PLAN    SIZE  NAME          WHY
    10    keep    -     step-10.json  it is one of the newest 8
    9     keep    -     step-9.json   it is one of the newest 8
    8     keep    -     step-8.json   it is one of the newest 8
    7     keep    -     step-7.json   it is one of the newest 8
    6     keep    -     step-6.json   it is one of the newest 8
    5     keep    -     step-5.json   it is one of the newest 8
    4     keep    -     step-4.json   it is one of the newest 8
    3     keep    -     step-3.json   it is one of the newest 8
    2     delete  12 B  step-2.json   not one of the newest 8
    1     delete  12 B  step-1.json   not one of the newest 8
    ");
    assert!(tried.stderr.contains("8 stay, 2 go"), "{tried}");
    let json = env.line("checkpoints 1 --retention-plan --keep-last 9 --json").success().json();
    let one = &json["go"][0];
    assert_eq!(json["go"].as_array().unwrap().len(), 1, "{json:#}");
    assert_eq!((&one["step"], &one["bytes"]), (&1.into(), &12.into()), "{json:#}");
    assert_eq!(one["why"], "not one of the newest 9");
    let wrong = env.line("checkpoints 1 --keep-last 8").ended(2);
    assert!(wrong.stderr.contains("--retention-plan"), "{wrong}");
    assert_eq!(names(&env.run_dir(1).join("checkpoints")).len(), 10);
}

#[test]
fn what_goes_is_moved_to_the_archive_and_stays_while_that_cannot_be() {
    let env = TestEnv::new();
    let archive = env.home().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let rules = format!("keep_last = 8\narchive = \"{}\"\n", archive.display());
    let spec =
        spec(&env, &format!("until [[ -e ../go ]]; do sleep 0.02; done\n{TRAINING}"), &rules);
    let run = env.submit(&spec);
    env.until(run, &["running"]);
    // As a file system that is not mounted any more.
    std::fs::remove_dir(&archive).unwrap();
    let run_dir = env.run_dir(run);
    std::fs::write(run_dir.join("go"), "").unwrap();
    env.until(run, &["completed"]);
    let events = || env.line("events 1").success().stdout;
    wait_until("the trouble is told", || events().contains("  retention "));
    assert_eq!(names(&run_dir.join("checkpoints")).len(), 10);
    assert!(!archive.exists());
    std::fs::create_dir(&archive).unwrap();
    // Another daemon tries it at once, this one after a while.
    env.kill_daemon();
    drop(env.line("list").success());
    until_there_are(&run_dir.join("checkpoints"), &[3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(names(&archive.join("1-saves")), steps(&[1, 2]));
    let told = events();
    assert_eq!(told.matches("  archived  ").count(), 2, "{told}");
    assert_eq!(told.matches("  retention ").count(), 1, "{told}");
}

#[test]
fn old_ones_go_while_the_training_runs() {
    let env = TestEnv::new();
    let waits = format!("{TRAINING}until [[ -e ../go ]]; do sleep 0.02; done\n");
    let run = env.submit(&spec(&env, &waits, "keep_last = 2\n"));
    env.until(run, &["running"]);
    let directory = env.run_dir(run).join("checkpoints");
    until_there_are(&directory, &[9, 10]);
    wait_until("the record says so", || {
        let shown = env.show(run);
        (&shown["checkpoints"]["count"], &shown["checkpoints"]["latest"]["step"])
            == (&2.into(), &10.into())
    });
    let told = env.line("events 1").success().stdout;
    assert!(told.contains("  checkpoint a complete checkpoint of step 10: "), "{told}");
    assert_eq!(env.show(run)["state"], "running");
    std::fs::write(env.run_dir(run).join("go"), "").unwrap();
    env.until(run, &["completed"]);
    until_there_are(&directory, &[9, 10]);
}

#[test]
fn an_archive_that_is_not_there_is_refused() {
    let env = TestEnv::new();
    let spec = spec(&env, TRAINING, "keep_last = 1\narchive = \"/no/such/archive\"\n");
    let said = env.run(["submit", spec.to_str().unwrap()]).ended(3);
    assert!(said.stderr.contains("there is no archive directory /no/such/archive"), "{said}");
}
