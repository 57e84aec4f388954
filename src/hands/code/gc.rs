//! What the store keeps, and removing what nobody needs any more.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;

use crate::domain::inputs::CodeDigest;
use crate::hands::code::store::CodeStore;
use crate::ports::StoredCode;

/// Run directories of one run root that are looked through.
const RUNS_MAX: usize = 1_000_000;

/// Every tree that is kept.
pub(in crate::hands) fn stored(run_root: &Path) -> io::Result<Vec<StoredCode>> {
    let store = CodeStore::at(run_root);
    let mut stored = Vec::new();
    for name in names(&store.root)? {
        let Some(digest) = name.strip_suffix(".list").map(str::to_owned) else { continue };
        let Ok(digest) = CodeDigest::try_from(digest) else { continue };
        let list = fs_err::symlink_metadata(store.list(&digest))?;
        let archive = std::fs::symlink_metadata(store.archive(&digest));
        let archive_bytes = archive.map_or(0, |archive| archive.len());
        let tree = store.tree(&digest);
        stored.push(StoredCode {
            // A tree has what its archive has.
            bytes: archive_bytes * if tree.is_dir() { 2 } else { 1 },
            used_at: Timestamp::from_second(list.mtime()).unwrap_or(Timestamp::UNIX_EPOCH),
            digest,
        });
    }
    stored.sort_by(|a, b| a.digest.cmp(&b.digest));
    Ok(stored)
}

/// The trees that run directories lead to, whoever made those.
pub(in crate::hands) fn linked(run_root: &Path) -> io::Result<Vec<CodeDigest>> {
    let mut linked = Vec::new();
    for name in names(run_root)?.into_iter().take(RUNS_MAX) {
        let Ok(link) = std::fs::read_link(run_root.join(&name).join("code")) else { continue };
        let digest = link.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        linked.extend(digest.and_then(|digest| CodeDigest::try_from(digest).ok()));
    }
    Ok(linked)
}

/// Removes trees. The list goes first: without it the rest is nothing.
pub(in crate::hands) fn remove(run_root: &Path, digests: &[CodeDigest]) -> io::Result<()> {
    let store = CodeStore::at(run_root);
    for digest in digests {
        for file in [store.list(digest), store.archive(digest), store.lock(digest)] {
            match fs_err::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        remove_tree(&store.tree(digest))?;
    }
    Ok(())
}

/// Its directories cannot be written to.
fn remove_tree(tree: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if !tree.is_dir() {
        return Ok(());
    }
    for entry in walkdir::WalkDir::new(tree).follow_links(false) {
        let entry = entry.map_err(io::Error::from)?;
        if entry.file_type().is_dir() {
            fs_err::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o700))?;
        }
    }
    fs_err::remove_dir_all(tree)
}

/// The names in a directory; none where it is missing.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
