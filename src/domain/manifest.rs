//! A tree of files as a list of records, and the digests of that list.
//!
//! A job makes the first of these digests by itself, with `find`, `sort` and `sha256sum`
//! (`templates/sbatch/parts/data.sh`): what a record looks like is what `find` prints, so both change together.
//!
//! Times are taken to the nanosecond where the file system has it. Not all of them do, and the same tree may show its
//! fractions on one node and whole seconds on another, so each list has two digests: with fractions and without.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Something below the root of a tree, or the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, as bytes: not every name is text. Empty for the root.
    pub path: Box<[u8]>,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File(Stamp),
    /// Taken as it is: what it points to is not looked at.
    Link {
        target: Box<[u8]>,
    },
    /// Its time is left out: what happens in it shows by itself.
    Directory,
    /// A pipe, socket or device, by the letter that `find` has for it.
    Other(u8),
}

/// What a file shows of itself without being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub bytes: u64,
    pub modified: Moment,
    /// When anything of it changed last: no program can set it.
    pub changed: Moment,
    pub inode: u64,
}

/// A time of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub seconds: i64,
    pub nanoseconds: i64,
}

/// What a tree looked like, in a few numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Manifest {
    /// SHA-256 of all records, in hexadecimal digits.
    pub digest: String,
    /// The same with times in whole seconds.
    pub coarse: String,
    /// Whether any file shows a fraction of a second.
    pub has_fractions: bool,
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
}

/// How exactly times are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    Nanoseconds,
    Seconds,
}

impl Manifest {
    pub fn of(entries: &[Entry]) -> Self {
        let stamps = || {
            entries.iter().filter_map(|entry| match &entry.kind {
                EntryKind::File(stamp) => Some(stamp),
                EntryKind::Link { .. } | EntryKind::Directory | EntryKind::Other(_) => None,
            })
        };
        Self {
            digest: digest(entries, Grain::Nanoseconds),
            coarse: digest(entries, Grain::Seconds),
            has_fractions: stamps().any(|stamp| stamp.modified.nanoseconds != 0),
            files: u64::try_from(stamps().count()).unwrap_or(u64::MAX),
            bytes: stamps().map(|stamp| stamp.bytes).fold(0, u64::saturating_add),
        }
    }
}

fn digest(entries: &[Entry], grain: Grain) -> String {
    let mut sorted = Records::default();
    for entry in entries {
        sorted.push(|record| entry.write(grain, record));
    }
    let mut hash = Sha256::new();
    sorted.each(|record| hash.update(record));
    hex(&hash.finalize())
}

/// Of kinds, names and contents, in hexadecimal digits of BLAKE3: the same wherever the tree lies and whenever it was
/// written. `digest_of` gives that of a file's content by its place among the entries.
pub fn content_digest(
    entries: &[Entry],
    mut digest_of: impl FnMut(usize) -> blake3::Hash,
) -> String {
    let mut sorted = Records::default();
    for (index, entry) in entries.iter().enumerate() {
        sorted.push(|record| match &entry.kind {
            EntryKind::File(stamp) => {
                let hash = digest_of(index);
                record
                    .extend_from_slice(format!("f {} {} ", stamp.bytes, hash.to_hex()).as_bytes());
                record.extend_from_slice(&entry.path);
            }
            EntryKind::Link { .. } | EntryKind::Directory | EntryKind::Other(_) => {
                entry.write(Grain::Seconds, record);
            }
        });
    }
    let mut hash = blake3::Hasher::new();
    sorted.each(|record| {
        hash.update(record);
    });
    hash.finalize().to_hex().to_string()
}

impl Entry {
    /// As `find` prints it:
    /// `-type f -printf 'f %s %T@ %P\0' -o -type l -printf 'l %P//%l\0' -o -type d -printf 'd %P\0' -o -printf '%y %P\0'`.
    fn write(&self, grain: Grain, record: &mut Vec<u8>) {
        match &self.kind {
            EntryKind::File(Stamp { bytes, modified: Moment { seconds, nanoseconds }, .. }) => {
                let head = match grain {
                    // `find` prints ten digits of a fraction that has nine.
                    Grain::Nanoseconds => format!("f {bytes} {seconds}.{nanoseconds:09}0 "),
                    Grain::Seconds => format!("f {bytes} {seconds} "),
                };
                record.extend_from_slice(head.as_bytes());
                record.extend_from_slice(&self.path);
            }
            EntryKind::Link { target } => {
                record.extend_from_slice(b"l ");
                record.extend_from_slice(&self.path);
                // No path has two slashes in a row, so it is clear where the target begins.
                record.extend_from_slice(b"//");
                record.extend_from_slice(target);
            }
            EntryKind::Directory => {
                record.extend_from_slice(b"d ");
                record.extend_from_slice(&self.path);
            }
            EntryKind::Other(letter) => {
                record.extend_from_slice(&[*letter, b' ']);
                record.extend_from_slice(&self.path);
            }
        }
    }
}

/// Records that are read in their order as bytes, which is that of `LC_ALL=C sort -z`.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    places: Vec<std::ops::Range<usize>>,
}

impl Records {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.places.push(start..self.bytes.len());
    }

    /// Each record in order, with the NUL that ends it.
    fn each(mut self, mut take: impl FnMut(&[u8])) {
        let record = |place: &std::ops::Range<usize>| &self.bytes[place.clone()];
        self.places.sort_unstable_by(|a, b| record(a).cmp(record(b)));
        for place in &self.places {
            take(record(place));
            take(b"\0");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: u64, seconds: i64, nanoseconds: i64) -> Entry {
        let moment = Moment { seconds, nanoseconds };
        let stamp = Stamp { bytes, modified: moment, changed: moment, inode: 1 };
        Entry { path: path.as_bytes().into(), kind: EntryKind::File(stamp) }
    }

    #[test]
    fn neither_the_order_of_entries_nor_an_inode_counts() {
        let (a, b) = (file("a", 1, 10, 5), file("b", 2, 11, 0));
        let one = Manifest::of(&[a.clone(), b.clone()]);
        let EntryKind::File(stamp) = a.kind else { unreachable!("it is a file") };
        let moved = Stamp { inode: 7, changed: Moment { seconds: 99, ..stamp.changed }, ..stamp };
        let a = Entry { path: a.path, kind: EntryKind::File(moved) };
        assert_eq!(one, Manifest::of(&[b, a]));
        assert_eq!((one.files, one.bytes, one.has_fractions), (2, 3, true));
    }

    #[test]
    fn whatever_a_tree_shows_changes_its_digest() {
        let link = |path: &str, target: &str| Entry {
            path: path.as_bytes().into(),
            kind: EntryKind::Link { target: target.as_bytes().into() },
        };
        let other = |letter| Entry { path: b"x".as_slice().into(), kind: EntryKind::Other(letter) };
        let directory = Entry { path: b"x".as_slice().into(), kind: EntryKind::Directory };
        let trees = [
            vec![],
            vec![file("x", 1, 10, 5)],
            vec![file("y", 1, 10, 5)],
            vec![file("x", 2, 10, 5)],
            vec![file("x", 1, 11, 5)],
            vec![file("x", 1, 10, 6)],
            vec![link("x", "y")],
            vec![link("x", "z")],
            vec![directory],
            vec![other(b'p')],
            vec![other(b's')],
            vec![file("x", 1, 10, 5), file("y", 1, 10, 5)],
        ];
        let digests: std::collections::BTreeSet<String> =
            trees.iter().map(|tree| Manifest::of(tree).digest).collect();
        assert_eq!(digests.len(), trees.len());
        let coarse = |nanoseconds| Manifest::of(&[file("x", 1, 10, nanoseconds)]).coarse;
        assert_eq!(coarse(5), coarse(6));
    }

    #[test]
    fn a_time_is_nothing_to_the_digest_of_contents() {
        let hash = |text: &'static str| move |_| blake3::hash(text.as_bytes());
        let (early, late) = ([file("x", 1, 10, 5)], [file("x", 1, 99, 0)]);
        assert_eq!(content_digest(&early, hash("a")), content_digest(&late, hash("a")));
        assert_ne!(content_digest(&early, hash("a")), content_digest(&early, hash("b")));
    }
}
