//! Taking away checkpoints that are not kept.
//!
//! One is renamed before anything in it is removed, in its own directory, to a name that neither the catalogue nor a job's
//! script takes for a checkpoint: at no moment is half of one there under its own name, also when this is interrupted.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::fsync;

use crate::domain::checkpoint::layout::REMOVED;
use crate::hands::removal;
use crate::ports::Doomed;

/// Renames checkpoints of a directory, each if it is still what was found. Gives where each is then, or why it stays.
pub(super) fn hide(directory: &Path, doomed: &[Doomed]) -> Vec<Result<PathBuf, String>> {
    let hidden = |one| hide_one(directory, one).map_err(|error| error.to_string());
    doomed.iter().map(hidden).collect()
}

fn hide_one(directory: &Path, one: &Doomed) -> io::Result<PathBuf> {
    let (parent, name) = open_above(directory, &one.path)?;
    let there = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|error| at(&one.path, &error.into()))?;
    let wanted = if one.is_directory { SFlag::S_IFDIR } else { SFlag::S_IFREG };
    if SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT != wanted {
        return Err(refused(&one.path, "it is something else by now"));
    }
    let hidden = hidden_name(name);
    renameat(&parent, name, &parent, hidden.as_os_str())
        .map_err(|error| at(&one.path, &error.into()))?;
    // Else a power cut could bring the name back, and what was removed from it since not.
    fsync(&parent).map_err(|error| at(&one.path, &error.into()))?;
    Ok(one.path.with_file_name(hidden))
}

/// Removes what was renamed; what is gone is removed.
pub(super) fn remove(directory: &Path, hidden: &Path) -> io::Result<()> {
    let (parent, name) = match open_above(directory, hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if !name.as_bytes().starts_with(REMOVED.as_bytes()) {
        return Err(refused(hidden, "it was not renamed"));
    }
    // Through the open directory: whatever its path leads to by now.
    let parent_path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    removal::remove_tree(&parent_path.join(name)).map_err(|error| at(hidden, &error))
}

/// Opens the directory that a path below `directory` lies in, through no link. `directory` itself may be one.
pub(super) fn open_above<'a>(directory: &Path, path: &'a Path) -> io::Result<(Dir, &'a OsStr)> {
    const OUTSIDE: &str = "it does not lie in the checkpoint directory";
    let relative = path.strip_prefix(directory).map_err(|_| refused(path, OUTSIDE))?;
    let mut components = relative.components();
    let Some(Component::Normal(name)) = components.next_back() else {
        return Err(refused(path, OUTSIDE));
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut above =
        Dir::open(directory, flags, Mode::empty()).map_err(|error| at(directory, &error.into()))?;
    for component in components {
        let Component::Normal(part) = component else { return Err(refused(path, OUTSIDE)) };
        above = Dir::openat(&above, part, flags | OFlag::O_NOFOLLOW, Mode::empty())
            .map_err(|error| at(path, &error.into()))?;
    }
    Ok((above, name))
}

/// Its own name can be read from it, as far as there is room.
fn hidden_name(name: &OsStr) -> OsString {
    const NAME_BYTES_MAX: usize = 255;
    let mut hidden = [REMOVED.as_bytes(), name.as_bytes()].concat();
    hidden.truncate(NAME_BYTES_MAX);
    OsString::from_vec(hidden)
}

fn refused(path: &Path, why: &str) -> io::Error {
    let why = format!("`{}` is left alone: {why}", path.display());
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot remove `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests;
