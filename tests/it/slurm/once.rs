//! Submitted exactly once: the daemon dies while sbatch is under way.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::env::{is_alive, wait_until};
use crate::slurm::cluster::{Cluster, job_of};

/// An sbatch whose first call that is given a script waits for the file `go` before it submits, as long as its world is
/// there. What it was told to do, another process of its does on `late`, whatever becomes of itself: so a message can arrive
/// late.
const SLOW: &str = r#"script=$(mktemp HOME/script.XXXXXX)
cat >"$script"
if mkdir HOME/first 2>/dev/null; then
  printf '%s\0' "$@" >HOME/args
  setsid bash HOME/late.sh <"$script" >HOME/late.out 2>&1 &
  echo $$ >HOME/pid.new && mv HOME/pid.new HOME/pid
  while [[ ! -e HOME/go ]]; do
    [[ -d HOME ]] || exit 1
    sleep 0.05
  done
fi
exec REAL "$@" <"$script"
"#;

const LATE: &str = r#"
while [[ ! -e HOME/late ]]; do
  [[ -d HOME ]] || exit 1
  sleep 0.05
done
mapfile -d '' -t args <HOME/args
exec REAL "${args[@]}"
"#;

/// A world in which the first sbatch is slow, with a run whose sbatch has been started and whose daemon is dead.
fn while_sbatch_is_under_way() -> (Cluster, i64) {
    let cluster = Cluster::with("sbatch = 'HOME/sbatch'\nsqueue = 'HOME/squeue'\n");
    let home = cluster.env.home().display().to_string();
    let real = |text: &str| text.replace("HOME", &home).replace("REAL", &cluster.path("sbatch"));
    cluster.env.write("late.sh", &real(LATE));
    let squeue = cluster.path("squeue");
    cluster.env.program("squeue", &format!("echo poll >>{home}/polls\nexec {squeue} \"$@\"\n"));
    cluster.env.program("sbatch", &real(SLOW));
    let spec = cluster.spec("once", &format!("echo trained >> {home}/trained; sleep 1"), "");
    let mut submit = cluster.env.command().args([Path::new("submit"), &spec]).spawn().unwrap();
    wait_until("sbatch is under way", || cluster.env.home().join("pid").exists());
    cluster.env.kill_daemon();
    // It waits for an answer that does not come.
    submit.kill().unwrap();
    submit.wait().unwrap();
    (cluster, 1)
}

/// Ends the first sbatch without a word.
fn kill_sbatch(cluster: &Cluster) {
    let pid = std::fs::read_to_string(cluster.env.home().join("pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap());
    kill(pid, Signal::SIGKILL).unwrap();
    wait_until("sbatch is gone", || !is_alive(pid));
}

fn trained(cluster: &Cluster) -> usize {
    std::fs::read_to_string(cluster.env.home().join("trained")).unwrap_or_default().lines().count()
}

#[test]
fn a_daemon_killed_during_sbatch_finds_the_job_that_came_of_it() {
    let (cluster, run) = while_sbatch_is_under_way();
    cluster.env.write("go", "");
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!(cluster.jobs_of(run), [job_of(&shown)]);
    assert_eq!(trained(&cluster), 1);
}

#[test]
fn an_sbatch_that_submits_after_it_was_given_up_cannot_train() {
    let (cluster, run) = while_sbatch_is_under_way();
    kill_sbatch(&cluster);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    cluster.env.write("late", "");
    wait_until("the late job has come and gone", || {
        let late: Vec<i64> =
            cluster.jobs_of(run).into_iter().filter(|job| *job != job_of(&shown)).collect();
        late.len() == 1 && cluster.recorded(late[0], "ExitCode") == [["94:0"]]
    });
    assert_eq!(trained(&cluster), 1);
}

#[test]
fn nothing_is_concluded_while_an_orphaned_sbatch_may_still_submit() {
    let (cluster, run) = while_sbatch_is_under_way();
    // A new daemon looks, finds no job, and waits: far longer than two rounds of doubt take here.
    let polled = || {
        let log = std::fs::read_to_string(cluster.env.home().join("polls")).unwrap_or_default();
        log.lines().count()
    };
    assert_eq!(cluster.env.show(run)["state"], "submitting");
    let before = polled();
    wait_until("it is looked for again and again", || polled() >= before + 6);
    let shown = cluster.env.show(run);
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("submitting"), &json!([])));
    cluster.env.write("go", "");
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!((cluster.jobs_of(run), trained(&cluster)), (vec![job_of(&shown)], 1));
}

/// sbatch is started while the intent is recorded, and reads its script after that: it is the same call.
#[test]
fn each_submission_starts_one_sbatch() {
    // Not as the site's own sbatch, which is started when its script is due.
    let cluster = Cluster::with("commands = 'HOME'\n");
    let home = cluster.env.home().display().to_string();
    for name in ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr"] {
        let note =
            if name == "sbatch" { format!("echo $$ >>{home}/calls\n") } else { String::new() };
        cluster.env.program(name, &format!("{note}exec {} \"$@\"\n", cluster.path(name)));
    }
    let calls = || {
        let calls = std::fs::read_to_string(cluster.env.home().join("calls")).unwrap();
        calls.lines().count()
    };
    let spec = cluster.spec("alone", "true", "");
    let submit = ["submit", "--key", "a key", spec.to_str().unwrap()];
    for _ in 0..3 {
        assert_eq!(cluster.env.run(submit).success().stdout, "1\n");
    }
    assert_eq!(calls(), 1);
    let sweep = cluster.spec("swept", "true", "[sweep.parameters]\n'args.n' = [1, 2, 3]\n");
    let sweep = cluster.env.submit(&sweep);
    assert_eq!(calls(), 2);
    for run in [1, sweep + 1, sweep + 3] {
        let shown = cluster.env.until(run, &["completed", "failed"]);
        assert_eq!(shown["state"], "completed", "{shown:#}");
    }
    assert_eq!(calls(), 2);
}

#[test]
fn of_two_jobs_of_one_submission_one_trains_and_the_other_goes() {
    let cluster = Cluster::with("sbatch = 'HOME/sbatch'\n");
    let home = cluster.env.home().display().to_string();
    // Only the second of its jobs is told.
    let twice = format!(
        "cat >{home}/script; REAL \"$@\" <{home}/script >/dev/null; exec REAL \"$@\" <{home}/script"
    );
    cluster.env.program("sbatch", &twice.replace("REAL", &cluster.path("sbatch")));
    let spec = cluster.spec("twins", &format!("sleep 3; echo trained >> {home}/trained"), "");
    let run = cluster.env.submit(&spec);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    let jobs = cluster.jobs_of(run);
    assert_eq!((jobs.len(), trained(&cluster)), (2, 1), "{shown:#}");
    let other = jobs.into_iter().find(|job| *job != job_of(&shown)).unwrap();
    // It found its claim taken, or was cancelled before it could.
    let rows = cluster.recorded(other, "State,ExitCode");
    assert!(rows[0][1] == "94:0" || rows[0][0].starts_with("CANCELLED"), "{rows:?}");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown:#}");
}
