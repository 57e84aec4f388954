//! Data on a real Slurm: copied to every node of a job, and looked for where only the nodes may have it.

use std::path::{Path, PathBuf};

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};

fn with_data(cluster: &Cluster, name: &str, script: &str, compute: &str, rest: &str) -> String {
    let path = cluster.spec(name, script, compute);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{rest}")).unwrap();
    path.display().to_string()
}

#[test]
fn data_is_copied_to_every_node_of_a_job() {
    let cluster = Cluster::new();
    cluster.env.write("data/deep/b.bin", "bb");
    let spec = with_data(
        &cluster,
        "spread",
        "echo \"$SLURMD_NODENAME $TRAINYARD_DATA_PATH\"; cat \"$TRAINYARD_DATA_PATH/deep/b.bin\"; echo\n",
        "nodes = 2",
        "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 1\n[[dataset]]\npath = 'data'\nstage = 'local'\n\
         on_drift = 'fail'\n",
    );
    let said = cluster.env.run(["submit", &spec, "--wait"]).success();
    let run: i64 = said.stdout.trim().parse().unwrap();
    let log = cluster.env.line(&format!("logs {run}")).success().stdout;
    let copies: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("/data."))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!((copies.len(), log.matches(": bb").count()), (2, 2), "{log}");
    assert_eq!(copies[0], copies[1], "{log}");
    assert!(
        copies[0].ends_with("/data")
            && !copies[0].starts_with(cluster.env.home().to_str().unwrap()),
        "{log}"
    );
    assert!(!std::path::Path::new(copies[0]).exists(), "the copies are gone");
    if cluster.has_accounting() {
        // One step copies, one trains, one removes; all of them on both nodes.
        let job = job_of(&cluster.env.show(run)).to_string();
        let steps = || cluster.ask("sacct", &["-n", "-P", "-X", "-j", &job, "-o", "NNodes"]);
        assert_eq!(steps().trim(), "2");
        let steps = cluster.ask("sacct", &["-n", "-P", "-j", &job, "-o", "JobID,NNodes"]);
        for step in ["0|2", "1|2", "2|2"] {
            assert!(
                steps.lines().any(|line| line.ends_with(&format!(".{step}"))),
                "{step}: {steps}"
            );
        }
    }
}

#[test]
fn data_that_does_not_fit_or_is_not_there_fails_the_launch_in_words() {
    let cluster = Cluster::new();
    let home = cluster.env.home();
    std::fs::create_dir(home.join("large")).unwrap();
    std::fs::File::create(home.join("large/sparse")).unwrap().set_len(1 << 42).unwrap();
    let compute = "nodes = 2";
    let local = "[[dataset]]\npath = 'large'\nstage = 'local'\n";
    let spec = with_data(&cluster, "large", "exit 0\n", compute, local);
    let said = cluster.env.run(["submit", &spec, "--wait", "--json"]).ended(1).json();
    assert_eq!(said["reason"], "launch_failed", "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("the dataset `large` does not fit into "), "{said}");
    assert!(message.contains("it has 4194304 MiB, and "), "{said}");

    // The nodes may have what is not mounted here.
    let spec = with_data(
        &cluster,
        "elsewhere",
        "exit 0\n",
        "",
        "[[dataset]]\npath = '/mounted-on-nodes-only/set'\n",
    );
    let said = cluster.env.run(["submit", &spec, "--wait"]).ended(1);
    assert!(
        said.stderr.contains("dataset `set` has no fingerprint: it cannot be seen from here"),
        "{said}"
    );
    let run: i64 = said.stdout.trim().parse().unwrap();
    let run = cluster.env.show(run);
    assert_eq!(run["reason"], "launch_failed", "{run}");
    assert!(run["message"].as_str().unwrap().contains("there is no dataset `set` on "), "{run}");
    assert_eq!(run["datasets"][0]["fingerprint"], serde_json::Value::Null);

    let spec = with_data(
        &cluster,
        "guaranteed",
        "exit 0\n",
        "",
        "[[dataset]]\npath = '/mounted-on-nodes-only/set'\non_drift = 'fail'\n",
    );
    let refused = cluster.env.run(["submit", &spec]).ended(3);
    assert!(refused.stderr.contains("dataset `set` has no fingerprint"), "{refused}");
    // A slip of the pen beside what is here is told at once.
    let spec = with_data(
        &cluster,
        "slip",
        "exit 0\n",
        "",
        &format!("[[dataset]]\npath = '{}/larch'\n", home.display()),
    );
    let refused = cluster.env.run(["submit", &spec]).ended(3);
    assert!(refused.stderr.contains("there is no dataset"), "{refused}");
}

/// A class whose nodes have each its own place for scratch, although they share this machine.
const APART: &str = "[class.apart]\ncluster = 'test'\npartition = 'main'\ncpus_per_node = 1\nmemory_per_node = '100M'\n\
     default_time = '5m'\nlocal_scratch = 'HOME/scratch/$SLURMD_NODENAME'\n";

/// What lies in the scratch of all nodes.
fn in_scratch(cluster: &Cluster) -> Vec<PathBuf> {
    let nodes = std::fs::read_dir(cluster.env.home().join("scratch")).into_iter().flatten();
    let all = |node: PathBuf| std::fs::read_dir(node).into_iter().flatten();
    nodes.flat_map(|node| all(node.unwrap().path())).map(|entry| entry.unwrap().path()).collect()
}

/// A run of two ranks with copies of data on two nodes, which waits.
fn waits_with_copies(cluster: &Cluster) -> i64 {
    cluster.env.write("data/b.bin", "bb");
    let spec = with_data(
        cluster,
        "waits",
        "cat \"$2/b.bin\" \"$TRAINYARD_DATA_PATH/b.bin\" || exit 1; echo; echo \"up $2\"; sleep 300\n",
        "class = 'apart'\nnodes = 2\n",
        "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 1\n[[dataset]]\npath = 'data'\nstage = 'local'\n\
         [args]\ndata = '{data}'\n",
    );
    let run = cluster.env.submit(Path::new(&spec));
    let log = || cluster.env.line(&format!("logs {run}")).stdout;
    wait_until("both ranks are up", || log().matches("up ").count() == 2);
    assert_eq!(in_scratch(cluster).len(), 2, "{}", log());
    run
}

#[test]
fn a_cancelled_job_leaves_no_copies_on_any_node() {
    let cluster = Cluster::with(APART);
    let run = waits_with_copies(&cluster);
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
    wait_until("the copies are gone", || in_scratch(&cluster).is_empty());
}

#[test]
fn a_job_whose_batch_script_is_killed_leaves_no_copies_on_any_node() {
    let cluster = Cluster::with(APART);
    let run = waits_with_copies(&cluster);
    let job = job_of(&cluster.env.show(run)).to_string();
    cluster.ask("scancel", &["--batch", "--signal=KILL", &job]);
    cluster.env.until(run, &["failed", "cancelled"]);
    wait_until("the copies are gone", || in_scratch(&cluster).is_empty());
}
