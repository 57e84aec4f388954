//! Looks at trees that are made here: whole ones, large ones, and those that change.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::ports::ContentOrder;

/// A tree of `folders` times `files` small files.
fn tree(folders: usize, files: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in 0..folders {
        let folder = dir.path().join("data").join(folder.to_string());
        fs_err::create_dir_all(&folder).unwrap();
        for file in 0..files {
            fs_err::write(folder.join(file.to_string()), format!("{file}")).unwrap();
        }
    }
    dir
}

fn order(dir: &TempDir) -> DataOrder {
    // A minute from now no file is too young to be remembered.
    let now = newest(&dir.path().join("data")) + SignedDuration::from_mins(1);
    DataOrder {
        path: dir.path().join("data"),
        content: Some(ContentOrder { cached_in: dir.path().join("cache"), now }),
        patience: Duration::from_mins(1),
    }
}

fn newest(root: &Path) -> Timestamp {
    let there = fs_err::metadata(root).unwrap();
    Timestamp::from_second(there.ctime()).unwrap()
}

#[track_caller]
fn found(order: &DataOrder) -> Fingerprint {
    match fingerprint(order).unwrap() {
        Found::Tree(tree) => tree,
        Found::Unknown(why) => panic!("{why}"),
    }
}

fn why(path: PathBuf, budget: &Budget) -> String {
    let order = DataOrder { path, content: None, patience: Duration::ZERO };
    let root = Root { modified_seconds: 0, inode: 0 };
    look(&order, root, budget).expect_err("it is stopped").to_string()
}

#[test]
fn several_threads_find_every_entry_once() {
    let dir = tree(40, 300);
    let budget = Budget {
        entries_max: 20_000,
        deadline: Instant::now() + Duration::from_mins(1),
        seconds: 60,
    };
    let entries = walk::walk(&dir.path().join("data"), &budget).unwrap();
    let paths: std::collections::BTreeSet<_> = entries.iter().map(|entry| &entry.path).collect();
    assert_eq!((entries.len(), paths.len()), (40 * 300 + 41, 40 * 300 + 41));
    assert_eq!(found(&order(&dir)).manifest.files, 40 * 300);
}

#[test]
fn a_look_has_an_end_whatever_it_finds() {
    let dir = tree(3, 10);
    let data = dir.path().join("data");
    let in_a_minute = Instant::now() + Duration::from_mins(1);
    let small = Budget { entries_max: 20, deadline: in_a_minute, seconds: 60 };
    assert_eq!(why(data.clone(), &small), "it has more than 20 files and directories");
    let short = Budget { entries_max: 1000, deadline: Instant::now(), seconds: 0 };
    assert_eq!(why(data.clone(), &short), "looking at it takes longer than 0 s");
    let enough = Budget { entries_max: 34, deadline: in_a_minute, seconds: 60 };
    assert_eq!(walk::walk(&data, &enough).unwrap().len(), 34);
    let nowhere = fingerprint(&DataOrder { path: dir.path().join("nowhere"), ..order(&dir) });
    assert_eq!(nowhere.unwrap(), Found::Unknown(NOT_SEEN.to_owned()));
}

/// Writes another text of the same length into a file, without any of its times showing it.
fn forge(order: &DataOrder) {
    let contents = order.content.as_ref().unwrap();
    let entry = fs_err::read_dir(&contents.cached_in).unwrap().next().unwrap().unwrap();
    let mut bytes = fs_err::read(entry.path()).unwrap();
    let body = bytes.len() - 32;
    // The digest of the first row that is remembered, and then the sum of all, so that it is believed.
    bytes[8 + 16] ^= 1;
    let sum = blake3::hash(&bytes[..body]);
    bytes.truncate(body);
    bytes.extend_from_slice(sum.as_bytes());
    fs_err::write(entry.path(), bytes).unwrap();
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let dir = tree(2, 5);
    let order = order(&dir);
    let first = found(&order);
    assert_eq!(found(&order), first);
    // What is remembered is what is told: the files were not read.
    forge(&order);
    let forged = found(&order);
    assert_ne!(forged.content, first.content);
    assert_eq!(forged.manifest, first.manifest);
    // A record that is not whole is none.
    let cache = fs_err::read_dir(dir.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs_err::read(&cache).unwrap();
    fs_err::write(&cache, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(found(&order).content, first.content);
    // A file that was changed is read, although its time was set back.
    let file = dir.path().join("data/0/0");
    let then = fs_err::metadata(&file).unwrap().modified().unwrap();
    fs_err::write(&file, "X").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
    let changed = found(&order);
    assert_eq!(changed.manifest, first.manifest);
    assert_ne!(changed.content, first.content);
}

#[test]
fn what_is_too_young_is_not_remembered() {
    let dir = tree(1, 1);
    let mut order = order(&dir);
    let contents = order.content.as_mut().unwrap();
    contents.now = newest(&dir.path().join("data")) + SignedDuration::from_secs(1);
    let first = found(&order);
    assert!(!dir.path().join("cache").exists());
    assert_eq!(found(&order), first);
}

#[test]
fn a_file_that_changed_since_it_was_listed_has_no_digest() {
    let dir = tree(1, 3);
    let data = dir.path().join("data");
    let deadline = Instant::now() + Duration::from_mins(1);
    let budget = Budget { entries_max: 100, deadline, seconds: 60 };
    let entries = walk::walk(&data, &budget).unwrap();
    fs_err::write(data.join("0/1"), "longer").unwrap();
    let cache = Cache::load(&dir.path().join("cache"), &data);
    let read = contents::read(&data, &entries, &cache, &budget);
    assert!(matches!(read.stopped, Some(Stopped::Changed)));
    let changed = entries.iter().position(|entry| *entry.path == *b"0/1").unwrap();
    assert_eq!(read.found[changed], None);
}
