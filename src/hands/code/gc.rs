//! What the store keeps, and removing what nobody needs any more.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::domain::inputs::CodeDigest;
use crate::hands::code::is_none;
use crate::hands::code::store::{CodeStore, NEW};
use crate::hands::removal::remove_tree;
use crate::ports::StoredCode;

/// What was begun so long ago is finished, or never will be.
const BEGUN_WITHIN: Duration = Duration::from_hours(24);

/// Every tree that is kept, or of which something is left.
pub(in crate::hands) fn stored(run_root: &Path) -> io::Result<Vec<StoredCode>> {
    let store = CodeStore::at(run_root);
    let mut stored = Vec::new();
    let digest = |name: String| {
        let digest = name.split_once('.').map_or(name.as_str(), |(digest, _)| digest);
        CodeDigest::try_from(digest.to_owned()).ok()
    };
    let digests: BTreeSet<CodeDigest> =
        names(&store.root)?.into_iter().filter_map(digest).collect();
    for digest in digests {
        // What was removed since has no time any more.
        let Some(used_at) = used_at(&store, &digest)? else { continue };
        let archive = std::fs::symlink_metadata(store.archive(&digest));
        let archive_bytes = archive.map_or(0, |archive| archive.len());
        // A tree has what its archive has.
        let bytes = archive_bytes * if store.tree(&digest).is_dir() { 2 } else { 1 };
        stored.push(StoredCode { digest, bytes, used_at });
    }
    Ok(stored)
}

/// The list tells when a tree was used last; without it what is left of the rest tells when that was made.
fn used_at(store: &CodeStore, digest: &CodeDigest) -> io::Result<Option<Timestamp>> {
    for part in [store.list(digest), store.archive(digest), store.lock(digest), store.tree(digest)]
    {
        match fs_err::symlink_metadata(part) {
            Err(error) if is_none(&error) => {}
            found => return Ok(Timestamp::from_second(found?.mtime()).ok()),
        }
    }
    Ok(None)
}

/// The trees that run directories lead to, whoever made those.
pub(in crate::hands) fn linked(run_root: &Path) -> io::Result<Vec<CodeDigest>> {
    let mut linked = Vec::new();
    for name in names(run_root)? {
        let link = match fs_err::read_link(run_root.join(&name).join("code")) {
            // No run directory, or one from before code was captured.
            Err(error) if is_none(&error) || error.kind() == io::ErrorKind::InvalidInput => {
                continue;
            }
            // One that cannot be looked at may lead anywhere.
            link => link?,
        };
        let digest = link.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        linked.extend(digest.and_then(|digest| CodeDigest::try_from(digest).ok()));
    }
    Ok(linked)
}

/// Removes trees, but for those that were used since they were listed, and says which went. The list goes first: without
/// it the rest is nothing. What captures and jobs began long ago and never finished goes, too.
pub(in crate::hands) fn remove(
    run_root: &Path,
    unused: &[StoredCode],
) -> io::Result<Vec<CodeDigest>> {
    let store = CodeStore::at(run_root);
    let mut removed = Vec::new();
    for StoredCode { digest, used_at: listed, .. } in unused {
        if used_at(&store, digest)? != Some(*listed) {
            continue;
        }
        for file in [store.list(digest), store.archive(digest), store.lock(digest)] {
            match fs_err::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        remove_tree(&store.tree(digest))?;
        removed.push(digest.clone());
    }
    remove_unfinished(&store.root)?;
    Ok(removed)
}

fn remove_unfinished(store: &Path) -> io::Result<()> {
    // The time of the file system that gave the others theirs.
    let now = match NamedTempFile::with_prefix_in(NEW, store) {
        Err(error) if is_none(&error) => return Ok(()),
        file => file?.as_file().metadata()?.modified()?,
    };
    for name in names(store)?.into_iter().filter(|name| name.starts_with(NEW)) {
        let path = store.join(name);
        let begun = match fs_err::symlink_metadata(&path) {
            Err(error) if is_none(&error) => continue,
            found => found?.modified()?,
        };
        let age = now.duration_since(begun).unwrap_or_default();
        if age > BEGUN_WITHIN {
            remove_tree(&path)?;
        }
    }
    Ok(())
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
