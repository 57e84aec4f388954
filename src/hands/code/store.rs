//! Where captured code is kept: `RUN_ROOT/.store/code`.
//!
//! `DIGEST.tar` is the truth, one for each tree. `DIGEST.list` says what it holds and was written last, so that an archive
//! without it is unfinished. The tree `DIGEST/` is made from the archive by the first job that needs it. Archive and list
//! are touched at each use: sites delete what was not used for long.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use sha2::{Digest as _, Sha256};

use crate::domain::inputs::CodeDigest;
use crate::files::durable;

/// Below a run root.
pub(in crate::hands) const PLACE: &str = ".store/code";

/// What the names of files and directories begin with that are not whole yet.
pub(in crate::hands) const NEW: &str = ".new-";

/// In it: what was read before.
const INDEX: &str = ".index";

/// Nobody but the user has business with what an index says of the user's files.
const INDEX_MODE: u32 = 0o700;

#[derive(Debug, Clone)]
pub(super) struct CodeStore {
    pub root: PathBuf,
}

/// A checksum as `sha256sum` prints it.
pub(super) fn hexadecimal(sum: Sha256) -> String {
    use std::fmt::Write as _;
    sum.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// What a list says of its archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    pub bytes: u64,
    /// Of the archive, 64 hexadecimal digits: what `sha256sum` prints.
    pub sha256: String,
}

impl CodeStore {
    pub(super) fn at(run_root: &Path) -> Self {
        Self { root: run_root.join(PLACE) }
    }

    /// Makes its directories, where they are missing.
    pub(super) fn make(&self, mode: u32) -> io::Result<()> {
        let index = self.root.join(INDEX);
        if index.is_dir() {
            return Ok(());
        }
        durable::create_dir_all(&self.root, mode)?;
        durable::create_dir_all(&index, INDEX_MODE)
    }

    pub(super) fn archive(&self, digest: &CodeDigest) -> PathBuf {
        self.root.join(format!("{digest}.tar"))
    }

    pub(super) fn list(&self, digest: &CodeDigest) -> PathBuf {
        self.root.join(format!("{digest}.list"))
    }

    pub(super) fn tree(&self, digest: &CodeDigest) -> PathBuf {
        self.root.join(digest.as_str())
    }

    /// What jobs lock while they make the tree.
    pub(super) fn lock(&self, digest: &CodeDigest) -> PathBuf {
        self.root.join(format!("{digest}.lock"))
    }

    pub(super) fn index(&self, key: &blake3::Hash) -> PathBuf {
        self.root.join(INDEX).join(key.to_hex().as_str())
    }

    /// Whether the archive of a digest is there, and whole as far as its size tells.
    fn holds(&self, digest: &CodeDigest) -> io::Result<bool> {
        let Some(packed) = self.packed(digest)? else { return Ok(false) };
        match std::fs::metadata(self.archive(digest)) {
            Ok(found) => Ok(found.is_file() && found.len() == packed.bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it holds a digest, which is used from now on.
    pub(super) fn take(&self, digest: &CodeDigest) -> io::Result<bool> {
        let holds = self.holds(digest)?;
        if holds {
            self.touch(digest)?;
        }
        Ok(holds)
    }

    fn packed(&self, digest: &CodeDigest) -> io::Result<Option<Packed>> {
        const HEADER_BYTES_MAX: usize = 128;
        let file = match std::fs::File::open(self.list(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // With room for all of it, it is read at once.
        let mut header = Vec::with_capacity(HEADER_BYTES_MAX);
        file.take(HEADER_BYTES_MAX as u64).read_to_end(&mut header)?;
        let header = String::from_utf8_lossy(&header);
        Ok(header.lines().next().and_then(Packed::parse))
    }

    /// Notes that it is used now.
    fn touch(&self, digest: &CodeDigest) -> io::Result<()> {
        let now = TimeSpec::UTIME_NOW;
        for path in [self.archive(digest), self.list(digest)] {
            let flags = UtimensatFlags::NoFollowSymlink;
            utimensat(nix::fcntl::AT_FDCWD, &path, &now, &now, flags)?;
        }
        Ok(())
    }
}

impl Packed {
    /// The first line of a list.
    pub(super) fn line(&self) -> String {
        format!("a {} {}\n", self.bytes, self.sha256)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("a ")?.split(' ');
        let bytes = words.next()?.parse().ok()?;
        let sha256 = words.next().filter(|word| word.len() == 64)?.to_owned();
        words.next().is_none().then_some(Self { bytes, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_has_its_list_and_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let store = CodeStore::at(dir.path());
        store.make(0o700).unwrap();
        let digest = CodeDigest::of(blake3::hash(b"x"));
        assert!(!store.holds(&digest).unwrap());
        fs_err::write(store.archive(&digest), "12345").unwrap();
        assert!(!store.holds(&digest).unwrap(), "unfinished");
        let packed = Packed { bytes: 5, sha256: "a".repeat(64) };
        fs_err::write(store.list(&digest), packed.line() + "f 1 x\n").unwrap();
        assert_eq!(store.packed(&digest).unwrap(), Some(packed));
        assert!(store.take(&digest).unwrap());
        fs_err::write(store.archive(&digest), "1234").unwrap();
        assert!(!store.holds(&digest).unwrap(), "cut");
    }
}
