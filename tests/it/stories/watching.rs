//! What a live run saves is known while it runs.

use std::time::{Duration, Instant};

use crate::env::{TestEnv, wait_until};

/// Saves into a directory that looks old at once, so that nothing is expected of it, and again when it is told to.
const SAVES_TWICE: &str = r#"cd "$TRAINYARD_CHECKPOINT_DIR"
save() {
  echo "{\"step\": $1}" >.new
  mv .new "step-$1.json"
  touch -d '1 hour ago' . step-*
}
save 1
until [[ -e $TRAINYARD_RUN_DIR/again ]]; do sleep 0.1; done
save 2
until [[ -e $TRAINYARD_RUN_DIR/enough ]]; do sleep 0.1; done"#;

/// Where nothing changes a run is looked at once a minute on a file system that tells of changes; the change comes sooner.
#[test]
fn a_file_system_that_tells_of_a_checkpoint_is_heard() {
    const LOOKED_AT: Duration = Duration::from_secs(8);
    const TOLD_WITHIN: Duration = Duration::from_secs(25);
    let env = TestEnv::new();
    let spec = env.bash_spec("saves", SAVES_TWICE);
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[checkpoint]\nformat = 'file'\n")).unwrap();
    let run = env.submit(&spec);
    let latest = || env.show(run)["checkpoints"]["latest"]["step"].as_i64();
    wait_until("the first checkpoint is known", || latest() == Some(1));
    // From the look after next on nothing is expected.
    let known_at = Instant::now();
    wait_until("it was looked at again", || known_at.elapsed() > LOOKED_AT);
    std::fs::write(env.run_dir(run).join("again"), "").unwrap();
    let saved_at = Instant::now();
    wait_until("the second one is known", || latest() == Some(2));
    assert!(saved_at.elapsed() < TOLD_WITHIN, "known after {:?}", saved_at.elapsed());
    std::fs::write(env.run_dir(run).join("enough"), "").unwrap();
    env.until(run, &["completed"]);
}
