//! The script that builds an environment, where the daemon runs.

use askama::Template;

use crate::domain::resolved::Resolved;
use crate::script::render::{Octal, site_code};
use crate::script::shell::{ShellText, ShellWord, SiteCode, VariableName};

/// A build that takes longer hangs; compiling the largest packages takes half of it.
pub const BUILD_SECONDS_MAX: u64 = 2 * 60 * 60;

/// The parts that it shares with the job script ask for more than a build has.
#[derive(Template)]
#[template(
    path = "build/build.sh",
    escape = "none",
    syntax = "bash",
    config = "templates/askama.toml"
)]
struct Build<'a> {
    umask: Octal,
    prologue: Vec<SiteCode<'a>>,
    modules: Vec<ShellWord<'a>>,
    conda: Option<ShellWord<'a>>,
    conda_root: Option<ShellWord<'a>>,
    venv: Option<ShellWord<'a>>,
    is_built: bool,
    has_secrets: bool,
    variables: Vec<(VariableName<'a>, ShellText<'a>)>,
    pip_args: Vec<ShellWord<'a>>,
    deadline_seconds: u64,
}

/// The script that builds the environment of a run: the same for all runs with these modules, this site's code and these
/// words for pip.
///
/// # Panics
/// Never: it is written to memory by types whose Display does not fail.
pub fn render_build(resolved: &Resolved) -> String {
    let requirements = resolved.environment.requirements.as_ref();
    let pip_args = requirements.map(|requirements| requirements.pip_args.as_slice());
    let build = Build {
        umask: Octal(resolved.script.umask),
        prologue: site_code(&resolved.script.prologue),
        modules: words_of(&resolved.environment.modules),
        conda: None,
        conda_root: None,
        venv: None,
        is_built: false,
        has_secrets: false,
        variables: Vec::new(),
        pip_args: words_of(pip_args.unwrap_or_default()),
        deadline_seconds: BUILD_SECONDS_MAX,
    };
    let mut script = build.render().expect("writing to a string cannot fail");
    script.push('\n');
    script
}

fn words_of(texts: &[String]) -> Vec<ShellWord<'_>> {
    texts.iter().map(|text| ShellWord(text)).collect()
}
