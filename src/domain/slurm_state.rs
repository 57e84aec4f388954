//! Slurm's words for the state of a job, and what they mean for a run.
//!
//! A job has one base state and any number of flags, but `squeue` and `sacct` print one word: a flag hides the base.
//! So a flag never says that a job is over, however it sounds. A word that this version does not know is a value too:
//! shown as it is, never final.

use crate::domain::run::{JobEnd, Phase};

/// Every word of Slurm 20.11 to 26.05.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobWord {
    // Base states.
    Pending,
    Running,
    Suspended,
    Completed,
    Cancelled,
    Failed,
    Timeout,
    NodeFail,
    Preempted,
    BootFail,
    Deadline,
    OutOfMemory,
    // Flags.
    Completing,
    Configuring,
    Expediting,
    GetenvFailed,
    LaunchFailed,
    PowerUpNode,
    ReconfigFail,
    Requeued,
    RequeuedCron,
    RequeueFed,
    RequeueHold,
    Resizing,
    ResvDelHold,
    Revoked,
    Signaling,
    SpecialExit,
    StageOut,
    Stopped,
}

use JobWord::{
    BootFail, Cancelled, Completed, Completing, Configuring, Deadline, Expediting, Failed,
    GetenvFailed, LaunchFailed, NodeFail, OutOfMemory, Pending, PowerUpNode, Preempted,
    ReconfigFail, RequeueFed, RequeueHold, Requeued, RequeuedCron, Resizing, ResvDelHold, Revoked,
    Running, Signaling, SpecialExit, StageOut, Stopped, Suspended, Timeout,
};

const WORDS: &[(&str, JobWord)] = &[
    ("PENDING", Pending),
    ("RUNNING", Running),
    ("SUSPENDED", Suspended),
    ("COMPLETED", Completed),
    ("CANCELLED", Cancelled),
    ("FAILED", Failed),
    ("TIMEOUT", Timeout),
    ("NODE_FAIL", NodeFail),
    ("PREEMPTED", Preempted),
    ("BOOT_FAIL", BootFail),
    ("DEADLINE", Deadline),
    ("OUT_OF_MEMORY", OutOfMemory),
    ("COMPLETING", Completing),
    ("CONFIGURING", Configuring),
    ("EXPEDITING", Expediting),
    ("GETENV_FAILED", GetenvFailed),
    ("LAUNCH_FAILED", LaunchFailed),
    ("POWER_UP_NODE", PowerUpNode),
    ("RECONFIG_FAIL", ReconfigFail),
    ("REQUEUED", Requeued),
    ("REQUEUED_CRON", RequeuedCron),
    ("REQUEUE_FED", RequeueFed),
    ("REQUEUE_HOLD", RequeueHold),
    ("RESIZING", Resizing),
    ("RESV_DEL_HOLD", ResvDelHold),
    ("REVOKED", Revoked),
    ("SIGNALING", Signaling),
    ("SPECIAL_EXIT", SpecialExit),
    ("STAGE_OUT", StageOut),
    ("STOPPED", Stopped),
];

/// A state as it was printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmState {
    /// `None` for a word of a newer Slurm.
    pub word: Option<JobWord>,
    /// Who cancelled it, where `sacct` says so.
    pub cancelled_by: Option<u32>,
    /// The word alone, as it was printed.
    pub text: String,
}

impl SlurmState {
    /// Reads `RUNNING`, `CANCELLED by 123`, and words that a narrow column has cut (`CANCELLED+`).
    pub fn parse(text: &str) -> Self {
        /// Enough to recognise it; it may come from a hostile place.
        const SHOWN_MAX: usize = 40;
        let text = text.trim();
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let word = match first.strip_suffix('+') {
            Some(start) => of_start(start),
            None => WORDS.iter().find(|(known, _)| *known == first).map(|(_, word)| *word),
        };
        let cancelled_by = rest
            .strip_prefix("by ")
            .filter(|_| word == Some(Cancelled))
            .and_then(|uid| uid.parse().ok());
        Self { word, cancelled_by, text: first.chars().take(SHOWN_MAX).collect() }
    }

    /// What the word means for a run. `why` is Slurm's reason for a job that waits; `exit` is its exit code and signal.
    pub fn phase(&self, why: Option<String>, exit: (Option<i32>, Option<i32>)) -> Phase {
        let (exit_code, signal) = exit;
        let ended = |end| Phase::Ended { end, exit_code, signal };
        let held = |why: Option<String>, what: &str| Phase::Waiting {
            why: why.or_else(|| Some(what.to_owned())),
        };
        let Some(word) = self.word else { return Phase::Unknown };
        match word {
            Pending => Phase::Waiting { why },
            Running | Suspended | Completing | Resizing | Signaling | StageOut | Stopped => {
                Phase::Running
            }
            Configuring | PowerUpNode => held(why, "its nodes are being made ready"),
            // On its way back into the queue; the restart count tells when it is there.
            Requeued | RequeuedCron | RequeueFed | Expediting => held(why, "it is being requeued"),
            RequeueHold | SpecialExit | ResvDelHold => held(why, "it is held"),
            // The job may live on under another cluster of a federation, or go on: only a base state is an end.
            Revoked | LaunchFailed | ReconfigFail | GetenvFailed => Phase::Unknown,
            Completed => ended(JobEnd::Completed),
            Cancelled => ended(JobEnd::Cancelled),
            Failed => ended(JobEnd::Failed),
            Timeout => ended(JobEnd::TimeLimit),
            NodeFail => ended(JobEnd::NodeFailure),
            Preempted => ended(JobEnd::Preempted),
            BootFail => ended(JobEnd::BootFailure),
            Deadline => ended(JobEnd::Deadline),
            OutOfMemory => ended(JobEnd::OutOfMemory),
        }
    }
}

/// The one word that begins so; a start that fits several says nothing.
fn of_start(start: &str) -> Option<JobWord> {
    let mut fitting = WORDS.iter().filter(|(known, _)| known.starts_with(start));
    match (fitting.next(), fitting.next()) {
        (Some((_, word)), None) => Some(*word),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The phase in short: `waiting`, `waiting: why`, `running`, `ended END`, `unknown`.
    fn short(phase: &Phase) -> String {
        match phase {
            Phase::Waiting { why: None } => "waiting".to_owned(),
            Phase::Waiting { why: Some(why) } => format!("waiting: {why}"),
            Phase::Running => "running".to_owned(),
            Phase::Ended { end, .. } => format!("ended {end:?}"),
            Phase::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn every_word_has_its_meaning() {
        let check = |text: &str, expected: &str| {
            let phase = SlurmState::parse(text).phase(None, (Some(0), None));
            assert_eq!(short(&phase), expected, "{text}");
        };
        check("PENDING", "waiting");
        check("RUNNING", "running");
        check("SUSPENDED", "running");
        check("COMPLETED", "ended Completed");
        check("CANCELLED", "ended Cancelled");
        check("CANCELLED by 30065", "ended Cancelled");
        check("FAILED", "ended Failed");
        check("TIMEOUT", "ended TimeLimit");
        check("NODE_FAIL", "ended NodeFailure");
        check("PREEMPTED", "ended Preempted");
        check("BOOT_FAIL", "ended BootFailure");
        check("DEADLINE", "ended Deadline");
        check("OUT_OF_MEMORY", "ended OutOfMemory");
        for word in ["COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"] {
            check(word, "running");
        }
        check("CONFIGURING", "waiting: its nodes are being made ready");
        check("POWER_UP_NODE", "waiting: its nodes are being made ready");
        for word in ["REQUEUED", "REQUEUED_CRON", "REQUEUE_FED", "EXPEDITING"] {
            check(word, "waiting: it is being requeued");
        }
        for word in ["REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"] {
            check(word, "waiting: it is held");
        }
        for word in ["REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL", "GETENV_FAILED"] {
            check(word, "unknown");
        }
        for word in
            ["", "?", "running", "HIBERNATING", "UPDATE_DB", "\u{1b}[31mFAILED", "RUNNING\n"]
        {
            let expected = if word.trim() == "RUNNING" { "running" } else { "unknown" };
            check(word, expected);
        }
    }

    #[test]
    fn every_word_of_the_table_is_read_and_only_base_states_are_final() {
        let finals = [
            Completed,
            Cancelled,
            Failed,
            Timeout,
            NodeFail,
            Preempted,
            BootFail,
            Deadline,
            OutOfMemory,
        ];
        for (text, word) in WORDS {
            let state = SlurmState::parse(text);
            assert_eq!(state.word, Some(*word));
            assert_eq!(state.text, *text);
            let phase = state.phase(None, (None, None));
            assert_eq!(matches!(phase, Phase::Ended { .. }), finals.contains(word), "{text}");
        }
    }

    #[test]
    fn cut_words_count_when_only_one_begins_so() {
        let check = |text: &str, word: Option<JobWord>| {
            assert_eq!(SlurmState::parse(text).word, word, "{text}");
        };
        check("CANCELLED+", Some(Cancelled));
        check("CANCELLED by 12+", Some(Cancelled));
        check("OUT_OF_ME+", Some(OutOfMemory));
        check("COMPLETI+", Some(Completing));
        check("COMPLET+", None);
        check("REQUEUE+", None);
        check("+", None);
        assert_eq!(SlurmState::parse("CANCELLED by 12+").cancelled_by, None);
        assert_eq!(SlurmState::parse("CANCELLED by 123").cancelled_by, Some(123));
        assert_eq!(SlurmState::parse("FAILED by 123").cancelled_by, None);
    }

    #[test]
    fn slurms_reason_is_kept_for_what_waits() {
        let why = |text: &str| {
            short(&SlurmState::parse(text).phase(Some("JobHeldUser".into()), (None, None)))
        };
        assert_eq!(why("PENDING"), "waiting: JobHeldUser");
        assert_eq!(why("REQUEUE_HOLD"), "waiting: JobHeldUser");
        assert_eq!(why("RUNNING"), "running");
    }
}
