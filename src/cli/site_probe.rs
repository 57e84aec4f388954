//! `site check --probe`: a job of a minute that tells what a compute node sees, beside what is seen here meanwhile.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, one_line};
use crate::domain::request::SpecRequest;
use crate::domain::resolved::{Resolved, Target};
use crate::domain::run::Answer;
use crate::domain::site::{Cluster, LOCAL};
use crate::domain::site_check::Finding;
use crate::domain::site_check::probe::{Asked, ROUNDS, Report, Round, failed, findings};
use crate::domain::units::Seconds;
use crate::files::{LoadedSite, durable};
use crate::hands::InProcess;
use crate::script::{Probe, render_probe};
use crate::slurm::probe::{ProbeJob, Shown};

/// How often files are looked for, and how often Slurm is asked about the one job.
const FILE_INTERVAL: Duration = Duration::from_millis(50);
const JOB_INTERVAL: Duration = Duration::from_secs(2);

/// From the start of the job: its minute, and what Slurm takes to end it.
const REPORT_PATIENCE: Duration = Duration::from_secs(90);

/// A report that is not there when the job is over may still be on its way.
const LATE_REPORT: Duration = Duration::from_secs(10);

/// What is found by a job of this class.
pub(super) fn probe(
    context: &Context,
    loaded: &LoadedSite,
    class: &str,
    timeout: Seconds,
) -> Result<Vec<Finding>, CliError> {
    let resolved = resolved(context, loaded, class)?;
    let name = resolved.compute.target.cluster();
    let cluster = loaded.site.cluster.as_ref().and_then(|clusters| clusters.get(name));
    let Some(cluster) = cluster.filter(|_| resolved.compute.target != Target::Local) else {
        return Err(CliError::usage("class `local` is this machine: there is no node to probe"));
    };
    let place = Place::make(context, &resolved)?;
    Context::block_on(run(context, loaded, (cluster, &resolved), (&place, timeout)))
}

/// What a spec of this class comes to that trains for a minute on as few nodes as it may.
fn resolved(context: &Context, loaded: &LoadedSite, class: &str) -> Result<Resolved, CliError> {
    let nodes = loaded.site.class(class).and_then(|class| class.min_nodes.as_ref());
    let text = format!(
        "name = \"probe\"\n[code]\npath = \"/\"\ncommand = [\"true\"]\n[distributed]\nlauncher = \"none\"\n\
         [compute]\nclass = {}\nnodes = {}\ntime_limit = \"1m\"\n",
        serde_json::Value::from(class),
        nodes.map_or(1, |nodes| nodes.value.get()),
    );
    let request = SpecRequest {
        file: "the probe".to_owned(),
        text,
        base: PathBuf::from("/"),
        stem: "probe".to_owned(),
        changes: Vec::new(),
        points: None,
        point: None,
    };
    let checked = request.check(&loaded.site, &context.surroundings.asker);
    if class == LOCAL {
        return Err(CliError::usage("class `local` is this machine: there is no node to probe"));
    }
    checked.outcome.resolved.ok_or_else(|| {
        CliError::invalid(checked.outcome.problems, checked.sources).nothing_submitted()
    })
}

/// The probe's directory; it goes with this value.
struct Place {
    dir: PathBuf,
    token: String,
    /// The run root, where it was not there before.
    made: Option<PathBuf>,
}

impl Place {
    fn make(context: &Context, resolved: &Resolved) -> Result<Self, CliError> {
        /// The same user reads and writes on both sides.
        const MODE: u32 = 0o700;
        let root = &resolved.run_root;
        let made = (!root.exists()).then(|| root.clone());
        let token = format!("{:032x}", context.surroundings.clock.random_bits());
        let dir = root.join(format!(".probe-{token}"));
        let put =
            durable::create_dir_all(root, MODE).and_then(|()| durable::create_dir(&dir, MODE));
        put.map_err(|error| {
            let message = format!("the run root cannot be used: {error}");
            CliError::new(Exit::Invalid, message)
                .hint("set `run_root` to a directory that you can write; `trainyard site check` looks at it")
        })?;
        Ok(Self { dir, token, made })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A job that is being ended may write once more.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.dir).is_ok() || !self.dir.exists() {
                break;
            }
            std::thread::sleep(FILE_INTERVAL);
        }
        if let Some(root) = &self.made {
            // Only an empty one goes.
            std::fs::remove_dir(root).ok();
        }
    }
}

async fn run(
    context: &Context,
    loaded: &LoadedSite,
    (cluster, resolved): (&Cluster, &Resolved),
    (place, timeout): (&Place, Seconds),
) -> Result<Vec<Finding>, CliError> {
    let surroundings = &context.surroundings;
    // From here on a signal ends the probe, and not only this process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let asked = Asked {
        run_root: resolved.run_root.display().to_string(),
        conda_root: cluster
            .conda_root
            .as_ref()
            .map(|it| it.value.clone())
            .filter(|it| !it.is_empty()),
        umask: format!("{:04o}", resolved.script.umask.0),
        login: surroundings.host.clone(),
    };
    // Nobody has to answer: that a connection is made is all that is asked.
    let listener = TcpListener::bind(("0.0.0.0", 0)).ok();
    let script = place.file("job.sh");
    let text = render_probe(&Probe {
        options: &resolved.compute.options,
        dir: &place.dir.to_string_lossy(),
        conda_root: asked.conda_root.as_deref(),
        local_scratch: resolved.compute.local_scratch.as_deref(),
        login: &asked.login,
        port: listener.as_ref().and_then(|it| it.local_addr().ok()).map(|at| at.port()),
    });
    durable::write(&script, text.as_bytes(), 0o600)?;
    let hands = Arc::new(InProcess::new(tokio::runtime::Handle::current()));
    let name = resolved.compute.target.cluster();
    let variables = context.daemon_environment(&loaded.site);
    let job_name = format!("trainyard-probe-{}", place.token);
    let asker = &surroundings.asker;
    let mut job = ProbeJob::new(hands, (name, cluster), asker, &variables, job_name);
    let answer = job.submit(script, resolved.script.umask.0).await;
    let outcome = match submitted(context, answer, &resolved.compute.class) {
        Ok(()) => tokio::select! {
            outcome = follow(context, &job, (place, &asked), timeout) => outcome,
            _ = interrupt.recv() => Err(interrupted()),
            _ = terminate.recv() => Err(interrupted()),
            _ = hang_up.recv() => Err(interrupted()),
        },
        Err(error) => Err(error),
    };
    let is_over = outcome.is_ok() || matches!(&outcome, Err(error) if error.exit == Exit::Refused);
    if !is_over && let Err(silence) = job.cancel().await {
        context.say(&one_line(&format!("the probe's job could not be cancelled: {silence}")));
    }
    outcome
}

fn interrupted() -> CliError {
    CliError::new(Exit::NotCompleted, "the probe was interrupted; its job is cancelled")
}

/// What sbatch answered, as far as it is an end.
fn submitted(context: &Context, answer: Answer, class: &str) -> Result<(), CliError> {
    match answer {
        Answer::Acknowledged { job, .. } => {
            context.say(&format!("job {} of class {} probes a node", job.job, TerminalText(class)));
            Ok(())
        }
        Answer::Refused { message, .. } => {
            Err(CliError::new(Exit::Refused, format!("Slurm refused the probe: {message}"))
                .hint("`trainyard site check` looks for what does not fit"))
        }
        Answer::Unreachable { message } => {
            Err(CliError::new(Exit::NoSlurm, format!("Slurm cannot be reached: {message}")))
        }
        Answer::Lost { message } => Err(CliError::new(
            Exit::NoSlurm,
            format!("Slurm did not say whether it took the probe, which is cancelled: {message}"),
        )),
    }
}

/// Waits for the job's start, answers its files, and reads its report.
async fn follow(
    context: &Context,
    job: &ProbeJob,
    (place, asked): (&Place, &Asked),
    timeout: Seconds,
) -> Result<Vec<Finding>, CliError> {
    let mut exchange = Exchange::default();
    let mut deadline = Instant::now() + Duration::from_secs(timeout.0);
    let mut why = String::new();
    let mut next_look = Instant::now();
    let mut has_started = false;
    loop {
        exchange.answer(context, place)?;
        if let Ok(text) = std::fs::read_to_string(place.file("report")) {
            let report = Report::parse(&text);
            return Ok(findings(asked, &report, &exchange.rounds(&report)));
        }
        let mut runs = !exchange.login_saw.is_empty();
        if Instant::now() >= next_look {
            match job.look().await {
                // A job that Slurm has not looked at yet has none.
                Ok(Shown::Waits { why: now }) if now != why && now != "None" => {
                    context.say(&format!("it waits: {}", TerminalText(&now)));
                    why = now;
                }
                Ok(Shown::Over { node, exit }) => {
                    return late(place, asked, &exchange, (&node, exit)).await;
                }
                Ok(Shown::Runs) => runs = true,
                // What Slurm does not say now it says later.
                Ok(Shown::Waits { .. }) | Err(_) => {}
            }
            next_look = Instant::now() + JOB_INTERVAL;
        }
        if runs && !has_started {
            has_started = true;
            deadline = Instant::now() + REPORT_PATIENCE;
        }
        if Instant::now() >= deadline {
            return Err(timed_out(has_started, &why, timeout));
        }
        sleep(FILE_INTERVAL).await;
    }
}

fn timed_out(has_started: bool, why: &str, timeout: Seconds) -> CliError {
    let message = if has_started {
        "the probe's job did not report within its minute, and is cancelled".to_owned()
    } else {
        let why = if why.is_empty() { "Slurm does not say why" } else { why };
        format!("the probe's job did not start within {timeout}, and is cancelled: {why}")
    };
    CliError::new(Exit::TimedOut, message).hint("`--timeout` gives it longer")
}

/// The report of a job that is over, which may be on its way.
async fn late(
    place: &Place,
    asked: &Asked,
    exchange: &Exchange,
    (node, exit): (&str, Option<u8>),
) -> Result<Vec<Finding>, CliError> {
    let until = Instant::now() + LATE_REPORT;
    loop {
        if let Ok(text) = std::fs::read_to_string(place.file("report")) {
            let report = Report::parse(&text);
            return Ok(findings(asked, &report, &exchange.rounds(&report)));
        }
        if exit != Some(0) || Instant::now() >= until {
            return Ok(vec![failed(asked, node, exit)]);
        }
        sleep_until((Instant::now() + FILE_INTERVAL).min(until)).await;
    }
}

/// The files of the node that were seen here and answered: when each was written there, seen, and answered.
#[derive(Default)]
struct Exchange {
    node_wrote: Vec<f64>,
    login_saw: Vec<f64>,
    login_wrote: Vec<f64>,
}

impl Exchange {
    /// Answers the next of the node's files, if it is there.
    fn answer(&mut self, context: &Context, place: &Place) -> Result<(), CliError> {
        let round = self.login_saw.len() + 1;
        let now = || context.surroundings.clock.now().as_duration().as_secs_f64();
        if round > ROUNDS {
            return Ok(());
        }
        let Ok(text) = std::fs::read_to_string(place.file(&format!("node.{round}"))) else {
            return Ok(());
        };
        let saw = now();
        let Ok(wrote) = text.trim().parse() else { return Ok(()) };
        let answer = now();
        put(&place.file(&format!("login.{round}")))?;
        self.node_wrote.push(wrote);
        self.login_saw.push(saw);
        self.login_wrote.push(answer);
        Ok(())
    }

    /// Those rounds of which all four times are known.
    fn rounds(&self, report: &Report) -> Vec<Round> {
        let all = self.node_wrote.iter().zip(&self.login_saw).zip(&self.login_wrote).enumerate();
        all.filter_map(|(index, ((node_wrote, login_saw), login_wrote))| {
            let node_saw = report.seen(index + 1)?;
            Some(Round {
                node_wrote: *node_wrote,
                login_saw: *login_saw,
                login_wrote: *login_wrote,
                node_saw,
            })
        })
        .collect()
    }
}

fn put(file: &Path) -> Result<(), CliError> {
    std::fs::write(file, "").map_err(|error| CliError::internal(&error))
}
