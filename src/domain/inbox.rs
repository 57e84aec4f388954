//! What a job's script tells: events in the inbox and the exit marker in the run directory.
//!
//! They may hasten a question and add detail; state and money come from the scheduler. The texts come from a file that
//! the training can write too, so nothing here is believed beyond the run it belongs to.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{JobKey, NotAn, Token};

/// The largest event file that is read; the script writes less.
pub const EVENT_BYTES_MAX: usize = 4096;

/// One line of `events.jsonl`, and one file of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptEvent {
    pub token: Token,
    /// The job whose script tells this.
    pub job: JobKey,
    /// The point within the submission; 0 for a single run.
    #[serde(default)]
    pub index: u32,
    pub attempt: u32,
    pub restart: u32,
    pub event: ScriptEventKind,
    /// Seconds since 1970, by the node's clock.
    pub at: i64,
    #[serde(default)]
    pub host: String,
    /// With `ended`: what the script exits with.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// With `ended`: why the script gave up before or instead of the training, if it did.
    #[serde(default)]
    pub reason: Option<ScriptReason>,
    /// With `launched`: the checkpoint that it goes on from.
    #[serde(default)]
    pub message: String,
    /// With `launched`: the step of that checkpoint.
    #[serde(default)]
    pub resumed_from_step: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptEventKind {
    /// The claim is ours.
    Started,
    /// The training was started.
    Launched,
    /// A signal announced the end.
    Warned,
    /// That was a while ago, and no process of the training had a handler for it.
    Unheard,
    /// The claim is ours, and data of the run is not what it was when the run was submitted.
    DataChanged,
    /// It could not be found out whether it is.
    DataUnchecked,
    /// The script is about to exit.
    Ended,
    /// A word of a newer script.
    #[serde(other)]
    Unknown,
}

/// Why a script ended by its own decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptReason {
    /// Another job owns the claim.
    Superseded,
    /// The training could not be started.
    LaunchFailed,
    /// Data is not what it was, and the spec lets the run fail then.
    DataChanged,
    /// There is no complete checkpoint to go on from, and the spec wants one.
    NoCheckpoint,
    /// The training wrote nothing for too long, and was ended.
    Hung,
    /// Slurm has started the job more often than the spec lets it.
    StoppedByPolicy,
    #[serde(other)]
    Unknown,
}

impl ScriptEvent {
    /// Reads one event.
    ///
    /// # Errors
    /// When it is longer than [`EVENT_BYTES_MAX`] or not the JSON that the script writes.
    pub fn parse(text: &str) -> Result<Self, NotAn> {
        if text.len() > EVENT_BYTES_MAX {
            return Err(NotAn::new("event", text));
        }
        serde_json::from_str(text.trim()).map_err(|_| NotAn::new("event", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_writes_is_read() {
        let text = r#"{"token":"tybaaaaaaaaaaaaaaaaaaa","job":"local:7","index":0,"attempt":1,"restart":0,"event":"ended","at":1790000000,"host":"n1","exit_code":3,"reason":null,"message":""}"#;
        let event = ScriptEvent::parse(text).expect("an event");
        assert_eq!(
            (event.event, event.exit_code, event.reason),
            (ScriptEventKind::Ended, Some(3), None)
        );
        assert_eq!(event.job.to_string(), "local:7");
        let newer = text.replace("ended", "paused");
        assert_eq!(
            ScriptEvent::parse(&newer).map(|event| event.event),
            Ok(ScriptEventKind::Unknown)
        );
        for wrong in ["", "{}", "null", &text[..40], &"x".repeat(5000)] {
            assert!(ScriptEvent::parse(wrong).is_err(), "{wrong}");
        }
    }
}
