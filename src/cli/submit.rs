//! `submit`: hand a run in, and see it through as far as was asked.

use std::time::Duration;

use crate::api::{RunAnswer, SubmitAnswer, SubmitOutcome, SweepAnswer};
use crate::cli::check::{Faults, check, check_point, check_sweep};
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::diagnostic;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::first_run::ask_run_root;
use crate::cli::host::Host;
use crate::cli::schedule::own_timezone;
use crate::cli::spec_args::SpecArgs;
use crate::cli::text::{TerminalText, one_line, path};
use crate::cli::wait::{Patience, conclusion, sweep_conclusion, wait_for, wait_for_sweep};
use crate::daemon::{Destination, SubmitRequest};
use crate::domain::request::{IfActive, SpecRequest};
use crate::domain::resolve::Choice;
use crate::domain::resolved::Resolved;
use crate::domain::sweep::Family;
use crate::domain::units::Seconds;
use crate::domain::view::RunView;
use crate::files::{FoundLayer, LoadedSite};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    pub(super) how: How,
    /// Only check, and tell what would be submitted
    #[arg(long)]
    dry_run: bool,
}

/// How a run is handed in, and how far it is followed.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// The same key and the same spec give the same run, also years later
    #[arg(long)]
    pub key: Option<String>,
    /// What to do when a run of this name is active: submit, skip, queue or replace
    #[arg(long, value_name = "WHAT", default_value = "submit", value_parser = if_active)]
    pub if_active: IfActive,
    /// How long to wait for the scheduler's acknowledgement
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    ack_timeout: Seconds,
    /// Wait until the run, or all points of the sweep, are over; exit 0 when they completed
    #[arg(long)]
    wait: bool,
    /// With --wait: how long
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = duration)]
    timeout: Option<Seconds>,
    /// Print nothing but what goes wrong, and that in one line: for cron
    #[arg(short, long)]
    pub quiet: bool,
    /// With --wait: the longest time between looks
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = duration)]
    poll: Option<Seconds>,
}

pub(super) fn duration(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).ok_or_else(|| "write a duration such as 90s, 5m or 1d12h".to_owned())
}

fn if_active(text: &str) -> Result<IfActive, String> {
    IfActive::from_word(text).ok_or_else(|| format!("one of {}", IfActive::WORDS.join(", ")))
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if let Some(host) = &context.global.host {
        return run_there(context, host, args);
    }
    let mut site = context.site()?;
    if !args.dry_run && ask_run_root(context, &site.site)? {
        site = context.site()?;
    }
    let spec = args.spec.read(context)?;
    if spec.plan(own_timezone).is_some() {
        context.say("one run now: the spec's [schedule] is taken on by `trainyard schedule add`");
    }
    let family = Family::read(&spec);
    // A key is looked up before anything else: its run may be older than the code that the spec still names.
    let meant = if args.how.key.is_none() || args.dry_run {
        let nothing = |faults| CliError::from(faults).nothing_submitted();
        let resolved = checked(context, &spec, family.as_ref(), &site).map_err(nothing)?;
        if args.dry_run {
            return dry_run(context, &resolved, family.as_ref());
        }
        Some(Destination::of(&resolved))
    } else if family.is_some() {
        None
    } else {
        let checked = spec.check(&site.site, &context.surroundings.asker);
        diagnostic::warn(context, &checked.outcome.warnings, &checked.sources);
        // Where it executes is not known here, if Slurm is silent.
        let is_known = site.silence.is_none() || checked.outcome.choice == Choice::Made;
        checked.outcome.resolved.filter(|_| is_known).as_ref().map(Destination::of)
    };
    let request = request(spec, meant, &args.how);
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let handed_in = hand_in(context, &client, &request, &args.how).await;
        handed_in.map_err(|error| of_older_site(error, &site))
    })
}

/// Hands a spec of this machine in to another one's daemon. Its text is read here; everything that it names is there, and
/// so is the site that it is checked against.
fn run_there(context: &Context, host: &Host, args: &Args) -> Result<Exit, CliError> {
    if args.dry_run {
        return Err(CliError::usage("`--dry-run` checks against this machine's site config and files, and takes no `--host`")
            .hint(format!("`trainyard check` does it on {host}")));
    }
    let spec = args.spec.read(context)?;
    let base = path(&spec.base);
    context.say(&format!(
        "what the spec names is looked for on {host}, relative paths in {base} there"
    ));
    let request = request(spec, None, &args.how);
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let handed_in = hand_in(context, &client, &request, &args.how).await;
        handed_in.map_err(|error| host.saw(error))
    })
}

fn request(spec: SpecRequest, meant: Option<Destination>, how: &How) -> SubmitRequest {
    SubmitRequest {
        spec,
        key: how.key.clone(),
        if_active: how.if_active,
        meant,
        code: None,
        requirements: None,
        rerun_of: None,
    }
}

/// Hands a run in, prints its number and follows it as far as was asked.
pub(super) async fn hand_in(
    context: &Context,
    client: &Client<'_>,
    request: &SubmitRequest,
    how: &How,
) -> Result<Exit, CliError> {
    let answer: SubmitAnswer = client.submit(request).await?;
    if !context.global.json && !context.quiet {
        context.output().line(&number(&answer))?;
    }
    announce(context, &answer);
    Box::pin(see_through(context, client, how, answer)).await
}

/// What the run is known by, or the sweep.
fn number(answer: &SubmitAnswer) -> String {
    let sweep = answer.sweep.as_ref().map(|answer| answer.sweep.id);
    let number = sweep.or(answer.run.as_ref().map(|run| run.id));
    number.map_or(String::new(), |number| number.to_string())
}

/// What was fine here may be refused by a daemon that has been there since before the cluster was found as it is now.
fn of_older_site(error: CliError, site: &LoadedSite) -> CliError {
    match (error.exit, site.found) {
        (Exit::Invalid, FoundLayer::Source(_)) => error.hint(
            "the daemon goes by the classes that were found when it started: `trainyard daemon stop`, \
             and the next command starts one with those of now",
        ),
        _ => error,
    }
}

/// Checks a run, or all points of a sweep; what the first one means.
pub(super) fn checked(
    context: &Context,
    spec: &SpecRequest,
    family: Option<&Family>,
    site: &LoadedSite,
) -> Result<Resolved, Faults> {
    let Some(family) = family else { return check(context, spec, site) };
    check_sweep(context, spec, family, site)?;
    let Some(first) = family.first() else { return Err(Faults::default()) };
    check_point(context, spec, (family, first), site)
}

fn dry_run(
    context: &Context,
    resolved: &Resolved,
    family: Option<&Family>,
) -> Result<Exit, CliError> {
    if context.global.json {
        context.output().json(resolved)?;
    } else {
        let target = resolved.compute.target.cluster();
        let name = TerminalText(&resolved.name);
        let points = family.map_or(String::new(), |family| {
            let count = family.points.points.len();
            if family.open.is_some() {
                " as an open sweep".to_owned()
            } else {
                format!(" with {count} point{}", plural(count))
            }
        });
        context.say(&format!("would submit `{name}`{points} to {target}; nothing was submitted"));
    }
    Ok(Exit::Done)
}

/// Follows an accepted run as far as was asked, and prints its document if that was asked, whatever happens.
async fn see_through(
    context: &Context,
    client: &Client<'_>,
    how: &How,
    answer: SubmitAnswer,
) -> Result<Exit, CliError> {
    let SubmitAnswer { run, sweep, outcome, .. } = answer;
    if let (true, Some(sweep)) = (how.wait, &sweep) {
        return see_sweep_through(context, client, how, sweep.clone()).await;
    }
    let Some(run) = run else {
        // An open sweep: there is nothing that a scheduler could acknowledge.
        if let (true, Some(sweep)) = (context.global.json, &sweep) {
            context.output().json(sweep)?;
        }
        return Ok(Exit::Done);
    };
    let json = |run: &RunView| match &sweep {
        _ if !context.global.json => Ok(()),
        Some(sweep) => context.output().json(sweep),
        None => context.output().json(run),
    };
    if how.wait {
        let patience = Patience::of(how.timeout, how.poll);
        let waited = match wait_for(context, client, run.clone(), patience).await {
            Ok(run) => run,
            Err(error) => {
                json(&run)?;
                return Err(error);
            }
        };
        json(&waited)?;
        return Ok(conclusion(context, &waited));
    }
    if outcome == SubmitOutcome::Skipped {
        json(&run)?;
        return Ok(Exit::Done);
    }
    let patience = Duration::from_secs(how.ack_timeout.0);
    let run = acknowledgement(client, run, patience).await;
    json(&run)?;
    let who = match &sweep {
        Some(answer) => format!("sweep {}", answer.sweep.id),
        None => format!("run {}", run.id),
    };
    Ok(told(context, &who, &run))
}

/// Waits for all points of a sweep.
async fn see_sweep_through(
    context: &Context,
    client: &Client<'_>,
    how: &How,
    mut answer: SweepAnswer,
) -> Result<Exit, CliError> {
    let patience = Patience::of(how.timeout, how.poll);
    let waited = wait_for_sweep(context, client, answer.sweep.clone(), patience).await;
    if let Ok(sweep) = &waited {
        answer.sweep = sweep.clone();
    }
    if context.global.json {
        context.output().json(&answer)?;
    }
    Ok(sweep_conclusion(context, &waited?))
}

fn announce(context: &Context, answer: &SubmitAnswer) {
    for warning in &answer.warnings {
        context.say(&format!("warning: {}", one_line(warning)));
    }
    if let Some(SweepAnswer { sweep, .. }) = &answer.sweep {
        let name = TerminalText(&sweep.name);
        let (id, points, s) = (sweep.id, sweep.points, plural(sweep.points as usize));
        context.say(&match answer.outcome {
            SubmitOutcome::New if sweep.is_open() => format!(
                "open sweep {id} `{name}` accepted: `trainyard sweep tell {id}` gives it points; its files are in {}",
                path(&sweep.sweep_dir)
            ),
            SubmitOutcome::New => format!(
                "sweep {id} `{name}` with {points} point{s} accepted; its files are in {}",
                path(&sweep.sweep_dir)
            ),
            SubmitOutcome::OfKey => {
                format!("sweep {id} `{name}` has this key already: nothing new was submitted")
            }
            SubmitOutcome::Skipped => {
                format!(
                    "sweep {id} `{name}` is active ({}): nothing new was submitted",
                    sweep.state
                )
            }
        });
        return;
    }
    let Some(run) = &answer.run else { return };
    let name = TerminalText(&run.name);
    let id = run.id;
    let line = match answer.outcome {
        SubmitOutcome::New => {
            format!("run {id} `{name}` accepted; its files are in {}", path(&run.run_dir))
        }
        SubmitOutcome::OfKey => {
            format!("run {id} `{name}` has this key already: nothing new was submitted")
        }
        SubmitOutcome::Skipped => {
            format!("run {id} `{name}` is active ({}): nothing new was submitted", run.state)
        }
    };
    context.say(&line);
    if answer.outcome == SubmitOutcome::New {
        for dataset in &run.datasets {
            if let Some(why) = &dataset.no_fingerprint {
                let name = TerminalText(&dataset.name);
                context.say(&format!("dataset `{name}` has no fingerprint: {}", one_line(why)));
            }
        }
    }
}

/// Waits until the scheduler has answered, or the run waits by its own rules.
async fn acknowledgement(client: &Client<'_>, run: RunView, patience: Duration) -> RunView {
    /// The daemon answers in time, with what Slurm has said so far; this is for one that hangs.
    const LATE: Duration = Duration::from_secs(2);
    let deadline = tokio::time::Instant::now() + patience;
    let mut run = run;
    while run.awaits_acknowledgement() {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            break;
        }
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let path = format!("/runs/{}?acknowledged=true&wait={seconds}", run.id);
        // Without a daemon nobody can tell; the run is accepted all the same, and the next one sees it through.
        let Ok(Ok(RunAnswer { run: newer, .. })) =
            tokio::time::timeout_at(deadline + LATE, client.get::<RunAnswer>(&path)).await
        else {
            break;
        };
        run = newer;
    }
    run
}

/// Says how the scheduler took it, and what that means for the exit code.
fn told(context: &Context, who: &str, run: &RunView) -> Exit {
    if run.reason.as_deref() == Some("rejected") {
        context.error(&format!("{who} was refused: {}", run.message), &[]);
        return Exit::Refused;
    }
    if run.awaits_acknowledgement() {
        let why = if run.message.is_empty() {
            String::new()
        } else {
            format!(" ({})", one_line(&run.message))
        };
        context.say_anyway(&format!(
            "{who} is accepted, but not acknowledged yet{why}; the daemon sees it through"
        ));
        return Exit::NotAcknowledged;
    }
    if run.state == "pending" {
        let why = one_line(&run.message);
        let why = if why.starts_with("waits ") { why } else { format!("waits: {why}") };
        context.say(&format!("{who} {why}"));
    }
    Exit::Done
}
