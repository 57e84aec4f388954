//! The process that stands over one local job: it starts the script, enforces its limit, ends it when asked, and keeps
//! the record. Small and alone: it needs neither the daemon nor its database, and survives both.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{User, getuid, setsid};

use crate::files::process::ProcessId;
use crate::hands::{ScriptStart, start_script};
use crate::local::children::pid_of;
use crate::local::order::Order;
use crate::local::record::{JobState, Outcome, Record};
use crate::local::signals::Signals;
use crate::local::spool::{Spool, SpoolError};
use crate::local::watch::Watch;
use crate::ports::Clock;

/// What a shell says when it cannot run a program.
const EXIT_CANNOT_START: i32 = 127;

/// A full disk may be cleared: the end is worth waiting for. After that the script's own marker has to tell it.
const END_TRIES_MAX: u32 = 120;
const END_TRY_PAUSE: Duration = Duration::from_secs(5);

/// Where there is no word about the PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Supervisors end with these; nobody but tests looks at them.
mod exit {
    pub(super) const DONE: i32 = 0;
    /// There is or was another supervisor for this order.
    pub(super) const TAKEN: i32 = 11;
    pub(super) const TROUBLE: i32 = 70;
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot become the parent of the job's orphans")]
    Subreaper(#[source] Errno),
    #[error("cannot tell which process this is")]
    Identity(#[source] io::Error),
    #[error("the spool has no order")]
    NoOrder,
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Carries out the order in a spool. The calling process must have no other business, and no async runtime around.
pub fn supervise(spool: &Path, clock: &dyn Clock) -> i32 {
    let spool = Spool::at(spool);
    match carry_out(&spool, clock) {
        Ok(true) => exit::DONE,
        Ok(false) => exit::TAKEN,
        Err(trouble) => {
            // Nobody listens; whoever wonders finds it there. Where that fails too there is no one to tell.
            fs_err::write(spool.trouble_file(), crate::chain(&trouble)).ok();
            exit::TROUBLE
        }
    }
}

/// `false` when another supervisor has had this order.
fn carry_out(spool: &Spool, clock: &dyn Clock) -> Result<bool, Trouble> {
    // Before anything is recorded: who reads the record may send a signal at once.
    let mut signals = Signals::catch().map_err(Trouble::Signals)?;
    // Fails when this process leads a session already, which is what it is for.
    setsid().ok();
    prctl::set_child_subreaper(true).map_err(Trouble::Subreaper)?;
    umask(Mode::S_IRWXG | Mode::S_IRWXO);

    let order = spool.order()?.ok_or(Trouble::NoOrder)?;
    let process = ProcessId::current().map_err(Trouble::Identity)?;
    let record = Record::running(&order, process, machine(), clock.now());
    if !spool.create_record(&record)? {
        return Ok(false);
    }
    let outcome = run(&order, spool, &mut signals);
    let record = record.ended(outcome, clock.now());
    let mut tries = 1;
    loop {
        match spool.replace_record(&record) {
            Ok(()) => return Ok(true),
            // Without a spool there is nobody who would read it.
            Err(error) if tries == END_TRIES_MAX || spool.is_gone() => return Err(error.into()),
            Err(_) => tries += 1,
        }
        signals.wait(Some(END_TRY_PAUSE));
    }
}

fn run(order: &Order, spool: &Spool, signals: &mut Signals) -> Outcome {
    // Whoever cancels writes the file first and looks for the record then; here it is the other way round. So one of
    // the two always sees the other.
    if spool.is_asked_to_end() {
        return Outcome {
            state: JobState::Cancelled,
            exit_code: None,
            signal: None,
            message: "cancelled before it was started".to_owned(),
        };
    }
    let start = ScriptStart {
        script: &order.script(),
        directory: order.directory(),
        environment: &environment(order),
        log: &order.log(),
    };
    let odd = || io::Error::other("its pid is odd");
    match start_script(&start).and_then(|pid| pid_of(pid).ok_or_else(odd)) {
        Ok(script) => Watch::new(script, (signals, spool), order).see_through(),
        Err(error) => not_started(&error),
    }
}

fn not_started(error: &dyn std::error::Error) -> Outcome {
    Outcome {
        state: JobState::Failed,
        exit_code: Some(EXIT_CANNOT_START),
        signal: None,
        message: format!("the script could not be started: {}", crate::chain(error)),
    }
}

/// The few that every program expects come from the user database, the rest from the order, the job's own names last.
fn environment(order: &Order) -> Vec<(String, String)> {
    let mut all = vec![("PATH".to_owned(), PATH.to_owned())];
    if let Ok(Some(user)) = User::from_uid(getuid()) {
        let home = user.dir.to_string_lossy().into_owned();
        let shell = user.shell.to_string_lossy().into_owned();
        let name = user.name;
        all.extend([
            ("HOME".to_owned(), home),
            ("USER".to_owned(), name.clone()),
            ("LOGNAME".to_owned(), name),
            ("SHELL".to_owned(), shell),
        ]);
    }
    all.extend(order.environment.iter().cloned());
    all.extend([
        ("TRAINYARD_JOB_NAME".to_owned(), order.job_name.clone()),
        ("TRAINYARD_JOB_ID".to_owned(), order.submission.to_string()),
    ]);
    all
}

/// The machine's name and the CPUs that may be used.
fn machine() -> (String, u64) {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    (host(), cpus)
}

/// What this machine calls itself.
pub(super) fn host() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}
