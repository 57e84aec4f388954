//! Removing what users' programs left, whatever permissions they gave it.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Removes a directory with everything in it, or a file; what is gone is removed. Links are not followed.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs_err::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs_err::remove_file(path),
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Nothing can be removed from a directory that cannot be written to, such as those of captured code.
fn make_writable(top: &Path) -> io::Result<()> {
    let mut waiting: Vec<PathBuf> = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        fs_err::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_may_write_to_is_removed_and_what_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::create_dir_all(at("tree/a/b")).unwrap();
        fs_err::write(at("tree/a/b/file"), "").unwrap();
        fs_err::create_dir(at("other")).unwrap();
        fs_err::write(at("other/file"), "").unwrap();
        fs_err::os::unix::fs::symlink(at("other"), at("tree/a/link")).unwrap();
        for (name, mode) in [("tree/a/b", 0o000), ("tree/a", 0o555), ("tree", 0o555)] {
            fs_err::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        make_writable(&at("tree")).unwrap();
        for name in ["tree", "tree/a", "tree/a/b"] {
            assert_eq!(at(name).metadata().unwrap().permissions().mode() & 0o777, 0o700, "{name}");
        }
        fs_err::set_permissions(at("tree/a"), std::fs::Permissions::from_mode(0o555)).unwrap();
        for _ in 0..2 {
            remove_tree(&at("tree")).unwrap();
            assert!(!at("tree").exists());
        }
        remove_tree(&at("other/file")).unwrap();
        assert!(at("other").exists() && !at("other/file").exists());
    }
}
