//! Reads what is in the files of a tree, by several threads at once, but for those that are known.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use nix::fcntl::OFlag;

use crate::domain::manifest::{Entry, EntryKind, Stamp};
use crate::hands::dataset::cache::Cache;
use crate::hands::dataset::walk::stamp;
use crate::hands::dataset::{Budget, Stopped, THREADS};

/// How much is read at once.
const STRETCH: usize = 1 << 20;

/// What was read.
#[derive(Default)]
pub(super) struct Digests {
    /// By the place of the entry; none for what is no file, and for what was not read.
    pub(super) found: Vec<Option<blake3::Hash>>,
    /// Why not all was read.
    pub(super) stopped: Option<Stopped>,
}

pub(super) fn read(root: &Path, entries: &[Entry], cache: &Cache, budget: &Budget) -> Digests {
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let help = || {
        let mut read = Vec::new();
        let mut buffer = vec![0; STRETCH];
        while !is_over.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = entries.get(index) else { break };
            let EntryKind::File(stamp) = &entry.kind else { continue };
            let digest = match cache.digest(&entry.path, stamp) {
                Some(known) => Ok(known),
                None => one(root, entry, stamp, budget, &mut buffer),
            };
            match digest {
                Ok(digest) => read.push((index, digest)),
                Err(stopped) => {
                    is_over.store(true, Ordering::Relaxed);
                    return (read, Some(stopped));
                }
            }
        }
        (read, None)
    };
    let mut all = Digests { found: vec![None; entries.len()], stopped: None };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(help)).collect();
        for thread in threads {
            let (read, stopped) =
                thread.join().unwrap_or_else(|_| (Vec::new(), Some(Stopped::Changed)));
            for (index, digest) in read {
                if let Some(slot) = all.found.get_mut(index) {
                    *slot = Some(digest);
                }
            }
            all.stopped = all.stopped.take().or(stopped);
        }
    });
    all
}

/// The digest of one file, which must be before and after as it was when it was listed.
fn one(
    root: &Path,
    entry: &Entry,
    listed: &Stamp,
    budget: &Budget,
    buffer: &mut [u8],
) -> Result<blake3::Hash, Stopped> {
    // The root alone may be reached over a link.
    let (path, flags) = if entry.path.is_empty() {
        (root.to_owned(), OFlag::O_NONBLOCK)
    } else {
        let below = root.join(std::ffi::OsStr::from_bytes(&entry.path));
        (below, OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW)
    };
    let mut file = fs_err::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let mut hasher = blake3::Hasher::new();
    loop {
        if stamp(&file.metadata()?) != *listed {
            return Err(Stopped::Changed);
        }
        let count = file.read(buffer)?;
        if count == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        if Instant::now() >= budget.deadline {
            return Err(Stopped::TooSlow(budget.seconds));
        }
    }
}
