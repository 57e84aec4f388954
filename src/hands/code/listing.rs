//! Which files of a directory are its code: what git knows and does not ignore, or everything; and what the spec adds and
//! leaves out.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::domain::tree::{ENTRIES_MAX, TreeError, check_path};
use crate::hands::code::globs::Globs;

/// A directory of code, and what in it is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub directory: &'a Path,
    /// Where runs are made: never code, although it may lie inside.
    pub run_root: &'a Path,
    pub globs: &'a Globs,
}

/// Files, links and empty directories, by their paths in the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub files: BTreeSet<String>,
    pub empty: BTreeSet<String>,
}

impl Listing {
    pub(super) fn add(&mut self, path: String) -> io::Result<()> {
        check_path(&path).map_err(refused)?;
        self.files.insert(path);
        if self.files.len() > ENTRIES_MAX { Err(refused(TreeError::TooMany)) } else { Ok(()) }
    }
}

/// What is no fault of the machine, but of what is asked for.
pub(super) fn refused(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Everything in a directory, but for what is left out.
pub(super) fn everything(place: Place<'_>) -> io::Result<Listing> {
    walk(place, |path, is_directory| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let never = is_directory && Globs::is_never(name);
        !(never || place.globs.excludes(path)) || (!is_directory && place.globs.includes(path))
    })
}

/// What the spec adds to a listing that left it out.
pub(super) fn included(place: Place<'_>) -> io::Result<Listing> {
    let mut found = walk(place, |path, is_directory| {
        let is_repository = is_directory && path.rsplit('/').next() == Some(".git");
        !is_repository && (is_directory || place.globs.includes(path))
    })?;
    found.empty.clear();
    Ok(found)
}

fn walk(place: Place<'_>, takes: impl Fn(&str, bool) -> bool) -> io::Result<Listing> {
    let Place { directory, run_root, .. } = place;
    let mut found = Listing::default();
    let relative = |entry: &DirEntry| entry.path().strip_prefix(directory).map(Path::to_owned);
    let may_enter = |entry: &DirEntry| {
        let is_directory = entry.file_type().is_dir();
        let Ok(path) = relative(entry) else { return false };
        entry.depth() == 0
            || entry.path() != run_root
                // What has no text is told when it is met.
                && path.to_str().is_none_or(|path| takes(path, is_directory))
    };
    let entries = WalkDir::new(directory).follow_links(false).into_iter().filter_entry(may_enter);
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(io::Error::from)?;
        let Ok(path) = relative(&entry) else { continue };
        if let Some(above) = path.parent() {
            directories.remove(above);
        }
        let kind = entry.file_type();
        if kind.is_dir() {
            if entry.depth() > 0 {
                directories.insert(path);
            }
        } else if kind.is_file() || kind.is_symlink() {
            found.add(text(&path)?)?;
        }
    }
    for path in directories {
        let path = text(&path)?;
        check_path(&path).map_err(refused)?;
        found.empty.insert(path);
    }
    Ok(found)
}

fn text(path: &Path) -> io::Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let path = path.to_string_lossy().into_owned();
        refused(TreeError::Name { path, why: "its name is no UTF-8 text" })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::code::globs::tests::globs;

    #[test]
    fn everything_is_taken_but_what_is_no_code() {
        let dir = tempfile::tempdir().unwrap();
        for directory in
            [".git", "pkg/__pycache__", "empty/inside", "runs/1-x", "data", "keep/__pycache__"]
        {
            fs_err::create_dir_all(dir.path().join(directory)).unwrap();
        }
        for file in [
            "train.py",
            "pkg/a.py",
            "pkg/__pycache__/a.pyc",
            ".git/HEAD",
            "runs/1-x/job.sh",
            "data/big",
            ".env",
        ] {
            fs_err::write(dir.path().join(file), "").unwrap();
        }
        fs_err::os::unix::fs::symlink("train.py", dir.path().join("link")).unwrap();
        let run_root = dir.path().join("runs");
        let globs = globs(&[], &["data"]);
        let place = Place { directory: dir.path(), run_root: &run_root, globs: &globs };
        let found = everything(place).unwrap();
        let names: Vec<&str> = found.files.iter().map(String::as_str).collect();
        assert_eq!(names, [".env", "link", "pkg/a.py", "train.py"]);
        let empty: Vec<&str> = found.empty.iter().map(String::as_str).collect();
        assert_eq!(empty, ["empty/inside", "keep"]);
        let globs = self::globs(&["data/big"], &[]);
        let found = included(Place { globs: &globs, ..place }).unwrap();
        assert_eq!(found.files.into_iter().collect::<Vec<_>>(), ["data/big"]);
    }

    #[test]
    fn a_name_that_fits_no_list_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("a\nb"), "").unwrap();
        let globs = globs(&[], &[]);
        let place = Place { directory: dir.path(), run_root: Path::new("/runs"), globs: &globs };
        let error = everything(place).unwrap_err();
        assert!(error.to_string().contains(r"`a\nb` cannot be captured"), "{error}");
    }
}
