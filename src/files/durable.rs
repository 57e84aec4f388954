//! Files that are whole or not there, and still there after a power cut.
//!
//! A file is written beside its place, fsynced and renamed; the directory is fsynced too, for without that the name may
//! be lost although the content was kept.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;

/// Marks files that are being written; whoever lists a directory skips names that begin with a dot.
const UNFINISHED_PREFIX: &str = ".new-";

/// Writes a file, over an older one if there is one.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent(path)?;
    let file = written(directory, bytes, mode)?;
    file.persist(path).map_err(|error| at(path, "replace", &error.error))?;
    sync(directory)
}

/// Writes a file that must not exist yet: of several that try, one wins and the others get `AlreadyExists`.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent(path)?;
    let file = written(directory, bytes, mode)?;
    file.persist_noclobber(path).map_err(|error| at(path, "create", &error.error))?;
    sync(directory)
}

/// Makes a directory that must not exist yet.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    new_dir(path, mode)?;
    sync(parent(path)?)
}

/// Makes a directory that must not exist yet, to be synced later.
pub fn new_dir(path: &Path, mode: u32) -> io::Result<()> {
    let made = std::fs::DirBuilder::new().mode(mode).create(path);
    made.map_err(|error| at(path, "create directory", &error))
}

/// Makes a directory and what is missing above it; one that is there stays as it is.
pub fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_dir_all(above, mode)?;
    }
    match create_dir(path, mode) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes what is in a file durable, or the names in a directory.
pub fn sync(path: &Path) -> io::Result<()> {
    fs_err::File::open(path)?.sync_all()
}

fn written(directory: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix_in(UNFINISHED_PREFIX, directory)?;
    let path = file.path().to_owned();
    let wrap = |error: io::Error| at(&path, "write", &error);
    file.write_all(bytes).map_err(wrap)?;
    let permissions = std::fs::Permissions::from_mode(mode);
    file.as_file().set_permissions(permissions).map_err(wrap)?;
    file.as_file().sync_all().map_err(wrap)?;
    Ok(file)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or_else(|| {
        let why = format!("`{}` is no path with a directory", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

fn at(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to {what} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_replaced_whole_and_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        create(&path, b"one", 0o600).unwrap();
        let again = create(&path, b"two", 0o600).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert!(again.to_string().contains("record"), "{again}");
        assert_eq!(fs_err::read(&path).unwrap(), b"one");
        write(&path, b"three", 0o700).unwrap();
        assert_eq!((fs_err::read(&path).unwrap(), mode_of(&path)), (b"three".to_vec(), 0o700));
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn directories_are_made_with_what_is_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep, 0o700).unwrap();
        create_dir_all(&deep, 0o700).unwrap();
        assert_eq!((mode_of(&deep), mode_of(&dir.path().join("a"))), (0o700, 0o700));
        assert_eq!(create_dir(&deep, 0o700).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs_err::write(dir.path().join("file"), "").unwrap();
        assert!(create_dir_all(&dir.path().join("file/below"), 0o700).is_err());
    }
}
