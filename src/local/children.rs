//! The processes of a job: whoever descends from the script, also those that hid in sessions of their own.
//!
//! The supervisor is their subreaper, so that an orphan among them becomes its child: when it has no children left,
//! nothing of the job is left.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::files::process::{self, ProcessId, Stat};
use crate::local::signals::Signals;

/// How long the killing of what is left may take. What hangs in the kernel longer than that does not train.
const SWEEP_MAX: Duration = Duration::from_secs(10);

/// Between two looks for what is left; the end of one wakes earlier.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// How the script's own process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Exited(i32),
    Signalled(i32),
    /// By a signal that has no name, such as a real-time one.
    Nameless,
}

/// What reaping found.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    pub(super) script: Option<Ended>,
    /// No child is left, so nothing of the job is.
    pub(super) none_left: bool,
}

/// Takes note of every child that has ended.
pub(super) fn reap(script: Pid) -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == script => {
                reaped.script = Some(Ended::Exited(code));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == script => {
                reaped.script = Some(Ended::Signalled(signal as i32));
            }
            Ok(WaitStatus::StillAlive) => return reaped,
            Err(Errno::ECHILD) => return Reaped { none_left: true, ..reaped },
            // nix reaps such a child and then cannot say which it was.
            Err(Errno::EINVAL) if kill(script, None) == Err(Errno::ESRCH) => {
                reaped.script.get_or_insert(Ended::Nameless);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Sends a signal to a process group, however fast it forks. It may be empty already.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    killpg(group, signal).ok();
}

/// Kills what is left of a job whose script has ended.
pub(super) fn sweep(script: Pid, signals: &mut Signals) {
    let until = Instant::now() + SWEEP_MAX;
    while !reap(script).none_left && Instant::now() < until {
        // Where /proc cannot be read now it is tried again.
        for child in process::all().unwrap_or_default() {
            if child.parent == std::process::id() {
                signal_one(child.pid, Signal::SIGKILL);
            }
        }
        signals.wait(Some(SWEEP_PAUSE));
    }
}

/// The process groups that live on of a job whose supervisor is dead.
///
/// The supervisor led a session, and the kernel gives its number to nobody else while the session has members.
pub(super) fn surviving_groups(supervisor: &ProcessId) -> io::Result<BTreeSet<u32>> {
    if supervisor.boot_id != process::boot_id()? {
        return Ok(BTreeSet::new());
    }
    let is_survivor = |stat: &Stat| {
        stat.is_alive()
            && stat.session == supervisor.pid
            && stat.start_ticks >= supervisor.start_ticks
    };
    Ok(process::all()?.into_iter().filter(is_survivor).map(|stat| stat.group).collect())
}

/// Sends a signal to one process. It may be gone already.
pub(super) fn signal_one(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        kill(pid, signal).ok();
    }
}

/// A pid as the kernel's calls take it; 0 and what is below mean other things there.
pub(super) fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).map(Pid::from_raw)
}
