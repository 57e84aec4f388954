//! The life of a script on compute nodes: what goes wrong before the training, in one rank of it, and without us.

use std::path::Path;
use std::process::Stdio;

use nix::unistd::Pid;
use serde_json::Value;

use crate::env::{is_alive, wait_until};
use crate::slurm::cluster::{Cluster, job_of};

/// With a prologue of the site's for every script.
fn with_prologue(prologue: &str) -> Cluster {
    Cluster::with(&format!("[cluster.test.script]\nprologue = '''{prologue}'''\n"))
}

/// Submits a training that leaves a mark, with more keys, and gives how it ended.
fn ended(cluster: &Cluster, keys: &str) -> Value {
    let training = format!("touch {}/trained", cluster.env.home().display());
    let run = cluster.env.submit(&cluster.spec("script", &training, keys));
    cluster.env.until(run, &["completed", "failed", "cancelled"])
}

/// Nothing was trained, and the run says why in these words.
#[track_caller]
fn check_not_launched(cluster: &Cluster, shown: &Value, words: &str) {
    let message = shown["message"].as_str().unwrap();
    assert_eq!(shown["state"], "failed", "{shown:#}");
    assert_eq!(shown["reason"], "launch_failed", "{shown:#}");
    assert!(message.contains(words), "{message}");
    assert!(!cluster.env.home().join("trained").exists());
    // What was seen by people is what Slurm has: the script's own code for it.
    let code = &shown["attempts"][0]["exit_code"];
    assert_eq!(
        cluster.recorded(job_of(shown), "State,ExitCode"),
        [["FAILED".to_owned(), format!("{code}:0")]]
    );
}

#[test]
fn a_prologue_that_fails_is_judged_by_what_follows() {
    let cluster = with_prologue("cat /nonexistent; return 3");
    let shown = ended(&cluster, "");
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert!(cluster.env.home().join("trained").exists());
}

#[test]
fn a_prologue_that_ends_the_script_is_named() {
    let cluster = with_prologue("exit 3");
    let shown = ended(&cluster, "");
    check_not_launched(&cluster, &shown, "the site's prologue ended the script (exit code 3)");
    // Also when it ends with 0: nothing was trained.
    let cluster = with_prologue("exit 0");
    let shown = ended(&cluster, "");
    check_not_launched(&cluster, &shown, "the site's prologue ended the script (exit code 0)");
}

#[test]
fn a_module_without_a_module_command_is_told() {
    let cluster = with_prologue("unset -f module");
    let shown = ended(&cluster, "[environment]\nmodules = ['nope/1']");
    check_not_launched(&cluster, &shown, "there is no `module` command on ");
}

#[test]
fn a_module_that_cannot_be_loaded_is_named() {
    let cluster = with_prologue("module() { echo \"no such module: $2\" >&2; return 1; }");
    let shown = ended(&cluster, "[environment]\nmodules = ['nope/1']");
    check_not_launched(&cluster, &shown, "the module `nope/1` cannot be loaded on ");
    let log = cluster.env.line("logs 1 --source scheduler").success().stdout;
    assert!(log.contains("no such module: nope/1"), "{log}");
}

#[test]
fn an_old_module_command_that_reports_success_is_not_believed() {
    let cluster = with_prologue("module() { echo \"no such module: $2\" >&2; }");
    let shown = ended(&cluster, "[environment]\nmodules = ['nope/1']");
    check_not_launched(&cluster, &shown, "`module load nope/1` reported success on ");
}

#[test]
fn a_rank_that_fails_ends_the_others_and_gives_its_exit_code() {
    let cluster = Cluster::new();
    let home = cluster.env.home().display();
    let training = format!(
        "echo $$ >{home}/rank.$RANK
if ((RANK == 2)); then
  until [[ -s {home}/rank.0 && -s {home}/rank.1 && -s {home}/rank.3 ]]; do sleep 0.05; done
  exit 5
fi
exec sleep 600
"
    );
    let keys = "nodes = 2\n[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2";
    let run = cluster.env.submit(&cluster.spec("ranks", &training, keys));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "failed", "{shown:#}");
    assert_eq!(shown["reason"], "exit_code", "{shown:#}");
    assert_eq!(shown["attempts"][0]["exit_code"], 5, "{shown:#}");
    assert_eq!(cluster.recorded(job_of(&shown), "State,ExitCode"), [["FAILED", "5:0"]]);
    for rank in [0, 1, 3] {
        let pid = std::fs::read_to_string(cluster.env.home().join(format!("rank.{rank}")));
        let pid = Pid::from_raw(pid.unwrap().trim().parse().unwrap());
        wait_until(&format!("rank {rank} has ended"), || !is_alive(pid));
    }
}

/// `trainyard render SPEC | sbatch`, as a person types it. Gives the job's id.
fn submitted_by_hand(cluster: &Cluster, spec: &Path, variables: &[(&str, &str)]) -> i64 {
    let mut render = cluster.env.command();
    let mut render =
        render.args([Path::new("render"), spec]).stdout(Stdio::piped()).spawn().unwrap();
    let mut sbatch = cluster.command("sbatch");
    sbatch.arg("--parsable").envs(variables.iter().copied()).current_dir(cluster.env.home());
    let output = sbatch.stdin(render.stdout.take().unwrap()).output().unwrap();
    assert!(render.wait().unwrap().success());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_script_submitted_by_hand_trains_and_nobody_takes_notice() {
    let cluster = Cluster::new();
    let spec = cluster.spec("hand", "echo \"run $TRAINYARD_RUN_ID in $PWD\"; cat data", "");
    cluster.env.write("hand-code/data", "what lies beside it\n");
    // A daemon that looks at the queue all the while.
    let other = cluster.env.submit(&cluster.spec("other", "sleep 600", ""));
    cluster.env.until(other, &["running"]);
    let job = submitted_by_hand(&cluster, &spec, &[]);
    let before = cluster.env.line("list --json").success().stdout;
    assert_eq!(cluster.recorded(job, "State,ExitCode"), [["COMPLETED", "0:0"]]);
    let directory = cluster.env.run_root().join("by-hand").join(job.to_string());
    let log = std::fs::read_to_string(directory.join("logs/1.out")).unwrap();
    assert_eq!(log, format!("run 0 in {}/work\nwhat lies beside it\n", directory.display()));
    for absent in ["claims", "events.jsonl", "exits"] {
        assert!(!directory.join(absent).exists(), "{absent}");
    }
    assert_eq!(std::fs::read_dir(cluster.env.run_root().join(".inbox")).unwrap().count(), 0);
    let after = cluster.env.line("list --json").success();
    assert_eq!(after.json().as_array().unwrap().len(), 1, "before: {before}\nafter: {after}");
    let events = cluster.env.line(&format!("events {other}")).success().stdout;
    assert!(!events.contains("impossible") && !events.contains(&job.to_string()), "{events}");
    drop(cluster.env.line(&format!("cancel {other}")).success());
    cluster.env.until(other, &["cancelled"]);
}

/// What each of two ranks on two nodes says of its scratch.
const SCRATCH: &str = "[[ $TMPDIR == \"$TRAINYARD_LOCAL_SCRATCH\" && -d $TMPDIR && -w $TMPDIR ]] || exit 9\n\
                       echo \"$SLURMD_NODENAME keeps $TMPDIR\"\n";
const TWO_NODES: &str =
    "nodelist = 'n[1-2]'\nnodes = 2\n[distributed]\nlauncher = 'srun'\nprocesses_per_node = 1";

#[test]
fn the_temporary_files_of_each_rank_are_on_its_node() {
    let cluster = Cluster::new();
    let run = cluster.env.submit(&cluster.spec("scratch", SCRATCH, TWO_NODES));
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    let log = std::fs::read_to_string(cluster.env.run_dir(run).join("logs/1.out")).unwrap();
    let token = shown["token"].as_str().unwrap();
    for node in ["n1", "n2"] {
        assert!(log.contains(&format!("{node} keeps /tmp/trainyard.{token}")), "{log}");
    }
}

#[test]
fn a_tmpdir_of_the_login_node_does_not_reach_a_job_submitted_by_hand() {
    let cluster = Cluster::new();
    let spec = cluster.spec("login", SCRATCH, TWO_NODES);
    // It can be used on the node as well, which is why asking that alone does not tell whose it is.
    let login = cluster.env.home().join("of-the-login-node");
    std::fs::create_dir(&login).unwrap();
    let job = submitted_by_hand(&cluster, &spec, &[("TMPDIR", login.to_str().unwrap())]);
    assert_eq!(cluster.recorded(job, "State,ExitCode"), [["COMPLETED", "0:0"]]);
    let log = cluster.env.run_root().join(format!("by-hand/{job}/logs/1.out"));
    let log = std::fs::read_to_string(log).unwrap();
    for node in ["n1", "n2"] {
        assert!(log.contains(&format!("{node} keeps /tmp/trainyard.{job}")), "{log}");
    }
    assert_eq!(std::fs::read_dir(&login).unwrap().count(), 0);
}
