//! The spec: what a user writes, key by key.
//!
//! To add a key: add a field (or take the name off a `later` list), then give it its meaning in
//! [`crate::domain::resolve`]. The JSON schema and the "did you mean" follow by themselves.

mod arg_value;
mod checkpoint;
mod schedule;
mod sweep;
mod sweep_schema;

pub use arg_value::ArgValue;
pub use checkpoint::{Checkpoint, CheckpointFormat, KeepBest, Resume};
pub use schedule::Schedule;
pub(crate) use sweep::TABLES;
pub use sweep::{
    Domain, Dotted, EarlyStopping, Given, Objective, OneOf, StoppingMethod, Sweep, SweepMethod,
    Values,
};

use std::num::NonZeroU32;

use crate::domain::keys::{Named, OneOrMany, choice, keys};
use crate::domain::problem::At;
use crate::domain::units::{Mebibytes, Seconds, TimeLimit};

keys! {
    /// A training run, as its owner describes it.
    pub struct Spec {
        /// What the run is called: `[a-z0-9][a-z0-9._-]{0,62}`, not all digits. Default: the file's stem.
        name: At<String>,
        /// Who pays: a project of the site.
        project: At<String>,
        /// A free tag that groups runs.
        experiment: At<String>,
        code: Code,
        /// Arguments of the training program, appended in order: `true` is a bare flag, `false` leaves it out, an array
        /// repeats values after one flag.
        args: Named<At<ArgValue>>,
        /// Data that the training reads; the first is `{data}` and `TRAINYARD_DATA_PATH`.
        dataset: Vec<At<Dataset>>,
        environment: Environment,
        compute: Compute,
        distributed: Distributed,
        checkpoint: Checkpoint,
        failure: Failure,
        metrics: Metrics,
        /// When runs of it are submitted by themselves, once `trainyard schedule add` has been told.
        schedule: At<Schedule>,
        sweep: At<Sweep>,
    }
    later { "after", "evaluation" }
}

keys! {
    /// What to run.
    pub struct Code {
        /// A directory, relative to the spec's own file (default: the spec's directory), or an archive: `.tar.gz`, `.tgz`
        /// or `.zip`, by path or by http(s) address. It is captured when the run is submitted.
        path: At<String>,
        /// Globs of files that are captured although git ignores them, or `exclude` leaves them out.
        include: Vec<At<String>>,
        /// Globs of files that are not captured.
        exclude: Vec<At<String>>,
        /// What the archive must hash to: `sha256:…` or `blake3:…`.
        digest: At<String>,
        /// The program to start, relative to `path`: a `.py` file is run by Python, a `.sh` file by bash.
        entry_point: At<String>,
        /// A whole command line instead of `entry_point`.
        command: At<Vec<At<String>>>,
        /// How `work/` gets the code.
        work: At<WorkStyle>,
        /// How `[args]` are spelled.
        args_style: At<ArgsStyle>,
    }
    later {}
}

keys! {
    /// Data that the training reads.
    pub struct Dataset {
        /// A name of the site's catalogue. Beside `path`: what the data is called; default there: the path's last part.
        name: At<String>,
        /// A directory or a file that is in no catalogue, relative to the spec's own file.
        path: At<String>,
        /// The version that is expected: the catalogue must have this one. Beside `path` it is only recorded.
        version: At<String>,
        /// Where the training finds it.
        stage: At<Stage>,
        /// Read the contents for the fingerprint too, not only names, sizes and times.
        content: At<bool>,
        /// What happens when the data is not as it was when the run was submitted.
        on_drift: At<OnDrift>,
    }
    later {}
}

keys! {
    /// What the training finds around it.
    pub struct Environment {
        /// Environment modules to load, in order.
        modules: Vec<At<String>>,
        /// A conda environment, by name or prefix.
        conda: At<String>,
        /// A Python virtual environment, by path.
        venv: At<String>,
        /// A container image to run in, started by what the site says: a file or directory (`image.sif`), or an address
        /// (`docker://…`). It brings its own Python: `conda` and `venv` cannot stand beside it; `modules` are loaded
        /// outside of it.
        container: At<String>,
        /// A file of `NAME=VALUE` lines for the training alone, quoted as in bash, which only you can read (mode 0600); a
        /// copy of it is in the run directory until the run is over. It is read, not executed: no `$`, no command.
        secrets: At<String>,
        /// A pip requirements file: a virtual environment is built of it before the run is submitted, once for all runs
        /// with the same contents.
        requirements: At<String>,
        /// Variables set for the training.
        variables: Named<At<ArgValue>>,
    }
    later {}
}

keys! {
    /// What it runs on.
    pub struct Compute {
        /// A hardware class of the site.
        class: At<String>,
        /// How many nodes. Default: 1.
        nodes: At<NonZeroU32>,
        /// Wall-clock limit: `12h`, `1d12h`, or Slurm's `1-12:00:00`. Default: the class's.
        time_limit: At<TimeLimit>,
        /// Where it runs.
        target: At<TargetKind>,
        /// Slurm account.
        account: At<String>,
        /// Slurm quality of service.
        qos: At<String>,
        /// Node features that are asked for.
        constraint: At<String>,
        /// Slurm reservation.
        reservation: At<String>,
        /// Licenses, as Slurm counts them.
        licenses: At<String>,
        /// Nodes that must be used.
        nodelist: At<String>,
        /// Nodes that must not be used.
        exclude: At<String>,
        /// GPUs of each node, at most the class's.
        gpus_per_node: At<u32>,
        /// CPUs of each node, at most the class's.
        cpus_per_node: At<NonZeroU32>,
        /// Memory of each node, at most the class's.
        memory_per_node: At<Mebibytes>,
        /// The least time limit that is acceptable to start earlier.
        time_min: At<TimeLimit>,
        /// Not before this time, in Slurm's words: `now+1hour`, `2026-12-24T18:00:00`.
        begin: At<String>,
        /// Slurm's nice value.
        nice: At<i32>,
        /// Submit held: somebody must release it.
        hold: At<bool>,
        /// When Slurm sends mail.
        mail: At<Vec<At<MailType>>>,
        /// Options for sbatch, verbatim.
        sbatch: At<Vec<At<String>>>,
    }
    later {}
}

keys! {
    /// How the processes of one run are started and find each other.
    pub struct Distributed {
        /// What starts the ranks.
        launcher: At<Launcher>,
        /// Processes (ranks) on each node. Default: the class's GPUs per node, else 1.
        processes_per_node: At<NonZeroU32>,
        /// Recorded, not interpreted.
        strategy: At<String>,
        /// Whether each rank also has a log of its own, for `trainyard logs --rank`. Where srun starts the ranks it labels
        /// their lines, and they need none. Default: false.
        rank_logs: At<bool>,
    }
    later {}
}

keys! {
    /// When a run is brought back.
    pub struct Failure {
        /// How often, whoever starts it again. Default: 3 with `[checkpoint]`, else 0.
        max_restarts: At<u32>,
        /// After what. Default: `preempted` and `node_failure`.
        restart_on: At<Vec<At<RestartOn>>>,
        /// What a training exits with that has saved and wants to be brought back. Default: 75.
        restart_exit_codes: At<Vec<At<u32>>>,
        /// How long before its end the training is warned, and how long a run that is cancelled may take to save; `0s`:
        /// not at all. Default: 60s, or not at all where the time limit is shorter than 2 minutes.
        warn_before_end: At<Seconds>,
        /// What processes of the training get that have a handler for it. Default: USR1.
        warn_signal: At<WarnSignal>,
        /// A training that writes no line of its log, no metric and no checkpoint for so long is ended as `hung`; `0s`: never.
        /// Default: never.
        no_progress_timeout: At<Seconds>,
        /// Who has the run started again after its time limit, or when it has saved. Default: `daemon`.
        requeue: At<Requeue>,
        /// Whether the next attempt keeps away from the nodes that failed under an earlier one, and from those that failed
        /// under several attempts of anybody. Default: true.
        exclude_failed_nodes: At<bool>,
    }
    later {}
}

keys! {
    /// Where the training reports its metrics.
    pub struct Metrics {
        /// A file of JSON lines, relative to the run directory. Default: `metrics.jsonl`.
        file: At<String>,
    }
    later {}
}

choice! {
    /// Where the training finds a dataset.
    pub enum Stage {
        /// Where it is.
        None = "none",
        /// In a copy in the local scratch of each node, made before the training starts.
        Local = "local",
    }
    later {}
}

choice! {
    /// What happens when a dataset is not as it was when the run was submitted.
    pub enum OnDrift {
        /// The history says so, and the training goes ahead.
        Warn = "warn",
        /// The run fails.
        Fail = "fail",
    }
    later {}
}

choice! {
    /// How `work/` gets the code.
    #[derive(Default)]
    pub enum WorkStyle {
        /// A link to each top-level entry of the captured code, which cannot be written to.
        #[default]
        Link = "link",
        /// A copy of the captured code, made by the first job.
        Copy = "copy",
    }
    later {}
}

choice! {
    /// How `[args]` become words of the command line.
    pub enum ArgsStyle {
        /// `--key value`
        Flags = "flags",
        /// `--key=value`
        Equals = "equals",
        /// `key=value`
        Hydra = "hydra",
    }
    later {}
}

choice! {
    /// Where a run executes.
    pub enum TargetKind {
        /// Processes on this machine.
        Local = "local",
        /// A Slurm cluster.
        Slurm = "slurm",
    }
    later {}
}

choice! {
    /// What starts the ranks of a run.
    pub enum Launcher {
        /// The program once, on the first node.
        None = "none",
        /// One process per rank, started by srun.
        Srun = "srun",
        /// One torchrun agent per node.
        Torchrun = "torchrun",
        /// One `accelerate launch` per node.
        Accelerate = "accelerate",
        /// One launcher of `deepspeed` per node.
        Deepspeed = "deepspeed",
        /// One process per rank, with what MPI needs to find the others.
        Mpi = "mpi",
        /// One process per rank, with what `jax.distributed.initialize()` looks for.
        Jax = "jax",
    }
    later {}
}

impl Launcher {
    /// Whether srun starts every rank itself.
    pub fn has_task_per_rank(self) -> bool {
        match self {
            Self::Srun | Self::Mpi | Self::Jax => true,
            Self::None | Self::Torchrun | Self::Accelerate | Self::Deepspeed => false,
        }
    }
}

choice! {
    /// When Slurm sends mail.
    pub enum MailType {
        Begin = "begin",
        End = "end",
        Fail = "fail",
        Requeue = "requeue",
        TimeLimit = "time_limit",
        All = "all",
        None = "none",
    }
    later {}
}

choice! {
    /// What a run is brought back after.
    pub enum RestartOn {
        /// Another job took its nodes.
        Preempted = "preempted",
        /// A node of it failed.
        NodeFailure = "node_failure",
        /// It reached its time limit, and has saved something newer than it began from.
        TimeLimit = "time_limit",
        /// It wrote nothing for `no_progress_timeout`.
        Hung = "hung",
        /// It ended with an exit code other than 0.
        ExitCode = "exit_code",
        /// A signal ended it.
        Signal = "signal",
        /// The job used more memory than it was given.
        OutOfMemory = "out_of_memory",
        /// A node of it did not boot.
        BootFailure = "boot_failure",
        /// It vanished without a trace.
        Lost = "lost",
    }
    later {}
}

choice! {
    /// What tells the training that its end is near.
    #[derive(Default)]
    pub enum WarnSignal {
        #[default]
        Usr1 = "USR1",
        Usr2 = "USR2",
        Term = "TERM",
        Int = "INT",
        Hup = "HUP",
    }
    later {}
}

choice! {
    /// Who has a run started again after an end that is no failure of Slurm's.
    #[derive(Default)]
    pub enum Requeue {
        /// The daemon submits it again.
        #[default]
        Daemon = "daemon",
        /// The job's own script has Slurm requeue it, also while no daemon lives.
        Job = "job",
    }
    later {}
}

impl WarnSignal {
    /// Linux's own number of it, on every machine that Slurm runs on.
    pub fn number(self) -> u32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Term => 15,
        }
    }
}

/// Pieces of bash that a site puts into every script.
pub type ScriptPiece = At<String>;

/// Kept here because the site's clusters and the spec share them.
pub type Partitions = OneOrMany<String>;

/// An interval between polls.
pub type Interval = At<Seconds>;
