//! A tree of code as it is kept: what counts of it, what it may have, and how it is written down.
//!
//! Counted are names, contents, links and whether a file may be executed; not times, owners or other permissions, so that
//! the same code has the same digest wherever it was taken from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

use crate::domain::inputs::CodeDigest;
use crate::domain::units::Bytes;

/// Files, links and empty directories of one tree.
pub const ENTRIES_MAX: usize = 100_000;
/// Of all files together.
pub const BYTES_MAX: u64 = 1 << 30;
/// Of a path in the tree; what is longer fits below no run root.
pub const PATH_BYTES_MAX: usize = 1024;
/// The time of all captured files, 2000-01-01 00:00 UTC, in seconds since 1970. The zip format knows nothing before 1980,
/// and tools that make wheels of a tree stop there.
pub const FILES_TIME: u64 = 946_684_800;
/// What is not told one by one.
const LARGEST_TOLD: usize = 5;

/// Something in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the tree, with `/`.
    pub path: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File {
        size: u64,
        executable: bool,
        hash: blake3::Hash,
    },
    /// Where it points to, as it is written.
    Link(String),
    EmptyDirectory,
}

/// Why a tree cannot be captured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("it has more than {ENTRIES_MAX} files")]
    TooMany,
    #[error("it has {}, more than {}; the largest: {}", Bytes(*bytes), Bytes(BYTES_MAX), Largest(largest))]
    TooLarge { bytes: u64, largest: Vec<(String, u64)> },
    #[error("`{}` cannot be captured: {why}", path.escape_debug())]
    Name { path: String, why: &'static str },
}

struct Largest<'a>(&'a [(String, u64)]);

impl fmt::Display for Largest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (path, bytes)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} ({})", path.escape_debug(), Bytes(*bytes))?;
        }
        Ok(())
    }
}

/// Whether a path may be in a tree, and fit into its list, a line each.
pub fn check_path(path: &str) -> Result<(), TreeError> {
    let why = if path.len() > PATH_BYTES_MAX {
        "its path is longer than 1024 bytes"
    } else if path.chars().any(char::is_control) {
        "its name has a line break or another control character"
    } else {
        return Ok(());
    };
    Err(TreeError::Name { path: path.to_owned(), why })
}

/// Whether a tree of files of these sizes may be captured.
pub fn check_size<'a>(
    files: impl Iterator<Item = (&'a str, u64)> + Clone,
) -> Result<(), TreeError> {
    let mut count = 0;
    let mut bytes = 0_u64;
    for (_, size) in files.clone() {
        count += 1;
        bytes = bytes.saturating_add(size);
    }
    if count > ENTRIES_MAX {
        return Err(TreeError::TooMany);
    }
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    let mut largest: Vec<(String, u64)> =
        files.map(|(path, size)| (path.to_owned(), size)).collect();
    largest.sort_by_key(|(path, size)| (std::cmp::Reverse(*size), path.clone()));
    largest.truncate(LARGEST_TOLD);
    Err(TreeError::TooLarge { bytes, largest })
}

/// Whether a link leads to somewhere in the tree. `..` counts only where its text begins: behind a name it may be taken
/// from where another link leads, which is anywhere.
pub fn stays_inside(path: &str, target: &str) -> bool {
    let above = path.split('/').count() - 1;
    let parts = || target.split('/').filter(|part| !matches!(*part, "" | "."));
    let climbs = parts().take_while(|part| *part == "..").count();
    !target.starts_with('/') && climbs <= above && parts().skip(climbs).all(|part| part != "..")
}

/// The digest of a tree; its entries in the order of their paths.
pub fn digest(entries: &[Entry]) -> CodeDigest {
    let mut hasher = blake3::Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text("trainyard code 1");
    for entry in entries {
        text(&entry.path);
        match &entry.kind {
            Kind::File { executable: false, hash, .. } => text(&format!("file {hash}")),
            Kind::File { executable: true, hash, .. } => text(&format!("program {hash}")),
            Kind::Link(target) => text(&format!("link {target}")),
            Kind::EmptyDirectory => text("directory"),
        }
    }
    CodeDigest::of(hasher.finalize())
}

/// The names at the top of a tree that has these paths.
pub fn top<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<&str> = paths.filter_map(|path| path.split('/').next()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The directories above a path, from the top down.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

/// Whether somebody who writes `asked` means the path of an entry.
fn is_same_path(asked: &str, path: &str) -> bool {
    let parts = Path::new(asked).components().filter(|part| *part != Component::CurDir);
    parts.eq(Path::new(path).components())
}

/// The tree as lines, in the order of `sort` in the C locale. Those with `d`, `f` and `l` are what a job script compares
/// with what `find` says; those with `h` have the hashes of files.
pub fn list(entries: &[Entry]) -> String {
    let mut lines: Vec<String> = Vec::with_capacity(entries.len() * 2);
    for Entry { path, kind } in entries {
        match kind {
            Kind::File { size, hash, .. } => {
                lines.push(format!("f {size} {path}\n"));
                lines.push(format!("h {hash} {path}\n"));
            }
            Kind::Link(target) => lines.push(format!("l {path} -> {target}\n")),
            Kind::EmptyDirectory => lines.push(format!("d {path}\n")),
        }
    }
    lines.sort_unstable();
    lines.concat()
}

/// A path of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    pub path: &'a str,
    /// Of a file.
    pub bytes: Option<u64>,
    pub is_empty_directory: bool,
}

impl<'a> From<&'a Entry> for Listed<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (bytes, is_empty_directory) = match &entry.kind {
            Kind::File { size, .. } => (Some(*size), false),
            Kind::Link(_) => (None, false),
            Kind::EmptyDirectory => (None, true),
        };
        Self { path: &entry.path, bytes, is_empty_directory }
    }
}

/// What a list names, in its order.
pub fn listed(list: &str) -> Vec<Listed<'_>> {
    let listed = |line| -> Option<Listed<'_>> {
        let (kind, rest) = str::split_once(line, ' ')?;
        let (path, bytes) = match kind {
            "f" => rest
                .split_once(' ')
                .and_then(|(size, path)| Some((path, Some(size.parse().ok()?))))?,
            "l" => (rest.split_once(" -> ")?.0, None),
            "d" => (rest, None),
            _ => return None,
        };
        Some(Listed { path, bytes, is_empty_directory: kind == "d" })
    };
    list.lines().filter_map(listed).collect()
}

/// Whether a tree has what somebody calls its entry point.
pub fn has_entry_point(listed: &[Listed<'_>], asked: &str) -> bool {
    listed.iter().any(|listed| !listed.is_empty_directory && is_same_path(asked, listed.path))
}

/// What a list says of each path, as a text that is the same where they are the same.
pub fn contents(list: &str) -> BTreeMap<&str, &str> {
    let content = |line| -> Option<(&str, &str)> {
        let (kind, rest) = str::split_once(line, ' ')?;
        match kind {
            "h" => rest.split_once(' ').map(|(hash, path)| (path, hash)),
            "l" => rest.split_once(" -> "),
            "d" => Some((rest, "an empty directory")),
            _ => None,
        }
    };
    list.lines().filter_map(content).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, executable: bool) -> Entry {
        let kind =
            Kind::File { size: text.len() as u64, executable, hash: blake3::hash(text.as_bytes()) };
        Entry { path: path.into(), kind }
    }

    #[test]
    fn the_digest_is_of_names_contents_links_and_modes() {
        let base = || vec![file("a", "1", false), file("b/c", "2", false)];
        let with = |change: fn(&mut Vec<Entry>)| {
            let mut entries = base();
            change(&mut entries);
            digest(&entries)
        };
        let all = [
            with(|_| {}),
            with(|tree| tree[0].path = "z".into()),
            with(|tree| tree[0] = file("a", "3", false)),
            with(|tree| tree[0] = file("a", "1", true)),
            with(|tree| tree[0].kind = Kind::Link("1".into())),
            with(|tree| tree[0].kind = Kind::EmptyDirectory),
            with(|tree| tree.truncate(1)),
        ];
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(digest(&base()), all[0]);
    }

    #[test]
    fn a_tree_has_limits_that_name_what_is_over_them() {
        let sizes = [("small", 1), ("weights/model.pt", BYTES_MAX), ("data.bin", 5 << 20)];
        let error = check_size(sizes.into_iter()).unwrap_err().to_string();
        assert_eq!(
            error,
            "it has 1.0 GiB, more than 1.0 GiB; the largest: weights/model.pt (1.0 GiB), data.bin (5.0 MiB), small (1 B)"
        );
        assert_eq!(check_size(sizes[..1].iter().copied()), Ok(()));
        let many = std::iter::repeat_n(("x", 0), ENTRIES_MAX + 1);
        assert_eq!(check_size(many), Err(TreeError::TooMany));
        assert_eq!(check_path("a b/ü"), Ok(()));
        assert!(check_path("a\nb").is_err() && check_path(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn links_are_followed_by_their_text() {
        for (path, target) in [("a", "b"), ("d/a", "../b"), ("d/e/a", "./../../b"), ("d/a", "..")] {
            assert!(stays_inside(path, target), "{path} -> {target}");
        }
        for (path, target) in [("a", ".."), ("a", "/b"), ("d/a", "../../b"), ("a", "a/a/../..")] {
            assert!(!stays_inside(path, target), "{path} -> {target}");
        }
    }

    #[test]
    fn a_path_is_known_however_it_is_written() {
        for asked in ["a/b.py", "./a/b.py", "a//./b.py"] {
            assert!(is_same_path(asked, "a/b.py"), "{asked}");
        }
        for asked in ["a", "a/b.py/c", "x/../a/b.py", "/a/b.py"] {
            assert!(!is_same_path(asked, "a/b.py"), "{asked}");
        }
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(above("a").count(), 0);
    }

    #[test]
    fn the_list_is_sorted_as_bytes() {
        let tree = [
            file("b", "12", false),
            file("a c", "", true),
            Entry { path: "l".into(), kind: Kind::Link("b".into()) },
            Entry { path: "e/f".into(), kind: Kind::EmptyDirectory },
        ];
        let list = list(&tree);
        let (empty, twelve) = (blake3::hash(b"").to_hex(), blake3::hash(b"12").to_hex());
        let mut hashes = [format!("h {empty} a c\n"), format!("h {twelve} b\n")];
        hashes.sort();
        let hashes = hashes.concat();
        assert_eq!(list, format!("d e/f\nf 0 a c\nf 2 b\n{hashes}l l -> b\n"));
        let mut named: Vec<Listed<'_>> = tree.iter().map(Listed::from).collect();
        named.sort_by_key(|listed| listed.path);
        let whole = format!("a 5 sum\n{list}");
        let mut read = listed(&whole);
        read.sort_by_key(|listed| listed.path);
        assert_eq!(read, named);
        let contents = contents(&list);
        assert_eq!(contents["a c"], empty.as_str());
        assert_eq!(
            (contents["l"], contents["e/f"], contents.len()),
            ("b", "an empty directory", 4)
        );
        assert_eq!(top(contents.into_keys()), ["a c", "b", "e", "l"]);
    }
}
