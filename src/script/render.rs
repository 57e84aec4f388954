//! Fills the templates: what a resolved spec looks like as a job script.
//!
//! The templates escape nothing, so the fields of `Job` hold only what is safe by its type: the types of
//! [`crate::script::shell`] and [`crate::script::directive`], numbers, and words of our own.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use askama::Template;

use crate::domain::code::SourceKind;
use crate::domain::dataset::Dataset;
use crate::domain::request::RepeatedPoint;
use crate::domain::resolved::{self, Program, Resolved, Target};
use crate::domain::site::Mode;
use crate::domain::spec::{Launcher, Stage, WarnSignal, WorkStyle};
use crate::domain::tree::FILES_TIME;
use crate::domain::word::Word;
use crate::script::container::{Container, is_pyxis};
use crate::script::directive::Directive;
use crate::script::launch::Launch;
use crate::script::points::Files;
use crate::script::ports::Ports;
use crate::script::requeue::Requeue;
use crate::script::resume::Resume;
use crate::script::shell::{
    Comment, DataVariable, HeadAddress, Quoted, RunPath, ScratchPath, ShellText, ShellWord,
    SiteCode, VariableName,
};
use crate::script::watchdog::Watchdog;

/// What the script exits with when another job owns its submission. The event's reason decides, not the code, which a
/// training may use too.
pub const SUPERSEDED_EXIT: u8 = 94;

/// How long the nodes of a job have to report in before the training: a prolog may take a while, and what a missing node
/// costs is the time of all others.
const REPORT_SECONDS: u32 = 180;

/// What the script exits with when it could not start the training.
pub const LAUNCH_FAILED_EXIT: u8 = 95;

/// How long the script may look at one dataset to see whether it is as it was: the nodes wait meanwhile.
const DATA_CHECK_SECONDS: u32 = 180;

/// The whole job script of a run.
pub fn render(resolved: &Resolved) -> String {
    render_for(resolved, None)
}

/// The job script of the points of a sweep that agree in everything but their arguments and these variables, which the
/// sweep's table has ([`crate::script::points::line`]). `resolved` is that of any of them.
pub fn render_points(resolved: &Resolved, varying: &BTreeSet<String>) -> String {
    render_for(resolved, Some(varying))
}

/// # Panics
/// Never: it is written to memory by types whose Display does not fail.
fn render_for(resolved: &Resolved, varying: Option<&BTreeSet<String>>) -> String {
    let run_root = resolved.run_root.to_string_lossy();
    let code_path = resolved.code.path.to_string_lossy();
    let job = Job::new(resolved, &run_root, &code_path, varying);
    let mut script = job.render().expect("writing to a string cannot fail");
    script.push('\n');
    script
}

#[derive(Template)]
#[template(
    path = "sbatch/job.sh",
    escape = "none",
    syntax = "bash",
    config = "templates/askama.toml"
)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for lines of the template")]
struct Job<'a> {
    directives: Vec<Directive<'a>>,
    name: ShellWord<'a>,
    name_comment: Comment<'a>,
    cluster: ShellWord<'a>,
    on_slurm: bool,
    launch: Launch,
    launcher: &'static str,
    umask: Octal,
    run_root: ShellWord<'a>,
    /// Whether it is for the points of a sweep.
    is_sweep: bool,
    /// The point of a sweep that it is for, as a run of its own.
    repeats: Option<RepeatedPoint>,
    files: Files,
    code: Code<'a>,
    prologue: Vec<SiteCode<'a>>,
    epilogue: Vec<SiteCode<'a>>,
    modules: Vec<ShellWord<'a>>,
    conda: Option<ShellWord<'a>>,
    conda_root: Option<ShellWord<'a>>,
    venv: Option<ShellWord<'a>>,
    container: Option<Container<'a>>,
    has_secrets: bool,
    /// Whether an environment was built of requirements.
    is_built: bool,
    variables: Vec<(VariableName<'a>, ShellText<'a>)>,
    datasets: Vec<Data<'a>>,
    /// Whether any data is copied to the nodes.
    stages: bool,
    data_check_seconds: u32,
    /// Whether each rank has a log of its own, which srun's labels do not make needless.
    has_rank_logs: bool,
    /// Whether Python runs the program.
    is_python: bool,
    /// Whether Python is what is started: its interpreter is found on the node.
    starts_python: bool,
    /// The program that starts the ranks of its node.
    agent: Option<&'static str>,
    /// What tells it that the program is not Python's.
    no_python: Option<&'static str>,
    /// The Python whose packages are recorded.
    python: Quoted,
    program: Vec<Quoted>,
    args: Vec<ShellText<'a>>,
    checkpoint_directory: RunPath<'a>,
    checkpoint_every_steps: Option<NonZeroU32>,
    /// None where nothing is gone on from.
    resume: Option<Resume<'a>>,
    metrics_file: RunPath<'a>,
    local_scratch: Option<ScratchPath<'a>>,
    /// Whether it may be another one on each node.
    scratch_of_node: bool,
    head_address: HeadAddress<'a>,
    ports: Ports,
    nodes: u32,
    processes_per_node: u32,
    world_size: u32,
    /// The GPUs of a node, shared out to its processes.
    gpus_per_process: u32,
    /// srun starts one process on the first node, however many there are.
    is_alone: bool,
    srun_args: Vec<ShellWord<'a>>,
    /// Whether the site says which interface for MPI srun offers.
    says_mpi: bool,
    warn_signal: WarnSignal,
    watchdog: Option<Watchdog>,
    /// None where the job is started once.
    requeue: Option<Requeue>,
    /// How long the nodes have to report in, where there are several and srun starts something on each.
    report_seconds: Option<u32>,
    superseded_exit: u8,
    launch_failed_exit: u8,
}

impl<'a> Job<'a> {
    fn new(
        resolved: &'a Resolved,
        run_root: &'a str,
        code_path: &'a str,
        varying: Option<&BTreeSet<String>>,
    ) -> Self {
        let Resolved { code, environment, compute, distributed, script, .. } = resolved;
        let pyxis = environment.container.as_ref().is_some_and(is_pyxis);
        // Only srun starts such a container: one task of it stands for the program alone.
        let is_alone = pyxis && distributed.launcher == Launcher::None;
        let launcher = if is_alone { Launcher::Srun } else { distributed.launcher };
        let launch = Launch::of(&compute.target, launcher);
        let meets = launch.uses_srun() && !is_alone && compute.nodes > 1;
        let has_rank_logs = distributed.rank_logs && launch.mixes_ranks();
        let scratch = compute.local_scratch.as_deref().map(ScratchPath);
        let words = |texts: &'a [String]| texts.iter().map(|text| ShellWord(text)).collect();
        let word = |text: &'a Option<String>| text.as_deref().map(ShellWord);
        Self {
            directives: compute.options.iter().map(Directive).collect(),
            name: ShellWord(&resolved.name),
            name_comment: Comment(&resolved.name),
            cluster: ShellWord(compute.target.cluster()),
            on_slurm: compute.target != Target::Local,
            launch,
            launcher: distributed.launcher.as_str(),
            umask: Octal(script.umask),
            run_root: ShellWord(run_root),
            is_sweep: varying.is_some(),
            repeats: resolved.repeats,
            files: Files::of(varying.is_some()),
            code: Code::of(code, code_path),
            prologue: site_code(&script.prologue),
            epilogue: site_code(&script.epilogue),
            modules: words(&environment.modules),
            conda: word(&environment.conda),
            conda_root: word(&environment.conda_root).filter(|root| !root.0.is_empty()),
            venv: word(&environment.venv),
            container: environment.container.as_ref().map(|it| Container::new(it, resolved)),
            has_secrets: environment.secrets.is_some(),
            is_built: environment.requirements.is_some(),
            variables: variables(&environment.variables, varying),
            datasets: resolved.datasets.iter().map(Data::of).collect(),
            stages: resolved.datasets.iter().any(|dataset| dataset.stage == Stage::Local),
            data_check_seconds: DATA_CHECK_SECONDS,
            has_rank_logs,
            is_python: is_python(&code.program),
            starts_python: launch.is_deepspeed()
                || (launch.agent().is_none() && is_python(&code.program) && !has_rank_logs),
            agent: launch.agent(),
            no_python: launch.no_python(),
            python: python(&code.program),
            program: program(&code.program),
            args: args(code, varying),
            checkpoint_directory: RunPath(&resolved.checkpoint_directory),
            checkpoint_every_steps: resolved.checkpoint.as_ref().and_then(|it| it.every_steps),
            resume: resolved.checkpoint.as_ref().and_then(Resume::of),
            metrics_file: RunPath(&resolved.metrics_file),
            scratch_of_node: scratch.as_ref().is_some_and(ScratchPath::is_of_node),
            local_scratch: scratch,
            head_address: HeadAddress(&distributed.node_address),
            ports: Ports::new(distributed.ports),
            nodes: compute.nodes,
            processes_per_node: if is_alone { 1 } else { distributed.processes_per_node },
            world_size: distributed.world_size,
            gpus_per_process: compute.gpus_per_node / distributed.processes_per_node.max(1),
            is_alone,
            srun_args: words(&distributed.srun_args),
            says_mpi: distributed.srun_args.iter().any(|word| word.starts_with("--mpi=")),
            warn_signal: resolved.failure.warn_signal,
            watchdog: Watchdog::of(resolved),
            requeue: Requeue::of(resolved),
            report_seconds: meets.then_some(REPORT_SECONDS),
            superseded_exit: SUPERSEDED_EXIT,
            launch_failed_exit: LAUNCH_FAILED_EXIT,
        }
    }
}

/// Those that are the same for all whom the script is for.
fn variables<'a>(
    variables: &'a [(String, Word)],
    varying: Option<&BTreeSet<String>>,
) -> Vec<(VariableName<'a>, ShellText<'a>)> {
    let is_fixed = |name: &String| varying.is_none_or(|varying| !varying.contains(name));
    let fixed = variables.iter().filter(|(name, _)| is_fixed(name));
    fixed.map(|(name, value)| (VariableName(name), ShellText(value))).collect()
}

/// A point has all of its own.
fn args<'a>(code: &'a resolved::Code, varying: Option<&BTreeSet<String>>) -> Vec<ShellText<'a>> {
    if varying.is_some() { Vec::new() } else { code.args.iter().map(ShellText).collect() }
}

/// A dataset as the script has it.
struct Data<'a> {
    name: ShellWord<'a>,
    variable: DataVariable<'a>,
    path: ShellWord<'a>,
    on_drift: &'static str,
    is_staged: bool,
}

impl<'a> Data<'a> {
    fn of(dataset: &'a Dataset) -> Self {
        // A path that is no text is in no spec.
        let path = dataset.path.to_str().unwrap_or_default();
        Self {
            name: ShellWord(&dataset.name),
            variable: DataVariable(&dataset.name),
            path: ShellWord(path),
            on_drift: dataset.on_drift.as_str(),
            is_staged: dataset.stage == Stage::Local,
        }
    }
}

/// Where the code is.
struct Code<'a> {
    /// For a job that was submitted by hand.
    path: ShellWord<'a>,
    is_directory: bool,
    is_copied: bool,
    /// Of all captured files, in seconds since 1970.
    time: u64,
}

impl<'a> Code<'a> {
    fn of(code: &resolved::Code, path: &'a str) -> Self {
        Self {
            path: ShellWord(path),
            is_directory: code.kind == SourceKind::Directory,
            is_copied: code.work == WorkStyle::Copy,
            time: FILES_TIME,
        }
    }
}

/// The site's pieces that say something.
pub(super) fn site_code(pieces: &[String]) -> Vec<SiteCode<'_>> {
    let written = pieces.iter().filter(|piece| !piece.trim().is_empty());
    written.map(|piece| SiteCode(piece)).collect()
}

pub(super) struct Octal(pub(super) Mode);

impl fmt::Display for Octal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0.0)
    }
}

fn ends_with(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

fn is_python(program: &Program) -> bool {
    match program {
        Program::EntryPoint(path) => ends_with(path, "py"),
        Program::Command(_) => false,
    }
}

/// The interpreter that a command names, else the one that is found.
fn python(program: &Program) -> Quoted {
    let named = match program {
        Program::Command(words) => words.first(),
        Program::EntryPoint(_) => None,
    };
    let is_python = |word: &&Word| {
        let text = word.to_string();
        Path::new(&text)
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("python"))
    };
    named.filter(is_python).map_or(ShellWord("python").into(), |word| ShellText(word).into())
}

/// The program's words; for Python without the interpreter.
fn program(program: &Program) -> Vec<Quoted> {
    match program {
        Program::Command(words) => words.iter().map(|word| ShellText(word).into()).collect(),
        Program::EntryPoint(path) => {
            let from_here = format!("./{path}");
            // A name that looks like an option is none.
            let path = if path.starts_with('-') { from_here.as_str() } else { path };
            if ends_with(path, "py") {
                vec![ShellWord(path).into()]
            } else if ends_with(path, "sh") {
                vec![ShellWord("bash").into(), ShellWord(path).into()]
            } else {
                vec![ShellWord(&from_here).into()]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_the_python_that_a_command_names_are_recorded() {
        let check = |program: Program, word: &str| assert_eq!(python(&program).to_string(), word);
        let command = |word: &str| Program::Command(vec![Word::parse(word).unwrap()]);
        check(Program::EntryPoint("python.py".into()), "python");
        check(command("/opt/my py/python3.12"), "'/opt/my py/python3.12'");
        check(command("{work}/bin/python"), "\"${TRAINYARD_WORK_DIR}\"/bin/python");
        check(command("bash"), "python");
    }

    #[test]
    fn an_entry_point_is_started_by_its_ending() {
        let check = |path: &str, words: &[&str]| {
            let shown: Vec<String> =
                program(&Program::EntryPoint(path.into())).iter().map(Quoted::to_string).collect();
            assert_eq!(shown, words);
        };
        check("train.py", &["train.py"]);
        check("-x.py", &["./-x.py"]);
        check("a b/run.sh", &["bash", "'a b/run.sh'"]);
        check("bin/train", &["./bin/train"]);
    }
}
