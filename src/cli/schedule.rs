//! `schedule`: runs that are submitted by themselves.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::api::ScheduleAnswer;
use crate::cli::client::{ACCEPTANCE_PATIENCE, Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::host::Host;
use crate::cli::output::Column;
use crate::cli::spec_args::SpecArgs;
use crate::cli::submit::checked;
use crate::cli::text::{TerminalText, moment, one_line, path};
use crate::daemon::{ScheduleRequest, ScheduleThere, ThereError};
use crate::domain::schedule::{FiringView, HOW_TO_HAVE_ONE, Outcome, Plan, ScheduleView};
use crate::domain::sweep::Family;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Take on the schedule of a spec, instead of the one of the same name
    Add(Added),
    /// List schedules, or tell all about one
    List {
        /// Only this one, with what became of its last times
        name: Option<String>,
    },
    /// Submit nothing until it is resumed
    Pause(One),
    /// Go on with a paused schedule, from its next time
    Resume(One),
    /// Submit a run now, as at one of the schedule's times, and print its number
    RunNow(One),
    /// Forget a schedule; its runs stay
    Delete(One),
}

#[derive(Debug, clap::Args)]
pub struct Added {
    #[command(flatten)]
    spec: SpecArgs,
}

#[derive(Debug, clap::Args)]
pub struct One {
    /// A schedule, by the name of its spec
    name: String,
}

impl One {
    fn path(&self, verb: &str) -> String {
        format!("/schedules/{}/{verb}", encoded(&self.name))
    }
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Add(added) => add(context, &added.spec),
        Command::List { name } => list(context, name.as_deref()),
        Command::Pause(one) => change(context, one, "pause", "paused"),
        Command::Resume(one) => change(context, one, "resume", "goes on"),
        Command::RunNow(one) => run_now(context, one),
        Command::Delete(one) => change(context, one, "delete", "deleted; its runs stay"),
    }
}

/// The time zone of this machine, by the name that other machines know it by.
pub(super) fn own_timezone() -> String {
    let zone = TimeZone::system();
    let name = zone.iana_name().filter(|name| *name != "Etc/Unknown");
    name.unwrap_or("UTC").to_owned()
}

/// What nobody knows who has not been told.
pub(super) const NEEDS_A_DAEMON: &str = "nothing starts the daemon after a reboot: put `@reboot trainyard daemon start`, or \
    `trainyard serve --once` every few minutes, into your crontab";

/// The same, of the machine that is meant.
fn needs_a_daemon(context: &Context) -> String {
    let there = context.global.host.as_ref().map(|host| format!(" on {host}"));
    format!("{NEEDS_A_DAEMON}{}", there.unwrap_or_default())
}

fn add(context: &Context, args: &SpecArgs) -> Result<Exit, CliError> {
    let answer = match &context.global.host {
        Some(host) => add_there(context, host, args),
        None => add_here(context, args),
    }?;
    if context.global.json {
        context.output().json(&answer)?;
        return Ok(Exit::Done);
    }
    let ScheduleAnswer { schedule, replaced } = answer;
    let name = TerminalText(&schedule.name);
    context.say(&match &replaced {
        None => format!("schedule `{name}` added: {}", in_words(&schedule.plan)),
        Some(old) => match changes(old, &schedule).as_slice() {
            [] => format!("schedule `{name}` is as it was: {}", in_words(&schedule.plan)),
            changes => format!("schedule `{name}` changed: {}", changes.join(", ")),
        },
    });
    for at in &schedule.next {
        context.output().line(&time(*at, &schedule.plan))?;
    }
    if schedule.paused_at.is_some() {
        context.say(&format!("it is paused: `trainyard schedule resume {name}`"));
    }
    context.say("the daemon submits these runs, and stays as long as there is a schedule");
    context.say(&needs_a_daemon(context));
    Ok(Exit::Done)
}

fn add_here(context: &Context, args: &SpecArgs) -> Result<ScheduleAnswer, CliError> {
    let site = context.site()?;
    let spec = args.read(context)?;
    let family = Family::read(&spec);
    let name = checked(context, &spec, family.as_ref(), &site).map_err(CliError::from)?.name;
    let Some(plan) = spec.schedule(own_timezone) else {
        let message = ThereError::NoSchedule(args.spec.clone()).to_string();
        return Err(CliError::new(Exit::Invalid, message).hint(HOW_TO_HAVE_ONE));
    };
    let plan = plan.map_err(|(sources, problems)| CliError::invalid(problems, sources))?;
    let file = Path::new(&spec.file).file_name().unwrap_or_default();
    let request = ScheduleRequest { name, spec: spec.base.join(file), changes: spec.changes, plan };
    Context::block_on(async { Client::connect(context).await?.post("/schedules", &request).await })
}

/// The daemon of another machine reads the spec again at each time, so it reads it now, too.
fn add_there(context: &Context, host: &Host, args: &SpecArgs) -> Result<ScheduleAnswer, CliError> {
    let spec = context.surroundings.directory.join(&args.spec);
    context.say(&format!("the spec is read on {host}, at each time again: {} there", path(&spec)));
    let (changes, timezone) = (args.changes.changes(context)?, own_timezone());
    let request = ScheduleThere { spec, changes, timezone };
    let answer = Context::block_on(async {
        Client::connect(context).await?.post("/schedules/there", &request).await
    });
    answer.map_err(|error| host.saw(error))
}

fn in_words(plan: &Plan) -> String {
    let Plan { cron, timezone, catch_up, if_active } = plan;
    let missed =
        if *catch_up { "one run makes up for missed ones" } else { "missed ones are lost" };
    format!("{}, {timezone}; {missed}; while a run is active: {if_active}", TerminalText(cron))
}

fn changes(old: &ScheduleView, new: &ScheduleView) -> Vec<String> {
    let mut changes = old.plan.changes(&new.plan);
    if old.spec != new.spec {
        changes.push(format!("spec: {} → {}", path(&old.spec), path(&new.spec)));
    }
    if old.changes != new.changes {
        let said = |view: &ScheduleView| match view.changes.as_slice() {
            [] => "none".to_owned(),
            changes => changes.join(" "),
        };
        changes.push(format!("flags: {} → {}", said(old), said(new)));
    }
    changes.iter().map(|change| TerminalText(change).to_string()).collect()
}

/// A moment in the schedule's own time zone.
pub(super) fn time(at: Timestamp, plan: &Plan) -> String {
    let zone = TimeZone::get(&plan.timezone).unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

const HEADER: &[Column] = &[
    Column::Elastic("NAME"),
    Column::Elastic("CRON"),
    Column::Elastic("TIMEZONE"),
    Column::Whole("NEXT"),
    Column::Elastic("LAST"),
];

fn list(context: &Context, name: Option<&str>) -> Result<Exit, CliError> {
    let all: Vec<ScheduleView> =
        Context::block_on(async { Client::connect(context).await?.get("/schedules").await })?;
    if let Some(name) = name {
        let Some(one) = all.iter().find(|schedule| schedule.name == name) else {
            let message = format!("there is no schedule `{}`", TerminalText(name));
            return Err(CliError::new(Exit::NotFound, message)
                .hint("`trainyard schedule list` shows what there is"));
        };
        if context.global.json {
            context.output().json(one)?;
        } else {
            context.output().text(&whole(one))?;
        }
        return Ok(Exit::Done);
    }
    if context.global.json {
        context.output().json(&all)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        context.say("there are no schedules: `trainyard schedule add SPEC` takes one on");
        return Ok(Exit::Done);
    }
    context.output().table(HEADER, all.iter().map(row).collect())?;
    context.say(&format!("`trainyard schedule list NAME` tells more; {}", needs_a_daemon(context)));
    Ok(Exit::Done)
}

fn row(schedule: &ScheduleView) -> Vec<String> {
    vec![
        TerminalText(&schedule.name).to_string(),
        TerminalText(&schedule.plan.cron).to_string(),
        TerminalText(&schedule.plan.timezone).to_string(),
        next(schedule),
        schedule.firings.first().map_or_else(|| "-".to_owned(), became),
    ]
}

fn next(schedule: &ScheduleView) -> String {
    match (schedule.paused_at, schedule.next.first()) {
        (Some(_), _) => "paused".to_owned(),
        (None, Some(next)) => moment(*next),
        (None, None) => "never".to_owned(),
    }
}

/// What became of a planned time.
pub(super) fn became(firing: &FiringView) -> String {
    let run = match (firing.sweep, firing.run) {
        (Some(sweep), _) => format!(" sweep {sweep}"),
        (None, Some(run)) => format!(" run {run}"),
        (None, None) => String::new(),
    };
    let why = if firing.why.is_empty() { String::new() } else { format!(": {}", firing.why) };
    let word = match firing.outcome {
        Outcome::Submitted => return one_line(format!("{}{why}", run.trim_start()).as_str()),
        Outcome::Skipped => return one_line(&format!("skipped{why}")),
        Outcome::Begun | Outcome::Failed | Outcome::Missed => firing.outcome,
    };
    one_line(&format!("{word}{run}{why}"))
}

fn whole(schedule: &ScheduleView) -> String {
    let mut lines = vec![
        ("spec", path(&schedule.spec)),
        ("when", TerminalText(&in_words(&schedule.plan)).to_string()),
        ("added", moment(schedule.added_at)),
    ];
    if !schedule.changes.is_empty() {
        lines.push(("flags", TerminalText(&schedule.changes.join(" ")).to_string()));
    }
    if let Some(since) = schedule.paused_at {
        lines.push(("paused", format!("since {}", moment(since))));
    }
    for (index, at) in schedule.next.iter().enumerate() {
        lines.push((if index == 0 { "next" } else { "" }, time(*at, &schedule.plan)));
    }
    for (index, firing) in schedule.firings.iter().enumerate() {
        let key = if index == 0 { "last" } else { "" };
        lines.push((key, format!("{}  {}", moment(firing.planned), became(firing))));
    }
    let heading = format!("schedule {}\n", TerminalText(&schedule.name));
    lines.iter().fold(heading, |text, (key, value)| text + &format!("  {key:<7} {value}\n"))
}

fn change(context: &Context, one: &One, verb: &str, done: &str) -> Result<Exit, CliError> {
    let schedule: ScheduleView = Context::block_on(async {
        Client::connect(context).await?.post(&one.path(verb), &()).await
    })?;
    if context.global.json {
        context.output().json(&schedule)?;
    } else {
        context.say(&format!("schedule `{}` {done}", TerminalText(&schedule.name)));
    }
    Ok(Exit::Done)
}

fn run_now(context: &Context, one: &One) -> Result<Exit, CliError> {
    let firing: FiringView = Context::block_on(async {
        let client = Client::connect(context).await?;
        client.post_within(&one.path("run-now"), &(), ACCEPTANCE_PATIENCE).await
    })?;
    if context.global.json {
        context.output().json(&firing)?;
    }
    let number = firing.sweep.or(firing.run);
    // An open sweep for which it was skipped is no run.
    if number.is_none() && firing.outcome != Outcome::Skipped {
        return Err(CliError::new(Exit::NotCompleted, firing.why).nothing_submitted());
    }
    if !context.global.json {
        if let Some(number) = number {
            context.output().line(&number.to_string())?;
        }
        context.say(&became(&firing));
    }
    Ok(Exit::Done)
}
