//! What each kind means in words, and what to do about it.

use crate::domain::diagnosis::Kind;

/// Before the words of the log; none where those say it all.
pub(super) fn in_words(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::GpuOutOfMemory => "a GPU ran out of memory",
        Kind::HostOutOfMemory => "memory ran out",
        Kind::SharedMemory => "shared memory (/dev/shm) ran out",
        Kind::DiskFull => "a disk is full, or a quota is used up",
        Kind::CollectiveTimeout => "a rank waited in vain for the others",
        Kind::CollectiveError => "the ranks lost one another",
        Kind::GpuError => "a GPU reported an error",
        Kind::GpuMissing => "no usable GPU was found",
        Kind::AddressInUse => "a port is taken",
        Kind::Rendezvous => "the ranks did not find one another",
        Kind::CheckpointMismatch => "the checkpoint is of another model",
        Kind::CheckpointDamaged => "the checkpoint is damaged",
        Kind::ImportError => "something could not be imported",
        Kind::MissingFile => "a file is missing",
        Kind::Permission => "a file may not be used",
        Kind::CommandNotFound => "a command was not found",
        Kind::BadArguments => "the program does not know its arguments",
        Kind::SyntaxError => "the code cannot be read",
        Kind::Crash => "the program crashed",
        Kind::Killed => "a process was killed",
        Kind::PythonException
        | Kind::ExitCode
        | Kind::TimeLimit
        | Kind::Preempted
        | Kind::NodeFailure
        | Kind::Cancelled
        | Kind::LaunchFailed
        | Kind::Rejected
        | Kind::PreparationFailed
        | Kind::DataChanged
        | Kind::Lost
        | Kind::Hung
        | Kind::Stopped
        | Kind::UnderWay
        | Kind::Completed
        | Kind::OwnRules
        | Kind::SchedulerSilent
        | Kind::InTurn
        | Kind::Limit
        | Kind::NotYet
        | Kind::NodesUnavailable
        | Kind::Held
        | Kind::NeverStarts
        | Kind::UnknownReason => return None,
    })
}

/// Nothing to do is an empty text.
pub(super) fn for_kind(kind: Kind) -> &'static str {
    TO_DO.iter().find(|(known, _)| *known == kind).map(|(_, text)| *text).unwrap_or_default()
}

const TO_DO: &[(Kind, &str)] = &[
    (
        Kind::GpuOutOfMemory,
        "use a smaller batch or shorter sequences, checkpoint activations, shard the model over more GPUs, or \
             choose a class whose GPUs have more memory",
    ),
    (
        Kind::HostOutOfMemory,
        "ask for more `memory_per_node`, or use fewer data loader workers and smaller buffers",
    ),
    (
        Kind::SharedMemory,
        "use fewer data loader workers, or give the container or node a larger /dev/shm",
    ),
    (
        Kind::DiskFull,
        "free space or quota where the training writes; `trainyard delete` and `trainyard site gc` remove what \
             runs left",
    ),
    (
        Kind::CollectiveTimeout,
        "look at what the rank that did not come was doing: it hung, was slow, or had ended; a longer timeout \
             helps only when it was slow",
    ),
    (
        Kind::CollectiveError,
        "look for the rank that ended first in the training's log; if none did, suspect the network: \
             `NCCL_DEBUG = \"INFO\"` in `[environment.variables]` tells more",
    ),
    (
        Kind::GpuError,
        "the stack may point to a later call: run again with `CUDA_LAUNCH_BLOCKING = \"1\"` in \
             `[environment.variables]`; if it comes again on the same node only, tell its administrators",
    ),
    (
        Kind::GpuMissing,
        "choose a class with GPUs, and an environment whose PyTorch fits the driver of the node",
    ),
    (
        Kind::AddressInUse,
        "submit it again; if it comes again, let the training use MASTER_PORT and no fixed port",
    ),
    (
        Kind::Rendezvous,
        "see whether the first node could be reached under MASTER_ADDR and MASTER_PORT, and whether a rank \
             failed before it came",
    ),
    (Kind::CheckpointMismatch, "resume with the model that the checkpoint is of, or start afresh"),
    (
        Kind::CheckpointDamaged,
        "resume from an older checkpoint: this one was not written to its end",
    ),
    (
        Kind::ImportError,
        "add what is missing to `requirements` or the environment that `[environment]` names, or load its module",
    ),
    (
        Kind::MissingFile,
        "see that the path is there on compute nodes; data belongs into `[[dataset]]`, code into `[code]`",
    ),
    (Kind::Permission, "see who may read or write it; the job runs as you"),
    (
        Kind::CommandNotFound,
        "see how it is spelled, and that `[environment]` puts it on the PATH of the job",
    ),
    (Kind::BadArguments, "compare `[args]` with what the program takes"),
    (
        Kind::SyntaxError,
        "mend the code, or choose an environment whose Python is new enough for it, and submit it again",
    ),
    (Kind::PythonException, "look at the place that is named; `trainyard logs` has the rest"),
    (
        Kind::Crash,
        "a library in machine code broke: see that its version fits the others and the node; \
             `PYTHONFAULTHANDLER = \"1\"` in `[environment.variables]` shows where",
    ),
    (
        Kind::Killed,
        "mostly the kernel does that when memory runs out: ask for more `memory_per_node`",
    ),
    (Kind::ExitCode, "the last lines of the log are shown; `trainyard logs` has the rest"),
    (
        Kind::TimeLimit,
        "ask for a longer `time_limit`, or save on the warning before the end and exit with 75 to be brought back",
    ),
    (
        Kind::Preempted,
        "raise `max_restarts` and save checkpoints, or choose a class that is not preempted",
    ),
    (Kind::NodeFailure, "submit it again; with `[checkpoint]` runs come back by themselves"),
    (Kind::LaunchFailed, "`trainyard logs --source scheduler` shows what came before"),
    (Kind::Rejected, "change what the refusal names, and submit it again"),
    (Kind::PreparationFailed, "`trainyard logs --source build` shows the whole build"),
    (Kind::DataChanged, "see what changed, or set `on_drift`"),
    (
        Kind::Hung,
        "see what each process waited for, in `logs/ATTEMPT.stacks` of the run directory; where it was only slow, a \
             longer `no_progress_timeout` helps",
    ),
    (Kind::Lost, "ask the administrators what became of the job; submit it again"),
    (Kind::Held, "`scontrol release` releases a job that you hold; others an administrator has to"),
    (Kind::NeverStarts, "cancel it and ask for less, or for another class"),
    (Kind::NodesUnavailable, "wait for the nodes, or choose another class"),
    (Kind::UnknownReason, "`scontrol show job` may tell more"),
    (Kind::SchedulerSilent, "`trainyard doctor` looks at what is wrong"),
];
