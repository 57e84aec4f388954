//! Copying checkpoints to an archive: whole and durable there before anything of the original is touched.
//!
//! A copy is made a stretch at a time, so that whoever asks for it stays the master of it however large it is. It grows
//! under a name that nobody takes for a checkpoint, and gets its own once it was compared with the original.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use walkdir::WalkDir;

use crate::files::durable;
use crate::hands::regular::{self, Opened};
use crate::hands::{removal, retire};
use crate::ports::{ArchiveOrder, Archived, CopiedUpTo};

/// How long one stretch takes, about.
const STRETCH: Duration = Duration::from_secs(4);
/// Before the name of a copy that is not whole.
const COPYING: &str = ".trainyard-copying.";
/// Copies of one name: a training that begins anew saves the same steps again.
const NAMESAKES_MAX: u32 = 100;
/// Not every file system keeps fractions of seconds.
const TIME_SKEW: Duration = Duration::from_secs(2);
/// The archive has other people's things, too.
const DIRECTORY_MODE: u32 = 0o700;
const BLOCK_BYTES: usize = 4 << 20;

/// Copies on from where the last stretch ended. After a fault nothing of the copy stays, so that an archive that is full is
/// not filled by it.
pub(super) fn archive(order: &ArchiveOrder, from: Option<CopiedUpTo>) -> io::Result<Archived> {
    let to = order.archive.join(&order.place);
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let copying = to.with_file_name(format!("{COPYING}{name}"));
    let copied = stretch(order, from, (&to, &copying));
    copied.inspect_err(|_| {
        // The first error is the one to tell; what stays is removed before the next copy.
        removal::remove_tree(&copying).ok();
    })
}

fn stretch(
    order: &ArchiveOrder,
    from: Option<CopiedUpTo>,
    (to, copying): (&Path, &Path),
) -> io::Result<Archived> {
    let end = Instant::now() + STRETCH;
    // Through no link: what is copied is what will be removed.
    drop(retire::open_above(&order.directory, &order.path)?);
    let original = list(&order.path)?;
    if from.is_none() {
        check_place(order)?;
        if let Some(place) = archived_already(&original, to)? {
            return Ok(Archived::Whole(place));
        }
        removal::remove_tree(copying)?;
        durable::create_dir_all(to.parent().unwrap_or(&order.archive), DIRECTORY_MODE)?;
    }
    let mut done = from.unwrap_or_default();
    while let Some(entry) = original.get(done.entries) {
        if Instant::now() >= end {
            return Ok(Archived::UpTo(done));
        }
        let (source, target) = (entry.below(&order.path), entry.below(copying));
        match &entry.what {
            What::Directory => durable::new_dir(&target, DIRECTORY_MODE)?,
            What::Link(leads_to) => fs_err::os::unix::fs::symlink(leads_to, &target)?,
            What::File { .. } => match copy_on(&source, &target, done.bytes, end)? {
                Some(bytes) => {
                    done.bytes = bytes;
                    return Ok(Archived::UpTo(done));
                }
                None => done.bytes = 0,
            },
        }
        done.entries += 1;
    }
    settle(&original, to, copying).map(Archived::Whole)
}

/// The archive is not made: where nothing is mounted there is nothing to archive to. Nor does it lie where it would be found
/// as a checkpoint again, or go with the run.
fn check_place(order: &ArchiveOrder) -> io::Result<()> {
    let archive = fs_err::canonicalize(&order.archive)?;
    for inside in [&order.directory, &order.run_dir] {
        if archive.starts_with(fs_err::canonicalize(inside)?) {
            let why = format!("the archive `{}` lies inside the run", order.archive.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    Ok(())
}

/// One entry of a checkpoint; its own directory or file is the first.
struct Entry {
    /// Relative to the checkpoint.
    name: PathBuf,
    what: What,
}

enum What {
    Directory,
    File { bytes: u64, modified: SystemTime },
    Link(PathBuf),
}

impl Entry {
    fn below(&self, top: &Path) -> PathBuf {
        if self.name.as_os_str().is_empty() { top.to_owned() } else { top.join(&self.name) }
    }

    fn is_as(&self, other: &Self) -> bool {
        let is_same = match (&self.what, &other.what) {
            (What::Directory, What::Directory) => true,
            (What::Link(own), What::Link(other)) => own == other,
            (
                What::File { bytes, modified },
                What::File { bytes: other_bytes, modified: other },
            ) => {
                let apart = modified.duration_since(*other).unwrap_or_else(|it| it.duration());
                bytes == other_bytes && apart < TIME_SKEW
            }
            (What::Directory | What::Link(_) | What::File { .. }, _) => false,
        };
        is_same && self.name == other.name
    }
}

fn list(top: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in WalkDir::new(top).follow_links(false).sort_by_file_name() {
        let found = found?;
        let metadata = found.metadata()?;
        let what = match metadata.file_type() {
            kind if kind.is_dir() => What::Directory,
            kind if kind.is_symlink() => What::Link(fs_err::read_link(found.path())?),
            kind if kind.is_file() => {
                What::File { bytes: metadata.len(), modified: metadata.modified()? }
            }
            _ => return Err(other_kind(found.path())),
        };
        let name = found.path().strip_prefix(top).unwrap_or(found.path()).to_owned();
        entries.push(Entry { name, what });
    }
    Ok(entries)
}

fn other_kind(path: &Path) -> io::Error {
    let why = format!("`{}` is neither a file nor a directory nor a link", path.display());
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn are_same(one: &[Entry], other: &[Entry]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_as(other))
}

/// Where the same was archived before, if its original could not be removed then.
fn archived_already(original: &[Entry], to: &Path) -> io::Result<Option<PathBuf>> {
    for place in namesakes(to) {
        match list(&place) {
            Ok(there) if are_same(original, &there) => return Ok(Some(place)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A name, then the same with numbers.
fn namesakes(to: &Path) -> impl Iterator<Item = PathBuf> {
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = move |n| match n {
        1 => to.to_owned(),
        n => to.with_file_name(format!("{name}.{n}")),
    };
    (1..=NAMESAKES_MAX).map(numbered)
}

/// Copies a file on from so many bytes; none once it is whole and durable, else how far it has come.
fn copy_on(source: &Path, target: &Path, from: u64, end: Instant) -> io::Result<Option<u64>> {
    let Opened::Regular(mut source_file, metadata) = regular::open(source)? else {
        return Err(other_kind(source));
    };
    let at = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write `{}`: {error}", target.display()))
    };
    let is_new = from == 0;
    let mut options = OpenOptions::new();
    let mut file: File =
        options.write(true).create(is_new).truncate(is_new).open(target).map_err(at)?;
    source_file.seek(SeekFrom::Start(from))?;
    file.seek(SeekFrom::Start(from)).map_err(at)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut done = from;
    loop {
        let count = source_file.read(&mut block)?;
        if count == 0 {
            break;
        }
        file.write_all(block.get(..count).unwrap_or_default()).map_err(at)?;
        done += count as u64;
        if Instant::now() >= end {
            // The rest of the waiting for the disk is not left to the end.
            file.sync_data().map_err(at)?;
            return Ok(Some(done));
        }
    }
    file.set_permissions(metadata.permissions()).map_err(at)?;
    file.set_modified(metadata.modified()?).map_err(at)?;
    file.sync_all().map_err(at)?;
    Ok(None)
}

/// Compares the copy with the original, and gives it its name.
fn settle(original: &[Entry], to: &Path, copying: &Path) -> io::Result<PathBuf> {
    let copy = list(copying)?;
    if !are_same(original, &copy) {
        let why = format!("the copy `{}` is not what the original is", copying.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    for entry in copy.iter().filter(|entry| matches!(entry.what, What::Directory)) {
        durable::sync(&entry.below(copying))?;
    }
    let is_free = |place: &PathBuf| match fs_err::symlink_metadata(place) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(_) => false,
    };
    let Some(place) = namesakes(to).find(is_free) else {
        let why = format!("`{}` was archived {NAMESAKES_MAX} times already", to.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    };
    fs_err::rename(copying, &place)?;
    if let Some(above) = place.parent() {
        durable::sync(above)?;
    }
    Ok(place)
}

#[cfg(test)]
mod tests;
