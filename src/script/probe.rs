//! The script that tells what a compute node sees.

use askama::Template;

use crate::domain::resolved::SbatchOption;
use crate::domain::site_check::probe::{ABSENT_EXIT, ROUNDS, UNWRITABLE_EXIT};
use crate::script::directive::Directive;
use crate::script::shell::{ScratchPath, ShellWord};

/// How often a file is looked for, twenty times a second: two rounds without an answer still end within the job's minute.
const TRIES: u32 = 400;

/// What a probe is asked.
#[derive(Debug)]
pub struct Probe<'a> {
    pub options: &'a [SbatchOption],
    /// Where it reports to.
    pub dir: &'a str,
    pub conda_root: Option<&'a str>,
    pub local_scratch: Option<&'a str>,
    /// The login host's name, and a port at which it listens.
    pub login: &'a str,
    pub port: Option<u16>,
}

#[derive(Template)]
#[template(
    path = "probe/probe.sh",
    escape = "none",
    syntax = "bash",
    config = "templates/askama.toml"
)]
struct Script<'a> {
    directives: Vec<Directive<'a>>,
    dir: ShellWord<'a>,
    conda_root: Option<ShellWord<'a>>,
    local_scratch: Option<ScratchPath<'a>>,
    login: ShellWord<'a>,
    port: Option<u16>,
    absent_exit: u8,
    unwritable_exit: u8,
    rounds: String,
    tries: u32,
}

/// The script of a probe.
///
/// # Panics
/// Never: it is written to memory by types whose Display does not fail.
pub fn render_probe(probe: &Probe<'_>) -> String {
    let rounds: Vec<String> = (1..=ROUNDS).map(|round| round.to_string()).collect();
    let script = Script {
        directives: probe.options.iter().map(Directive).collect(),
        dir: ShellWord(probe.dir),
        conda_root: probe.conda_root.map(ShellWord),
        local_scratch: probe.local_scratch.map(ScratchPath),
        login: ShellWord(probe.login),
        port: probe.port,
        absent_exit: ABSENT_EXIT,
        unwritable_exit: UNWRITABLE_EXIT,
        rounds: rounds.join(" "),
        tries: TRIES,
    };
    let mut script = script.render().expect("writing to a string cannot fail");
    script.push('\n');
    script
}
