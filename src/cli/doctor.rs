//! `doctor`: what is wrong with this installation, and the mend.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::api::{BudgetView, DaemonStatus};
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::found::{FOUND_FRESH, found_slurm};
use crate::cli::schedule::{NEEDS_A_DAEMON, became};
use crate::cli::site_check::{findings, word};
use crate::cli::text::{TerminalText, moment};
use crate::domain::keys::Named;
use crate::domain::problem::SourceId;
use crate::domain::schedule::{Outcome, ScheduleView, is_late};
use crate::domain::site_check::{Finding, Level};
use crate::files::FoundLayer;
use crate::store::{network_name, schedules_without_daemon};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, CliError> {
    let mut findings = vec![state_dir(context), site(context)];
    findings.extend(slurm(context));
    findings.extend(site_check(context));
    findings.extend(Context::block_on(async {
        let client = Client::without_starting(context);
        let mut told = vec![daemon(&client).await];
        told.extend(budgets(&client).await);
        told.extend(schedules(context, &client).await);
        Ok(told)
    })?);
    findings.extend([bash(), python(context), cpu_limit(), linger(context)]);
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    if context.global.json {
        context.output().json(&findings)?;
    } else {
        for finding in &findings {
            show(context, finding)?;
        }
    }
    if bad == 0 {
        return Ok(Exit::Done);
    }
    let verb = if bad == 1 { "is" } else { "are" };
    let message = format!("{bad} thing{} {verb} wrong", plural(bad));
    Err(CliError::new(Exit::NotCompleted, message))
}

fn show(context: &Context, finding: &Finding) -> Result<(), CliError> {
    let colour = match finding.level {
        Level::Fine => AnsiColor::Green,
        Level::Note => AnsiColor::Yellow,
        Level::Bad => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let output = context.output();
    output.line(&format!(
        "{style}{:<4}{style:#}  {:<10} {}",
        word(finding.level),
        TerminalText(&finding.what).to_string(),
        TerminalText(&finding.told)
    ))?;
    match &finding.mend {
        Some(mend) => output.line(&format!("                 → {}", TerminalText(mend))),
        None => Ok(()),
    }
}

fn state_dir(context: &Context) -> Finding {
    const WHAT: &str = "state";
    let dir = context.state_dir();
    if let Err(error) = dir.prepare(context.surroundings.asker.uid) {
        return Finding::bad(
            WHAT,
            crate::chain(&error),
            "make room or give another place with --state-dir",
        );
    }
    let shown = dir.path().display();
    match network_name(dir.path()) {
        Some(name) => Finding::note(
            WHAT,
            format!(
                "{shown} is on {name}: the database is opened alone and without a write-ahead log"
            ),
            "a state directory on a local disk is faster: --state-dir or TRAINYARD_STATE_DIR",
        ),
        None => Finding::fine(WHAT, format!("{shown}, on a local disk")),
    }
}

fn site(context: &Context) -> Finding {
    const WHAT: &str = "site";
    match context.site() {
        Ok(loaded) if loaded.sources.0.is_empty() => {
            let told = match loaded.silence {
                None => "no site file: runs execute on this machine (the local target)",
                Some(_) => "no site file: with `--target local` runs execute on this machine",
            };
            Finding::fine(WHAT, told)
        }
        Ok(loaded) if loaded.found == FoundLayer::Source(SourceId(0)) => {
            Finding::fine(WHAT, "no site file: runs execute on the cluster that was found")
        }
        Ok(loaded) => {
            let names: Vec<&str> =
                loaded.sources.0.iter().map(|source| source.name.as_str()).collect();
            Finding::fine(WHAT, names.join(", "))
        }
        Err(error) => Finding::bad(
            WHAT,
            error.message,
            "`trainyard site show` tells each problem at its place",
        ),
    }
}

/// The cluster that no site file describes.
fn slurm(context: &Context) -> Option<Finding> {
    const WHAT: &str = "slurm";
    const MEND: &str = "see what `sinfo` says, or describe the cluster in a site file";
    let loaded = context.site().ok().filter(|loaded| loaded.found != FoundLayer::NotWanted)?;
    let found = found_slurm(context, FOUND_FRESH);
    let is_absent = found.is_absent();
    let trouble = found.trouble();
    let FoundLayer::Source(source) = loaded.found else {
        let told = trouble.unwrap_or_else(|| "what was found cannot be used".to_owned());
        let finding =
            if is_absent { Finding::fine(WHAT, told) } else { Finding::note(WHAT, told, MEND) };
        return Some(finding);
    };
    let who = loaded.sources.get(source).map_or("", |source| source.name.as_str());
    let cluster = loaded.site.cluster.iter().flat_map(Named::names).next().unwrap_or_default();
    let classes = loaded.site.class_names().count();
    let ending = if classes == 1 { "" } else { "es" };
    let told = format!("{who}: cluster `{cluster}` with {classes} class{ending}");
    Some(match trouble {
        None => Finding::fine(WHAT, told),
        Some(trouble) => Finding::note(WHAT, format!("{told}; {trouble}"), MEND),
    })
}

/// What `site check` finds, without all that is fine.
fn site_check(context: &Context) -> Vec<Finding> {
    const WHAT: &str = "site check";
    let Ok(loaded) = context.site() else {
        return vec![Finding::note(WHAT, "not looked at", "mend the site file first")];
    };
    let findings = findings(context, &loaded);
    let (fine, mut others): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| finding.level == Level::Fine);
    let told = format!("{} thing{} fine", fine.len(), plural(fine.len()));
    others.insert(0, Finding::fine(WHAT, format!("{told}; `trainyard site check` lists them")));
    others
}

async fn daemon(client: &Client<'_>) -> Finding {
    const WHAT: &str = "daemon";
    if !client.is_there() {
        return Finding::fine(WHAT, "none serves now; the first command that needs one starts it");
    }
    match client.get::<DaemonStatus>("/daemon").await {
        Ok(status) if status.version == env!("CARGO_PKG_VERSION") => {
            if let Some(why) = status.site.and_then(|site| site.trouble) {
                let told = format!("it goes by the site as it was before: {why}");
                let mend = "mend the file: the daemon takes it up by itself";
                return Finding::bad(WHAT, told, mend);
            }
            Finding::fine(WHAT, format!("process {} on {}", status.pid, status.host))
        }
        Ok(status) => Finding::note(
            WHAT,
            format!("process {} is version {}", status.pid, status.version),
            "`trainyard daemon stop`; the next command starts this version",
        ),
        Err(error) => {
            Finding::bad(WHAT, error.message, "look into daemon.log in the state directory")
        }
    }
}

/// Budgets that something is wrong with; and whose runs they count.
async fn budgets(client: &Client<'_>) -> Vec<Finding> {
    const WHAT: &str = "budgets";
    const TOLD: &str = "they add up; only your own runs are counted here";
    if !client.is_there() {
        return Vec::new();
    }
    let budgets: Vec<BudgetView> = client.get("/budgets").await.unwrap_or_default();
    let mut findings: Vec<Finding> = budgets
        .iter()
        .filter_map(|budget| {
            let told = budget.wrong.clone()?;
            let mend = match budget.slurm {
                None => {
                    "restore the database from a copy, or find what changed it: `trainyard ledger` shows the entries"
                }
                Some(_) => "`trainyard site check` looks at what Slurm says of its account",
            };
            Some(Finding::bad(WHAT, told, mend))
        })
        .collect();
    let overrun = budgets.iter().filter(|budget| budget.overrun > 0.0);
    findings.extend(overrun.map(|budget| {
        let told = format!("project `{}` is {:.2} over its budget", budget.project, budget.overrun);
        Finding::note(WHAT, told, "nothing of it starts before its budget has room again")
    }));
    if !budgets.is_empty() && findings.is_empty() {
        findings.push(Finding::fine(WHAT, TOLD));
    }
    findings
}

/// Schedules, and whether somebody is there to submit their runs.
async fn schedules(context: &Context, client: &Client<'_>) -> Vec<Finding> {
    const WHAT: &str = "schedules";
    if client.is_there() {
        let all: Vec<ScheduleView> = client.get("/schedules").await.unwrap_or_default();
        let failed = all.iter().filter_map(|schedule| {
            let last = schedule.firings.first()?;
            let told = format!("`{}`: {}", schedule.name, became(last));
            let is_bad = matches!(last.outcome, Outcome::Failed | Outcome::Missed);
            let mend =
                "the next planned time is the next try; `trainyard schedule run-now` is one now";
            is_bad.then(|| Finding::note(WHAT, told, mend))
        });
        let mut findings: Vec<Finding> = failed.collect();
        if let Some(next) = all.iter().filter_map(|schedule| schedule.next.first()).min() {
            let told = format!("the next run is submitted at {}", moment(*next));
            findings.push(Finding::fine(WHAT, told));
        }
        return findings;
    }
    let Some((count, next)) = schedules_without_daemon(&context.state_dir().database()) else {
        return Vec::new();
    };
    let s = plural(count);
    let told = format!("{count} schedule{s}, and no daemon runs that would submit their runs");
    let finding = match next.filter(|next| is_late(*next, context.surroundings.clock.now())) {
        None => Finding::note(WHAT, told, NEEDS_A_DAEMON),
        Some(due) => {
            Finding::bad(WHAT, format!("{told}; one was due at {}", moment(due)), NEEDS_A_DAEMON)
        }
    };
    vec![finding]
}

fn bash() -> Finding {
    if Path::new("/bin/bash").exists() {
        return Finding::fine("bash", "/bin/bash");
    }
    Finding::bad("bash", "there is no /bin/bash, and every script needs it", "install bash")
}

fn python(context: &Context) -> Finding {
    const WHAT: &str = "python";
    let path = context
        .surroundings
        .environment
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_str());
    let found = path
        .unwrap_or_default()
        .split(':')
        .flat_map(|dir| ["python", "python3"].map(|name| Path::new(dir).join(name)))
        .find(|path| path.is_file());
    match found {
        Some(python) => Finding::fine(WHAT, python.display().to_string()),
        None => Finding::note(
            WHAT,
            "neither python nor python3 is on PATH",
            "name a venv or a conda environment in the spec",
        ),
    }
}

fn cpu_limit() -> Finding {
    const WHAT: &str = "limits";
    match getrlimit(Resource::RLIMIT_CPU) {
        Ok((RLIM_INFINITY, _)) | Err(_) => Finding::fine(WHAT, "no limit on processor time"),
        Ok((seconds, _)) => Finding::note(
            WHAT,
            format!(
                "processes here are killed after {seconds} s of processor time (ulimit -t), the daemon too"
            ),
            "run `trainyard serve --once` from cron, or start the daemon where there is no such limit",
        ),
    }
}

/// systemd ends a user's processes at logout unless they linger.
fn linger(context: &Context) -> Finding {
    const WHAT: &str = "logout";
    let user = &context.surroundings.asker.user;
    let kills = std::fs::read_to_string("/etc/systemd/logind.conf").is_ok_and(|text| {
        text.lines().any(|line| line.trim().eq_ignore_ascii_case("KillUserProcesses=yes"))
    });
    if kills && !Path::new("/var/lib/systemd/linger").join(user).exists() {
        return Finding::note(
            WHAT,
            "this machine ends your processes when you log out, the daemon and local runs too",
            format!("`loginctl enable-linger {user}`"),
        );
    }
    Finding::fine(WHAT, "processes stay when you log out")
}
