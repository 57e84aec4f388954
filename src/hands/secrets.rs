//! The secrets of a run, in its directory for as long as it may start again.

use std::io::{self, Write as _};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::domain::run_files::RunFiles;
use crate::files::{durable, read_secrets};

/// Puts the secrets of a user's file into a run directory, durably. Those that were there are replaced at once: other
/// points of a sweep may be reading them. Who removes secrets removes the name that they have meanwhile as well.
pub(super) fn take(source: &Path, run_dir: &Path) -> io::Result<()> {
    let secrets = read_secrets(source).map_err(|fault| {
        let why = format!("the secrets in {} cannot be taken: {fault}", source.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    let files = RunFiles::of(run_dir);
    let path = files.new_secrets();
    match fs_err::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(secrets.plain_lines().as_bytes())?;
    file.sync_all()?;
    fs_err::rename(&path, files.secrets())?;
    durable::sync(files.shared())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_taken_is_the_users_alone_and_replaces_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let (source, run_dir) = (dir.path().join("mine"), dir.path().join("1-x"));
        fs_err::create_dir(&run_dir).unwrap();
        for (text, lines) in [("A='x y'", "A=x y\n"), ("export B=1", "B=1\n")] {
            fs_err::write(&source, text).unwrap();
            set_mode(&source, 0o400);
            take(&source, &run_dir).unwrap();
            let taken = RunFiles::of(&run_dir).secrets();
            assert_eq!(fs_err::read_to_string(&taken).unwrap(), lines);
            assert_eq!(taken.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
            set_mode(&source, 0o600);
        }
        assert_eq!(run_dir.read_dir().unwrap().count(), 1, "nothing else is left");
        // What was left behind half written has no say.
        fs_err::write(RunFiles::of(&run_dir).new_secrets(), "A=").unwrap();
        take(&source, &run_dir).unwrap();
        assert_eq!(run_dir.read_dir().unwrap().count(), 1, "nothing else is left");
        set_mode(&source, 0o640);
        let error = take(&source, &run_dir).unwrap_err();
        assert!(error.to_string().contains("others may read it: its mode is 0640"), "{error}");
    }

    #[test]
    fn whoever_reads_secrets_that_are_replaced_finds_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (source, run_dir) = (dir.path().join("mine"), dir.path().join("1-x"));
        fs_err::create_dir(&run_dir).unwrap();
        fs_err::write(&source, "A=x").unwrap();
        set_mode(&source, 0o400);
        take(&source, &run_dir).unwrap();
        let path = RunFiles::of(&run_dir).secrets();
        std::thread::scope(|scope| {
            let replaced = scope.spawn(|| (0..200).try_for_each(|_| take(&source, &run_dir)));
            while !replaced.is_finished() {
                assert_eq!(fs_err::read_to_string(&path).unwrap(), "A=x\n");
            }
            replaced.join().unwrap().unwrap();
        });
    }
}
