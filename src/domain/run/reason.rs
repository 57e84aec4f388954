//! The closed list of why things end.

use crate::domain::keys::choice;

choice! {
    /// Why a run, or one of its attempts, ended as it did.
    pub enum Reason {
        ExitCode = "exit_code",
        Signal = "signal",
        OutOfMemory = "out_of_memory",
        TimeLimit = "time_limit",
        Preempted = "preempted",
        NodeFailure = "node_failure",
        BootFailure = "boot_failure",
        Deadline = "deadline",
        Requeued = "requeued",
        LaunchFailed = "launch_failed",
        Rejected = "rejected",
        PreparationFailed = "preparation_failed",
        Lost = "lost",
        Hung = "hung",
        NoProgress = "no_progress",
        NoCheckpoint = "no_checkpoint",
        DataChanged = "data_changed",
        StoppedEarly = "stopped_early",
        StoppedByPolicy = "stopped_by_policy",
        BudgetExhausted = "budget_exhausted",
        EvaluationFailed = "evaluation_failed",
        CancelledByUser = "cancelled_by_user",
        CancelledByAdmin = "cancelled_by_admin",
        /// Of a job, never of a run: another job owns the claim.
        Superseded = "superseded",
    }
    later {}
}
