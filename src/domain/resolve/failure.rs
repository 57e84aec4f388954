//! When the training is warned of its end, and when a run is brought back.

use crate::domain::problem::Problem;
use crate::domain::resolve::Resolver;
use crate::domain::resolved::{Failure, Target};
use crate::domain::run::Reason;
use crate::domain::spec::{Requeue, RestartOn};
use crate::domain::units::{Seconds, TimeLimit};

/// Where the spec does not say how long before.
const WARN_BEFORE_END: Seconds = Seconds(60);

/// What a training exits with that has saved: `EX_TEMPFAIL` of `sysexits.h`.
const SAVED_EXIT: i32 = 75;

/// sbatch keeps the time of its warning in 16 bits.
const WARN_ON_SLURM_MAX: Seconds = Seconds(65_535);

impl Resolver<'_> {
    pub(super) fn failure(&self, time_limit: Option<TimeLimit>) -> Failure {
        const WITH_CHECKPOINTS: u32 = 3;
        let spec = self.spec.failure.as_ref();
        let default = if self.spec.checkpoint.is_some() { WITH_CHECKPOINTS } else { 0 };
        let causes = spec.and_then(|failure| failure.restart_on.as_ref());
        let causes = causes.map_or(vec![RestartOn::Preempted, RestartOn::NodeFailure], |asked| {
            asked.value.iter().map(|at| at.value).collect()
        });
        let reason = |cause: RestartOn| match cause {
            RestartOn::Preempted => Reason::Preempted,
            RestartOn::NodeFailure => Reason::NodeFailure,
            RestartOn::TimeLimit => Reason::TimeLimit,
            RestartOn::Hung => Reason::Hung,
            RestartOn::ExitCode => Reason::ExitCode,
            RestartOn::Signal => Reason::Signal,
            RestartOn::OutOfMemory => Reason::OutOfMemory,
            RestartOn::BootFailure => Reason::BootFailure,
            RestartOn::Lost => Reason::Lost,
        };
        let codes = spec.and_then(|failure| failure.restart_exit_codes.as_ref());
        let code = |code: u32| i32::try_from(code).unwrap_or(i32::MAX);
        // Slurm warns up to half a minute early: a short run would be warned before it has done anything.
        let is_short = time_limit.is_some_and(|limit| limit.0.0 < 2 * WARN_BEFORE_END.0);
        let warning = if is_short { Seconds(0) } else { WARN_BEFORE_END };
        Failure {
            max_restarts: spec
                .and_then(|failure| failure.max_restarts.as_ref())
                .map_or(default, |most| most.value),
            restart_on: causes.into_iter().map(reason).collect(),
            restart_exit_codes: codes.map_or(vec![SAVED_EXIT], |codes| {
                codes.value.iter().map(|at| code(at.value)).collect()
            }),
            warn_before_end: spec
                .and_then(|failure| failure.warn_before_end.as_ref())
                .map_or(warning, |asked| asked.value),
            warn_signal: spec
                .and_then(|failure| failure.warn_signal.as_ref())
                .map(|asked| asked.value)
                .unwrap_or_default(),
            no_progress_timeout: spec
                .and_then(|failure| failure.no_progress_timeout.as_ref())
                .map(|asked| asked.value)
                .filter(|asked| asked.0 > 0),
            requeues_itself: spec
                .and_then(|failure| failure.requeue.as_ref())
                .is_some_and(|asked| asked.value == Requeue::Job),
            exclude_failed_nodes: spec
                .and_then(|failure| failure.exclude_failed_nodes.as_ref())
                .is_none_or(|asked| asked.value),
        }
    }

    pub(super) fn check_failure(&mut self, target: &Target, time_limit: Option<TimeLimit>) {
        let Some(failure) = self.spec.failure.as_ref() else { return };
        for code in failure.restart_exit_codes.iter().flat_map(|codes| &codes.value) {
            if !(1..=255).contains(&code.value) {
                let message =
                    format!("no training that wants to be brought back ends with {}", code.value);
                let help = "0 always means done; an exit code is at most 255";
                self.problems.push(Problem::at(code.place, message).help(help));
            }
        }
        self.check_requeue(target);
        let Some(asked) = &failure.warn_before_end else { return };
        if let Some(limit) = time_limit.filter(|limit| asked.value >= limit.0) {
            let message = format!(
                "the warning would come {} before the end of a run of at most {}",
                asked.value, limit.0
            );
            let help = "warn later than the run begins: a shorter `warn_before_end`, or a longer `time_limit`";
            self.problems.push(Problem::at(asked.place, message).help(help));
        } else if *target != Target::Local && asked.value > WARN_ON_SLURM_MAX {
            let message = format!("Slurm warns at most {WARN_ON_SLURM_MAX} before the end");
            self.at(asked.place, message);
        }
    }

    fn check_requeue(&mut self, target: &Target) {
        let asked = self.spec.failure.as_ref().and_then(|failure| failure.requeue.as_ref());
        let Some(asked) = asked.filter(|asked| asked.value == Requeue::Job) else { return };
        if *target == Target::Local {
            self.at(asked.place, "a run on this machine has no Slurm that could requeue its job");
        } else if self.failure(None).max_restarts == 0 {
            let message = "the job could never have itself requeued: `failure.max_restarts` is 0";
            let help = "set `max_restarts`; with `[checkpoint]` it is 3 by default";
            self.problems.push(Problem::at(asked.place, message).help(help));
        }
    }
}
