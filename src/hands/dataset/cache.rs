//! Digests of files that were read before, so that what has not changed is not read again.
//!
//! A file is taken for unchanged when its name, size, both its times and its inode are what they were; the second of the
//! times cannot be set by programs. A file that was changed in the very moment of being read may be changed again without
//! any of it showing, so one whose times are that young is not remembered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tracing::debug;

use crate::domain::manifest::{Entry, EntryKind, Moment, Stamp};
use crate::files::durable;

const MAGIC: &[u8; 8] = b"tydata01";
const KEY: usize = 16;
const DIGEST: usize = 32;

/// Larger than any that is written for as many entries as are looked at.
const FILE_BYTES_MAX: u64 = 200 << 20;

/// How old a file's times must be: more than the coarsest clock of a file system, and a little for clocks that differ.
const YOUNG_SECONDS: i64 = 3;

type Key = [u8; KEY];

/// What is known of one tree.
pub(super) struct Cache {
    file: PathBuf,
    known: HashMap<Key, blake3::Hash>,
}

impl Cache {
    /// What `folder` holds of the tree at `root`; nothing when that cannot be read.
    pub(super) fn load(folder: &Path, root: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let name = blake3::hash(root.as_os_str().as_bytes()).to_hex();
        let file = folder.join(format!("{}.digests", name.get(..32).unwrap_or_default()));
        let fits = std::fs::symlink_metadata(&file)
            .is_ok_and(|there| there.is_file() && there.len() <= FILE_BYTES_MAX);
        let bytes = if fits { std::fs::read(&file).unwrap_or_default() } else { Vec::new() };
        Self { file, known: parse(&bytes).unwrap_or_default() }
    }

    pub(super) fn digest(&self, path: &[u8], stamp: &Stamp) -> Option<blake3::Hash> {
        self.known.get(&key(path, stamp)).copied()
    }

    /// Remembers what is known of these entries now, and forgets the others. What cannot be written is read again.
    pub(super) fn keep(
        &mut self,
        entries: &[Entry],
        found: &[Option<blake3::Hash>],
        now: Timestamp,
    ) {
        let is_old = |moment: &Moment| moment.seconds < now.as_second() - YOUNG_SECONDS;
        let mut kept = HashMap::new();
        for (entry, digest) in entries.iter().zip(found) {
            let (EntryKind::File(stamp), Some(digest)) = (&entry.kind, digest) else { continue };
            if is_old(&stamp.modified) && is_old(&stamp.changed) {
                kept.insert(key(&entry.path, stamp), *digest);
            }
        }
        if kept == self.known {
            return;
        }
        self.known = kept;
        if let Err(error) = self.write() {
            debug!(file = %self.file.display(), "cannot remember the digests of a dataset: {error}");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for (key, digest) in &self.known {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(digest.as_bytes());
        }
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(sum.as_bytes());
        if let Some(folder) = self.file.parent() {
            durable::create_dir_all(folder, 0o700)?;
        }
        durable::write(&self.file, &bytes, 0o600)
    }
}

/// Reads what was written, if it is whole.
fn parse(bytes: &[u8]) -> Option<HashMap<Key, blake3::Hash>> {
    let (body, sum) = bytes.split_last_chunk::<DIGEST>()?;
    if blake3::hash(body) != *sum {
        return None;
    }
    let rows = body.strip_prefix(MAGIC)?.chunks_exact(KEY + DIGEST);
    let row = |row: &[u8]| {
        let (key, digest) = row.split_first_chunk::<KEY>()?;
        Some((*key, blake3::Hash::from_bytes(digest.try_into().ok()?)))
    };
    rows.map(row).collect()
}

/// Stands for a file in the state in which it was read.
fn key(path: &[u8], stamp: &Stamp) -> Key {
    let Stamp { bytes, modified, changed, inode } = stamp;
    let mut hasher = blake3::Hasher::new();
    for number in [*bytes, *inode] {
        hasher.update(&number.to_le_bytes());
    }
    for number in [modified.seconds, modified.nanoseconds, changed.seconds, changed.nanoseconds] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(path);
    let mut key = [0; KEY];
    hasher.finalize_xof().fill(&mut key);
    key
}
