//! Listing directories, several at a time: of a look at files that nobody has looked at lately nearly all time goes by in
//! waiting for the disk.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};

use nix::dir::{Dir, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::domain::checkpoint::{Entry, Kind, Listing};
use crate::hands::checkpoints::{ENTRIES_MAX, Walk};

/// Directories that are listed before their turn.
const AHEAD: usize = 4;
/// Fewer are listed as quickly one after the other.
const MANY: usize = 16;

/// The names of a directory, with what kind each is, where the file system has told.
pub(super) struct Names {
    entries: Vec<(Box<[u8]>, Option<Kind>)>,
    /// There are more than were wanted.
    is_cut: bool,
}

/// At most so many names of a directory.
fn names(path: &Path, flags: OFlag, max: usize) -> io::Result<Names> {
    let flags = flags | OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut names = Names { entries: Vec::new(), is_cut: false };
    for entry in Dir::open(path, flags, Mode::empty())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.entries.len() >= max {
            names.is_cut = true;
            break;
        }
        let kind = entry.file_type().map(|kind| match kind {
            Type::File => Kind::File,
            Type::Directory => Kind::Directory,
            Type::Symlink => Kind::Link,
            Type::Fifo | Type::CharacterDevice | Type::BlockDevice | Type::Socket => Kind::Other,
        });
        names.entries.push((name.into(), kind));
    }
    Ok(names)
}

/// Directories that are listed in this order, the next ones while one is looked at.
pub(super) struct Ahead<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    waiting: VecDeque<PathBuf>,
    begun: VecDeque<ScopedJoinHandle<'scope, io::Result<Names>>>,
    most: usize,
}

impl<'scope, 'env> Ahead<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, waiting: VecDeque<PathBuf>) -> Self {
        let most = if waiting.len() < MANY { 0 } else { AHEAD };
        Self { scope, waiting, begun: VecDeque::new(), most }
    }

    /// What the next one holds. Links are not followed.
    pub(super) fn next(&mut self, max: usize) -> io::Result<Names> {
        while self.begun.len() < self.most
            && let Some(path) = self.waiting.pop_front()
        {
            let list = move || names(&path, OFlag::O_NOFOLLOW, max);
            self.begun.push_back(self.scope.spawn(list));
        }
        if let Some(begun) = self.begun.pop_front() {
            return begun.join().unwrap_or_else(|_| Err(io::Error::other("a listing panicked")));
        }
        let path = self.waiting.pop_front().ok_or(io::ErrorKind::NotFound)?;
        names(&path, OFlag::O_NOFOLLOW, max)
    }
}

impl Walk {
    /// Names that may still be read.
    pub(super) fn entries_left(&self) -> usize {
        ENTRIES_MAX.saturating_sub(self.entries)
    }

    /// The names of a directory.
    pub(super) fn list(&mut self, path: &Path, flags: OFlag) -> io::Result<Listing> {
        let names = names(path, flags, self.entries_left());
        self.listed(path, names)
    }

    /// Takes in the names of a directory. What kind each is comes with the names on nearly every file system.
    pub(super) fn listed(&mut self, path: &Path, names: io::Result<Names>) -> io::Result<Listing> {
        self.walked.calls += 1;
        let Names { entries, is_cut } = names?;
        let left = self.entries_left();
        let is_too_much = is_cut || entries.len() > left;
        let mut listing = Listing::default();
        for (name, kind) in entries.into_iter().take(left) {
            self.entries += 1;
            let kind = kind.unwrap_or_else(|| {
                listing.is_cut |= self.untold_left == 0;
                self.kind(&path.join(std::ffi::OsStr::from_bytes(&name)))
            });
            listing.entries.push(Entry { name, kind });
        }
        if is_too_much {
            listing.is_cut = self.is_over();
        }
        Ok(listing)
    }
}
