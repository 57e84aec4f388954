//! The site config: what a sysadmin writes. Its layers are laid over each other in [`layers`], and what one key alone
//! cannot tell is checked in [`check`](Site).

mod charge;
mod check;
mod funds;
mod layers;
mod mode;
#[cfg(test)]
mod tests;

pub use charge::{Charge, Dated, Rates, Since};
pub use layers::{Layer, LayerKind, effective};
pub use mode::Mode;

use std::num::NonZeroU32;

use crate::domain::bad_nodes;
use crate::domain::keys::{Named, choice, keys};
use crate::domain::ledger::{BudgetKey, OnExhausted, OnOverrun, Period};
use crate::domain::problem::At;
use crate::domain::resolve::Asker;
use crate::domain::spec::{ArgValue, Interval, Partitions, ScriptPiece};
use crate::domain::units::{Mebibytes, Seconds, TimeLimit};

keys! {
    /// One installation.
    pub struct Site {
        site: General,
        /// Slurm clusters.
        cluster: Named<Cluster>,
        /// Hardware classes: named kinds of node share.
        class: Named<Class>,
        /// Projects: who pays.
        project: Named<Project>,
        /// The catalogue of datasets.
        dataset: Named<Dataset>,
        /// Pieces of every script.
        script: Script,
        /// The local target.
        local: Local,
        /// How environments are built.
        build: Build,
    }
    later {}
}

keys! {
    /// The site itself.
    pub struct General {
        name: At<String>,
        /// Where run directories are made; may hold {user} {uid} {group} {project} {account} {home}.
        run_root: At<String>,
        /// The class of runs that name none.
        default_class: At<String>,
        /// Users and groups (`group:NAME`) who administer the site.
        admins: At<Vec<At<String>>>,
        /// Mode of new run directories, octal.
        run_dir_mode: At<Mode>,
        /// Umask of scripts, octal.
        umask: At<Mode>,
        /// How long a node that failed under a run is remembered: at most 30 days, `0s`: not at all. Default: 24h.
        bad_node_expiry: Interval,
        /// What is charged, beside the rates, where a class says nothing else.
        charge: Charge,
        /// Lets a user's file override what /etc defines; counts only in a file that root owns.
        allow_override: At<bool>,
    }
    later {}
}

keys! {
    /// A Slurm cluster.
    pub struct Cluster {
        /// Directory of sbatch, squeue and the others.
        commands: At<String>,
        /// Path of one command, where it is elsewhere.
        sbatch: At<String>,
        squeue: At<String>,
        sacct: At<String>,
        scancel: At<String>,
        scontrol: At<String>,
        sinfo: At<String>,
        sacctmgr: At<String>,
        /// `SLURM_CONF`, when it must be set.
        conf: At<String>,
        /// `SLURM_CLUSTERS`, when it must be set.
        slurm_cluster: At<String>,
        /// Variables kept for the Slurm commands, beside the fixed few.
        keep_environment: Vec<At<String>>,
        /// How often Slurm is asked, whoever asks.
        poll_interval: Interval,
        /// Polls that may be made early, earned back one per interval.
        poll_burst: At<NonZeroU32>,
        poll_interval_max: Interval,
        in_doubt_wait: Interval,
        /// How long Slurm may not know a job that it had accepted, until that counts as lost. Default: 15 minutes, and at
        /// least three times Slurm's `MinJobAge`.
        lost_after: Interval,
        /// How a node's name becomes its address, with `{node}`.
        node_address: At<String>,
        /// First and last port for the ranks to meet at.
        rendezvous_ports: At<Vec<At<NonZeroU32>>>,
        /// More words for every srun.
        srun_args: Vec<At<String>>,
        /// Where conda is installed.
        conda_root: At<String>,
        /// What runs containers.
        container_runtime: At<ContainerRuntime>,
        /// More words for it: before the image, or for srun with Pyxis.
        container_args: Vec<At<String>>,
        /// What is bound into every container, beside the run's own directories: `/path`, `/path:/inside` or
        /// `/path:/inside:ro`.
        container_binds: Vec<At<String>>,
        script: Script,
    }
    later {}
}

keys! {
    /// Pieces of bash and directives for every script.
    pub struct Script {
        /// Run before modules and the environment; its failure is judged by what follows.
        prologue: ScriptPiece,
        /// Run after the training, whatever it ended with.
        epilogue: ScriptPiece,
        /// More #SBATCH options.
        directives: Vec<At<String>>,
    }
    later {}
}

keys! {
    /// The local target: processes on this machine.
    pub struct Local {
        /// What runs containers.
        container_runtime: At<ContainerRuntime>,
        /// More words for it: before the image, or for srun with Pyxis.
        container_args: Vec<At<String>>,
        /// What is bound into every container, beside the run's own directories: `/path`, `/path:/inside` or
        /// `/path:/inside:ro`.
        container_binds: Vec<At<String>>,
        script: Script,
        /// How many local runs may run at once; the others wait.
        max_running: At<NonZeroU32>,
    }
    later {}
}

keys! {
    /// How virtual environments are built of requirements.
    pub struct Build {
        /// Where: `login`, the machine that the daemon runs on, or `class:NAME`, a job of that hardware class.
        r#where: At<String>,
        /// More words for `pip install`.
        pip_args: Vec<At<String>>,
    }
    later {}
}

keys! {
    /// A hardware class.
    pub struct Class {
        cluster: At<String>,
        partition: Partitions,
        gpus_per_node: At<u32>,
        /// A label; part of the request when `gpu_typed` is true.
        gpu_type: At<String>,
        gpu_typed: At<bool>,
        gpu_request: At<GpuRequest>,
        /// Taken verbatim as --gres.
        gres: At<String>,
        cpus_per_node: At<NonZeroU32>,
        memory_per_node: At<Mebibytes>,
        memory_request: At<MemoryRequest>,
        exclusive: At<bool>,
        min_nodes: At<NonZeroU32>,
        max_nodes: At<NonZeroU32>,
        max_time: At<TimeLimit>,
        default_time: At<TimeLimit>,
        /// Charge units for each hour of a node, or of what `charge.by` says: one number, or a list of rates, each with the
        /// date from which it counts: `[{ rate = 1.0 }, { from = "2026-01-01", rate = 1.2 }]`.
        rate: At<Rates>,
        charge: Charge,
        /// How many runs may be submitted at once; more wait.
        max_running: ClassQuota,
        /// How many nodes the runs that are submitted may come to; more wait.
        max_running_nodes: ClassQuota,
        preemptible: At<bool>,
        local_scratch: At<String>,
        environment: Named<At<ArgValue>>,
        account: At<String>,
        qos: At<String>,
        constraint: At<String>,
        reservation: At<String>,
        licenses: At<String>,
        exclude: At<String>,
        nodelist: At<String>,
        wckey: At<String>,
        modules: Vec<At<String>>,
        prologue: ScriptPiece,
        directives: Vec<At<String>>,
        srun_args: Vec<At<String>>,
    }
    later {}
}

keys! {
    /// A limit for each user, and one for each project.
    pub struct ClassQuota {
        user: At<NonZeroU32>,
        project: At<NonZeroU32>,
    }
    later {}
}

keys! {
    /// Who pays.
    pub struct Project {
        /// Slurm account.
        account: At<String>,
        qos: At<String>,
        wckey: At<String>,
        run_root: At<String>,
        run_group: At<String>,
        /// Slurm account by class.
        accounts: Named<At<String>>,
        /// Users and groups (`group:NAME`); nobody else may name the project.
        members: At<Vec<At<String>>>,
        /// How many of its runs, of whatever class, may be submitted at once; more wait.
        max_running: At<NonZeroU32>,
        /// How many nodes its runs that are submitted may come to; more wait.
        max_running_nodes: At<NonZeroU32>,
        /// What it may spend in a period, in charge units; or `"slurm"`: what Slurm's `GrpTRESMins` leave its account.
        budget: At<BudgetKey>,
        /// For how long a budget in charge units is, by the calendar, UTC; what is left does not roll over. Default: `none`, once and for all.
        period: At<Period>,
        /// What becomes of a run that the budget has no room for: `reject` (default) or `warn`.
        on_exhausted: At<OnExhausted>,
        /// What becomes of its runs that go on when more is spent and held than it has: `finish` (default), or `stop`: as many
        /// as it takes are warned, so that they save, and stopped.
        on_overrun: At<OnOverrun>,
    }
    later {}
}

keys! {
    /// A dataset of the catalogue.
    pub struct Dataset {
        /// The directory or file.
        path: At<String>,
        version: At<String>,
        /// Who looks after it.
        owner: At<String>,
        description: At<String>,
        /// Nobody ever changes it: it is fingerprinted once.
        immutable: At<bool>,
    }
    later {}
}

choice! {
    /// What runs containers.
    pub enum ContainerRuntime {
        Apptainer = "apptainer",
        Singularity = "singularity",
        /// srun itself, with NVIDIA's plug-in.
        Pyxis = "pyxis",
        /// `ch-run`.
        Charliecloud = "charliecloud",
    }
    later {}
}

choice! {
    /// How GPUs are asked for.
    pub enum GpuRequest {
        GpusPerNode = "gpus_per_node",
        Gres = "gres",
        None = "none",
    }
    later {}
}

choice! {
    /// How memory is asked for.
    pub enum MemoryRequest {
        Node = "node",
        All = "all",
        PerGpu = "per_gpu",
        PerCpu = "per_cpu",
        None = "none",
    }
    later {}
}

impl Cluster {
    /// Where one of Slurm's commands is, if the site says so of it alone.
    pub fn command(&self, name: &str) -> Option<&At<String>> {
        match name {
            "sbatch" => self.sbatch.as_ref(),
            "squeue" => self.squeue.as_ref(),
            "sacct" => self.sacct.as_ref(),
            "scancel" => self.scancel.as_ref(),
            "scontrol" => self.scontrol.as_ref(),
            "sinfo" => self.sinfo.as_ref(),
            "sacctmgr" => self.sacctmgr.as_ref(),
            _ => None,
        }
    }
}

impl Project {
    /// Whether somebody may name the project.
    pub fn has_member(&self, asker: &Asker) -> bool {
        let is_one = |member: &At<String>| match member.value.strip_prefix("group:") {
            Some(group) => asker.groups.iter().any(|theirs| theirs == group),
            None => member.value == asker.user,
        };
        self.members.as_ref().is_none_or(|members| members.value.iter().any(is_one))
    }
}

/// The name of the local target's cluster and class.
pub const LOCAL: &str = "local";

/// Where environments are built: on the daemon's machine, or, with the name of a class behind it, as a job of that class.
pub const LOGIN: &str = "login";
pub const CLASS_PREFIX: &str = "class:";

/// How many local runs run at once when the site does not say.
pub const LOCAL_RUNNING_MAX: u32 = 16;

impl Class {
    pub fn is_exclusive(&self) -> bool {
        self.exclusive.as_ref().is_some_and(|exclusive| exclusive.value)
    }

    pub fn memory_request(&self) -> MemoryRequest {
        let default = if self.is_exclusive() { MemoryRequest::All } else { MemoryRequest::Node };
        self.memory_request.as_ref().map_or(default, |request| request.value)
    }
}

impl ClassQuota {
    pub fn of_user(&self) -> Option<u32> {
        self.user.as_ref().map(|most| most.value.get())
    }

    pub fn of_project(&self) -> Option<u32> {
        self.project.as_ref().map(|most| most.value.get())
    }
}

impl Site {
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.class.as_ref().and_then(|classes| classes.get(name))
    }

    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        self.class.iter().flat_map(Named::names)
    }

    pub fn dataset(&self, name: &str) -> Option<&Dataset> {
        self.dataset.as_ref().and_then(|datasets| datasets.get(name))
    }

    /// How long a node that failed is remembered.
    pub fn bad_node_expiry(&self) -> Seconds {
        let said = self.site.as_ref().and_then(|general| general.bad_node_expiry.as_ref());
        said.map_or(bad_nodes::EXPIRY, |said| said.value)
    }

    /// How many local runs may run at once.
    pub fn local_running_max(&self) -> u32 {
        let said = self.local.as_ref().and_then(|local| local.max_running.as_ref());
        said.map_or(LOCAL_RUNNING_MAX, |max| max.value.get())
    }
}
