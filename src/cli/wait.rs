//! `wait`: until runs are over, or all points of sweeps.

mod sweep;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::api::{AwaitedAnswer, RunAnswer};
use crate::cli::client::{Client, awaited_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::submit::duration;
use crate::cli::text::{TerminalText, length, one_line, value};
use crate::domain::sweep::SweepView;
use crate::domain::units::Seconds;
use crate::domain::view::RunView;

pub(super) use sweep::{sweep_conclusion, wait_for_sweep};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs: numbers, names or @last; or sweeps: numbers or names
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// How long to wait for all of them
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Seconds>,
}

/// How long to wait, and how often to look when nothing is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    deadline: Option<tokio::time::Instant>,
    poll_seconds: Option<u64>,
}

impl Patience {
    pub(super) fn of(timeout: Option<Seconds>, poll: Option<Seconds>) -> Self {
        let deadline =
            timeout.map(|timeout| tokio::time::Instant::now() + Duration::from_secs(timeout.0));
        Self { deadline, poll_seconds: poll.map(|poll| poll.0.max(1)) }
    }

    /// How a look went; none where patience ended before.
    async fn within<T>(self, look: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            None => Some(look.await),
            Some(deadline) => tokio::time::timeout_at(deadline, look).await.ok(),
        }
    }

    /// How long the daemon is to wait for a change, as the API takes it.
    fn query(self) -> String {
        self.poll_seconds.map(|seconds| format!("&wait={seconds}")).unwrap_or_default()
    }
}

/// What is waited for.
#[derive(Serialize)]
#[serde(untagged)]
enum Awaited {
    Run(Box<RunView>),
    Sweep(Box<SweepView>),
}

impl Awaited {
    async fn find(client: &Client<'_>, reference: &str) -> Result<Self, CliError> {
        Ok(match client.get(&awaited_path(reference)?).await? {
            AwaitedAnswer::Run(run) => Self::Run(run),
            AwaitedAnswer::Sweep(sweep) => Self::Sweep(sweep),
        })
    }

    async fn wait(
        self,
        context: &Context,
        client: &Client<'_>,
        patience: Patience,
    ) -> Result<(Self, Exit), CliError> {
        Ok(match self {
            Self::Run(run) => {
                let run = wait_for(context, client, *run, patience).await?;
                let exit = conclusion(context, &run);
                (Self::Run(Box::new(run)), exit)
            }
            Self::Sweep(sweep) => {
                let sweep = wait_for_sweep(context, client, *sweep, patience).await?;
                let exit = sweep_conclusion(context, &sweep);
                (Self::Sweep(Box::new(sweep)), exit)
            }
        })
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let patience = Patience::of(args.timeout, None);
        // All names are looked up first: a wrong one is told at once, not after hours.
        let mut runs = Vec::new();
        for reference in &args.runs {
            runs.push(Awaited::find(&client, reference).await?);
        }
        let mut exits = Vec::new();
        let mut waited = Vec::new();
        for run in runs {
            let (run, exit) = run.wait(context, &client, patience).await?;
            exits.push(exit);
            waited.push(run);
        }
        if context.global.json {
            context.output().json(&waited)?;
        }
        let worst =
            [Exit::TimedOut, Exit::NotCompleted].into_iter().find(|exit| exits.contains(exit));
        Ok(worst.unwrap_or(Exit::Done))
    })
}

/// Follows a run until it is over, or until patience ends: then it is given as it was seen last.
pub(super) async fn wait_for(
    context: &Context,
    client: &Client<'_>,
    mut run: RunView,
    patience: Patience,
) -> Result<RunView, CliError> {
    let line = StatusLine::new(context);
    let id = run.id;
    let mut path = format!("/runs/{id}");
    loop {
        // How it ended is said by the conclusion.
        let told = || (!run.is_final()).then(|| format!("run {id}: {}", short_status(&run)));
        line.show(&run.state, status(&run), told);
        if run.is_final() {
            break;
        }
        let look = client.get::<RunAnswer>(&path);
        let Some(answer) = patience.within(look).await else { break };
        let RunAnswer { run: newer, change } = answer.inspect_err(|_| line.clear())?;
        run = newer;
        path = format!("/runs/{id}?after={change}{}", patience.query());
    }
    line.clear();
    Ok(run)
}

/// Says how a run ended, and what that means for the exit code.
pub(super) fn conclusion(context: &Context, run: &RunView) -> Exit {
    let (id, name) = (run.id, TerminalText(&run.name));
    if run.state == "completed" {
        context.say(&format!("run {id} `{name}` completed after {}", length(run.elapsed_seconds)));
        return Exit::Done;
    }
    if !run.is_final() {
        let hint = format!("`trainyard wait {id}` waits on, `trainyard cancel {id}` ends it");
        context.error(&format!("run {id} `{name}` is not over yet; it goes on"), &[hint]);
        return Exit::TimedOut;
    }
    let reason = run.reason.as_deref().unwrap_or("no reason");
    let mut hints =
        vec![format!("`trainyard explain {id}` says why, `trainyard logs {id}` what it printed")];
    if run.checkpoints.as_ref().is_some_and(|saved| saved.complete > 0) {
        hints.push(format!("`trainyard resume {id}` goes on from its newest complete checkpoint"));
    }
    context.error(&format!("run {id} `{name}` {} ({reason}): {}", run.state, run.message), &hints);
    Exit::NotCompleted
}

/// One live line on a terminal; elsewhere a plain line for each change of state.
struct StatusLine<'a> {
    context: &'a Context,
    bar: Option<ProgressBar>,
    last_state: std::cell::RefCell<String>,
}

impl<'a> StatusLine<'a> {
    fn new(context: &'a Context) -> Self {
        const TICK: Duration = Duration::from_millis(120);
        let bar = (Context::is_terminal() && !context.quiet).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { context, bar, last_state: std::cell::RefCell::default() }
    }

    /// Shows what there is to see; where the line is not live, `told` once for each state.
    fn show(&self, state: &str, seen: String, told: impl FnOnce() -> Option<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(seen);
        } else if *self.last_state.borrow() != state
            && let Some(told) = told()
        {
            self.context.say(&told);
            self.last_state.replace(state.to_owned());
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn short_status(run: &RunView) -> String {
    let why = if run.message.is_empty() {
        String::new()
    } else {
        format!(": {}", one_line(&run.message))
    };
    format!("{}{why}", run.state)
}

/// `run 3 quickstart: running 12s · 40 % · loss 0.31`
fn status(run: &RunView) -> String {
    let mut line = format!("run {} {}: {}", run.id, TerminalText(&run.name), short_status(run));
    if run.elapsed_seconds > 0.0 {
        line.push(' ');
        line.push_str(&length(run.elapsed_seconds));
    }
    if let Some(fraction) = run.progress.fraction {
        line.push_str(&format!(" · {:.0} %", fraction * 100.0));
    }
    if let Some((name, metric)) =
        run.metrics.get_key_value("loss").or_else(|| run.metrics.first_key_value())
    {
        line.push_str(&format!(" · {} {}", TerminalText(name), value(metric.last)));
    }
    if let Some(who) = &run.stale_who {
        line.push_str(&format!(" · {}", TerminalText(who)));
    }
    line
}
