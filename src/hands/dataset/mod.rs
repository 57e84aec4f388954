//! Looking at data: what a tree of files shows of itself, and what is in it, within a budget.
//!
//! Data lies on file systems that are shared by everybody and slow to list, so a look has an end whatever it finds: so
//! many entries, and so long. A tree that is over either is not looked at by halves: it has no fingerprint, and that is
//! told.

mod cache;
mod contents;
mod walk;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use crate::domain::dataset::{Fingerprint, Found, NOT_SEEN, Root};
use crate::domain::manifest::{Manifest, content_digest};
use crate::hands::dataset::cache::Cache;
use crate::ports::DataOrder;

/// Entries of one dataset; each takes about 150 bytes of memory. Data in more files than these is better packed, and whoever
/// has it anyway wants to train all the same: it has no fingerprint.
const ENTRIES_MAX: usize = 2_000_000;

/// Threads that look at one dataset: a network file system answers many questions in the time of one.
const THREADS: usize = 8;

/// Until when a look may go on, and how much it may find.
#[derive(Debug, Clone, Copy)]
struct Budget {
    entries_max: usize,
    deadline: Instant,
    seconds: u64,
}

/// Why a look has no end that says anything.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("it has more than {0} files and directories")]
    TooMany(usize),
    #[error("looking at it takes longer than {0} s")]
    TooSlow(u64),
    #[error("it was changed while it was looked at")]
    Changed,
    #[error("{0}")]
    Unreadable(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        let is_gone =
            [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind());
        if is_gone { Self::Changed } else { Self::Unreadable(error) }
    }
}

/// What the root of a tree shows of itself; none when there is none.
pub(super) fn root(path: &Path) -> io::Result<Option<Root>> {
    match fs_err::metadata(path) {
        Ok(there) => Ok(Some(Root { modified_seconds: there.mtime(), inode: there.ino() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn fingerprint(order: &DataOrder) -> io::Result<Found> {
    let Some(root) = root(&order.path)? else {
        return Ok(Found::Unknown(NOT_SEEN.to_owned()));
    };
    let budget = Budget {
        entries_max: ENTRIES_MAX,
        deadline: Instant::now() + order.patience,
        seconds: order.patience.as_secs(),
    };
    Ok(match look(order, root, &budget) {
        Ok(fingerprint) => Found::Tree(fingerprint),
        Err(stopped) => Found::Unknown(stopped.to_string()),
    })
}

fn look(order: &DataOrder, root: Root, budget: &Budget) -> Result<Fingerprint, Stopped> {
    let entries = walk::walk(&order.path, budget)?;
    let content = match &order.content {
        None => None,
        Some(contents) => {
            let mut cache = Cache::load(&contents.cached_in, &order.path);
            let digests = contents::read(&order.path, &entries, &cache, budget);
            // What was read is not read again, also when time was too short for the rest.
            cache.keep(&entries, &digests.found, contents.now);
            if let Some(stopped) = digests.stopped {
                return Err(stopped);
            }
            let none = || blake3::hash(b"");
            let digest_of =
                |index: usize| digests.found.get(index).copied().flatten().unwrap_or_else(none);
            Some(content_digest(&entries, digest_of))
        }
    };
    Ok(Fingerprint { manifest: Manifest::of(&entries), content, root })
}

#[cfg(test)]
mod tests;
