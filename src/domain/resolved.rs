//! The resolved spec: every default filled in, checked against the site. It alone decides the script.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::charge::Terms;
use crate::domain::checkpoint::{Format, Retention};
use crate::domain::code::SourceKind;
use crate::domain::dataset::Dataset;
use crate::domain::request::RepeatedPoint;
use crate::domain::run::Reason;
use crate::domain::site::{ContainerRuntime, Mode};
use crate::domain::spec::{Launcher, Resume, WarnSignal, WorkStyle};
use crate::domain::units::{Seconds, TimeLimit};
use crate::domain::word::Word;

/// What a spec means here. Stored as `resolved.json` in the run directory and with the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    pub name: String,
    pub project: Option<String>,
    pub experiment: Option<String>,
    pub code: Code,
    /// The first is the one that `{data}` means.
    #[serde(default)]
    pub datasets: Vec<Dataset>,
    pub environment: Environment,
    pub compute: Compute,
    pub distributed: Distributed,
    /// Relative to the run directory, or absolute.
    pub checkpoint_directory: String,
    /// None without `[checkpoint]`: then nothing is looked for.
    #[serde(default)]
    pub checkpoint: Option<Checkpoint>,
    /// Relative to the run directory, or absolute.
    pub metrics_file: String,
    #[serde(default)]
    pub failure: Failure,
    pub script: Script,
    /// Where run directories are made; absolute, placeholders filled in.
    pub run_root: PathBuf,
    pub run_dir_mode: Mode,
    /// The point of a sweep that it is, as a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RepeatedPoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Where the code was taken from: an absolute directory or archive, or an address without what is secret in it.
    pub path: PathBuf,
    #[serde(default)]
    pub kind: SourceKind,
    #[serde(default)]
    pub work: WorkStyle,
    pub program: Program,
    /// The spelled-out `[args]`.
    pub args: Vec<Word>,
}

/// What is started in `work/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A file of the code, relative to `work/`.
    EntryPoint(String),
    Command(Vec<Word>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub modules: Vec<String>,
    /// Name or absolute prefix.
    pub conda: Option<String>,
    /// Where conda is installed, when the site says so.
    pub conda_root: Option<String>,
    /// Absolute path of a virtual environment.
    pub venv: Option<String>,
    /// What the training runs in.
    #[serde(default)]
    pub container: Option<Container>,
    /// The file that secrets are taken from, absolute; never what is in it.
    #[serde(default)]
    pub secrets: Option<PathBuf>,
    /// What a virtual environment is built of.
    #[serde(default)]
    pub requirements: Option<Requirements>,
    /// The class's first, then the spec's; names are unique and valid.
    pub variables: Vec<(String, Word)>,
}

/// A container, and how it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub runtime: ContainerRuntime,
    /// An absolute path, or an address with `://`, which is the runtime's to understand.
    pub image: String,
    /// More words for the runtime.
    pub args: Vec<String>,
    /// What the site binds: `SRC`, `SRC:DST` or `SRC:DST:OPTION`.
    pub binds: Vec<String>,
    /// Whose the class's GPUs are, if it has any.
    pub gpus: Gpus,
}

/// Who made the GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gpus {
    Nvidia,
    Amd,
}

impl Gpus {
    /// By the label that a site gives them: AMD's are `mi250`, `instinct`, `radeon`, `gfx90a` and the like.
    pub fn labelled(label: &str) -> Self {
        let label = label.to_ascii_lowercase();
        let numbered = label
            .match_indices("mi")
            .any(|(at, _)| label[at + 2..].starts_with(|c: char| c.is_ascii_digit()));
        let named = ["amd", "instinct", "radeon", "gfx"].iter().any(|word| label.contains(word));
        if numbered || named { Self::Amd } else { Self::Nvidia }
    }
}

/// Requirements that are captured at submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requirements {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// More words for `pip install`.
    pub pip_args: Vec<String>,
    /// The job that builds it; without one it is built where the daemon runs.
    #[serde(default)]
    pub build_on: Option<BuildOn>,
}

/// A job that builds an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildOn {
    pub compute: Compute,
    /// The site's pieces for scripts of its class.
    pub prologue: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    pub target: Target,
    pub class: String,
    pub nodes: u32,
    pub gpus_per_node: u32,
    pub time_limit: Option<TimeLimit>,
    /// What sbatch is told in the script; empty on the local target.
    pub options: Vec<SbatchOption>,
    /// Charge units per node-hour, where the class has a rate.
    pub rate: Option<f64>,
    /// How that becomes a charge.
    #[serde(default)]
    pub terms: Terms,
    /// A path on the node, in which the job id may be named as the shell would.
    pub local_scratch: Option<String>,
}

/// Where a run executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Local,
    Slurm { cluster: String },
}

impl Target {
    /// The name of the cluster; the local target counts as one.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Local => crate::domain::site::LOCAL,
            Self::Slurm { cluster } => cluster,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Slurm { .. } => "slurm",
        }
    }
}

/// How the training goes on from its checkpoints, and which are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// All formats, where none is named.
    pub format: Option<Format>,
    pub resume: Resume,
    /// More arguments where there is one to go on from.
    pub resume_args: Vec<Word>,
    /// How often the training saves, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<NonZeroU32>,
    /// Which are kept; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

impl Resolved {
    /// The format of checkpoints that is looked for; all formats where none is named.
    pub fn wanted_format(&self) -> Option<Format> {
        self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.format)
    }

    /// Which checkpoints are kept; all where nothing is said.
    pub fn retention(&self) -> Option<&Retention> {
        self.checkpoint.as_ref()?.retention.as_ref()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distributed {
    pub launcher: Launcher,
    pub processes_per_node: u32,
    /// nodes × processes per node; 1 for the launcher `none`.
    pub world_size: u32,
    pub strategy: Option<String>,
    /// Whether each rank has a log of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rank_logs: bool,
    /// More words for srun.
    pub srun_args: Vec<String>,
    /// How a node's name becomes its address, with `{node}`.
    pub node_address: String,
    /// First and last port for the ranks to meet at.
    pub ports: (u32, u32),
}

/// How a run is warned of its end, and when it is brought back; by default never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub max_restarts: u32,
    pub restart_on: Vec<Reason>,
    /// What a training exits with that has saved and wants to be brought back.
    #[serde(default)]
    pub restart_exit_codes: Vec<i32>,
    /// How long before its end the training is warned; 0: not at all.
    #[serde(default)]
    pub warn_before_end: Seconds,
    #[serde(default)]
    pub warn_signal: WarnSignal,
    /// How long a training may write nothing before it counts as hung; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_progress_timeout: Option<Seconds>,
    /// Whether the job's script has Slurm requeue the job after its time limit, or when the training has saved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requeues_itself: bool,
    /// Whether attempts keep away from nodes that failed; runs from before that was known do not.
    #[serde(default)]
    pub exclude_failed_nodes: bool,
}

impl Failure {
    /// Whether Slurm may start a job again: by itself it does so after preemption and node failure.
    pub fn allows_requeue(&self) -> bool {
        let by_slurm = [Reason::Preempted, Reason::NodeFailure];
        let is_requeued =
            self.requeues_itself || self.restart_on.iter().any(|reason| by_slurm.contains(reason));
        self.max_restarts > 0 && is_requeued
    }
}

/// Pieces of bash that the site gives to every script, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    pub prologue: Vec<String>,
    pub epilogue: Vec<String>,
    pub umask: Mode,
    /// How long a cancelled local job may take to end before it is killed.
    pub kill_wait: Seconds,
}

/// One option of sbatch, checked so that it can stand on an `#SBATCH` line and stay one option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SbatchOption {
    /// With its dashes.
    name: String,
    value: Option<String>,
}

/// Why a text is no option that can be carried safely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error("an option starts with `-`, as `--switches=1` does")]
    NoOption,
    #[error("it holds a line break or another control character")]
    Control,
    #[error("it holds a character outside ASCII, which Slurm does not carry safely")]
    NotAscii,
    #[error("it is longer than {OPTION_BYTES_MAX} bytes")]
    TooLong,
}

/// Slurm accepts lines of 1 MiB; no honest option comes near this.
pub const OPTION_BYTES_MAX: usize = 4096;

impl SbatchOption {
    /// A long option with a value.
    pub fn with_value(name: &str, value: impl fmt::Display) -> Result<Self, OptionError> {
        Self::checked(format!("--{name}"), Some(value.to_string()))
    }

    /// A long option without a value.
    pub fn flag(name: &str) -> Result<Self, OptionError> {
        Self::checked(format!("--{name}"), None)
    }

    /// Reads `--name=value`, `--name` or `-xvalue`.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        match text.split_once('=') {
            Some((name, value)) => Self::checked(name.to_owned(), Some(value.to_owned())),
            None => Self::checked(text.to_owned(), None),
        }
    }

    fn checked(name: String, value: Option<String>) -> Result<Self, OptionError> {
        let word = name
            .strip_prefix("--")
            .or_else(|| name.strip_prefix('-'))
            .ok_or(OptionError::NoOption)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let all = || name.chars().chain(value.iter().flat_map(|value| value.chars()));
        if all().any(|c| c.is_ascii_control()) {
            return Err(OptionError::Control);
        }
        if !all().all(|c| c.is_ascii()) {
            return Err(OptionError::NotAscii);
        }
        if all().count() > OPTION_BYTES_MAX {
            return Err(OptionError::TooLong);
        }
        if word.is_empty()
            || !word.starts_with(|c: char| c.is_ascii_alphabetic())
            || !word.chars().all(plain)
        {
            return Err(OptionError::NoOption);
        }
        Ok(Self { name, value })
    }

    /// The name with its dashes.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl fmt::Display for SbatchOption {
    /// As one argument of a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl From<SbatchOption> for String {
    fn from(option: SbatchOption) -> Self {
        option.to_string()
    }
}

impl TryFrom<String> for SbatchOption {
    type Error = OptionError;

    fn try_from(text: String) -> Result<Self, OptionError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests;
