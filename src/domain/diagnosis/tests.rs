//! Recorded logs of trainings that failed, reasons of Slurm's, and logs that mean harm.

mod hostile;
mod prepared;
mod queue;

use serde_json::{Value, json};

use crate::domain::diagnosis::{Case, Explanation, Labels, Log, Source, Tail, explain};
use crate::domain::view::RunView;

/// A run with these changes, whose last attempt had two nodes.
fn run(changes: Value) -> RunView {
    let text = include_str!("tests/run.json");
    let mut run: Value = serde_json::from_str(text).unwrap();
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    run.as_object_mut().unwrap().extend(changes);
    serde_json::from_value(run).unwrap()
}

fn explained(changes: Value, logs: &[Log]) -> Explanation {
    let run = run(changes);
    explain(Case { run: &run, logs, silence: None, others_running: 0 })
}

macro_rules! recordings {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../tests/data/logs/", $name, ".out")))),*]
    };
}

const RECORDINGS: &[(&str, &[u8])] = recordings![
    "exception",
    "chained",
    "handled",
    "assertion",
    "missing_module",
    "missing_name",
    "missing_library",
    "missing_file",
    "progress",
    "permission",
    "disk_full",
    "memory_error",
    "array_memory",
    "syntax",
    "arguments",
    "command",
    "segfault",
    "killed",
    "torch_cpu_memory",
    "torch_no_gpu",
    "torch_shapes",
    "torch_state_dict",
    "torch_half_checkpoint",
    "torch_worker_killed",
    "torch_worker_bus",
    "torch_port_taken",
    "torch_no_rendezvous",
    "ranks_exception",
    "ranks_timeout",
    "ranks_alone",
    "ranks_segfault",
    "ranks_tee",
    "ranks_tee_alone",
    "ranks_redirected",
    "ranks_redirected_untold",
    "cuda_out_of_memory",
    "nccl_timeout",
    "device_assert",
    "slurm_oom",
    "bad_exit",
    "newer_syntax",
    "newer_package",
    "torch_disk_full",
    "text_disk_full",
    "torch_worker_exception",
    "ranks_left",
    "ranks_killed",
];

fn recorded(name: &str) -> Vec<u8> {
    let (_, bytes) = RECORDINGS.iter().find(|(recorded, _)| *recorded == name).unwrap();
    bytes.to_vec()
}

fn training(bytes: Vec<u8>, labels: Labels) -> Log {
    Log::read(Source::Training, &Tail { bytes, lines_before: Some(0) }, labels)
}

fn failed(name: &str) -> Explanation {
    explained(json!({}), &[training(recorded(name), Labels::None)])
}

type Failure = (&'static str, &'static str, &'static str, Option<u64>, Option<u32>, u64);

/// Name, kind, what the exception is, where, the rank, and the line that says it.
const FAILURES: &[Failure] = &[
    ("exception", "python_exception", "DataError", Some(21), None, 8),
    ("chained", "python_exception", "RuntimeError", Some(31), None, 14),
    ("handled", "python_exception", "DataError", Some(21), None, 515),
    ("assertion", "python_exception", "AssertionError", Some(47), None, 7),
    ("missing_module", "import_error", "ModuleNotFoundError", Some(51), None, 7),
    ("missing_name", "import_error", "ImportError", Some(55), None, 7),
    ("missing_library", "import_error", "OSError", Some(59), None, 9),
    ("missing_file", "missing_file", "FileNotFoundError", Some(63), None, 7),
    ("progress", "missing_file", "FileNotFoundError", Some(63), None, 9),
    ("permission", "permission", "PermissionError", Some(68), None, 7),
    ("disk_full", "disk_full", "OSError", Some(73), None, 6),
    ("memory_error", "host_out_of_memory", "MemoryError", Some(78), None, 6),
    (
        "array_memory",
        "host_out_of_memory",
        "numpy._core._exceptions._ArrayMemoryError",
        Some(84),
        None,
        6,
    ),
    ("syntax", "syntax_error", "SyntaxError", Some(1), None, 4),
    ("arguments", "bad_arguments", "", None, None, 2),
    ("command", "command_not_found", "", None, None, 1),
    ("segfault", "crash", "", None, None, 1),
    ("killed", "killed", "", None, None, 1),
    ("torch_cpu_memory", "host_out_of_memory", "RuntimeError", Some(118), None, 6),
    ("torch_no_gpu", "gpu_missing", "RuntimeError", Some(124), None, 8),
    ("torch_shapes", "python_exception", "RuntimeError", Some(130), None, 15),
    ("torch_state_dict", "checkpoint_mismatch", "RuntimeError", Some(137), None, 8),
    ("torch_half_checkpoint", "checkpoint_damaged", "RuntimeError", Some(146), None, 12),
    ("torch_worker_killed", "killed", "RuntimeError", Some(166), None, 22),
    ("torch_worker_bus", "shared_memory", "RuntimeError", Some(166), None, 23),
    (
        "torch_port_taken",
        "address_in_use",
        "torch.distributed.DistNetworkError",
        Some(174),
        None,
        6,
    ),
    (
        "torch_no_rendezvous",
        "rendezvous",
        "torch.distributed.DistNetworkError",
        Some(181),
        None,
        48,
    ),
    ("ranks_exception", "python_exception", "DataError", Some(196), Some(1), 6),
    ("ranks_timeout", "collective_timeout", "RuntimeError", Some(206), Some(0), 11),
    ("ranks_alone", "missing_file", "FileNotFoundError", Some(63), Some(1), 0),
    ("ranks_segfault", "crash", "", None, Some(1), 39),
    ("ranks_tee", "python_exception", "DataError", Some(196), Some(1), 6),
    ("ranks_tee_alone", "missing_file", "FileNotFoundError", Some(63), Some(1), 9),
    ("ranks_redirected", "python_exception", "DataError", Some(196), Some(1), 58),
    ("cuda_out_of_memory", "gpu_out_of_memory", "torch.OutOfMemoryError", Some(61), Some(3), 9),
    ("nccl_timeout", "collective_timeout", "", None, Some(2), 2),
    ("device_assert", "gpu_error", "RuntimeError", Some(44), None, 7),
    ("slurm_oom", "host_out_of_memory", "", None, Some(3), 1),
    ("newer_syntax", "syntax_error", "SyntaxError", Some(1), None, 4),
    ("torch_disk_full", "disk_full", "RuntimeError", Some(80), None, 19),
    ("text_disk_full", "disk_full", "OSError", Some(86), None, 6),
    ("torch_worker_exception", "python_exception", "DataError", Some(170), None, 29),
    ("ranks_left", "exit_code", "", None, Some(1), 48),
    ("ranks_killed", "killed", "", None, Some(1), 50),
];

#[test]
fn each_failure_is_named() {
    let mut wrong = Vec::new();
    for (name, kind, exception, line, rank, proof) in FAILURES {
        let explained = failed(name);
        let found = explained.exception.as_ref();
        let is_proven = *proof == 0 || explained.evidence.iter().any(|e| e.line == Some(*proof));
        let got = (
            explained.kind.as_str(),
            found.map_or("", |exception| exception.kind.as_str()),
            found.and_then(|exception| exception.line),
            explained.rank,
            is_proven,
        );
        if got != (*kind, *exception, *line, *rank, true) {
            wrong.push(format!("{name}: {got:?}\n{explained:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), FAILURES.len(), wrong.join("\n"));
}

#[test]
fn what_torchrun_was_not_told_is_an_exit_code_with_its_rank() {
    let explained = failed("ranks_redirected_untold");
    assert_eq!((explained.kind.as_str(), explained.exception), ("exit_code", None));
    let sentence = "the training ended with exit code 1, by rank 1 on gpu01";
    assert_eq!((explained.sentence.as_str(), explained.rank), (sentence, Some(1)));
}

/// Which of two nodes' processes it was only torchrun knows: its numbers of nodes are not Slurm's.
#[test]
fn a_number_on_a_node_is_a_rank_where_there_is_one_node() {
    let log = b"1: [default1]:Traceback (most recent call last):\n1: [default1]:ValueError: no\n";
    let rank = |world_size: u32| {
        let log = training(log.to_vec(), Labels::Nodes);
        let changes = json!({"world_size": world_size, "processes_per_node": 2});
        let explained = explained(changes, &[log]);
        (explained.kind.as_str(), explained.rank, explained.node)
    };
    assert_eq!(rank(2), ("python_exception", Some(1), Some("gpu02".to_owned())));
    assert_eq!(rank(4), ("python_exception", None, Some("gpu02".to_owned())));
}

#[test]
fn an_exit_code_alone_is_told_with_the_last_lines() {
    let explained = failed("bad_exit");
    assert_eq!((explained.kind.as_str(), explained.exception), ("exit_code", None));
    assert_eq!(explained.sentence, "the training ended with exit code 1");
    assert_eq!(explained.evidence[0].text, "checkpoint is from another model");
    assert_eq!(explained.evidence[0].line, Some(1));
}

#[test]
fn the_whole_explanation_is_so() {
    let explained = failed("ranks_exception");
    insta::assert_json_snapshot!(explained);
}
