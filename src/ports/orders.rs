//! What [`Hands`](crate::ports::Hands) are told to do, and what they bring.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::code::Capture;
use crate::domain::inbox::ScriptEvent;
use crate::domain::inputs::{CapturedCode, Stored};

/// The files of a new run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRunDir {
    pub path: PathBuf,
    pub mode: u32,
    /// `run.toml`: what was asked.
    pub spec: String,
    /// `resolved.json`: what it meant.
    pub resolved: String,
    /// `job.sh`: what is submitted.
    pub script: String,
    /// What a sweep has beside; none for a run.
    pub sweep: Option<SweepFiles>,
    /// `datasets.tsv`: what the data looked like, for the job to compare. Not written when there is nothing in it.
    pub datasets: String,
    /// What `code` links to: the captured tree.
    pub code: PathBuf,
    /// `code.patch`: what a git work tree had beside its commit.
    pub patch: Option<Vec<u8>>,
    /// The user's file that the run takes its secrets from.
    pub secrets: Option<PathBuf>,
}

/// What the directory of a sweep has beside that of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepFiles {
    /// The scripts of its other sets: `job.1.sh` and so on.
    pub scripts: Vec<String>,
    /// The table of its points.
    pub points: String,
}

/// What is to be captured, for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeOrder {
    pub capture: Capture,
    /// Its store keeps the code.
    pub run_root: PathBuf,
    /// Of the user: git looks for its settings there.
    pub home: PathBuf,
}

/// Code that was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenCode {
    pub code: CapturedCode,
    /// Whether the program that is to be started is among it.
    pub has_entry_point: bool,
    /// What a git work tree had beside its commit.
    pub patch: Option<Vec<u8>>,
}

/// Data that is to be fingerprinted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataOrder {
    pub path: PathBuf,
    /// Given where contents are read, too.
    pub content: Option<ContentOrder>,
    /// What is not done by then is given up.
    pub patience: Duration,
}

/// How contents are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentOrder {
    /// The folder that remembers the digests of files that were read before.
    pub cached_in: PathBuf,
    pub now: Timestamp,
}

/// Something that a store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    pub kind: Stored,
    /// In its place of the store.
    pub name: String,
    /// Of code: of its archive, and of the tree that was made from it.
    pub bytes: u64,
    pub used_at: Timestamp,
    /// Somebody is at work on it.
    pub is_locked: bool,
}

/// What a directory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Weight {
    pub files: u64,
    pub bytes: u64,
}

/// Where a build happens, and what it needs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFiles {
    pub directory: PathBuf,
    pub mode: u32,
    /// `job.sh`.
    pub script: String,
    /// The captured requirements, the one that the spec names first.
    pub requirements: Vec<String>,
}

/// What came of a build, for the runs that waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOut {
    pub run_dirs: Vec<PathBuf>,
    /// Of the directories that are made.
    pub mode: u32,
    /// Where the environment is; none where the build failed.
    pub place: Option<PathBuf>,
    /// What the build said.
    pub log: PathBuf,
}

/// Text read from a file at an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stretch {
    pub bytes: Vec<u8>,
    /// Where the next read goes on. 0 again when the file was replaced or cut.
    pub next: u64,
    /// Identifies the file that was read: device and inode.
    pub file: Option<(u64, u64)>,
}

/// An event file of the inbox, with its name, so that it can be removed when it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    pub file: PathBuf,
    /// `None` when the file is not what a script writes.
    pub event: Option<ScriptEvent>,
}

/// A checkpoint that is to go, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    pub path: PathBuf,
    /// Else it is a file.
    pub is_directory: bool,
}

/// A checkpoint that is to be copied to an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveOrder {
    /// The checkpoint directory that it lies in.
    pub directory: PathBuf,
    pub run_dir: PathBuf,
    pub path: PathBuf,
    /// Has to be there.
    pub archive: PathBuf,
    /// Where in the archive.
    pub place: PathBuf,
}

/// How far a copy has come: whole entries, and bytes of the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopiedUpTo {
    pub entries: usize,
    pub bytes: u64,
}

/// What a stretch of copying came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    UpTo(CopiedUpTo),
    /// It is whole, durable, and here.
    Whole(PathBuf),
}
