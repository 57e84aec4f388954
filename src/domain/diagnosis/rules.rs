//! The words that tell a cause: one table, the first rule that fits counts.

use crate::domain::diagnosis::Kind;

/// How much a finding says. The least is the first cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Cause,
    /// A cause where nothing better is found: others wait for a rank that failed.
    Sign,
    /// It follows from something else.
    Consequence,
}

/// Where the words have to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Anywhere: they are printed by what ends a process, or by what saw it end.
    Anywhere,
    /// In an exception: programs warn of the same and go on.
    Exception,
}

struct Rule {
    kind: Kind,
    tier: Tier,
    place: Place,
    /// All of them.
    words: &'static [&'static str],
}

const fn cause(kind: Kind, words: &'static [&'static str]) -> Rule {
    Rule { kind, tier: Tier::Cause, place: Place::Anywhere, words }
}

const fn thrown(kind: Kind, words: &'static [&'static str]) -> Rule {
    Rule { kind, tier: Tier::Cause, place: Place::Exception, words }
}

const fn sign(kind: Kind, words: &'static [&'static str]) -> Rule {
    Rule { kind, tier: Tier::Sign, place: Place::Anywhere, words }
}

const fn consequence(kind: Kind, words: &'static [&'static str]) -> Rule {
    Rule { kind, tier: Tier::Consequence, place: Place::Exception, words }
}

const RULES: &[Rule] = &[
    // What others say of a rank that ended.
    consequence(Kind::CollectiveError, &["Connection closed by peer"]),
    consequence(Kind::CollectiveError, &["Connection reset by peer"]),
    consequence(Kind::CollectiveError, &["Broken pipe"]),
    consequence(Kind::CollectiveError, &["remote process exited or there was a network error"]),
    consequence(Kind::CollectiveError, &["NCCL communicator was aborted"]),
    consequence(Kind::CollectiveError, &["Some NCCL operations have failed or timed out"]),
    consequence(Kind::ExitCode, &["ChildFailedError"]),
    consequence(Kind::Killed, &["SignalException"]),
    consequence(Kind::Killed, &["KeyboardInterrupt"]),
    // Memory of a GPU.
    thrown(Kind::GpuOutOfMemory, &["CUDA out of memory"]),
    thrown(Kind::GpuOutOfMemory, &["HIP out of memory"]),
    thrown(Kind::GpuOutOfMemory, &["CUDA error: out of memory"]),
    thrown(Kind::GpuOutOfMemory, &["CUBLAS_STATUS_ALLOC_FAILED"]),
    thrown(Kind::GpuOutOfMemory, &["RESOURCE_EXHAUSTED", "ut of memory"]),
    // Memory of a node.
    thrown(Kind::SharedMemory, &["is killed by signal: Bus error"]),
    thrown(Kind::SharedMemory, &["unable to allocate shared memory"]),
    thrown(Kind::SharedMemory, &["No space left on device", "/dev/shm"]),
    thrown(Kind::SharedMemory, &["unable to write to file </torch_"]),
    cause(Kind::HostOutOfMemory, &["Detected ", "oom", "kill"]),
    cause(Kind::HostOutOfMemory, &["srun: error:", ": Out Of Memory"]),
    thrown(Kind::HostOutOfMemory, &["DefaultCPUAllocator: ", "memory"]),
    thrown(Kind::HostOutOfMemory, &["Unable to allocate ", " for an array"]),
    thrown(Kind::HostOutOfMemory, &["MemoryError"]),
    thrown(Kind::HostOutOfMemory, &["Cannot allocate memory"]),
    cause(Kind::HostOutOfMemory, &["std::bad_alloc"]),
    // Disks.
    thrown(Kind::DiskFull, &["No space left on device"]),
    thrown(Kind::DiskFull, &["Disk quota exceeded"]),
    // So torch.save tells of a file that it could not write to its end.
    thrown(Kind::DiskFull, &["basic_ios::clear: iostream error"]),
    thrown(Kind::DiskFull, &["inline_container.cc", "unexpected pos "]),
    thrown(Kind::DiskFull, &["PytorchStreamWriter failed writing file"]),
    sign(Kind::DiskFull, &["write error: No space left on device"]),
    // GPUs.
    thrown(Kind::GpuMissing, &["Found no NVIDIA driver"]),
    thrown(Kind::GpuMissing, &["no CUDA-capable device"]),
    thrown(Kind::GpuMissing, &["No CUDA GPUs are available"]),
    thrown(Kind::GpuMissing, &["not compiled with CUDA enabled"]),
    thrown(Kind::GpuMissing, &["driver version is insufficient"]),
    thrown(Kind::GpuMissing, &["invalid device ordinal"]),
    thrown(Kind::GpuError, &["CUDA error: "]),
    thrown(Kind::GpuError, &["CUBLAS_STATUS_"]),
    thrown(Kind::GpuError, &["CUDNN_STATUS_"]),
    // Ranks that do not find or hear one another.
    sign(Kind::CollectiveTimeout, &["Watchdog caught collective operation timeout"]),
    sign(Kind::CollectiveTimeout, &["Timed out waiting ", "ms for recv operation"]),
    sign(Kind::CollectiveTimeout, &["Timed out waiting ", "ms for send operation"]),
    sign(Kind::CollectiveTimeout, &["timed out in blocking wait"]),
    thrown(Kind::AddressInUse, &["EADDRINUSE"]),
    thrown(Kind::AddressInUse, &["Address already in use"]),
    sign(Kind::Rendezvous, &["RendezvousTimeoutError"]),
    sign(Kind::Rendezvous, &["RendezvousConnectionError"]),
    sign(Kind::Rendezvous, &["The client socket has timed out after "]),
    sign(Kind::Rendezvous, &["Timed out after ", "waiting for clients"]),
    sign(Kind::CollectiveError, &["NCCL error in"]),
    sign(Kind::CollectiveError, &["ncclSystemError"]),
    sign(Kind::CollectiveError, &["ncclInternalError"]),
    sign(Kind::CollectiveError, &["DistBackendError"]),
    // What was saved.
    thrown(Kind::CheckpointMismatch, &["Error(s) in loading state_dict"]),
    thrown(Kind::CheckpointDamaged, &["PytorchStreamReader failed"]),
    thrown(Kind::CheckpointDamaged, &["SafetensorError"]),
    thrown(Kind::CheckpointDamaged, &["UnpicklingError"]),
    // What is missing.
    thrown(Kind::ImportError, &["ModuleNotFoundError"]),
    thrown(Kind::ImportError, &["ImportError"]),
    thrown(Kind::ImportError, &["cannot open shared object file"]),
    thrown(Kind::ImportError, &["undefined symbol"]),
    thrown(Kind::MissingFile, &["FileNotFoundError"]),
    thrown(Kind::MissingFile, &["No such file or directory"]),
    thrown(Kind::Permission, &["PermissionError"]),
    thrown(Kind::SyntaxError, &["SyntaxError"]),
    thrown(Kind::SyntaxError, &["IndentationError"]),
    cause(Kind::CommandNotFound, &[": command not found"]),
    cause(Kind::CommandNotFound, &["error: execve(): ", "No such file or directory"]),
    cause(Kind::BadArguments, &[": error: unrecognized arguments"]),
    cause(Kind::BadArguments, &[": error: the following arguments are required"]),
    cause(Kind::BadArguments, &[": error: argument "]),
    // How a process ended, said by others.
    // A watchdog aborts the process after it has said why.
    sign(Kind::Crash, &["Fatal Python error: Aborted"]),
    cause(Kind::Crash, &["Fatal Python error: "]),
    cause(Kind::Crash, &["Segmentation fault"]),
    sign(Kind::Crash, &["terminate called after throwing"]),
    cause(Kind::Crash, &["(SIGSEGV) received by PID"]),
    sign(Kind::Crash, &["(SIGABRT) received by PID"]),
    cause(Kind::Crash, &["(SIGBUS) received by PID"]),
    cause(Kind::Crash, &["(SIGFPE) received by PID"]),
    sign(Kind::Crash, &["(core dumped)"]),
    thrown(Kind::Killed, &["is killed by signal: Killed"]),
    sign(Kind::Killed, &["(SIGKILL) received by PID"]),
    sign(Kind::Killed, &[": line ", " Killed  "]),
    sign(Kind::Killed, &["srun: error:", ": Killed"]),
];

/// What an exception comes to.
pub(super) fn of_exception(words: &str) -> Option<(Kind, Tier)> {
    let rule = RULES.iter().find(|rule| rule.fits(words))?;
    Some((rule.kind, rule.tier))
}

/// What a line outside any exception comes to.
pub(super) fn of_line(line: &str) -> Option<(Kind, Tier)> {
    let rule = RULES.iter().filter(|rule| rule.place == Place::Anywhere).find(|r| r.fits(line))?;
    Some((rule.kind, rule.tier))
}

impl Rule {
    fn fits(&self, text: &str) -> bool {
        self.words.iter().all(|words| text.contains(words))
    }
}
