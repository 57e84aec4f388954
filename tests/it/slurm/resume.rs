//! Runs that go on from the newest complete checkpoint, whoever starts them again.

use serde_json::{Value, json};

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::runs_on_nodes;

/// A training that counts on from the checkpoint that it is given, and tells where it began. It saves two steps and begins
/// a third save, which it never ends. Its second start is its last.
const COUNTS: &str = r#"
step=0
[[ -z $TRAINYARD_RESUME_FROM ]] || step=$(tr -dc 0-9 <"$TRAINYARD_RESUME_FROM")
echo "begins at $step with $*"
cd "$TRAINYARD_CHECKPOINT_DIR"
for more in 1 2; do
  step=$((step + 1))
  printf '{"step": %d}\n' "$step" >"step-$step.json.tmp"
  mv "step-$step.json.tmp" "step-$step.json"
done
printf '{"step": 9, "model": [1.5, ' >step-9.json
echo saved
((step > 2)) || sleep 600
"#;

/// The same with a directory for each, whose marker comes last.
const IN_DIRECTORIES: &str = r#"
step=0
[[ -z $TRAINYARD_RESUME_FROM ]] || step=${TRAINYARD_RESUME_FROM##*-}
echo "begins at $step with $*"
cd "$TRAINYARD_CHECKPOINT_DIR"
for more in 1 2; do
  step=$((step + 1))
  mkdir "step-$step"
  echo weights >"step-$step/__0_0.distcp"
  printf '\200\004.' >"step-$step/.metadata"
done
mkdir -p step-9
echo half >step-9/__0_0.distcp
echo saved
((step > 2)) || sleep 600
"#;

const RESTARTABLE: &str = "[checkpoint]\nresume_args = ['--from', '{resume_from}']";

fn log(cluster: &Cluster, run: i64, attempt: u32) -> String {
    let path = cluster.env.run_dir(run).join(format!("logs/{attempt}.out"));
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Requeues the job of a run, once its training has saved.
fn requeue(cluster: &Cluster, run: i64, attempt: u32) {
    runs_on_nodes(cluster, run, attempt as usize - 1);
    wait_until("it has saved", || log(cluster, run, attempt).contains("saved"));
    drop(cluster.ask("scontrol", &["requeue", &job_of(&cluster.env.show(run)).to_string()]));
}

fn began(shown: &Value) -> Vec<Value> {
    let attempts = shown["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| attempt["resumed_from_step"].clone()).collect()
}

#[test]
fn a_requeued_run_comes_back_at_the_step_of_its_newest_complete_checkpoint() {
    let cluster = Cluster::new();
    for (name, script, saved) in
        [("counts", COUNTS, "step-2.json"), ("in-directories", IN_DIRECTORIES, "step-2")]
    {
        let run = cluster.env.submit(&cluster.spec(name, script, RESTARTABLE));
        requeue(&cluster, run, 1);
        let shown = cluster.env.until(run, &["completed", "failed"]);
        assert_eq!(shown["state"], "completed", "{shown:#}");
        assert_eq!(began(&shown), [Value::Null, json!(2)], "{shown:#}");
        let path = cluster.env.run_dir(run).join("checkpoints").join(saved);
        assert_eq!(shown["attempts"][1]["resumed_from"], path.display().to_string());
        assert!(log(&cluster, run, 1).starts_with("begins at 0 with \n"));
        let began = format!("begins at 2 with --from {}\n", path.display());
        assert!(log(&cluster, run, 2).starts_with(&began), "{}", log(&cluster, run, 2));
    }
}

#[test]
fn a_run_that_must_not_start_over_ends_where_it_has_no_checkpoint() {
    let cluster = Cluster::new();
    let keys = "[checkpoint]\nresume = 'require'";
    let run = cluster.env.submit(&cluster.spec("must", "echo saved; sleep 600", keys));
    requeue(&cluster, run, 1);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["reason"], "no_checkpoint", "{shown:#}");
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("there is no complete checkpoint to go on from"), "{message}");
    assert_eq!(log(&cluster, run, 2), "", "it did not begin anew");
}

#[test]
fn a_run_that_is_over_goes_on_from_the_checkpoint_that_a_person_chooses() {
    let cluster = Cluster::new();
    let fails = format!("{COUNTS}[[ $step != 4 ]]");
    let fails = fails.replace("((step > 2)) || sleep 600\n", "");
    let run = cluster.env.submit(&cluster.spec("reopened", &fails, RESTARTABLE));
    cluster.env.until(run, &["completed", "failed"]);
    let resume = |words: &str| cluster.env.line(&format!("resume {run} {words}"));
    // The third was cut off, and there is no fourth.
    let said = resume("--from 9").ended(2).stderr;
    assert!(said.contains("is not complete") && said.contains("those of steps 2, 1"), "{said}");
    let said = resume("--from 4").ended(4).stderr;
    assert!(said.contains("there is no checkpoint of step 4"), "{said}");
    drop(resume("").success());
    drop(resume("").ended(11));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!((&shown["state"], began(&shown)), (&json!("failed"), vec![Value::Null, json!(2)]));
    drop(resume("--from 1").success());
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!(began(&shown), [Value::Null, json!(2), json!(1)], "{shown:#}");
    let states: Vec<&Value> =
        shown["attempts"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["completed", "failed", "completed"], "earlier ends stay");
    let events = cluster.env.line(&format!("events {run}")).success().stdout;
    assert_eq!(events.matches("resumed by").count(), 2, "{events}");
    let saved = &shown["checkpoints"];
    assert_eq!((&saved["count"], &saved["complete"]), (&json!(5), &json!(4)), "{saved:#}");
}
