//! What the store of a run root keeps, and removing what nobody needs any more: captured code, environments that were built
//! of requirements, indexes, and what was left of those who were ended while they wrote.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::domain::inputs::Stored;
use crate::domain::requirements::environment_name;
use crate::hands::code;
use crate::hands::removal::remove_tree;
use crate::hands::run_dir::weigh;
use crate::ports::StoredItem;

/// Below a run root.
const ENVIRONMENTS: &str = ".store/environments";
/// In the place of the code.
const INDEX: &str = ".index";

/// Everything that is kept, by kind and name.
pub(super) fn list(run_root: &Path) -> io::Result<Vec<StoredItem>> {
    let place = run_root.join(code::PLACE);
    let names_there = names(&place)?;
    let mut items = code::trees(run_root, &names_there)?;
    // Writers begin the names of what is not whole so.
    for name in names_there.into_iter().filter(|name| name.starts_with(code::NEW)) {
        items.extend(unless_gone(leftover(&place, name))?);
    }
    for name in names(&place.join(INDEX))? {
        let is_whole = blake3::Hash::from_hex(&name).is_ok();
        let found = if is_whole {
            index(&place, name)
        } else {
            leftover(&place, format!("{INDEX}/{name}"))
        };
        items.extend(unless_gone(found)?);
    }
    for name in names(&run_root.join(ENVIRONMENTS))? {
        if environment_name(&name).is_some() {
            items.extend(unless_gone(environment(run_root, name))?);
        }
    }
    items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(items)
}

/// What may go while it is looked at.
fn unless_gone(found: io::Result<StoredItem>) -> io::Result<Option<StoredItem>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn modified(metadata: &Metadata) -> Timestamp {
    Timestamp::from_second(metadata.mtime()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn leftover(place: &Path, name: String) -> io::Result<StoredItem> {
    let path = place.join(&name);
    let metadata = fs_err::symlink_metadata(&path)?;
    let bytes = if metadata.is_dir() { weigh(&path)?.bytes } else { metadata.len() };
    let used_at = modified(&metadata);
    Ok(StoredItem { kind: Stored::Leftover, name, bytes, used_at, is_locked: false })
}

fn index(place: &Path, name: String) -> io::Result<StoredItem> {
    let metadata = fs_err::symlink_metadata(place.join(INDEX).join(&name))?;
    let (bytes, used_at) = (metadata.len(), modified(&metadata));
    Ok(StoredItem { kind: Stored::Index, name, bytes, used_at, is_locked: false })
}

/// Builders touch the lock whenever a run is given the environment, and hold it while they work.
fn environment(run_root: &Path, name: String) -> io::Result<StoredItem> {
    let place = run_root.join(ENVIRONMENTS).join(&name);
    let used_at = modified(&fs_err::metadata(place.join("lock"))?);
    let is_locked = lock(&place)?.is_none();
    let bytes = weigh(&place)?.bytes;
    Ok(StoredItem { kind: Stored::Environment, name, bytes, used_at, is_locked })
}

/// The lock of an environment; none while a builder has it.
fn lock(place: &Path) -> io::Result<Option<File>> {
    let file = File::options().append(true).open(place.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What run directories lead to, whoever made those.
pub(super) fn linked(run_root: &Path) -> io::Result<BTreeSet<(Stored, String)>> {
    let mut linked = BTreeSet::new();
    let environments = run_root.join(ENVIRONMENTS);
    for name in names(run_root)? {
        let run_dir = run_root.join(&name);
        if let Some(link) = link(&run_dir.join("code"))?
            && let Some(digest) = link.file_name().and_then(|name| name.to_str())
        {
            linked.insert((Stored::Code, digest.to_owned()));
        }
        if let Some(link) = link(&run_dir.join("environment/venv"))?
            && let Some(digest) = environment_of(&link, &environments)
        {
            linked.insert((Stored::Environment, digest));
        }
    }
    Ok(linked)
}

/// Where a link leads; nowhere when it is none. One that cannot be looked at may lead anywhere.
fn link(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs_err::read_link(path) {
        // No run directory, or one from before there was such a link.
        Err(error) if code::is_none(&error) || error.kind() == io::ErrorKind::InvalidInput => {
            Ok(None)
        }
        link => link.map(Some),
    }
}

/// `ENVIRONMENTS/DIGEST/builds/…`, by whatever path the run root was known.
fn environment_of(link: &Path, environments: &Path) -> Option<String> {
    let place = link.parent()?.parent()?;
    let is_ours = place.parent()?.file_name() == environments.file_name();
    let name = place.file_name()?.to_str()?;
    (is_ours && environment_name(name).is_some()).then(|| name.to_owned())
}

/// Removes what was listed. Code and environments that somebody has, or has used since, stay.
pub(super) fn remove(run_root: &Path, items: &[StoredItem]) -> io::Result<Vec<StoredItem>> {
    let place = run_root.join(code::PLACE);
    let mut removed = Vec::new();
    for item in items {
        let is_gone = match item.kind {
            Stored::Code => code::remove(run_root, item)?,
            Stored::Environment => remove_environment(run_root, item)?,
            Stored::Index => remove_tree(&place.join(INDEX).join(&item.name)).map(|()| true)?,
            Stored::Leftover => remove_tree(&place.join(&item.name)).map(|()| true)?,
        };
        if is_gone {
            removed.push(item.clone());
        }
    }
    Ok(removed)
}

/// The link `venv` goes first: without it the rest is nothing. The lock goes last, so that a builder who comes meanwhile
/// waits, and then builds anew.
fn remove_environment(run_root: &Path, item: &StoredItem) -> io::Result<bool> {
    let Some(name) = environment_name(&item.name) else { return Ok(false) };
    let place = run_root.join(ENVIRONMENTS).join(name);
    let Some(lock) = lock(&place)? else { return Ok(false) };
    if modified(&lock.metadata()?) != item.used_at {
        return Ok(false);
    }
    for part in ["venv", "builds", ""] {
        remove_tree(&place.join(part))?;
    }
    Ok(true)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(items: &[StoredItem]) -> Vec<(Stored, &str, bool)> {
        items.iter().map(|item| (item.kind, item.name.as_str(), item.is_locked)).collect()
    }

    #[test]
    fn each_kind_is_found_and_removed_unless_a_builder_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        let [code, index, busy, free] = ["a", "b", "c", "d"].map(|digit| digit.repeat(64));
        write(&format!(".store/code/{code}.list"), "a 1 x\n");
        write(&format!(".store/code/.index/{index}"), "x");
        write(".store/code/.index/.tmpx", "half");
        write(".store/code/.new-x/half", "half");
        for name in [&busy, &free] {
            write(&format!(".store/environments/{name}/lock"), "");
            write(&format!(".store/environments/{name}/builds/n.1/complete"), "x");
        }
        write(".store/environments/something/else", "");
        let builder = lock(&root.join(".store/environments").join(&busy)).unwrap().unwrap();
        let items = list(root).unwrap();
        assert_eq!(
            names_of(&items),
            [
                (Stored::Code, code.as_str(), false),
                (Stored::Environment, busy.as_str(), true),
                (Stored::Environment, free.as_str(), false),
                (Stored::Index, index.as_str(), false),
                (Stored::Leftover, ".index/.tmpx", false),
                (Stored::Leftover, ".new-x", false),
            ]
        );
        let removed = remove(root, &items).unwrap();
        assert_eq!(removed.len(), items.len() - 1);
        assert_eq!(names_of(&list(root).unwrap()), [(Stored::Environment, busy.as_str(), true)]);
        assert!(root.join(".store/environments/something/else").exists());
        drop(builder);
        // Used since it was listed.
        let older = StoredItem { used_at: Timestamp::UNIX_EPOCH, ..items[1].clone() };
        assert!(remove(root, &[older]).unwrap().is_empty());
        assert_eq!(remove(root, &list(root).unwrap()).unwrap().len(), 1);
    }

    #[test]
    fn what_run_directories_lead_to_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (code, built) = ("a".repeat(64), "b".repeat(64));
        let run = dir.path().join("1-x");
        fs_err::create_dir_all(run.join("environment")).unwrap();
        let link = |to: &str, at: &str| fs_err::os::unix::fs::symlink(to, run.join(at)).unwrap();
        link(&format!("../.store/code/{code}"), "code");
        link(&format!("/other/name/.store/environments/{built}/builds/n.1"), "environment/venv");
        let expected = [(Stored::Code, code), (Stored::Environment, built)];
        assert_eq!(linked(dir.path()).unwrap(), BTreeSet::from(expected));
        fs_err::remove_file(run.join("environment/venv")).unwrap();
        link("/home/ada/venvs/mine/builds/n.1", "environment/venv");
        assert_eq!(linked(dir.path()).unwrap().len(), 1);
    }
}
