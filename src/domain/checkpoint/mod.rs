//! Checkpoints: what a directory holds of them, and whether one is whole.
//!
//! A checkpoint is complete only by its format's own rule: the marker that its writer leaves last, never its age or its
//! size. What cannot be proven is incomplete, and says why. Nothing here reads a file: a directory's names and the ends of
//! a few files come in as values, so that a look costs a handful of calls for each checkpoint, whatever its size. Pickles
//! are never loaded.

pub mod ends;
mod judge;
pub mod layout;
mod newest;
mod retention;
mod saved;
pub mod step;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::keys::choice;

pub use ends::{End, Part, TAIL_BYTES, end, part, safetensors_header};
pub use judge::{Pointer, Seen, has_weights, judge, markers, rank_directory};
pub use layout::{POINTERS, is_weights, recognise, recognise_file, without_temporary};
pub use newest::{BRANCH_FILE, Branch, newest};
pub use retention::{Go, Goal, Held, Keep, KeepBest, Plan, PlanView, Retention, plan};
pub use saved::{Mark, Saved, SavedView};
pub use step::step_of;
pub use view::{CatalogueView, CheckpointView, Start, Summary, catalogue};

choice! {
    /// Who wrote a checkpoint, told from its layout.
    pub enum Format {
        /// `torch.distributed.checkpoint`: a directory of `.distcp` files; `.metadata` is written last.
        Dcp = "dcp",
        /// The Hugging Face Trainer: `checkpoint-N`; `trainer_state.json` is written last.
        Huggingface = "huggingface",
        /// `global_stepN`, and beside it `latest`, which is written last.
        Deepspeed = "deepspeed",
        /// Megatron-LM: `iter_N`, and beside it `latest_checkpointed_iteration.txt`, which is written last.
        Megatron = "megatron",
        /// `epoch=…-step=….ckpt`: a file that is renamed, or a directory whose `meta.pt` is written last.
        Lightning = "lightning",
        /// A directory or a `.nemo` file; `NAME-unfinished` lies beside it while it is written.
        Nemo = "nemo",
        /// One file whose end shows whether it is whole.
        File = "file",
    }
    later {}
}

choice! {
    /// How far a checkpoint is.
    pub enum State {
        /// Its training is at work on it, as far as can be seen.
        Writing = "writing",
        /// Its format's own marker says that it is whole.
        Complete = "complete",
        /// It is not whole, or nothing proves that it is.
        Incomplete = "incomplete",
    }
    later {}
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// Never followed.
    Link,
    /// A pipe, a device, or what the file system does not tell: never opened.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Box<[u8]>,
    pub kind: Kind,
}

/// The names of a directory, in no order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// There are more than were read.
    pub is_cut: bool,
}

impl Listing {
    pub fn kind(&self, name: &[u8]) -> Option<Kind> {
        self.entries.iter().find(|entry| *entry.name == *name).map(|entry| entry.kind)
    }

    pub fn has_file(&self, name: &[u8]) -> bool {
        self.kind(name) == Some(Kind::File)
    }

    pub fn files(&self) -> impl Iterator<Item = &[u8]> {
        self.of(Kind::File)
    }

    pub fn directories(&self) -> impl Iterator<Item = &[u8]> {
        self.of(Kind::Directory)
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.name.as_ref())
    }
}

/// What a look at one file showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub bytes: u64,
    pub modified: Timestamp,
    /// Its beginning: as much as [`part`] asks for.
    pub head: Vec<u8>,
    /// Its last bytes, [`TAIL_BYTES`] at most.
    pub tail: Vec<u8>,
}

/// A checkpoint as a walk found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// As text: a name that is no UTF-8 is shown as well as it can be.
    pub path: String,
    pub format: Format,
    /// None where its name tells none that can be counted with.
    pub step: Option<i64>,
    /// Why it is not complete.
    pub lacks: Option<String>,
    /// Known where every file of it was looked at.
    pub bytes: Option<u64>,
    /// Known where none of it lies in directories that were not listed.
    pub files: Option<u64>,
    /// The newest of the times that were looked at.
    pub modified: Option<Timestamp>,
    /// Else it is a file.
    pub is_directory: bool,
}

/// What a walk of a checkpoint directory found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    pub found: Vec<Found>,
    /// Why the walk did not see everything.
    pub cut: Option<String>,
    /// Checkpoints that something beside them names, and what: a pointer file, or a link.
    pub named: BTreeMap<String, String>,
    /// The directories that checkpoints were looked for in.
    pub places: Vec<PathBuf>,
    /// Questions about a file or a directory: what a file system calls a stat.
    pub calls: usize,
    /// What a removal that was interrupted has left, by absolute path.
    pub leftovers: Vec<PathBuf>,
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
