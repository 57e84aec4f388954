//! The command line: one file per verb, a client of the daemon's socket.
//!
//! stdout is data, stderr is talk. To add a verb: a file with its `Args` and its function, a line in [`Verb`] and one in
//! [`dispatch`].

mod bad_nodes;
mod budget;
mod cancel;
mod check;
mod checkpoints;
mod classes;
mod client;
mod context;
mod daemon;
mod dataset;
mod delete;
mod diagnostic;
mod diff;
mod doctor;
mod error;
mod estimate;
mod events;
mod explain;
mod export;
mod first_run;
mod found;
mod gc;
mod host;
mod init;
mod ledger;
mod list;
mod logs;
mod metrics;
mod output;
mod parse;
mod render;
mod rerun;
mod resume;
#[cfg(test)]
mod sample;
mod schedule;
mod serve;
mod show;
mod site;
mod site_check;
mod site_init;
mod site_probe;
mod spec_args;
mod submit;
mod sweep;
mod text;
mod usage;
mod util;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub use context::Surroundings;
pub use error::{CliError, Exit};
pub use parse::{LATER, parse};

use crate::cli::context::Context;
use crate::cli::host::Host;

/// The training-run control plane of a Slurm cluster.
#[derive(Debug, Parser)]
#[command(name = "trainyard", version, about, max_term_width = 100)]
#[command(after_help = "A first run: trainyard init, then trainyard submit run.toml --wait")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Global {
    /// Site config file, over the one in /etc/trainyard
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TRAINYARD_SITE",
        hide_env_values = true
    )]
    pub site: Option<PathBuf>,
    /// Where the daemon keeps its state
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "TRAINYARD_STATE_DIR",
        hide_env_values = true
    )]
    pub state_dir: Option<PathBuf>,
    /// The daemon's socket, when it is not in the state directory
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "TRAINYARD_SOCKET",
        hide_env_values = true
    )]
    pub socket: Option<PathBuf>,
    /// The daemon of another machine: `ssh://[USER@]HOST[:PORT]`
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRAINYARD_HOST",
        hide_env_values = true,
        value_parser = Host::parse
    )]
    pub host: Option<Host>,
    /// Colour; auto is on a terminal, unless `NO_COLOR` is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        env = "TRAINYARD_COLOR",
        hide_env_values = true
    )]
    pub color: Color,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon in the foreground
    Serve(serve::Args),
    /// Start, stop or look at your own daemon
    #[command(subcommand)]
    Daemon(daemon::Command),
    /// Write a commented run.toml
    Init(init::Args),
    /// Tell all problems of specs, each at its line and column
    Check(check::Args),
    /// Print the exact script of a spec; nothing is submitted
    Render(render::Args),
    /// Tell what a spec would cost, whether that is left, and when it may start
    Estimate(estimate::Args),
    /// Submit a run or a sweep and print its number
    Submit(submit::Args),
    /// Submit a run again, from its record alone
    Rerun(rerun::Args),
    /// List runs, newest first
    #[command(alias = "ps")]
    List(list::Args),
    /// Show one run whole
    Show(show::Args),
    /// Show a run's history
    Events(events::Args),
    /// Say why a run waits, or why it failed, with the lines that prove it
    Explain(explain::Args),
    /// Print the whole record of a run as JSON
    Export(export::Args),
    /// Print a run's logs
    Logs(logs::Args),
    /// Show the values that a training reported
    Metrics(metrics::Args),
    /// Show the checkpoints of a run, and which of them are complete
    Checkpoints(checkpoints::Args),
    /// Wait until runs are over
    Wait(wait::Args),
    /// Cancel runs
    Cancel(cancel::Args),
    /// Start a run again that is over, from its newest complete checkpoint
    Resume(resume::Args),
    /// Delete the files of runs that are over; their records stay
    Delete(delete::Args),
    /// Show in what two runs differ
    Diff(diff::Args),
    /// Look at sweeps, compare their points, and cancel them
    #[command(subcommand)]
    Sweep(sweep::Command),
    /// Sum what runs took: node-hours, charges, and what of it was lost
    Usage(usage::Args),
    /// Show what projects may spend, and what is left of it
    Budget(budget::Args),
    /// Show what was entered in the ledger of projects, newest first
    Ledger(ledger::Args),
    /// Have runs submitted by themselves, at times that their spec names
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// List hardware classes
    Classes(classes::Args),
    /// Look at data: the site's catalogue, and what data has been
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// Look at the site config
    #[command(subcommand)]
    Site(site::Command),
    /// Tell what is wrong with this installation, and the mend
    Doctor(doctor::Args),
    /// Print generated documents
    #[command(subcommand)]
    Util(util::Command),
    /// Supervise one local job; the daemon starts it
    #[command(hide = true)]
    LocalJob { spool: PathBuf },
}

impl Cli {
    /// Whether this process outlives the command that started it.
    pub fn stays_behind(&self) -> bool {
        let is_daemon = matches!(&self.verb, Verb::Serve(args) if args.is_detached());
        is_daemon || matches!(self.verb, Verb::LocalJob { .. })
    }
}

/// Does what was asked and gives the exit code.
pub fn run(cli: Cli, surroundings: Surroundings) -> ExitCode {
    let context = Context::new(cli.global, cli.verb.is_quiet(), surroundings);
    match dispatch(&context, cli.verb) {
        Ok(exit) => exit.into(),
        Err(error) => error.report(&context),
    }
}

impl Verb {
    fn is_quiet(&self) -> bool {
        matches!(self, Self::Submit(args) if args.how.quiet)
            || matches!(self, Self::Rerun(args) if args.how.quiet)
    }

    /// Whether it only asks a daemon, wherever that is. Everything else is about the machine on which it is given.
    fn may_be_elsewhere(&self) -> bool {
        match self {
            Self::Submit(_)
            | Self::Rerun(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Events(_)
            | Self::Explain(_)
            | Self::Export(_)
            | Self::Logs(_)
            | Self::Metrics(_)
            | Self::Checkpoints(_)
            | Self::Wait(_)
            | Self::Cancel(_)
            | Self::Resume(_)
            | Self::Delete(_)
            | Self::Diff(_)
            | Self::Usage(_)
            | Self::Budget(_)
            | Self::Ledger(_)
            | Self::Estimate(_)
            | Self::Schedule(_)
            | Self::Sweep(_) => true,
            Self::Site(command) => command.asks_the_daemon(),
            Self::Serve(_)
            | Self::Daemon(_)
            | Self::Init(_)
            | Self::Check(_)
            | Self::Render(_)
            | Self::Classes(_)
            | Self::Dataset(_)
            | Self::Doctor(_)
            | Self::Util(_)
            | Self::LocalJob { .. } => false,
        }
    }
}

/// Refuses what `--host` cannot mean.
fn allow_host(context: &Context, host: &Host, verb: &Verb) -> Result<(), CliError> {
    // It is the far end itself, in an environment that may be that of every machine.
    if matches!(verb, Verb::Util(util::Command::DialStdio)) {
        return Ok(());
    }
    if !verb.may_be_elsewhere() {
        return Err(CliError::usage("this command is about the machine on which it is given, and takes neither `--host` nor TRAINYARD_HOST")
            .hint(format!("give it on {host} by ssh, or here without them")));
    }
    let Global { site, state_dir, socket, .. } = &context.global;
    let own = [(site, "--site"), (state_dir, "--state-dir"), (socket, "--socket")];
    match own.into_iter().find(|(said, _)| said.is_some()) {
        Some((_, flag)) => Err(CliError::usage(format!(
            "`{flag}`, or its variable, names a place on this machine, and the daemon is on {host}"
        ))
        .hint(
            "what the other machine is to go by is said there, or with TRAINYARD_REMOTE_COMMAND",
        )),
        None => Ok(()),
    }
}

fn dispatch(context: &Context, verb: Verb) -> Result<Exit, CliError> {
    if let Some(host) = &context.global.host {
        allow_host(context, host, &verb)?;
    }
    match verb {
        Verb::Serve(args) => serve::run(context, &args),
        Verb::Daemon(command) => daemon::run(context, &command),
        Verb::Init(args) => init::run(context, &args),
        Verb::Check(args) => check::run(context, &args),
        Verb::Render(args) => render::run(context, &args),
        Verb::Estimate(args) => estimate::run(context, &args),
        Verb::Submit(args) => submit::run(context, &args),
        Verb::Rerun(args) => rerun::run(context, &args),
        Verb::List(args) => list::run(context, &args),
        Verb::Show(args) => show::run(context, &args),
        Verb::Events(args) => events::run(context, &args),
        Verb::Explain(args) => explain::run(context, &args),
        Verb::Export(args) => export::run(context, &args),
        Verb::Logs(args) => logs::run(context, &args),
        Verb::Metrics(args) => metrics::run(context, &args),
        Verb::Checkpoints(args) => checkpoints::run(context, &args),
        Verb::Wait(args) => wait::run(context, &args),
        Verb::Cancel(args) => cancel::run(context, &args),
        Verb::Resume(args) => resume::run(context, &args),
        Verb::Delete(args) => delete::run(context, &args),
        Verb::Diff(args) => diff::run(context, &args),
        Verb::Usage(args) => usage::run(context, &args),
        Verb::Budget(args) => budget::run(context, &args),
        Verb::Ledger(args) => ledger::run(context, &args),
        Verb::Sweep(command) => sweep::run(context, &command),
        Verb::Schedule(command) => schedule::run(context, &command),
        Verb::Classes(args) => classes::run(context, &args),
        Verb::Dataset(command) => dataset::run(context, &command),
        Verb::Site(command) => site::run(context, &command),
        Verb::Doctor(args) => doctor::run(context, &args),
        Verb::Util(command) => util::run(context, &command),
        Verb::LocalJob { spool } => Ok(serve::local_job(&spool)),
    }
}
