//! The trees that a store keeps, and removing one.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;

use crate::domain::inputs::{CodeDigest, Stored};
use crate::hands::code::is_none;
use crate::hands::code::store::CodeStore;
use crate::hands::removal::remove_tree;
use crate::ports::StoredItem;

/// The trees that these names belong to, also those of which only something is left.
pub(in crate::hands) fn trees(run_root: &Path, names: &[String]) -> io::Result<Vec<StoredItem>> {
    let store = CodeStore::at(run_root);
    let digest = |name: &String| {
        let digest = name.split_once('.').map_or(name.as_str(), |(digest, _)| digest);
        CodeDigest::try_from(digest.to_owned()).ok()
    };
    let digests: BTreeSet<CodeDigest> = names.iter().filter_map(digest).collect();
    let mut trees = Vec::new();
    for digest in digests {
        // What was removed since has no time any more.
        let Some(used_at) = used_at(&store, &digest)? else { continue };
        let archive = std::fs::symlink_metadata(store.archive(&digest));
        let archive_bytes = archive.map_or(0, |archive| archive.len());
        // A tree has what its archive has.
        let bytes = archive_bytes * if store.tree(&digest).is_dir() { 2 } else { 1 };
        let (kind, name) = (Stored::Code, digest.to_string());
        trees.push(StoredItem { kind, name, bytes, used_at, is_locked: false });
    }
    Ok(trees)
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

/// Removes a tree, unless it was used since it was listed. Its list goes first: without it the rest is nothing.
pub(in crate::hands) fn remove(run_root: &Path, listed: &StoredItem) -> io::Result<bool> {
    let store = CodeStore::at(run_root);
    let Ok(digest) = CodeDigest::try_from(listed.name.clone()) else { return Ok(false) };
    if used_at(&store, &digest)? != Some(listed.used_at) {
        return Ok(false);
    }
    let parts =
        [store.list(&digest), store.archive(&digest), store.lock(&digest), store.tree(&digest)];
    for part in parts {
        remove_tree(&part)?;
    }
    Ok(true)
}
