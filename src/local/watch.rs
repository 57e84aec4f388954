//! Watching a local job's script: its end, its time limit, and requests to end it.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::local::children::{self, Ended};
use crate::local::order::Order;
use crate::local::record::{JobState, Outcome};
use crate::local::signals::Signals;
use crate::local::spool::Spool;

/// Between asking and killing when there is to be no grace: enough for a training to close its files.
const NO_GRACE: Duration = Duration::from_secs(1);

/// Between two kills of a group that does not go.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// Why a job is being ended before its script is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    TimeLimit,
    Cancelled,
}

/// A script that was started.
pub(super) struct Watch<'a> {
    script: Pid,
    signals: &'a mut Signals,
    spool: &'a Spool,
    kill_wait: Duration,
    limit_at: Option<Instant>,
    /// When the script is warned that the limit is near; none once it was.
    warn_at: Option<Instant>,
    /// Somebody wants it to end, and it was given time to save.
    is_warned: bool,
    stop: Option<Stop>,
    kill_at: Option<Instant>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        script: Pid,
        (signals, spool): (&'a mut Signals, &'a Spool),
        order: &Order,
    ) -> Self {
        let now = Instant::now();
        // A limit beyond what the clock can count is none.
        let after = |seconds: u64| now.checked_add(Duration::from_secs(seconds));
        let limit_at = order.time_limit.and_then(|limit| after(limit.0));
        let warning = order.warn_before_end.0;
        let warn_at = order.time_limit.filter(|_| warning > 0);
        let warn_at = warn_at.and_then(|limit| after(limit.0.saturating_sub(warning)));
        let kill_wait = Duration::from_secs(order.kill_wait.0);
        let (is_warned, stop, kill_at) = (false, None, None);
        Self { script, signals, spool, kill_wait, limit_at, warn_at, is_warned, stop, kill_at }
    }

    /// Sees the script to its end, and then everything that it started.
    pub(super) fn see_through(mut self) -> Outcome {
        let ended = loop {
            let reaped = children::reap(self.script);
            if let Some(ended) = reaped.script {
                break Some(ended);
            }
            if reaped.none_left {
                break None;
            }
            let now = Instant::now();
            self.on_time(now);
            let warn_or_end = self.warn_at.or(self.limit_at).filter(|_| self.stop.is_none());
            let due = self.kill_at.or(warn_or_end);
            if self.signals.wait(due.map(|due| due.saturating_duration_since(now))) {
                self.on_request(Instant::now());
            }
        };
        children::sweep(self.script, self.signals);
        outcome(ended, self.stop)
    }

    fn on_time(&mut self, now: Instant) {
        if self.stop.is_none() && self.warn_at.is_some_and(|at| at <= now) {
            self.warn_at = None;
            self.warn();
        }
        if self.stop.is_none() && self.limit_at.is_some_and(|at| at <= now) {
            self.begin(Stop::TimeLimit, now, self.kill_wait);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            children::signal_group(self.script, Signal::SIGKILL);
            self.kill_at = now.checked_add(KILL_AGAIN);
        }
    }

    /// Somebody wants it to end; asked with grace it is only warned. A request without grace shortens what is under way
    /// already.
    fn on_request(&mut self, now: Instant) {
        let at_once = self.spool.is_asked_to_end_now();
        let with_grace = self.spool.is_asked_to_end() && !at_once;
        if self.stop.is_some() {
            let at = now.checked_add(if at_once { NO_GRACE } else { self.kill_wait });
            self.kill_at = self.kill_at.min(at).or(at);
        } else if with_grace && !self.is_warned {
            self.is_warned = true;
            self.warn();
        } else {
            self.begin(Stop::Cancelled, now, self.kill_wait);
        }
    }

    fn warn(&self) {
        kill(self.script, Signal::SIGUSR1).ok();
    }

    fn begin(&mut self, stop: Stop, now: Instant, patience: Duration) {
        self.stop = Some(stop);
        self.kill_at = now.checked_add(patience);
        // To the script alone, which passes it on: a training that got it twice could take the second for "at once".
        kill(self.script, Signal::SIGTERM).ok();
        // What is stopped does not hear anything before it goes on.
        children::signal_group(self.script, Signal::SIGCONT);
    }
}

/// The job's end, from its script's and from what was being done to it.
fn outcome(ended: Option<Ended>, stop: Option<Stop>) -> Outcome {
    let (exit_code, signal) = match ended {
        Some(Ended::Exited(code)) => (Some(code), None),
        Some(Ended::Signalled(signal)) => (None, Some(signal)),
        Some(Ended::Nameless) | None => (None, None),
    };
    let state = match (stop, exit_code) {
        (Some(Stop::TimeLimit), _) => JobState::Timeout,
        (Some(Stop::Cancelled), _) => JobState::Cancelled,
        (None, Some(0)) => JobState::Completed,
        (None, _) => JobState::Failed,
    };
    Outcome { state, exit_code, signal, message: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_to_a_job_counts_before_how_its_script_took_it() {
        #[track_caller]
        fn check(ended: Ended, stop: Option<Stop>, state: JobState) {
            assert_eq!(outcome(Some(ended), stop).state, state, "{ended:?} {stop:?}");
        }
        check(Ended::Exited(0), None, JobState::Completed);
        check(Ended::Exited(75), None, JobState::Failed);
        check(Ended::Signalled(9), None, JobState::Failed);
        check(Ended::Exited(0), Some(Stop::Cancelled), JobState::Cancelled);
        check(Ended::Signalled(15), Some(Stop::Cancelled), JobState::Cancelled);
        check(Ended::Exited(0), Some(Stop::TimeLimit), JobState::Timeout);
    }
}
