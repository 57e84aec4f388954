//! Capturing, on real files, real archives and a real git.

mod archives;
mod garbage;
mod work_trees;

use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;

use super::*;
use crate::domain::code::ArchiveDigest;

/// A place with code and a run root.
struct Yard {
    dir: tempfile::TempDir,
    runtime: Runtime,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("code")).unwrap();
        make_store(&dir.path().join("runs"), 0o700).unwrap();
        Self { dir, runtime: Runtime::new().unwrap() }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn order(&self, source: CodeSource) -> CodeOrder {
        let (include, exclude) = (Vec::new(), Vec::new());
        CodeOrder {
            capture: Capture { place: None, source, include, exclude, entry_point: None },
            run_root: self.path("runs"),
            home: self.path(""),
        }
    }

    fn directory(&self, path: &str) -> CodeOrder {
        self.order(CodeSource::Directory(self.path(path)))
    }

    fn take(&self, order: &CodeOrder) -> TakenCode {
        capture(self.runtime.handle(), order).unwrap()
    }

    fn refuse(&self, order: &CodeOrder) -> String {
        let error = capture(self.runtime.handle(), order).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        error.to_string()
    }

    /// What the store has, but for its indexes.
    fn stored(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .path("runs/.store/code")
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".index")
            .collect();
        names.sort();
        names
    }

    fn list(&self, digest: &CodeDigest) -> Vec<String> {
        let list = self.path(&format!("runs/.store/code/{digest}.list"));
        let text = fs_err::read_to_string(list).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with(['a', 'h']));
        lines.map(str::to_owned).collect()
    }

    /// A file of an archive.
    fn kept(&self, digest: &CodeDigest, name: &str) -> Vec<u8> {
        let archive = self.path(&format!("runs/.store/code/{digest}.tar"));
        let mut archive = tar::Archive::new(fs_err::File::open(archive).unwrap());
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let mut entry = entries.find(|entry| entry.path().unwrap() == Path::new(name)).unwrap();
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        bytes
    }
}

#[test]
fn the_same_tree_is_kept_once_wherever_it_lies_and_whenever_it_is_taken() {
    let yard = Yard::new();
    for at in ["code", "elsewhere"] {
        yard.write(&format!("{at}/train.py"), "print()");
        yard.write(&format!("{at}/pkg/a.py"), vec![b'a'; 3 << 20]);
        fs_err::create_dir(yard.path(at).join("logs")).unwrap();
        fs_err::os::unix::fs::symlink("pkg/a.py", yard.path(at).join("link")).unwrap();
    }
    let first = yard.take(&yard.directory("code"));
    let digest = first.code.digest.clone();
    let names = [format!("{digest}.list"), format!("{digest}.tar")];
    assert_eq!(yard.stored(), names);
    assert_eq!((first.code.files, first.code.bytes), (2, 7 + (3 << 20)));
    assert_eq!(first.code.top, ["link", "logs", "pkg", "train.py"]);
    let list = yard.list(&digest);
    assert_eq!(list, ["d logs", "f 3145728 pkg/a.py", "f 7 train.py", "l link -> pkg/a.py"]);
    assert_eq!(yard.kept(&digest, "pkg/a.py"), vec![b'a'; 3 << 20]);
    assert_eq!(yard.take(&yard.directory("code")), first);
    assert_eq!(yard.take(&yard.directory("elsewhere")), first);
    assert_eq!(yard.stored(), names);
    assert!(use_stored(&yard.path("runs"), &digest).unwrap());
}

#[test]
fn what_changes_is_another_tree_and_what_is_edited_later_changes_nothing() {
    let yard = Yard::new();
    yard.write("code/train.py", "one");
    yard.write("code/b.py", "b");
    let one = yard.take(&yard.directory("code")).code.digest;
    yard.write("code/train.py", "two");
    let two = yard.take(&yard.directory("code")).code.digest;
    assert_ne!(one, two);
    assert_eq!(yard.kept(&one, "train.py"), b"one");
    assert_eq!(yard.kept(&two, "train.py"), b"two");
    fs_err::set_permissions(yard.path("code/b.py"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    assert_ne!(yard.take(&yard.directory("code")).code.digest, two);
    fs_err::remove_dir_all(yard.path("code")).unwrap();
    assert!(use_stored(&yard.path("runs"), &one).unwrap());
}

#[test]
fn what_is_gone_or_cut_in_the_store_is_kept_again() {
    let yard = Yard::new();
    yard.write("code/train.py", "one");
    let digest = yard.take(&yard.directory("code")).code.digest;
    let archive = yard.path(&format!("runs/.store/code/{digest}.tar"));
    for damage in
        [&fs_err::remove_file as &dyn Fn(_) -> _, &|path: PathBuf| fs_err::write(path, "cut")]
    {
        damage(archive.clone()).unwrap();
        assert!(!use_stored(&yard.path("runs"), &digest).unwrap());
        assert_eq!(yard.take(&yard.directory("code")).code.digest, digest);
        assert_eq!(yard.kept(&digest, "train.py"), b"one");
    }
}

#[test]
fn what_is_chosen_is_taken() {
    let yard = Yard::new();
    for file in ["train.py", "weights/a.pt", "weights/keep.pt", "notes.txt"] {
        yard.write(&format!("code/{file}"), file);
    }
    let mut order = yard.directory("code");
    order.capture.exclude = vec!["*.pt".into(), "notes.txt".into()];
    order.capture.include = vec!["keep.pt".into()];
    order.capture.entry_point = Some(("./train.py".into(), None));
    let taken = yard.take(&order);
    assert_eq!(yard.list(&taken.code.digest), ["f 15 weights/keep.pt", "f 8 train.py"]);
    assert!(taken.has_entry_point);
    order.capture.entry_point = Some(("notes.txt".into(), None));
    assert!(!yard.take(&order).has_entry_point);
}

#[test]
fn links_that_lead_out_lead_to_the_same_place_and_other_things_are_no_code() {
    let yard = Yard::new();
    yard.write("shared/data.bin", "data");
    yard.write("code/train.py", "");
    fs_err::os::unix::fs::symlink("../shared/data.bin", yard.path("code/data")).unwrap();
    nix::unistd::mkfifo(&yard.path("code/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let digest = yard.take(&yard.directory("code")).code.digest;
    let target = yard.path("code").canonicalize().unwrap().join("../shared/data.bin");
    let link = format!("l data -> {}", target.display());
    assert_eq!(yard.list(&digest), ["f 0 train.py", link.as_str()]);
}

#[test]
fn a_tree_that_is_too_large_is_refused_before_it_is_read() {
    let yard = Yard::new();
    yard.write("code/train.py", "");
    let large = fs_err::File::create(yard.path("code/model.pt")).unwrap();
    large.set_len(2 << 30).unwrap();
    let error = yard.refuse(&yard.directory("code"));
    assert_eq!(
        error,
        "it has 2.0 GiB, more than 1.0 GiB; the largest: model.pt (2.0 GiB), train.py (0 B)"
    );
    assert!(yard.stored().is_empty());
}

#[test]
fn a_large_file_that_changes_while_it_is_captured_is_not_taken_by_halves() {
    let yard = Yard::new();
    yard.write("code/weights", vec![b'a'; 1 << 20]);
    let listing = listing::Listing { files: ["weights".into()].into(), empty: BTreeSet::new() };
    let candidates = candidates(&yard.path("code"), &listing).unwrap();
    let store = CodeStore::at(&yard.path("runs"));
    store.make(0o700).unwrap();
    drop(pack_into(&store, &candidates).unwrap());
    let file = fs_err::File::options().write(true).open(yard.path("code/weights")).unwrap();
    file.file().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let error = pack_into(&store, &candidates).unwrap_err();
    assert!(error.to_string().contains("`weights` changed while it was captured"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_nothing_unfinished_stays() {
    let yard = Yard::new();
    yard.write("code/train.py", "");
    let candidates = [Candidate {
        path: "gone".into(),
        absolute: yard.path("code/gone"),
        what: What::File {
            look: Look { size: 1, modified: 0, changed: 0, inode: 0 },
            executable: false,
            hash: None,
        },
    }];
    let store = CodeStore::at(&yard.path("runs"));
    let error = pack_into(&store, &candidates).unwrap_err();
    assert!(error.to_string().contains("code/gone"), "{error}");
    assert!(yard.stored().is_empty());
}
