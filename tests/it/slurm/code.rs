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

#[test]
fn a_point_of_an_array_is_run_again_as_a_job_of_its_own() {
    let cluster = Cluster::new();
    let env = &cluster.env;
    let training = "echo \"rank $RANK of $TRAINYARD_SWEEP_ID:$TRAINYARD_SWEEP_POINT has $*\"\n";
    let keys = "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 1\n[sweep.parameters]\n\
                'args.lr' = [1e-2, 3E-2]\n'compute.nodes' = [1, 2]\n";
    let spec = cluster.spec("lr", training, keys);
    let sweep = env.submit(&spec);
    drop(env.line(&format!("wait {sweep}")).success());
    let ranks = |log: &str| {
        // srun has words of its own where it has to wait for nodes.
        let said = log.lines().filter(|line| line.contains("rank "));
        let mut ranks: Vec<String> = said.map(str::to_owned).collect();
        ranks.sort();
        ranks
    };
    let of_point = ranks(&env.line(&format!("logs {sweep}:3")).success().stdout);
    assert!(of_point[1].ends_with(&format!("rank 1 of {sweep}:3 has --lr 3E-2")), "{of_point:?}");
    let again = env.line(&format!("rerun {sweep}:3 --wait --json")).success().json();
    assert_eq!((&again["nodes"], &again["rerun_of"]), (&json!(2), &json!(sweep + 4)));
    assert_eq!(again["attempts"][0]["array_task_id"], json!(null));
    let log = env.line(&format!("logs {}", again["id"])).success().stdout;
    assert_eq!(ranks(&log), of_point);
}
