//! `serve`: the daemon itself.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::context::Context;
use crate::cli::diagnostic;
use crate::cli::error::{CliError, Exit};
use crate::cli::found::{FOUND_FRESH, FOUND_FRESH_AT_START};
use crate::cli::submit::duration;
use crate::daemon::{
    Holder, LeaseError, Paths, ServeConfig, ServeError, SiteFiles, SiteSource, Unusable, serve,
    serve_once,
};
use crate::domain::site::Site;
use crate::domain::units::Seconds;
use crate::files::{LoadedSite, ProcessId, SiteStamp};
use crate::hands::InProcess;
use crate::store::StoreError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Make one reconciliation pass and end: for cron, scrontab or a job
    #[arg(long)]
    once: bool,
    /// In the background, for the command that needs it; ends when idle for 30 minutes
    #[arg(long, hide = true)]
    detached: bool,
    /// With --detached: how long to stay when nobody needs it
    #[arg(long, hide = true, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    idle_after: Seconds,
}

impl Args {
    pub(super) fn is_detached(&self) -> bool {
        self.detached
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    // What the daemon makes is its owner's alone, from the moment it is there.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let log = if args.detached { Some(detach(context)?) } else { None };
    start_logging(context, log.as_ref(), args.once)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::internal(&error))?;
    let reload = Arc::<Notify>::default();
    let config = config(context, args, Arc::clone(&reload), runtime.handle())?;
    if args.once {
        return once(context, runtime.block_on(serve_once(config)));
    }
    let served = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        heed_signals(&shutdown, reload)?;
        let ready = || {
            if let Some(log) = &log {
                // From here on nobody reads what this process says but in its log.
                nix::unistd::dup2_stderr(log).ok();
            }
            drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
        };
        serve(config, shutdown, ready).await.map_err(|error| failed(&error))
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map(|()| Exit::Done)
}

/// The supervisor of one local job.
pub(super) fn local_job(spool: &Path) -> Exit {
    const TAKEN: i32 = Exit::Conflict as i32;
    match crate::local::supervise(spool, &crate::hands::SystemClock) {
        0 => Exit::Done,
        TAKEN => Exit::Conflict,
        _ => Exit::Internal,
    }
}

fn once(
    context: &Context,
    report: Result<crate::daemon::PassReport, ServeError>,
) -> Result<Exit, CliError> {
    match report {
        Ok(report) => {
            if context.global.json {
                let document = serde_json::json!({
                    "live": report.live, "decided": report.decided, "submitted": report.submitted
                });
                context.output().json(&document)?;
            }
            Ok(Exit::Done)
        }
        // Somebody else makes the passes: that is all that was wanted.
        Err(ServeError::Lease(LeaseError::Served { .. } | LeaseError::Locked)) => {
            if context.global.json {
                let nothing =
                    serde_json::json!({ "live": null, "decided": null, "submitted": null });
                context.output().json(&nothing)?;
            }
            Ok(Exit::Done)
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &ServeError) -> CliError {
    let told = |exit| CliError::new(exit, crate::chain(error));
    match error {
        ServeError::Lease(LeaseError::Served { .. } | LeaseError::Locked) => {
            told(Exit::Conflict)
                .hint("`trainyard daemon status` shows it, `trainyard daemon stop` ends it; runs go on")
        }
        ServeError::Lease(LeaseError::Elsewhere { .. }) => told(Exit::Conflict).hint(
            "stop it there, or, if that machine is gone for good, `trainyard daemon start --take-over`",
        ),
        ServeError::StateDir(_) | ServeError::Lease(LeaseError::File { .. }) => {
            told(Exit::Internal).hint(ELSEWHERE)
        }
        ServeError::Store(StoreError::TooNew { .. }) => told(Exit::Internal)
            .hint("use that version; the copy made before its change ends in .schema-N.db"),
        ServeError::Store(StoreError::Damaged { .. }) => told(Exit::Internal)
            .hint("put a copy in its place, or move it away to begin anew; run directories stay"),
        ServeError::Store(_) => told(Exit::Internal).hint(ELSEWHERE),
        ServeError::Listen { .. } => told(Exit::Internal).hint("`--socket` names another place"),
    }
}

/// What to do about a state directory that cannot be used.
const ELSEWHERE: &str = "make room or mend its permissions, or give another place with --state-dir";

fn config(
    context: &Context,
    args: &Args,
    reload: Arc<Notify>,
    runtime: &tokio::runtime::Handle,
) -> Result<ServeConfig, CliError> {
    let surroundings = &context.surroundings;
    // What a daemon starts with stays in force until it ends; one pass from cron is over at once.
    let fresh = if args.once { FOUND_FRESH } else { FOUND_FRESH_AT_START };
    let process = ProcessId::current().map_err(|error| CliError::internal(&error))?;
    let files = Reader(context.clone());
    // Before they are read: what changes meanwhile is seen later.
    let stamp = files.stamp();
    let site = context.site_found_within(fresh)?;
    Ok(ServeConfig {
        paths: Paths {
            state: context.state_dir(),
            socket: context.socket(),
            site_asked: context.site_asked(),
        },
        site,
        site_source: SiteSource { files: Arc::new(files), stamp, reload },
        asker: surroundings.asker.clone(),
        holder: Holder { host: surroundings.host.clone(), process },
        clock: Arc::clone(&surroundings.clock),
        hands: Arc::new(InProcess::new(runtime.clone())),
        program: surroundings.program.clone(),
        environment: surroundings.environment.clone(),
        build_environment: context.build_environment(),
        idle_after: args.detached.then(|| Duration::from_secs(args.idle_after.0)),
        take_over: false,
    })
}

/// Reads the site's files for a daemon, as every command does.
struct Reader(Context);

impl SiteFiles for Reader {
    fn stamp(&self) -> SiteStamp {
        SiteStamp::of(&self.0.site_paths())
    }

    fn read(&self) -> Result<LoadedSite, Unusable> {
        let loaded = self.0.site_with_problems(FOUND_FRESH_AT_START);
        let loaded = loaded.map_err(|error| Unusable::Unread(error.message))?;
        match diagnostic::in_one_line(&loaded.problems, &loaded.sources) {
            None => Ok(loaded),
            Some(faults) => Err(Unusable::Faulty(faults)),
        }
    }

    fn slurm_variables(&self, site: &Site) -> Vec<(String, String)> {
        self.0.daemon_environment(site)
    }
}

/// Leaves the terminal and the directory of the command that started us; gives the log to write to.
fn detach(context: &Context) -> Result<File, CliError> {
    let dir = context.state_dir();
    dir.prepare(context.surroundings.asker.uid).map_err(|error| failed(&error.into()))?;
    let log = File::options().create(true).append(true).open(dir.log());
    let log = log.map_err(|error| {
        CliError::new(Exit::Internal, format!("cannot write {}: {error}", dir.log().display()))
    })?;
    // Fails only for a process that leads a group already, which then needs no session of its own.
    nix::unistd::setsid().ok();
    std::env::set_current_dir("/")?;
    Ok(log)
}

fn start_logging(context: &Context, log: Option<&File>, is_once: bool) -> Result<(), CliError> {
    const OF_DAEMON: &str = "info,notify=warn,rusqlite_migration=warn";
    /// cron mails whatever is said.
    const OF_PASS: &str = "warn";
    let default = if is_once { OF_PASS } else { OF_DAEMON };
    let filter = context.surroundings.log_filter.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| CliError::usage(format!("TRAINYARD_LOG cannot be understood: {error}")))?;
    // A line that cannot be written is lost. Told on stderr, which is the same full disk, it would be a panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .log_internal_errors(false);
    match log {
        Some(log) => {
            let log = log.try_clone()?;
            builder.with_ansi(false).with_writer(std::sync::Mutex::new(log)).init();
        }
        None => builder.with_ansi(context.stderr_has_colour()).with_writer(std::io::stderr).init(),
    }
    Ok(())
}

/// SIGTERM and SIGINT drain; SIGHUP has the site's files read again. A file that reaches `ulimit -f` is an error of its
/// write, like a full disk.
fn heed_signals(shutdown: &CancellationToken, reload: Arc<Notify>) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut too_long = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => reload.notify_one(),
                _ = too_long.recv() => {}
            }
        }
        drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
        shutdown.cancel();
    });
    Ok(())
}
