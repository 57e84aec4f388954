//! Nodes that failed under the run, and nodes that it keeps away from.

use crate::domain::bad_nodes::{Avoided, Ended, Unwell, blame, blamed};
use crate::domain::run::decision::{Decision, Note};
use crate::domain::run::state::{Attempt, AttemptState, Run, State};
use crate::domain::run::step::impossible;

/// Names the nodes that are to blame for the ends of the attempts which ended in this pass. `unwell` are those that the
/// scheduler did not show as well in it.
pub(super) fn name_failed(mut decision: Decision, before: &Run, unwell: &Unwell) -> Decision {
    let is_known = |attempt: &Attempt| {
        let known = before.attempt.as_ref().filter(|known| known.n == attempt.n);
        known.is_some_and(is_over)
    };
    let attempts = decision.closed.iter_mut().chain(decision.run.attempt.as_mut());
    for attempt in attempts.filter(|attempt| is_over(attempt) && !is_known(attempt)) {
        // A name that only its script told may be another than Slurm's.
        let Some(reason) = attempt.reason.filter(|_| attempt.slurm_state.is_some()) else {
            continue;
        };
        let told = attempt.script_end.as_ref().map_or("", |end| end.message.as_str());
        // The one that its script told may not have been its only one.
        let nodes: &[String] =
            if attempt.granted.has_all(&attempt.nodes) { &attempt.nodes } else { &[] };
        attempt.failed_nodes = blame(Ended { reason, nodes, told }, unwell);
        if !attempt.failed_nodes.is_empty() {
            let message = blamed(attempt.n, &attempt.failed_nodes);
            decision.notes.push(Note { kind: "node_failed".into(), message });
        }
    }
    decision
}

fn is_over(attempt: &Attempt) -> bool {
    match attempt.state {
        AttemptState::Completed
        | AttemptState::Failed
        | AttemptState::Cancelled
        | AttemptState::Requeued => true,
        AttemptState::Queued | AttemptState::Running | AttemptState::Finishing => false,
    }
}

/// Says in the history which nodes a submission keeps away from.
pub(super) fn tell_avoided(decision: Decision, avoided: &Avoided) -> Decision {
    match &avoided.told {
        Some(told) => decision.note("avoided", told.clone()),
        None => decision,
    }
}

/// The scheduler was told, for the start that waits, which nodes it is not to be given.
pub(super) fn keeps_away(run: &Run, avoided: &Avoided) -> Decision {
    let State::Queued { .. } = run.state else {
        return impossible(run, "it was kept away from nodes");
    };
    let mut decision = Decision::stay(run);
    let restart = run.known_restart();
    if let Some(submission) = decision.run.submission.as_mut() {
        submission.avoided.clone_from(&avoided.nodes);
        submission.avoided_for = restart;
    }
    tell_avoided(decision, avoided)
}

impl Run {
    /// Whether the scheduler has started the job again since it was told which nodes to keep it away from, and it waits.
    pub fn may_be_kept_away(&self) -> bool {
        let is_waiting = matches!(self.state, State::Queued { .. });
        let told_for = self.submission.as_ref().map(|submission| submission.avoided_for);
        is_waiting && self.open_attempt().is_some_and(|attempt| Some(attempt.restart) > told_for)
    }
}
