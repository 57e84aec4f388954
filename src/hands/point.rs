//! What a point of a sweep leaves whose script was killed and could not tidy up after itself.

use std::io;
use std::path::Path;

use crate::domain::run_files::CODE_OF_POINT;
use crate::domain::tree::FILES_TIME;

/// Entries that are looked at; more than that were written by the training, and stay.
const ENTRIES_MAX: usize = 10_000;

/// Takes away what was not written by the training: links to the code and copies that nobody changed, directories with
/// nothing in them, and stop files. What is gone already is as good.
pub(super) fn tidy(run_dir: &Path) -> io::Result<()> {
    let work = run_dir.join("work");
    let all = walkdir::WalkDir::new(&work).contents_first(true).follow_links(false);
    for entry in all.into_iter().take(ENTRIES_MAX).filter_map(Result::ok) {
        if entry.file_type().is_dir() {
            remove_empty(entry.path())?;
        } else if is_of_code(&entry) {
            gone(fs_err::remove_file(entry.path()))?;
        }
    }
    for directory in ["output", "checkpoints"] {
        remove_empty(&run_dir.join(directory))?;
    }
    let entries = match fs_err::read_dir(run_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.take(ENTRIES_MAX) {
        let entry = entry?;
        let attempt = entry.file_name().to_string_lossy().strip_prefix("stop.").map(str::to_owned);
        if attempt.is_some_and(|attempt| attempt.parse::<u32>().is_ok()) {
            gone(fs_err::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// A link to the code, or a file with the time that all captured files have.
fn is_of_code(entry: &walkdir::DirEntry) -> bool {
    let leads_there =
        || fs_err::read_link(entry.path()).is_ok_and(|target| target.starts_with(CODE_OF_POINT));
    let is_old = || {
        let modified = entry.metadata().map_err(io::Error::from).and_then(|it| it.modified());
        let since = modified.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        since.is_some_and(|since| since.as_secs() == FILES_TIME)
    };
    leads_there() || is_old()
}

fn remove_empty(directory: &Path) -> io::Result<()> {
    match fs_err::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => gone(removed),
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_training_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("points/3");
        let at = |name: &str| run_dir.join(name);
        tidy(&run_dir).unwrap();
        for directory in ["work/own/empty", "work/copied", "output", "checkpoints"] {
            fs_err::create_dir_all(at(directory)).unwrap();
        }
        for file in
            ["work/own/data", "work/copied/old", "checkpoints/c", "stop.2", "stop.it", "2.out"]
        {
            fs_err::write(at(file), "").unwrap();
        }
        let old = std::fs::File::options().write(true).open(at("work/copied/old")).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(FILES_TIME);
        old.set_modified(time).unwrap();
        for (to, link) in [("../../../code/train.py", "work/train.py"), ("/data", "work/data")] {
            fs_err::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        for _ in 0..2 {
            tidy(&run_dir).unwrap();
            let all = walkdir::WalkDir::new(&run_dir).min_depth(1).sort_by_file_name();
            let shown = |entry: walkdir::DirEntry| {
                entry.path().strip_prefix(&run_dir).unwrap().display().to_string()
            };
            let left: Vec<String> = all.into_iter().map(|entry| shown(entry.unwrap())).collect();
            let expected = [
                "2.out",
                "checkpoints",
                "checkpoints/c",
                "stop.it",
                "work",
                "work/data",
                "work/own",
                "work/own/data",
            ];
            assert_eq!(left, expected);
        }
    }
}
