//! What `explain` makes of trainings that fail under a real torchrun, on two nodes.

use std::path::PathBuf;

use crate::slurm::torch::Torch;

/// What all of them begin with: a process group of four.
const GROUP: &str = "import os, signal, torch
import torch.distributed as dist
dist.init_process_group('gloo')
rank = dist.get_rank()
class DataError(ValueError): pass
";
/// What the ranks that did not fail do: they wait for the one that did.
const OTHERS: &str = "dist.all_reduce(torch.zeros(1))\n";

struct Failure {
    name: &'static str,
    /// Behind `GROUP` and before `OTHERS`.
    training: &'static str,
    kind: &'static str,
    exception: Option<(&'static str, &'static str)>,
    rank: u32,
    /// With its lines labelled by torchrun.
    is_labelled: bool,
}

const FAILURES: &[Failure] = &[
    Failure {
        name: "exception",
        training: "if rank == 3: raise DataError('shard 3 is empty')\n",
        kind: "python_exception",
        exception: Some(("DataError", "shard 3 is empty")),
        rank: 3,
        is_labelled: false,
    },
    Failure {
        name: "labelled",
        training: "if rank == 3: raise DataError('shard 3 is empty')\n",
        kind: "python_exception",
        exception: Some(("DataError", "shard 3 is empty")),
        rank: 3,
        is_labelled: true,
    },
    Failure {
        name: "module",
        training: "if rank == 2: import flash_attn_that_is_not_installed\n",
        kind: "import_error",
        exception: Some((
            "ModuleNotFoundError",
            "No module named 'flash_attn_that_is_not_installed'",
        )),
        rank: 2,
        is_labelled: false,
    },
    Failure {
        name: "file",
        training: "if rank == 1: open('/data/nowhere/train.bin')\n",
        kind: "missing_file",
        exception: Some((
            "FileNotFoundError",
            "[Errno 2] No such file or directory: '/data/nowhere/train.bin'",
        )),
        rank: 1,
        is_labelled: false,
    },
    // The cluster does not hold jobs to their memory: there is no machine that has so much.
    Failure {
        name: "memory",
        training: "if rank == 1: torch.zeros(1 << 46)\n",
        kind: "host_out_of_memory",
        exception: None,
        rank: 1,
        is_labelled: false,
    },
    Failure {
        name: "killed",
        training: "if rank == 3: os.kill(os.getpid(), signal.SIGKILL)\n",
        kind: "killed",
        exception: None,
        rank: 3,
        is_labelled: false,
    },
];

impl Torch {
    fn failing(&self, failure: &Failure) -> PathBuf {
        let spec = self.spec(failure.name, &[GROUP, failure.training, OTHERS].concat());
        if failure.is_labelled {
            let text = std::fs::read_to_string(&spec).unwrap();
            let labelled = format!("{text}[environment.variables]\nPET_TEE = '3'\n");
            std::fs::write(&spec, labelled).unwrap();
        }
        spec
    }

    #[track_caller]
    fn is_explained(&self, run: i64, failure: &Failure) {
        let env = &self.cluster.env;
        let shown = env.until(run, &["completed", "failed"]);
        let log = self.log(run);
        assert_eq!(shown["state"], "failed", "{}: {shown:#}\n{log}", failure.name);
        let told = env.line(&format!("explain {run} --json")).success().json();
        assert_eq!(told["kind"], failure.kind, "{}: {told:#}\n{log}", failure.name);
        assert_eq!(told["rank"], failure.rank, "{}: {told:#}\n{log}", failure.name);
        let sentence = told["sentence"].as_str().unwrap();
        assert!(sentence.contains(&format!("by rank {}", failure.rank)), "{sentence}");
        if let Some((kind, message)) = failure.exception {
            assert_eq!(
                (&told["exception"]["type"], &told["exception"]["message"]),
                (&kind.into(), &message.into())
            );
            assert!(sentence.contains(kind) && sentence.contains(message), "{sentence}");
        }
        assert_eq!(log.contains("[default"), failure.is_labelled, "{log}");
    }
}

#[test]
fn each_failure_is_named_with_its_rank() {
    let Some(torch) = Torch::new() else { return };
    // All at once are more processes than a small machine bears.
    for some in FAILURES.chunks(2) {
        let runs: Vec<i64> =
            some.iter().map(|failure| torch.cluster.env.submit(&torch.failing(failure))).collect();
        for (run, failure) in runs.into_iter().zip(some) {
            torch.is_explained(run, failure);
        }
    }
}
