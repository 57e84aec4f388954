//! Captured code on a real Slurm: what a job trains is what was submitted, on every node and after a requeue.

use serde_json::json;

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};

#[test]
fn a_job_that_waited_trains_the_code_that_was_submitted() {
    let cluster = Cluster::new();
    let env = &cluster.env;
    let training = "echo \"rank $RANK has $(<words.txt)\"\n";
    let keys =
        "class = 'held'\nnodes = 2\n[distributed]\nlauncher = 'srun'\nprocesses_per_node = 1";
    let spec = cluster.spec("waits", training, keys);
    env.write("waits-code/words.txt", "one");
    let run = env.submit(&spec);
    wait_until("Slurm holds it", || env.show(run)["message"] == "JobHeldUser");
    env.write("waits-code/words.txt", "two");
    std::fs::remove_dir_all(env.home().join("waits-code")).unwrap();
    std::fs::remove_file(&spec).unwrap();
    let job = job_of(&env.show(run));
    drop(cluster.ask("scontrol", &["release", &job.to_string()]));
    let first = env.until(run, &["completed", "failed"]);
    assert_eq!(first["state"], "completed", "{first:#}");
    let log = env.line(&format!("logs {run}")).success().stdout;
    for rank in 0..2 {
        assert!(log.contains(&format!("rank {rank} has one")), "{log}");
    }
    // Released at once: the class of the record is another one.
    drop(env.line(&format!("rerun {run} --class cpu --wait")).success());
    let second = env.show(run + 1);
    assert_eq!(second["code"]["digest"], first["code"]["digest"]);
    assert_eq!(second["rerun_of"], json!(run));
}

#[test]
fn a_requeued_job_gets_its_code_back_where_it_was_lost() {
    let cluster = Cluster::new();
    let env = &cluster.env;
    let training = "cat words.txt\nuntil [ -e \"$TRAINYARD_RUN_DIR/go\" ]; do sleep 0.1; done\n";
    let spec = cluster.spec("back", training, "[failure]\nmax_restarts = 1");
    env.write("back-code/words.txt", "words\n");
    let run = env.submit(&spec);
    let dir = env.run_dir(run);
    let log = |attempt: u32| std::fs::read_to_string(dir.join(format!("logs/{attempt}.out")));
    wait_until("it trains", || log(1).is_ok_and(|log| log == "words\n"));
    let tree = dir.join("code").canonicalize().unwrap();
    let lost = env.bash(&format!("chmod -R u+w {0} && rm -r {0}", tree.display())).status();
    assert!(lost.unwrap().success());
    let job = job_of(&env.show(run)).to_string();
    drop(cluster.ask("scontrol", &["requeue", &job]));
    wait_until("it trains again", || log(2).is_ok_and(|log| log == "words\n"));
    std::fs::write(dir.join("go"), "").unwrap();
    assert_eq!(env.until(run, &["completed", "failed"])["state"], "completed");
}
