//! What is removed from the store, and what is not.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::domain::inputs::Stored;
use crate::hands::stored::{linked, list, remove};

/// Gives a file or directory a time long ago.
fn age(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs_err::File::open(path).unwrap().file().set_modified(time).unwrap();
}

#[test]
fn what_is_used_after_it_was_listed_is_not_removed() {
    let yard = Yard::new();
    let runs = yard.path("runs");
    let take = |text: &str| {
        yard.write("code/train.py", text);
        yard.take(&yard.directory("code")).code.digest
    };
    let (used, unused) = (take("used"), take("unused"));
    for digest in [&used, &unused] {
        age(&CodeStore::at(&runs).list(digest));
    }
    let listed = list(&runs).unwrap();
    assert!(use_stored(&runs, &used).unwrap());
    let removed = remove(&runs, &listed).unwrap();
    let trees: Vec<&str> = removed
        .iter()
        .filter(|item| item.kind == Stored::Code)
        .map(|item| item.name.as_str())
        .collect();
    assert_eq!(trees, [unused.to_string()]);
    assert!(use_stored(&runs, &used).unwrap());
    assert_eq!(yard.stored(), [format!("{used}.list"), format!("{used}.tar")]);
}

#[test]
fn what_was_never_finished_is_removed_when_it_is_old() {
    let yard = Yard::new();
    let runs = yard.path("runs");
    yard.write("code/train.py", "");
    let digest = yard.take(&yard.directory("code")).code.digest;
    let store = CodeStore::at(&runs);
    // The daemon died between the archive and its list, another while it removed, a job while it unpacked.
    fs_err::remove_file(store.list(&digest)).unwrap();
    let tree = CodeDigest::of(blake3::hash(b"tree"));
    fs_err::create_dir(store.tree(&tree)).unwrap();
    yard.write("runs/.store/code/.new-job/train.py", "");
    yard.write("runs/.store/code/.new-young/train.py", "");
    yard.write("runs/.store/code/.new-file", "");
    for name in [".new-job", ".new-file"] {
        age(&store.root.join(name));
    }
    let mut items = list(&runs).unwrap();
    let code = items.iter().filter(|item| item.kind == Stored::Code);
    let left: BTreeSet<&str> = code.map(|item| item.name.as_str()).collect();
    assert_eq!(left, BTreeSet::from([digest.to_string().as_str(), tree.to_string().as_str()]));
    // What is young is left out by whoever asks.
    items.retain(|item| item.name != ".new-young");
    remove(&runs, &items).unwrap();
    assert_eq!(yard.stored(), [".new-young"]);
}

#[test]
fn a_run_that_cannot_be_looked_at_may_use_anything() {
    let yard = Yard::new();
    let runs = yard.path("runs");
    yard.write("code/train.py", "");
    let digest = yard.take(&yard.directory("code")).code.digest;
    for name in ["1-x", "2-older"] {
        fs_err::create_dir(runs.join(name)).unwrap();
    }
    yard.write("runs/a file", "");
    fs_err::os::unix::fs::symlink(from_run_dir(&digest), runs.join("1-x/code")).unwrap();
    assert_eq!(linked(&runs).unwrap(), BTreeSet::from([(Stored::Code, digest.to_string())]));
    fs_err::os::unix::fs::symlink("3-loop", runs.join("3-loop")).unwrap();
    let error = linked(&runs).unwrap_err();
    assert!(error.to_string().contains("3-loop/code"), "{error}");
}
