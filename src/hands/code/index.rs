//! What is known of files that were captured before: a file that looks the same as then is not read again.
//!
//! A file that was changed in the moments before it was read may be changed again without looking different, so such a
//! file is not remembered. An index is only a help: one that cannot be read is begun anew.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Times of file systems may be as coarse as this.
const COARSE_NANOSECONDS: i128 = 2_000_000_000;

const HEADER: &str = "trainyard index 1";

/// How a file looks from outside. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub size: u64,
    pub modified: i128,
    /// Set by the kernel alone.
    pub changed: i128,
    pub inode: u64,
}

impl Look {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        let time = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
        Self {
            size: metadata.len(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Whether a change after `latest`, the time of the file system at the look, would show.
    pub(super) fn is_settled(&self, latest: i128) -> bool {
        let is_old = |time: i128| time < latest - COARSE_NANOSECONDS;
        is_old(self.modified) && is_old(self.changed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    known: HashMap<String, (Look, blake3::Hash)>,
}

impl Index {
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Self::default();
        }
        Self { known: lines.filter_map(parse).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn hash_of(&self, path: &str, look: &Look) -> Option<blake3::Hash> {
        self.known.get(path).filter(|(known, _)| known == look).map(|(_, hash)| *hash)
    }

    /// Remembers what was read. `latest` is the time of the file system at that moment.
    pub(super) fn write<'a>(
        path: &Path,
        files: impl Iterator<Item = (&'a str, Look, blake3::Hash)>,
        latest: i128,
    ) {
        let mut text = format!("{HEADER}\n");
        for (name, look, hash) in files {
            if look.is_settled(latest) {
                let Look { size, modified, changed, inode } = look;
                // Writing to a string cannot fail.
                writeln!(text, "{hash} {size} {modified} {changed} {inode} {name}").ok();
            }
        }
        note(path, &text);
    }
}

/// The time of the file system that a directory is on.
pub(super) fn time_at(directory: &Path) -> io::Result<i128> {
    let file = tempfile::NamedTempFile::new_in(directory)?;
    Ok(Look::of(&file.as_file().metadata()?).modified)
}

/// Writes a file whole or not at all. Without it something is read again, which is all that is lost.
pub(super) fn note(path: &Path, text: &str) {
    let written = path.parent().map(tempfile::NamedTempFile::new_in).map(|file| {
        let mut file = file?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    });
    if let Some(Err(error)) = written {
        tracing::warn!("cannot write {}: {error}", path.display());
    }
}

fn parse(line: &str) -> Option<(String, (Look, blake3::Hash))> {
    let mut words = line.splitn(6, ' ');
    let hash = blake3::Hash::from_hex(words.next()?).ok()?;
    let look = Look {
        size: words.next()?.parse().ok()?,
        modified: words.next()?.parse().ok()?,
        changed: words.next()?.parse().ok()?,
        inode: words.next()?.parse().ok()?,
    };
    Some((words.next()?.to_owned(), (look, hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_known_and_what_is_young_is_not_remembered() {
        const SECOND: i128 = 1_000_000_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let look = |at: i128| Look { size: 3, modified: at, changed: at, inode: 7 };
        let hash = blake3::hash(b"abc");
        let files = [("a b", look(SECOND), hash), ("young", look(8 * SECOND), hash)];
        Index::write(&path, files.into_iter(), 9 * SECOND);
        let index = Index::read(&path);
        assert_eq!(index.hash_of("a b", &look(SECOND)), Some(hash));
        for other in
            [look(2 * SECOND), Look { size: 4, ..look(SECOND) }, Look { inode: 8, ..look(SECOND) }]
        {
            assert_eq!(index.hash_of("a b", &other), None);
        }
        assert_eq!(index.hash_of("young", &look(8 * SECOND)), None);
        fs_err::write(&path, "something else\n").unwrap();
        assert!(Index::read(&path).is_empty());
        assert!(Index::read(&dir.path().join("nothing")).is_empty());
    }
}
