//! The script that builds an environment: where the daemon runs, or as a job.

use askama::Template;

use crate::domain::requirements::{BUILD_SECONDS_MAX, CapturedRequirements, digest};
use crate::domain::resolved::Resolved;
use crate::script::directive::Directive;
use crate::script::points::Files;
use crate::script::render::{Octal, site_code};
use crate::script::shell::{ShellText, ShellWord, SiteCode, VariableName};

/// The parts that it shares with the job script ask for more than a build has.
#[derive(Template)]
#[template(
    path = "build/build.sh",
    escape = "none",
    syntax = "bash",
    config = "templates/askama.toml"
)]
struct Build<'a> {
    directives: Vec<Directive<'a>>,
    /// What was asked for: stands for everything that decides about the environment but the machine.
    asked: ShellWord<'a>,
    run_root: ShellWord<'a>,
    umask: Octal,
    prologue: Vec<SiteCode<'a>>,
    modules: Vec<ShellWord<'a>>,
    conda: Option<ShellWord<'a>>,
    conda_root: Option<ShellWord<'a>>,
    venv: Option<ShellWord<'a>>,
    is_built: bool,
    is_sweep: bool,
    files: Files,
    has_secrets: bool,
    variables: Vec<(VariableName<'a>, ShellText<'a>)>,
    pip_args: Vec<ShellWord<'a>>,
    deadline_seconds: u64,
}

/// The script that builds the environment of a run. It is the same for all runs that can share one, and only for those.
///
/// # Panics
/// Never: it is written to memory by types whose Display does not fail.
pub fn render_build(resolved: &Resolved, captured: &CapturedRequirements) -> String {
    let requirements = resolved.environment.requirements.as_ref();
    let pip_args = requirements.map_or(&[][..], |requirements| &requirements.pip_args);
    let job = requirements.and_then(|requirements| requirements.build_on.as_ref());
    let asked = digest(captured, pip_args, &resolved.environment.modules);
    let run_root = resolved.run_root.to_string_lossy();
    let build = Build {
        directives: job.iter().flat_map(|job| &job.compute.options).map(Directive).collect(),
        asked: ShellWord(&asked),
        run_root: ShellWord(&run_root),
        umask: Octal(resolved.script.umask),
        prologue: site_code(job.map_or(&resolved.script.prologue, |job| &job.prologue)),
        modules: words_of(&resolved.environment.modules),
        conda: None,
        conda_root: None,
        venv: None,
        is_built: false,
        is_sweep: false,
        files: Files::of(false),
        has_secrets: false,
        variables: Vec::new(),
        pip_args: words_of(pip_args),
        deadline_seconds: BUILD_SECONDS_MAX,
    };
    let mut script = build.render().expect("writing to a string cannot fail");
    script.push('\n');
    script
}

fn words_of(texts: &[String]) -> Vec<ShellWord<'_>> {
    texts.iter().map(|text| ShellWord(text)).collect()
}
