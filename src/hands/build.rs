//! The files of a build, and what its runs get of it.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::domain::requirements::file_name;
use crate::domain::run_files::RunFiles;
use crate::files::durable;
use crate::ports::{BuildFiles, HandOut};

/// What a run that only waited is given of the builder's log, from its beginning.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// Writes what a build needs. It is made anew whenever it is needed, so nothing waits for the disk.
pub(super) fn write(order: &BuildFiles) -> io::Result<()> {
    // If it is a job, Slurm writes to `logs`.
    durable::create_dir_all(&order.directory.join("logs"), order.mode)?;
    let names = order.requirements.iter().enumerate();
    let texts = names.map(|(index, text)| (file_name(index), text));
    for (name, text) in texts.chain([("job.sh".to_owned(), &order.script)]) {
        let path = order.directory.join(name);
        // An earlier builder may still read the file that is there.
        let new = path.with_extension("new");
        fs_err::write(&new, text)?;
        fs_err::rename(&new, &path)?;
    }
    Ok(())
}

/// Gives runs what was built. What is there already stays: it may have been given out before the daemon could record it.
pub(super) fn hand_out(order: &HandOut) -> io::Result<()> {
    let venv = match &order.place {
        // Where it is now, and not where a later builder may put another.
        Some(place) => Some(place.join(fs_err::read_link(place.join("venv"))?)),
        None => None,
    };
    // A job that never started has said nothing.
    let has_log = order.log.try_exists()?;
    let mut said = Vec::new();
    for run_dir in &order.run_dirs {
        let files = RunFiles::of(run_dir);
        if let Some(venv) = &venv {
            durable::create_dir_all(&files.environment(), order.mode)?;
            link(venv, &files.built_environment())?;
        }
        let log = files.build_log();
        if has_log && !log.try_exists()? {
            if said.is_empty() {
                let words =
                    format!("trainyard: built for several runs; {}:\n", order.log.display());
                said.extend(words.into_bytes());
                let from = fs_err::File::open(&order.log)?;
                from.take(LOG_BYTES_MAX).read_to_end(&mut said)?;
            }
            let mode = order.mode & 0o666;
            let made =
                fs_err::OpenOptions::new().write(true).create_new(true).mode(mode).open(&log);
            made?.write_all(&said)?;
        }
    }
    Ok(())
}

fn link(to: &Path, at: &Path) -> io::Result<()> {
    match fs_err::os::unix::fs::symlink(to, at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs_err::read_link(at)? == to {
                return Ok(());
            }
            fs_err::remove_file(at)?;
            fs_err::os::unix::fs::symlink(to, at)
        }
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_given_what_was_built_and_what_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for made in ["1-x/logs", "2-x/logs", "place/builds/a"] {
            fs_err::create_dir_all(at(made)).unwrap();
        }
        fs_err::os::unix::fs::symlink("builds/a", at("place/venv")).unwrap();
        fs_err::write(at("1-x/logs/build.out"), "built\n").unwrap();
        let order = HandOut {
            run_dirs: vec![at("1-x"), at("2-x")],
            mode: 0o700,
            place: Some(at("place")),
            log: at("1-x/logs/build.out"),
        };
        for _ in 0..2 {
            hand_out(&order).unwrap();
        }
        for run in ["1-x", "2-x"] {
            let link = fs_err::read_link(at(run).join("environment/venv")).unwrap();
            assert_eq!(link, at("place/builds/a"));
        }
        assert_eq!(fs_err::read_to_string(at("1-x/logs/build.out")).unwrap(), "built\n");
        let told = fs_err::read_to_string(at("2-x/logs/build.out")).unwrap();
        assert!(told.contains("1-x/logs/build.out:\nbuilt\n"), "{told}");
        let silent = HandOut { place: None, log: at("9-x/logs/build.out"), ..order.clone() };
        hand_out(&silent).unwrap();
        fs_err::remove_file(at("place/venv")).unwrap();
        assert!(hand_out(&order).is_err(), "there is nothing to give");
    }
}
