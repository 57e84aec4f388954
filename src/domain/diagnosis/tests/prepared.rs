//! Failures that were prepared, and what `explain` calls each: its kind, its sentence, and a line that proves it.
//!
//! The logs are in `tests/data/logs`, whose page says which of them were recorded and which are made up of documented texts.
//! Where Slurm or the job's script knows the cause, the record is as the daemon keeps it of such an end.

use serde_json::json;

use crate::domain::diagnosis::tests::{explained, recorded};
use crate::domain::diagnosis::{Explanation, Labels, Log, Source, Tail};

/// Where the cause is to be found.
#[derive(Clone, Copy)]
enum Known {
    /// In what the training printed: the name of the recording.
    Training(&'static str),
    /// In the build's log.
    Build(&'static str),
    /// In the record: its reason and its message.
    Record(&'static str, &'static str),
    /// In the record, and in what Slurm printed.
    Slurm(&'static str, &'static str, &'static str),
}
use Known::{Build, Record, Slurm, Training};

/// Its name, where the cause is to be found, its kind, and what a line that proves it has in it.
type Prepared = (&'static str, Known, &'static str, &'static str);

const PREPARED: &[Prepared] = &[
    (
        "memory of a GPU",
        Training("cuda_out_of_memory"),
        "gpu_out_of_memory",
        "torch.OutOfMemoryError: CUDA out of memory",
    ),
    (
        "memory of the node, by the kernel",
        Slurm(
            "out_of_memory",
            "the job used more memory than it was given on gpu01, gpu02",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=1204.0. Some of the step tasks have been OOM Killed.",
        ),
        "host_out_of_memory",
        "Detected 1 oom_kill event",
    ),
    (
        "memory of the node, by an array",
        Training("array_memory"),
        "host_out_of_memory",
        "Unable to allocate",
    ),
    (
        "NCCL timeout",
        Training("nccl_timeout"),
        "collective_timeout",
        "Watchdog caught collective operation timeout",
    ),
    ("gloo timeout", Training("ranks_timeout"), "collective_timeout", "Timed out waiting"),
    ("a rank left, gloo lost it", Training("ranks_left"), "exit_code", "exitcode  : 7"),
    (
        "a rank was killed, gloo lost it",
        Training("ranks_killed"),
        "killed",
        "Signal 9 (SIGKILL) received by PID",
    ),
    ("module missing", Training("missing_module"), "import_error", "ModuleNotFoundError"),
    ("library missing", Training("missing_library"), "import_error", "libnvinfer.so.10"),
    ("file missing", Training("missing_file"), "missing_file", "FileNotFoundError"),
    ("permission denied", Training("permission"), "permission", "PermissionError"),
    ("disk full, by Python", Training("text_disk_full"), "disk_full", "No space left on device"),
    (
        "disk full, by torch.save",
        Training("torch_disk_full"),
        "disk_full",
        "unexpected pos 704 vs 598",
    ),
    (
        "time limit",
        Slurm(
            "time_limit",
            "the job reached its time limit of 12h",
            "slurmstepd: error: *** JOB 981234 ON gpu01 CANCELLED AT 2026-05-01T11:00:00 DUE TO TIME LIMIT ***",
        ),
        "time_limit",
        "DUE TO TIME LIMIT",
    ),
    (
        "preempted",
        Slurm(
            "preempted",
            "the job was preempted",
            "slurmstepd: error: *** JOB 981234 ON gpu01 CANCELLED AT 2026-05-01T11:00:00 DUE TO PREEMPTION ***",
        ),
        "preempted",
        "DUE TO PREEMPTION",
    ),
    (
        "node failed",
        Slurm(
            "node_failure",
            "a node of the job failed: gpu02",
            "slurmstepd: error: *** JOB 981234 ON gpu01 CANCELLED AT 2026-05-01T11:00:00 DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***",
        ),
        "node_failure",
        "DUE TO NODE FAILURE",
    ),
    (
        "cancelled by another's scancel",
        Slurm(
            "cancelled_by_admin",
            "the job was cancelled outside Trainyard",
            "slurmstepd: error: *** JOB 981234 ON gpu01 CANCELLED AT 2026-05-01T11:00:00 ***",
        ),
        "cancelled",
        "CANCELLED AT",
    ),
    (
        "hung, ended by the watchdog",
        Record("hung", "no line of its log, no metric and no checkpoint for 30m"),
        "hung",
        "epoch 3 step 118",
    ),
    ("bad exit code", Training("bad_exit"), "exit_code", "checkpoint is from another model"),
    (
        "exception of one rank",
        Training("ranks_exception"),
        "python_exception",
        "DataError: shard 1 is empty",
    ),
    (
        "exception in a worker of a data loader",
        Training("torch_worker_exception"),
        "python_exception",
        "DataError: sample 5 has no label",
    ),
    (
        "shared memory of the data loader",
        Training("torch_worker_bus"),
        "shared_memory",
        "Bus error",
    ),
    ("device-side assert", Training("device_assert"), "gpu_error", "device-side assert triggered"),
    ("no GPU", Training("torch_no_gpu"), "gpu_missing", "Found no NVIDIA driver"),
    (
        "checkpoint of another model",
        Training("torch_state_dict"),
        "checkpoint_mismatch",
        "Error(s) in loading state_dict",
    ),
    (
        "half a checkpoint",
        Training("torch_half_checkpoint"),
        "checkpoint_damaged",
        "PytorchStreamReader failed",
    ),
    ("port taken", Training("torch_port_taken"), "address_in_use", "EADDRINUSE"),
    ("rendezvous timed out", Training("torch_no_rendezvous"), "rendezvous", "timed out"),
    ("syntax error", Training("syntax"), "syntax_error", "SyntaxError"),
    ("code for a newer Python", Training("newer_syntax"), "syntax_error", "newer.py\", line 1"),
    (
        "package for a newer Python",
        Build("newer_package"),
        "preparation_failed",
        "requires a different Python: 3.11.7 not in '>=3.14'",
    ),
    ("segmentation fault", Training("ranks_segfault"), "crash", "SIGSEGV"),
    ("command not found", Training("command"), "command_not_found", "command not found"),
    (
        "virtual environment missing",
        Slurm(
            "launch_failed",
            "there is no virtual environment at /opt/venvs/llama on gpu01: bin/activate cannot be read",
            "trainyard: there is no virtual environment at /opt/venvs/llama on gpu01: bin/activate cannot be read",
        ),
        "launch_failed",
        "bin/activate cannot be read",
    ),
];

fn explained_as(known: Known) -> Explanation {
    let log = |source, bytes: Vec<u8>| {
        Log::read(source, &Tail { bytes, lines_before: Some(0) }, Labels::None)
    };
    let ended = |reason: &str, message: &str| json!({ "reason": reason, "message": message });
    // A training that was all right until then.
    let going_on = || log(Source::Training, b"epoch 3 step 118 loss 2.1034\n".to_vec());
    match known {
        Training(name) => explained(json!({}), &[log(Source::Training, recorded(name))]),
        Build(name) => {
            let said = log(Source::Build, recorded(name));
            let last = said.lines.last().map_or(String::new(), |line| line.text.clone());
            explained(ended("preparation_failed", &last), &[said])
        }
        Record(reason, message) => explained(ended(reason, message), &[going_on()]),
        Slurm(reason, message, said) => {
            let slurm = log(Source::Scheduler, format!("{said}\n").into());
            explained(ended(reason, message), &[going_on(), slurm])
        }
    }
}

#[test]
fn explain_names_the_cause_of_each_prepared_failure() {
    let mut wrong = Vec::new();
    let mut page = String::new();
    for (failure, known, kind, proof) in PREPARED {
        let explained = explained_as(*known);
        let proven = explained.evidence.iter().find(|line| line.text.contains(proof));
        if explained.kind.as_str() != *kind || proven.is_none() {
            wrong.push(format!("{failure}: {explained:#?}"));
        }
        let proof = proven.map_or("", |line| line.text.trim());
        page += &format!("{failure}\n  {kind}: {}\n  | {proof}\n", explained.sentence);
    }
    let right = PREPARED.len() - wrong.len();
    println!("explain names the cause of {right} of {} prepared failures", PREPARED.len());
    assert!(PREPARED.len() >= 20 && wrong.is_empty(), "{}", wrong.join("\n"));
    // Each of the sentences was read.
    insta::assert_snapshot!(page);
}
