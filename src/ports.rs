//! The outside world, as few verbs: what a test cannot have for real is behind one of these traits.
//!
//! - [`Scheduler`]: Slurm, or local processes. Its errors say what the caller may do.
//! - [`Hands`]: everything done on behalf of a user, files and programs, in batched verbs. In personal mode it is this
//!   process ([`crate::hands`]); in site mode it will be a child with that user's rights.
//! - [`Clock`]: time and randomness.
//!
//! `SQLite` and the file system are used for real, in tests too.

mod orders;
mod program;
mod submit;

pub use orders::{
    ArchiveOrder, Archived, BuildFiles, CodeOrder, ContentOrder, CopiedUpTo, DataOrder, Doomed,
    HandOut, InboxItem, NewRunDir, StoredItem, Stretch, SweepFiles, TakenCode, Weight,
};
pub use program::{Held, Output, Program, ProgramError};
pub use submit::{ArrayLimits, ArrayOrder, SubmitOrder};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::bad_nodes::Node;
use crate::domain::checkpoint::{Branch, Format, Walked};
use crate::domain::dataset::{Found, Root};
use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::inbox::ScriptEvent;
use crate::domain::inputs::{CodeDigest, Stored};
use crate::domain::ledger::AccountFigures;
use crate::domain::nodelist::NodeName;
use crate::domain::resolved::SbatchOption;
use crate::domain::run::{Answer, Digest, Revocation, Sighting};
use crate::domain::units::Seconds;
use crate::domain::usage::Accounts;

/// Time and randomness.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    fn random_bits(&self) -> u128;
}

/// A submission whose job is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub submission: SubmissionId,
    pub token: Token,
    pub job: Option<JobKey>,
    /// When the intent was recorded: no job of it is older.
    pub intent_at: Timestamp,
    pub wants: Wants,
    /// News is expected: asked about sooner, as far as the scheduler may be asked.
    pub eager: bool,
    /// It was accepted, and was never seen since: there is little to ask about in its first seconds.
    pub unseen: bool,
    /// The scheduler may not have saved it: one that dies forgets it as if it had never been. It is asked about regularly.
    pub provisional: bool,
    /// The start that is known, from 0; those from here on are told.
    pub restart: u32,
    /// When that start was submitted, as the scheduler said; nothing before it has.
    pub submitted_at: Option<Timestamp>,
    /// What was shown last, where the same again would be no news.
    pub shown: Option<Digest>,
}

/// What a scheduler is asked about a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Where its jobs stand.
    News,
    /// What accounting keeps of its starts, all of which are over; where it says nothing nobody knows more.
    Accounts,
}

/// A call of sbatch whose answer nobody waits for any more: the daemon ended before it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub token: Token,
    /// It was called on this machine.
    pub is_here: bool,
    pub called_at: Timestamp,
}

/// What a scheduler says when it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookAnswer {
    /// It may not be asked yet.
    NotDue,
    Seen {
        /// Every job that a submission came to, each with those of its starts that are not over or not known.
        sightings: Vec<Sighting>,
        /// Those of which nothing is shown but what was shown last.
        unchanged: BTreeSet<Token>,
        /// Not known to be absent, and nothing is concluded from what is among the sightings; `silence` says why, when
        /// somebody is silent.
        unsure: Vec<Token>,
        silence: Option<Silence>,
    },
}

/// No answer that can be believed: ask again later, and believe nothing meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} gave no answer: {why}")]
pub struct Silence {
    pub who: String,
    pub why: String,
}

/// When a start would come, as a scheduler reckons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reckoned {
    At(Timestamp),
    /// It would not take it, or does not say: in its own words.
    Never(String),
}

/// A Slurm cluster, or the local target.
pub trait Scheduler: Send + Sync {
    /// Gets ready for a submission that may come, where that makes it faster. Nothing comes of it by itself.
    fn prepare(&self, _order: &SubmitOrder) -> Option<Held> {
        None
    }

    /// Submits once, by what was prepared for it if there is something. Every doubt about the outcome is [`Answer::Lost`].
    fn submit(&self, order: SubmitOrder, prepared: Option<Held>) -> BoxFuture<'_, Answer>;

    /// Whether an orphaned call may still submit. Nothing is concluded from an absence before it cannot.
    fn may_still_submit<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, bool>;

    /// Asks for all of them at once. What is neither seen, nor unchanged, nor unsure in a good answer is absent.
    fn look<'a>(&'a self, asked: &'a [Asked]) -> BoxFuture<'a, Result<LookAnswer, Silence>>;

    /// Asks for a job's end, confirmed only by a later look; with `grace` it is only warned, and has to be asked again
    /// without. A job under that id which is not of the submission is left alone: schedulers give ids out again.
    fn cancel<'a>(
        &'a self,
        job: &'a JobKey,
        token: &'a Token,
        grace: bool,
    ) -> BoxFuture<'a, Result<(), Silence>>;

    /// Asks for the end of tasks of one array, as [`Self::cancel`] does.
    fn cancel_tasks<'a>(
        &'a self,
        array: &'a JobKey,
        (tasks, token): (&'a [u32], &'a Token),
        grace: bool,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            for task in tasks {
                let job = JobKey { array_task: Some(*task), ..array.clone() };
                self.cancel(&job, &token.element(*task), grace).await?;
            }
            Ok(())
        })
    }

    /// What its arrays may have; none where it knows none, and each job is submitted by itself.
    fn arrays(&self) -> BoxFuture<'_, Result<Option<ArrayLimits>, Silence>> {
        Box::pin(async { Ok(None) })
    }

    /// Says how many tasks of an array may run at once from now on. One under that id which is not of the submission is left
    /// alone.
    fn limit<'a>(
        &'a self,
        _array: &'a JobKey,
        _token: &'a Token,
        _at_once: u32,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async { Ok(()) })
    }

    /// All nodes of the cluster, as they are now. The local target has none.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, Silence>>;

    /// Says which nodes a job that waits is not to be given, in place of what was said before. A job under that id which is
    /// not of the submission is left alone.
    fn exclude<'a>(
        &'a self,
        job: &'a JobKey,
        token: &'a Token,
        nodes: &'a [NodeName],
    ) -> BoxFuture<'a, Result<(), Silence>>;

    /// The run's end is recorded: what was kept to tell it may go.
    fn forget<'a>(&'a self, job: &'a JobKey) -> BoxFuture<'a, ()>;

    /// The age at which an accepted job cannot be forgotten any more.
    fn settled_after(&self) -> Seconds;

    /// Whether somebody keeps accounts of jobs that are over, as far as is known.
    fn keeps_accounts(&self) -> bool {
        false
    }

    /// What accounting keeps of these jobs, and of all of the user's since a moment. A person asked for it.
    fn accounts<'a>(
        &'a self,
        _jobs: &'a [JobKey],
        _since: Timestamp,
    ) -> BoxFuture<'a, Result<Accounts, Silence>> {
        Box::pin(async { Ok(None) })
    }

    /// When a job with these options of sbatch would start if it were submitted now. Nothing is submitted. A person asked.
    fn would_start<'a>(
        &'a self,
        _options: &'a [SbatchOption],
    ) -> BoxFuture<'a, Result<Reckoned, Silence>> {
        Box::pin(async { Ok(Reckoned::Never("it does not reckon".to_owned())) })
    }

    /// What these accounts may use, as the scheduler counts it itself. None when it may not be asked yet.
    fn figures<'a>(
        &'a self,
        _accounts: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Option<AccountFigures>, Silence>> {
        Box::pin(async { Ok(None) })
    }

    /// How long a job may be absent from good answers before that is news.
    fn absent_grace(&self) -> Seconds;

    /// How long beyond its time limit a job may run, as far as that is known.
    fn ends_late_by(&self) -> Seconds {
        // The time to end in that a local job has, and Slurm's jobs as it comes.
        Seconds(30)
    }
}

/// Everything done on behalf of a user. Verbs are blocking and are called off the async threads.
pub trait Hands: Send + Sync {
    /// Runs a program to its end.
    fn run(&self, program: &Program) -> BoxFuture<'static, Result<Output, ProgramError>>;

    /// Starts a program that reads a file, and keeps it from reading until it is told to; none where that cannot be done.
    fn hold(&self, _program: &Program, _turn: OwnedSemaphorePermit) -> Option<Held> {
        None
    }

    /// Whether a process of this machine has an argument that begins and ends like this.
    fn is_running_with(&self, begins: &str, ends: &str) -> std::io::Result<bool>;

    /// Starts a program that outlives this process; it is not waited for.
    fn launch(&self, program: &Program) -> Result<u32, ProgramError>;

    /// Makes what is missing of a run root's store.
    fn make_store(&self, run_root: &Path, mode: u32) -> std::io::Result<()>;

    /// Captures code into the run root's store, which was made before. What is wrong with the code itself, and not with the machine, is an error of the kind
    /// `std::io::ErrorKind::InvalidData`.
    fn capture_code(&self, order: &CodeOrder) -> std::io::Result<TakenCode>;

    /// Whether captured code is still in a run root's store; notes that it is used.
    fn use_code(&self, run_root: &Path, digest: &CodeDigest) -> std::io::Result<bool>;

    /// The list of captured code: `domain::tree::list`.
    fn code_list(&self, run_root: &Path, digest: &CodeDigest) -> std::io::Result<String>;

    /// What a run root's store keeps.
    fn stored(&self, run_root: &Path) -> std::io::Result<Vec<StoredItem>>;

    /// What of it the run directories of the run root lead to.
    fn linked(&self, run_root: &Path) -> std::io::Result<BTreeSet<(Stored, String)>>;

    /// Removes from the store what was not used since it was listed. Gives what was removed.
    fn remove_stored(
        &self,
        run_root: &Path,
        items: &[StoredItem],
    ) -> std::io::Result<Vec<StoredItem>>;

    /// How many files a directory has, and how many bytes. A missing one has none.
    fn weigh(&self, directory: &Path) -> std::io::Result<Weight>;

    /// Makes a run directory with everything that is known before the submission, durably. `false` when there is one of
    /// that name.
    fn make_run_dir(&self, order: &NewRunDir) -> std::io::Result<bool>;

    /// What the root of a dataset shows of itself; none when it is not there.
    fn data_root(&self, path: &Path) -> std::io::Result<Option<Root>>;

    /// Fingerprints a dataset; what cannot be found out is told in the answer.
    fn fingerprint(&self, order: &DataOrder) -> std::io::Result<Found>;

    /// The checkpoints below a directory, of one format or of all, at a few calls for each whatever its size. A missing one
    /// has none.
    fn checkpoints(&self, directory: &Path, wanted: Option<Format>) -> std::io::Result<Walked>;

    /// When the names of directories last changed; none of one that is not there.
    fn changed_at(&self, directories: &[PathBuf]) -> Vec<Option<Timestamp>>;

    /// Copies a checkpoint to an archive, a few seconds long; on from where the last call ended.
    fn archive_checkpoint(
        &self,
        order: &ArchiveOrder,
        from: Option<CopiedUpTo>,
    ) -> std::io::Result<Archived>;

    /// Renames checkpoints of a directory so that they are none any more, each if it is still what was found. Gives where
    /// each is then, or why it stays.
    fn hide_checkpoints(&self, directory: &Path, doomed: &[Doomed])
    -> Vec<Result<PathBuf, String>>;

    /// Removes what was renamed so.
    fn remove_hidden(&self, directory: &Path, hidden: &Path) -> std::io::Result<()>;

    /// Writes into a run directory what a person chose to go on from, for the script, as of the moment of the choice.
    fn choose_checkpoint(&self, run_dir: &Path, branch: &Branch) -> std::io::Result<()>;

    /// Puts the secrets of a user's file into a run directory, durably; those that were there are replaced.
    fn take_secrets(&self, source: &Path, run_dir: &Path) -> std::io::Result<()>;

    /// Writes what a build needs, over what an earlier one left.
    fn write_build(&self, order: &BuildFiles) -> std::io::Result<()>;

    /// Gives runs the environment that was built, and what the build said where they have no word of it yet.
    fn hand_out(&self, order: &HandOut) -> std::io::Result<()>;

    /// Removes a run directory that was made for a run which was not recorded.
    fn discard_run_dir(&self, run_dir: &Path) -> std::io::Result<()>;

    /// Writes lines of a sweep's table of points, durably, from the one of point `from` on; what stands there is of points
    /// that were never recorded, and goes.
    fn add_points(&self, sweep_dir: &Path, from: u32, lines: &str) -> std::io::Result<()>;

    /// Takes away what the killed script of a sweep's point left, but not what its training wrote.
    fn tidy_point(&self, run_dir: &Path) -> std::io::Result<()>;

    /// Reads the events that a run root's inbox has for these submissions, oldest first, at most `max`. Others are not
    /// opened: they may belong to another state directory.
    fn read_inbox(
        &self,
        run_root: &Path,
        tokens: &BTreeSet<Token>,
        max: usize,
    ) -> std::io::Result<Vec<InboxItem>>;

    /// The submissions that a run root's inbox has events of.
    fn inbox_tokens(&self, run_root: &Path) -> std::io::Result<BTreeSet<Token>>;

    /// Removes from a run root's inbox the events of these submissions, and whatever else lies there since before `then`.
    fn sweep_inbox(
        &self,
        run_root: &Path,
        over: &BTreeSet<Token>,
        then: Timestamp,
    ) -> std::io::Result<()>;

    /// Removes files that were recorded.
    fn remove(&self, files: &[PathBuf]) -> std::io::Result<()>;

    /// The exit marker of an attempt, when it is there.
    fn exit_marker(&self, run_dir: &Path, attempt: u32) -> std::io::Result<Option<ScriptEvent>>;

    /// Takes a submission's claim with `revoked`, or finds who has it.
    fn revoke(&self, run_dir: &Path, token: &Token) -> std::io::Result<Revocation>;

    /// The job that has a submission's claim; `None` when none has it, or it is revoked.
    fn claim_owner(&self, run_dir: &Path, token: &Token) -> std::io::Result<Option<JobKey>>;

    /// Reads at most `max` bytes of a regular file from an offset; a missing file is an empty stretch.
    fn read(&self, file: &Path, from: u64, max: usize) -> std::io::Result<Stretch>;

    /// How many bytes a regular file has; 0 for a missing one.
    fn length(&self, file: &Path) -> std::io::Result<u64>;

    /// Where the last `lines` lines of a regular file begin; 0 for a missing one.
    fn tail_offset(&self, file: &Path, lines: u64) -> std::io::Result<u64>;
}
