//! `daemon`: your own daemon, started, stopped and looked at.

use std::time::{Duration, Instant};

use crate::api::{DaemonStatus, SiteStatus};
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, moment};
use crate::daemon::Holder;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Start the daemon, unless it serves already
    Start {
        /// Also when a machine that is gone for good holds the state directory
        #[arg(long)]
        take_over: bool,
    },
    /// End the daemon; runs go on
    Stop,
    /// Tell whether and where it serves
    Status,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    Context::block_on(async {
        match command {
            Command::Start { take_over } => {
                if *take_over {
                    take_over_lease(context)?;
                }
                let client = Client::connect(context).await?;
                show(context, &client.get("/daemon").await?)
            }
            Command::Stop => stop(context).await,
            Command::Status => {
                let client = Client::without_starting(context);
                if !client.is_there() {
                    let message =
                        format!("no daemon serves {}", context.state_dir().path().display());
                    return Err(CliError::new(Exit::NoDaemon, message)
                        .hint("`trainyard daemon start` starts one"));
                }
                show(context, &client.get("/daemon").await?)
            }
        }
    })
}

/// Removes a lease that another machine left; a holder on this machine keeps it.
fn take_over_lease(context: &Context) -> Result<(), CliError> {
    let dir = context.state_dir();
    let holder = crate::daemon::read_lease(&dir).map_err(|error| CliError::internal(&error))?;
    if holder.is_some_and(|holder| holder.host != context.surroundings.host) {
        std::fs::remove_file(dir.lease()).map_err(|error| CliError::internal(&error))?;
    }
    Ok(())
}

fn show(context: &Context, status: &DaemonStatus) -> Result<Exit, CliError> {
    if context.global.json {
        context.output().json(status)?;
    } else {
        let DaemonStatus { pid, socket, state_dir, version, host, site } = status;
        context.output().line(&format!(
            "daemon {version} serves {}\n  process {pid} on {}\n  socket {}",
            TerminalText(state_dir),
            TerminalText(host),
            TerminalText(socket)
        ))?;
        for line in site.iter().flat_map(site_lines) {
            context.output().line(&line)?;
        }
    }
    Ok(Exit::Done)
}

/// The site that a daemon goes by, and why it goes by no newer one.
fn site_lines(site: &SiteStatus) -> Vec<String> {
    let sources = if site.sources.is_empty() {
        "no site file".to_owned()
    } else {
        TerminalText(&site.sources.join(", ")).to_string()
    };
    let mut lines = vec![format!("  site    {sources}, as of {}", moment(site.read_at))];
    if let (Some(why), Some(since)) = (&site.trouble, site.trouble_since) {
        let since = moment(since);
        lines.push(format!("  its files cannot be used since {since}: {}", TerminalText(why)));
    }
    lines
}

/// Whether a daemon that answers no more is still draining.
fn holds(context: &Context, status: &DaemonStatus) -> bool {
    let holder = crate::daemon::read_lease(&context.state_dir()).ok().flatten();
    let is_it = |holder: &Holder| holder.host == status.host && holder.process.pid == status.pid;
    holder.filter(is_it).is_some_and(|holder| holder.process.is_alive().unwrap_or(false))
}

async fn stop(context: &Context) -> Result<Exit, CliError> {
    /// A drain waits for what is under way, each for ten seconds.
    const PATIENCE: Duration = Duration::from_secs(30);
    let client = Client::without_starting(context);
    if !client.is_there() {
        context.say("no daemon was serving");
        return stopped(context, None);
    }
    let status: DaemonStatus = client.get("/daemon").await?;
    client.post::<()>("/daemon/stop", &()).await?;
    let asked = Instant::now();
    while client.is_there() || holds(context, &status) {
        if asked.elapsed() > PATIENCE {
            return Err(CliError::new(
                Exit::TimedOut,
                format!("daemon {} is still draining", status.pid),
            )
            .hint("it ends once what is under way has ended; `trainyard daemon status` tells"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    context.say(&format!("daemon {} has ended; runs go on", status.pid));
    stopped(context, Some(status.pid))
}

fn stopped(context: &Context, pid: Option<u32>) -> Result<Exit, CliError> {
    if context.global.json {
        context.output().json(&serde_json::json!({ "stopped": pid }))?;
    }
    Ok(Exit::Done)
}
