//! Work trees of git.

use std::path::Path;

use super::Yard;

#[expect(clippy::disallowed_methods, reason = "a test prepares a repository")]
fn git(directory: &Path, args: &[&str]) {
    let who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"];
    let always = ["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"];
    let output = std::process::Command::new("git")
        .args(who)
        .args(always)
        .args(args)
        .current_dir(directory)
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn repository(yard: &Yard, at: &str) {
    git(&yard.path(at), &["init", "--quiet"]);
    git(&yard.path(at), &["add", "--all"]);
    git(&yard.path(at), &["commit", "--quiet", "--message", "first"]);
}

#[test]
fn a_clean_work_tree_is_its_commit() {
    let yard = Yard::new();
    yard.write("code/train.py", "print()");
    yard.write("code/.gitignore", "data/\n*.log\n");
    repository(&yard, "code");
    git(&yard.path("code"), &["remote", "add", "origin", "ssh://me:token@example.org/me/x.git"]);
    yard.write("code/data/big", "ignored");
    yard.write("code/out.log", "ignored");
    let taken = yard.take(&yard.directory("code"));
    let git = taken.code.git.unwrap();
    assert_eq!(git.commit.unwrap().len(), 40);
    assert_eq!(git.branch.as_deref(), Some("main"));
    assert_eq!(git.remote.as_deref(), Some("ssh://example.org/me/x.git"));
    assert_eq!((git.changes, taken.patch), (None, None));
    assert_eq!(taken.code.top, [".gitignore", "train.py"]);
}

#[test]
fn a_changed_work_tree_is_taken_as_it_is_and_its_patch_is_kept() {
    let yard = Yard::new();
    for (path, text) in [("train.py", "one\n"), ("gone.py", ""), ("pkg/a.py", "a\n")] {
        yard.write(&format!("code/{path}"), text);
    }
    repository(&yard, "code");
    yard.write("code/train.py", "two\n");
    yard.write("code/new dir/ü.py", "new");
    fs_err::remove_file(yard.path("code/gone.py")).unwrap();
    let taken = yard.take(&yard.directory("code"));
    let changes = taken.code.git.clone().unwrap().changes.unwrap();
    assert_eq!((changes.modified, changes.untracked), (2, 1));
    let list = yard.list(&taken.code.digest);
    assert_eq!(list, ["f 2 pkg/a.py", "f 3 new dir/ü.py", "f 4 train.py"]);
    assert_eq!(yard.kept(&taken.code.digest, "train.py"), b"two\n");
    let patch = String::from_utf8(taken.patch.clone().unwrap()).unwrap();
    assert!(patch.contains("-one\n+two\n") && patch.contains("deleted file"), "{patch}");
    // The digest of what changed follows the files that git does not know.
    yard.write("code/new dir/ü.py", "newer");
    let later = yard.take(&yard.directory("code")).code.git.unwrap().changes.unwrap();
    assert_ne!(later.digest, changes.digest);
}

#[test]
fn a_directory_of_a_work_tree_is_taken_alone() {
    let yard = Yard::new();
    yard.write("code/sub/train.py", "x");
    yard.write("code/other/big", "y");
    repository(&yard, "code");
    yard.write("code/other/new", "not ours");
    let taken = yard.take(&yard.directory("code/sub"));
    assert_eq!(taken.code.top, ["train.py"]);
    let git = taken.code.git.unwrap();
    assert!(git.commit.is_some());
    assert_eq!(git.changes, None, "what changed elsewhere is none of it");
}

#[test]
fn submodules_and_repositories_inside_are_taken_too() {
    let yard = Yard::new();
    for at in ["lib", "code", "code/vendored"] {
        yard.write(&format!("{at}/file.py"), at);
    }
    repository(&yard, "lib");
    repository(&yard, "code/vendored");
    git(&yard.path("code"), &["init", "--quiet"]);
    let lib = yard.path("lib").display().to_string();
    git(&yard.path("code"), &["submodule", "--quiet", "add", &lib, "lib"]);
    git(&yard.path("code"), &["add", "file.py"]);
    git(&yard.path("code"), &["commit", "--quiet", "--message", "first"]);
    let taken = yard.take(&yard.directory("code"));
    let list = yard.list(&taken.code.digest);
    let names: Vec<&str> = list.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    for name in ["lib/file.py", "vendored/file.py", "file.py", ".gitmodules"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains(".git/")), "{names:?}");
    git(&yard.path("code"), &["submodule", "--quiet", "deinit", "--force", "lib"]);
    let error = yard.refuse(&yard.directory("code"));
    assert!(
        error.contains("the submodule `lib` is not checked out: git submodule update"),
        "{error}"
    );
}

#[test]
fn what_is_tracked_below_a_directory_that_is_a_link_now_is_not_taken_from_where_that_leads() {
    let yard = Yard::new();
    for path in ["train.py", "data/labels.txt", "data/deep/x", "pkg/a.py"] {
        yard.write(&format!("code/{path}"), path);
    }
    repository(&yard, "code");
    fs_err::rename(yard.path("code/data"), yard.path("scratch")).unwrap();
    fs_err::os::unix::fs::symlink(yard.path("scratch"), yard.path("code/data")).unwrap();
    fs_err::remove_dir_all(yard.path("code/pkg")).unwrap();
    yard.write("code/pkg", "a file now");
    let list = yard.list(&yard.take(&yard.directory("code")).code.digest);
    let link = format!("l data -> {}", yard.path("scratch").display());
    assert_eq!(list, ["f 10 pkg", "f 8 train.py", link.as_str()]);
}

#[test]
fn what_git_ignores_is_taken_where_the_spec_says_so() {
    let yard = Yard::new();
    yard.write("code/train.py", "x");
    yard.write("code/.gitignore", "build/\n");
    repository(&yard, "code");
    yard.write("code/build/ext.so", "binary");
    yard.write("code/build/other", "no");
    let mut order = yard.directory("code");
    order.capture.include = vec!["build/*.so".into()];
    assert_eq!(yard.take(&order).code.top, [".gitignore", "build", "train.py"]);
    order.capture.entry_point = Some(("build/other".into(), None));
    assert!(!yard.take(&order).has_entry_point);
}

#[test]
fn a_repository_without_a_commit_is_taken() {
    let yard = Yard::new();
    yard.write("code/train.py", "x");
    git(&yard.path("code"), &["init", "--quiet"]);
    let taken = yard.take(&yard.directory("code"));
    let git = taken.code.git.unwrap();
    assert_eq!((git.commit, taken.code.files), (None, 1));
    let why = git.changes.unwrap().no_patch;
    assert_eq!(why.as_deref(), Some("there is no commit yet"));
}
