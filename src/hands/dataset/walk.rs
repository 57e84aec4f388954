//! Lists a tree by several threads at once.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::domain::manifest::{Entry, EntryKind, Moment, Stamp};
use crate::hands::dataset::{Budget, Stopped, THREADS};

/// Files of one directory that a thread looks at before another may help.
const BATCH: usize = 256;

/// Everything below `root`, itself included, in no order. Links are not followed, but for the root.
pub(super) fn walk(root: &Path, budget: &Budget) -> Result<Vec<Entry>, Stopped> {
    let there = fs_err::metadata(root)?;
    if !there.is_dir() {
        let kind = if there.is_file() {
            EntryKind::File(stamp(&there))
        } else {
            EntryKind::Other(letter(there.file_type()))
        };
        return Ok(vec![Entry { path: Box::default(), kind }]);
    }
    let walk = Walk {
        root,
        budget,
        work: Mutex::new(Work { waiting: vec![Task::List(Vec::new())], busy: 0, stopped: None }),
        changed: Condvar::new(),
        seen: AtomicUsize::new(1),
    };
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| walk.help())).collect();
        let mut all = vec![Entry { path: Box::default(), kind: EntryKind::Directory }];
        for thread in threads {
            match thread.join() {
                Ok(mut part) => all.append(&mut part),
                // What it had is lost, and so is what it would have done.
                Err(_) => walk.work().stopped = Some(Stopped::Changed),
            }
        }
        all
    });
    match walk.work().stopped.take() {
        Some(stopped) => Err(stopped),
        None => Ok(found),
    }
}

struct Walk<'a> {
    root: &'a Path,
    budget: &'a Budget,
    work: Mutex<Work>,
    changed: Condvar,
    seen: AtomicUsize,
}

struct Work {
    waiting: Vec<Task>,
    busy: usize,
    stopped: Option<Stopped>,
}

enum Task {
    /// A directory, relative to the root.
    List(Vec<u8>),
    /// Files of a directory, relative to the root.
    Look(Vec<Vec<u8>>),
}

impl Walk<'_> {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's part, until nothing is left.
    fn help(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        while let Some(task) = self.next() {
            let done = match task {
                Task::List(directory) => self.list(&directory, &mut found),
                Task::Look(files) => self.look(&files, &mut found),
            };
            let mut work = self.work();
            work.busy -= 1;
            if let Err(stopped) = done {
                work.stopped.get_or_insert(stopped);
            }
            self.changed.notify_all();
        }
        found
    }

    fn next(&self) -> Option<Task> {
        let mut work = self.work();
        loop {
            if work.stopped.is_some() {
                return None;
            }
            if let Some(task) = work.waiting.pop() {
                work.busy += 1;
                return Some(task);
            }
            if work.busy == 0 {
                return None;
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn add(&self, task: Task) {
        self.work().waiting.push(task);
        self.changed.notify_one();
    }

    fn list(&self, directory: &[u8], found: &mut Vec<Entry>) -> Result<(), Stopped> {
        let mut files = Vec::new();
        for entry in fs_err::read_dir(self.below(directory))? {
            self.spend()?;
            let entry = entry?;
            let path = join(directory, entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_file() {
                files.push(path);
                if files.len() == BATCH {
                    self.add(Task::Look(std::mem::take(&mut files)));
                }
            } else if kind.is_dir() {
                found.push(Entry { path: path.as_slice().into(), kind: EntryKind::Directory });
                self.add(Task::List(path));
            } else if kind.is_symlink() {
                let target = fs_err::read_link(entry.path())?;
                let target = target.into_os_string().into_vec().into();
                found.push(Entry { path: path.into(), kind: EntryKind::Link { target } });
            } else {
                found.push(Entry { path: path.into(), kind: EntryKind::Other(letter(kind)) });
            }
        }
        self.look(&files, found)
    }

    fn look(&self, files: &[Vec<u8>], found: &mut Vec<Entry>) -> Result<(), Stopped> {
        for file in files {
            let there = fs_err::symlink_metadata(self.below(file))?;
            if !there.is_file() {
                return Err(Stopped::Changed);
            }
            found
                .push(Entry { path: file.as_slice().into(), kind: EntryKind::File(stamp(&there)) });
        }
        self.in_time()
    }

    fn below(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    fn spend(&self) -> Result<(), Stopped> {
        /// Asking for the time costs more than an entry.
        const BETWEEN_LOOKS: usize = 64;
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen >= self.budget.entries_max {
            return Err(Stopped::TooMany(self.budget.entries_max));
        }
        if seen.is_multiple_of(BETWEEN_LOOKS) { self.in_time() } else { Ok(()) }
    }

    fn in_time(&self) -> Result<(), Stopped> {
        if Instant::now() < self.budget.deadline {
            return Ok(());
        }
        Err(Stopped::TooSlow(self.budget.seconds))
    }
}

fn join(directory: &[u8], name: OsString) -> Vec<u8> {
    if directory.is_empty() {
        return name.into_vec();
    }
    [directory, b"/", name.as_bytes()].concat()
}

pub(super) fn stamp(there: &std::fs::Metadata) -> Stamp {
    Stamp {
        bytes: there.len(),
        modified: Moment { seconds: there.mtime(), nanoseconds: there.mtime_nsec() },
        changed: Moment { seconds: there.ctime(), nanoseconds: there.ctime_nsec() },
        inode: there.ino(),
    }
}

fn letter(kind: std::fs::FileType) -> u8 {
    match () {
        () if kind.is_fifo() => b'p',
        () if kind.is_socket() => b's',
        () if kind.is_block_device() => b'b',
        () => b'c',
    }
}
