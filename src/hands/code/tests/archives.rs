//! Archives, those of the zip-slip family above all: each is refused, and nothing is written outside.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

type Entry = (Header, Vec<u8>);

/// An entry with a name and a target as they are, whatever they hold.
fn entry(kind: EntryType, name: &str, target: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size as u64);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    header
}

fn file(name: &str) -> Entry {
    (entry(EntryType::Regular, name, "", 4), b"text".into())
}

fn link(name: &str, target: &str) -> Entry {
    (entry(EntryType::Symlink, name, target, 0), Vec::new())
}

fn of_kind(kind: EntryType, name: &str) -> Entry {
    (entry(kind, name, "train.py", 0), Vec::new())
}

fn tar_gz(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (header, text) in entries {
        tar.append(header, text.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Names, Unix modes and contents.
fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, mode, text) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode);
        if mode & 0o170_000 == 0o120_000 {
            let target = String::from_utf8(text.to_vec()).unwrap();
            zip.add_symlink(*name, target, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(text).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

impl Yard {
    fn archive(&self, name: &str, bytes: &[u8]) -> CodeOrder {
        self.write(name, bytes);
        self.order(CodeSource::Archive { path: self.path(name), digest: None })
    }

    /// Everything but the archives and what was noted of them.
    fn outside(&self) -> Vec<String> {
        let all = walkdir::WalkDir::new(self.dir.path()).into_iter().map(Result::unwrap);
        let names = all.map(|entry| entry.path().strip_prefix(self.dir.path()).unwrap().to_owned());
        names
            .map(|name| name.display().to_string())
            .filter(|name| !name.starts_with("a.") && !name.contains("/.index/"))
            .collect()
    }
}

#[test]
fn both_kinds_of_archive_come_to_the_same_tree() {
    let yard = Yard::new();
    yard.write("code/train.py", "text");
    yard.write("code/pkg/run", "text");
    fs_err::set_permissions(yard.path("code/pkg/run"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    fs_err::os::unix::fs::symlink("../train.py", yard.path("code/pkg/link")).unwrap();
    let directory = yard.take(&yard.directory("code"));
    let mut program = file("./pkg/run");
    program.0.set_mode(0o755);
    program.0.set_cksum();
    let tar = tar_gz(&[
        of_kind(EntryType::Directory, "./"),
        file("./train.py"),
        program,
        link("pkg/link", "../train.py"),
    ]);
    assert_eq!(yard.take(&yard.archive("a.tgz", &tar)), directory);
    let zip = zip(&[
        ("train.py", 0o644, b"text"),
        ("pkg/run", 0o755, b"text"),
        ("pkg/link", 0o120_777, b"../train.py"),
    ]);
    assert_eq!(yard.take(&yard.archive("a.zip", &zip)), directory);
    assert_eq!(yard.stored().len(), 2, "nothing unpacked stays");
}

#[test]
fn an_entry_that_would_be_written_elsewhere_is_refused_and_named() {
    let absolute = "has an absolute path or `..`";
    let leaves = "is a link that leaves the tree";
    let below = "lies below a file or a link";
    let deep = "a/".repeat(60) + "../".repeat(61).as_str() + "x";
    let cases: Vec<(Vec<Entry>, &str, &str)> = vec![
        (vec![file("../evil")], "../evil", absolute),
        (vec![file("a/../../evil")], "a/../../evil", absolute),
        (vec![file("/tmp/evil")], "/tmp/evil", absolute),
        (vec![file("..\\evil")], "..\\\\evil", absolute),
        (vec![file("C:\\evil")], "C:\\\\evil", absolute),
        (vec![link("l", "/etc"), file("l/passwd")], "l", leaves),
        (vec![link("l", "../..")], "l", leaves),
        (vec![link("d/l", "../../x")], "d/l", leaves),
        (vec![link("l", "a/a/../../..")], "l", leaves),
        (vec![link("dot", "."), link("l", "dot/../x")], "l", leaves),
        (vec![file("d/x"), link("l", "d"), file("l/y")], "l/y", below),
        (vec![file("f"), file("f/x")], "f/x", below),
        (vec![link("l", "f"), file("l")], "l", "comes twice"),
        (vec![file("f"), file("./f")], "./f", "comes twice"),
        (vec![file("f"), of_kind(EntryType::Directory, "f")], "f", "comes twice"),
        (vec![of_kind(EntryType::Link, "hard")], "hard", "is a hard link"),
        (vec![of_kind(EntryType::Char, "dev")], "dev", "is a device or pipe"),
        (vec![of_kind(EntryType::Block, "dev")], "dev", "is a device or pipe"),
        (vec![of_kind(EntryType::Fifo, "pipe")], "pipe", "is a device or pipe"),
        (vec![file("a\nb")], "a\\nb", "cannot be kept"),
        (vec![link("l", "a\nb")], "l", leaves),
    ];
    let yard = Yard::new();
    yard.write("a.tgz", "");
    let before = yard.outside();
    for (entries, name, why) in cases {
        let error = yard.refuse(&yard.archive("a.tgz", &tar_gz(&entries)));
        let expected = format!("its entry `{name}` {why}");
        assert!(error.starts_with(&expected), "{expected}: {error}");
        assert_eq!(yard.outside(), before, "{name}");
    }
    for (name, mode, text) in [
        ("../evil", 0o644, "x"),
        ("/evil", 0o644, "x"),
        ("a/../../evil", 0o644, "x"),
        ("..\\evil", 0o644, "x"),
        (deep.as_str(), 0o644, "x"),
        ("link", 0o120_777, "../../etc"),
        ("link", 0o120_777, "/etc/passwd"),
    ] {
        let error = yard.refuse(&yard.archive("a.zip", &zip(&[(name, mode, text.as_bytes())])));
        let why = if mode == 0o644 { absolute } else { leaves };
        let shown = name.escape_debug();
        assert!(error.starts_with(&format!("its entry `{shown}` {why}")), "{error}");
        assert_eq!(yard.outside(), before, "{name}");
    }
}

#[test]
fn bombs_are_refused_before_they_fill_the_disk() {
    let yard = Yard::new();
    let zeros = vec![0; 20 << 20];
    let header = |name: &str| entry(EntryType::Regular, name, "", zeros.len());
    let bomb = tar_gz(&[file("train.py"), (header("zeros"), zeros.clone())]);
    let error = yard.refuse(&yard.archive("a.tgz", &bomb));
    assert!(
        error.contains("its entry `zeros` is too much") && error.contains("200 times"),
        "{error}"
    );
    let bomb = zip(&[("zeros", 0o644, &zeros)]);
    let error = yard.refuse(&yard.archive("a.zip", &bomb));
    assert!(error.contains("its entry `zeros` is too much"), "{error}");
    // A name is read into memory.
    let name = entry(EntryType::GNULongName, "././@LongLink", "", zeros.len());
    let bomb = tar_gz(&[(name, vec![b'a'; zeros.len()]), file("train.py")]);
    let error = yard.refuse(&yard.archive("a.tgz", &bomb));
    assert!(error.contains("names of an entry take more than 1048576 bytes"), "{error}");
    // A size that is claimed is no size that is there.
    let mut lie = entry(EntryType::Regular, "lie", "", 4);
    lie.set_size(1 << 40);
    lie.set_cksum();
    let mut tar = GzEncoder::new(Vec::new(), Compression::best());
    tar.write_all(lie.as_bytes()).unwrap();
    tar.write_all(&[0; 512]).unwrap();
    let error = yard.refuse(&yard.archive("a.tgz", &tar.finish().unwrap()));
    assert!(error.contains("`lie` is damaged") || error.contains("it is damaged"), "{error}");
    assert!(yard.stored().is_empty());
}

#[test]
fn what_is_no_archive_or_not_the_one_that_is_meant_is_refused() {
    let yard = Yard::new();
    let error = yard.refuse(&yard.archive("a.zip", b"text"));
    assert!(error.starts_with("it is neither"), "{error}");
    let good = tar_gz(&[file("train.py")]);
    let error = yard.refuse(&yard.archive("a.tgz", &good[..good.len() / 2]));
    assert!(error.contains("damaged"), "{error}");
    let digest = |text: String| ArchiveDigest::parse(&text);
    let with = |digest| yard.order(CodeSource::Archive { path: yard.path("a.tgz"), digest });
    yard.write("a.tgz", &good);
    let blake = format!("blake3:{}", blake3::hash(&good));
    yard.take(&with(digest(blake)));
    let error = yard.refuse(&with(digest(format!("sha256:{}", "0".repeat(64)))));
    assert!(error.starts_with("it is not the archive that is meant: it has sha256:"), "{error}");
    let found = error.split_once("it has ").unwrap().1.split(',').next().unwrap().to_owned();
    yard.take(&with(digest(found)));
}

/// What is taken, and how many archives were unpacked for that.
fn unpacked(yard: &Yard, order: &CodeOrder) -> (TakenCode, u32) {
    let before = archive::UNPACKED.get();
    let taken = yard.take(order);
    (taken, archive::UNPACKED.get() - before)
}

#[test]
fn an_archive_is_unpacked_once_as_long_as_its_tree_is_kept() {
    let yard = Yard::new();
    let entries = [file("pkg/train.py"), link("link", "pkg"), file("data.pt")];
    let mut order = yard.archive("a.tgz", &tar_gz(&entries));
    order.capture.entry_point = Some(("pkg/train.py".into(), None));
    let (first, count) = unpacked(&yard, &order);
    assert_eq!(count, 1);
    assert_eq!((first.code.files, first.code.bytes, first.has_entry_point), (2, 8, true));
    assert_eq!(first.code.top, ["data.pt", "link", "pkg"]);
    assert_eq!(unpacked(&yard, &order), (first.clone(), 0));
    // Wherever it lies, and however it is called.
    let mut other = yard.archive("b.tgz", &tar_gz(&entries));
    other.capture.entry_point = Some(("link/train.py".into(), None));
    let (taken, count) = unpacked(&yard, &other);
    assert_eq!((taken.code, taken.has_entry_point, count), (first.code.clone(), false, 0));
    // Another choice from it, and another archive, are other trees.
    order.capture.exclude = vec!["*.pt".into()];
    let (taken, count) = unpacked(&yard, &order);
    assert_eq!((taken.code.files, count), (1, 1));
    order.capture.exclude.clear();
    let (taken, count) = unpacked(&yard, &yard.archive("a.tgz", &tar_gz(&[file("train.py")])));
    assert_eq!((taken.code.files, count), (1, 1));
    // What the store has lost is made again.
    yard.archive("a.tgz", &tar_gz(&entries));
    fs_err::remove_file(yard.path(&format!("runs/.store/code/{}.tar", first.code.digest))).unwrap();
    assert_eq!(unpacked(&yard, &order), (first.clone(), 1));
    assert_eq!(unpacked(&yard, &order), (first, 0));
}

#[test]
fn an_archive_that_looks_as_it_did_is_not_read_and_one_that_was_changed_is() {
    let yard = Yard::new();
    let order = yard.archive("a.tgz", &tar_gz(&[file("one.py")]));
    let first = yard.take(&order);
    let store = CodeStore::at(&yard.path("runs"));
    let other = tar_gz(&[file("two.py")]);
    fs_err::write(yard.path("a.tgz"), &other).unwrap();
    assert_eq!(yard.take(&order).code.top, ["two.py"], "so young a file is read");
    // As if the first had looked so for long.
    let archive = fs_err::File::open(yard.path("a.tgz")).unwrap();
    let look = Look::of(&archive.metadata().unwrap());
    let hash = blake3::hash(&tar_gz(&[file("one.py")]));
    let place = known::index(&store, &yard.path("a.tgz"));
    Index::write(&place, [("archive", look, hash)].into_iter(), look.changed + 10_000_000_000);
    assert_eq!(unpacked(&yard, &order), (first, 0), "it is not read");
    // The one that is to be unpacked is read, and is not what was looked at.
    fs_err::remove_dir_all(yard.path("runs/.store/code")).unwrap();
    make_store(&yard.path("runs"), 0o700).unwrap();
    Index::write(&place, [("archive", look, hash)].into_iter(), look.changed + 10_000_000_000);
    assert_eq!(yard.refuse(&order), "it changed while it was captured");
    fs_err::write(yard.path("a.tgz"), &other).unwrap();
    assert_eq!(yard.take(&order).code.top, ["two.py"]);
}
