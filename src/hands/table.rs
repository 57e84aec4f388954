//! The table of a sweep's points, where they are told one by one.

use std::fs::TryLockError;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::domain::run_files::RunFiles;

/// Writes lines behind those of the first `from` points, durably. Scripts read the lines before them meanwhile, which stay
/// where they are.
///
/// Lines that are there already were written by a daemon that ended before it recorded their points. Those of points with
/// higher runs are of a later call than this one, which hung: then nothing is written.
pub(super) fn add(sweep_dir: &Path, from: u32, lines: &str) -> io::Result<()> {
    let path = RunFiles::of(sweep_dir).points();
    let mut file = fs_err::OpenOptions::new().read(true).write(true).open(&path)?;
    if matches!(file.file().try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(damaged(&path, "is being written by an earlier call"));
    }
    let mut reader = BufReader::new(&mut file);
    let mut end = 0;
    let mut line = Vec::new();
    for number in 0..from {
        line.clear();
        end += reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Err(damaged(&path, &format!("has no line of point {number}")));
        }
    }
    line.clear();
    reader.read_until(b'\n', &mut line)?;
    if run_of(&line) > run_of(lines.as_bytes()) {
        return Err(damaged(&path, &format!("has a newer line of point {from}")));
    }
    file.seek(SeekFrom::Start(end))?;
    file.set_len(end)?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()
}

/// The run of the first line: its second column.
fn run_of(line: &[u8]) -> Option<i64> {
    let column = line.split(|byte| *byte == b'\t').nth(1)?;
    std::str::from_utf8(column).ok()?.parse().ok()
}

fn damaged(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_take_the_place_of_those_that_nobody_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("points.tsv");
        fs_err::write(&path, "").unwrap();
        let check = |from: u32, lines: &str, expected: &str| {
            let added = add(dir.path(), from, lines);
            assert_eq!(fs_err::read_to_string(&path).unwrap(), expected, "{added:?}");
            added
        };
        check(0, "0\t8\t()\t\n1\t9\t()\t\n", "0\t8\t()\t\n1\t9\t()\t\n").unwrap();
        // Point 1 was not recorded.
        check(1, "1\t10\t(a)\t\n", "0\t8\t()\t\n1\t10\t(a)\t\n").unwrap();
        // What a writer left that died.
        fs_err::write(&path, "0\t8\t()\t\n1\t10\t(a").unwrap();
        check(1, "1\t11\t()\t\n", "0\t8\t()\t\n1\t11\t()\t\n").unwrap();
        let error = check(1, "1\t10\t()\t\n", "0\t8\t()\t\n1\t11\t()\t\n").unwrap_err();
        assert!(error.to_string().contains("has a newer line of point 1"), "{error}");
        let error = check(3, "3\t12\t()\t\n", "0\t8\t()\t\n1\t11\t()\t\n").unwrap_err();
        assert!(error.to_string().contains("has no line of point 2"), "{error}");
    }
}
