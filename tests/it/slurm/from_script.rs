//! A batch script and the spec that is made of it do the same.

use crate::slurm::cluster::Cluster;

/// Runs a script by sbatch, and as the run that it comes to; what both print must be the same, in any order.
#[track_caller]
fn check_same(script: &str, lines: &[&str], kept: usize) {
    let cluster = Cluster::new();
    let code = "import os, sys\nprint(os.environ['SLURM_PROCID'], os.environ.get('RANK'), \
                os.environ['MODE'], *sys.argv[1:], flush=True)\n";
    cluster.env.write("lab/ranks.py", code);
    let script = cluster.env.write("lab/job.sbatch", script);
    let lab = cluster.env.home().join("lab");
    let sbatch = cluster
        .command("sbatch")
        // The nodes may have another system than this machine.
        .env("PATH", "/usr/bin:/bin")
        .args(["--wait", "--output=by-hand.txt", "--partition=main"])
        .arg(&script)
        .current_dir(&lab)
        .output()
        .unwrap();
    assert!(sbatch.status.success(), "{sbatch:?}");
    let by_hand = std::fs::read_to_string(lab.join("by-hand.txt")).unwrap();

    let made = cluster.env.line("init --json --from lab/job.sbatch lab/run.toml").success().json();
    assert_eq!(made["kept"].as_array().unwrap().len(), kept, "{made:#}");
    let run = cluster.env.submit(&lab.join("run.toml"));
    let shown = cluster.env.until(run, &["completed", "failed", "cancelled"]);
    assert_eq!(shown["state"], "completed", "{shown:#}");
    let logs = cluster.env.line("logs 1").success().stdout;

    let sorted = |text: &str| {
        // Where nodes are busy, srun says that it tries again.
        let lines = text.lines().filter(|line| !line.starts_with("srun: "));
        // Only a launcher of Trainyard's tells the ranks.
        let mut lines: Vec<String> = lines.map(|line| line.replace(" None ", " ? ")).collect();
        lines.sort();
        lines
    };
    let ranks_are_told = kept == 0;
    let mut ours = sorted(&logs);
    if ranks_are_told {
        for (rank, line) in ours.iter_mut().enumerate() {
            *line = line.replacen(&format!(" {rank} {rank} "), &format!(" {rank} ? "), 1);
        }
    }
    assert_eq!(ours, sorted(&by_hand));
    assert_eq!(ours, lines, "{by_hand}");
}

#[test]
fn a_launch_that_was_taken_apart_starts_the_same_ranks() {
    check_same(
        "#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=2
#SBATCH --time=2
set -e
STEPS=${STEPS:-20}
export MODE=\"quick-$SLURM_NNODES\"
export MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)
srun --label python3 ranks.py --nodes $SLURM_NNODES --steps $STEPS
",
        &[
            "0: 0 ? quick-2 --nodes 2 --steps 20",
            "1: 1 ? quick-2 --nodes 2 --steps 20",
            "2: 2 ? quick-2 --nodes 2 --steps 20",
            "3: 3 ? quick-2 --nodes 2 --steps 20",
        ],
        0,
    );
}

#[test]
fn commands_that_were_kept_start_the_same_ranks() {
    check_same(
        "#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --job-name=Two
#SBATCH --time=2
export MODE=kept
for part in a b; do
  srun --label python3 ranks.py $part $SLURM_JOB_NAME {$part}
done
cat <<END
$SLURM_NTASKS tasks for $MODE
END
",
        &[
            "0: 0 ? kept a Two {a}",
            "0: 0 ? kept b Two {b}",
            "1: 1 ? kept a Two {a}",
            "1: 1 ? kept b Two {b}",
            "2 tasks for kept",
        ],
        2,
    );
}
