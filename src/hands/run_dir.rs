//! A new run directory, with everything that is known before the submission.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::domain::checkpoint::{BRANCH_FILE, Branch};
use crate::domain::run_files::{POINTS_FOLDER, RunFiles};
use crate::files::durable;
use crate::hands::secrets;
use crate::ports::{NewRunDir, Weight};

/// For the run root and its inbox, where they are made: the events of one user are nobody else's.
const RUN_ROOT_MODE: u32 = 0o700;

const SETGID: u32 = 0o2000;

/// Makes the directory, durably and whole: where that fails nothing stays behind. `false` when there is one already.
///
/// Everything is written first and synced last, so that a journaling file system has one thing to wait for and not one
/// for each file.
pub(super) fn make(order: &NewRunDir) -> io::Result<bool> {
    let Some(run_root) = order.path.parent() else {
        return Err(invalid(format!("`{}` is no place for a run", order.path.display())));
    };
    durable::create_dir_all(&run_root.join(".inbox"), RUN_ROOT_MODE)?;
    match make_directory(&order.path, order.mode) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    }
    let filled = fill(order).and_then(|()| sync(order, run_root)).inspect_err(|_| {
        // The first error is the one to tell; what cannot be removed now is seen in the listing.
        fs_err::remove_dir_all(&order.path).ok();
    });
    filled.map(|()| true)
}

fn fill(order: &NewRunDir) -> io::Result<()> {
    // What Slurm and the daemon need; the job makes the rest, as `work/`, and may be the only one that ever needs it.
    let own = if order.sweep.is_some() { POINTS_FOLDER } else { "claims" };
    for name in [own, "logs"] {
        make_directory(&order.path.join(name), order.mode)?;
    }
    // The tree is made when a job needs it.
    fs_err::os::unix::fs::symlink(&order.code, order.path.join("code"))?;
    let readable = order.mode & 0o666;
    if let Some(patch) = &order.patch {
        write(&order.path.join("code.patch"), patch, readable)?;
    }
    if let Some(source) = &order.secrets {
        secrets::take(source, &order.path)?;
    }
    let runnable = 0o700 | (order.mode & 0o777);
    // Copies of what the database holds.
    write(&order.path.join("run.toml"), order.spec.as_bytes(), readable)?;
    write(&order.path.join("resolved.json"), order.resolved.as_bytes(), readable)?;
    if !order.datasets.is_empty() {
        write(&order.path.join("datasets.tsv"), order.datasets.as_bytes(), readable)?;
    }
    if let Some(sweep) = &order.sweep {
        let files = RunFiles::of(&order.path);
        write(&files.points(), sweep.points.as_bytes(), readable)?;
        for (set, script) in (1..).zip(&sweep.scripts) {
            write(&files.script(set), script.as_bytes(), runnable)?;
        }
    }
    write(&order.path.join("job.sh"), order.script.as_bytes(), runnable)
}

/// Names the checkpoint that a person chose. The file's time is that of the choice, however often it is written: what is
/// newer than it goes on from it.
pub(super) fn choose_checkpoint(run_dir: &Path, branch: &Branch) -> io::Result<()> {
    let path = run_dir.join(BRANCH_FILE);
    let new = run_dir.join(format!(".{BRANCH_FILE}.new"));
    let mut file = fs_err::File::create(&new)?;
    writeln!(file, "{}", branch.path)?;
    file.file().set_modified(branch.at.into())?;
    fs_err::rename(new, path)?;
    durable::sync(run_dir)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs_err::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    match other_than(&file.metadata()?, mode) {
        Some(permissions) => file.set_permissions(permissions),
        None => Ok(()),
    }
}

/// What must be there after a power cut: the script that is submitted, and every name. All are waited for at once: a
/// journaling file system makes one commit of what it is asked for together.
fn sync(order: &NewRunDir, run_root: &Path) -> io::Result<()> {
    std::thread::scope(|scope| {
        let syncing = [order.path.as_path(), run_root]
            .map(|directory| scope.spawn(move || durable::sync(directory)));
        // What is submitted, and what it reads.
        let files = RunFiles::of(&order.path);
        let mut submitted = vec![files.script(0)];
        if let Some(sweep) = &order.sweep {
            submitted.push(files.points());
            submitted.extend((1..).zip(&sweep.scripts).map(|(set, _)| files.script(set)));
        }
        let script = submitted.iter().try_for_each(|file| durable::sync(file));
        let died = |_| Err(io::Error::other("the thread that synced it died"));
        let names = syncing.into_iter().map(|thread| thread.join().unwrap_or_else(died));
        names.fold(script, io::Result::and)
    })
}

/// Keeps the setgid bit that a group's directory hands down.
fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    durable::new_dir(directory, mode)?;
    let made = fs_err::metadata(directory)?;
    match other_than(&made, mode | (made.permissions().mode() & SETGID)) {
        Some(permissions) => fs_err::set_permissions(directory, permissions),
        None => Ok(()),
    }
}

/// The permissions to set where the umask took something from the mode. Mostly it did not, and a change of what was just
/// made would be one more entry in the file system's journal.
fn other_than(made: &std::fs::Metadata, mode: u32) -> Option<std::fs::Permissions> {
    const ALL: u32 = 0o7777;
    (made.permissions().mode() & ALL != mode).then(|| std::fs::Permissions::from_mode(mode))
}

/// How many files there are, and how many bytes. What links lead to is not counted.
pub(super) fn weigh(directory: &Path) -> io::Result<Weight> {
    let mut weight = Weight::default();
    for entry in walkdir::WalkDir::new(directory).follow_links(false) {
        let metadata = match entry.map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entry => entry?.metadata()?,
        };
        if metadata.is_file() {
            weight.files += 1;
            weight.bytes += metadata.len();
        }
    }
    Ok(weight)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn order(path: PathBuf) -> NewRunDir {
        let text = str::to_owned;
        NewRunDir {
            path,
            mode: 0o700,
            spec: text("spec"),
            resolved: text("{}"),
            script: text("true"),
            sweep: None,
            datasets: String::new(),
            code: PathBuf::from("../.store/code/DIGEST"),
            patch: None,
            secrets: None,
        }
    }

    fn mode_of(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    fn names_in(path: &Path) -> Vec<String> {
        let name = |e: io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = path.read_dir().unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn it_holds_what_is_known_and_links_to_the_code() {
        let dir = tempfile::tempdir().unwrap();
        let order = order(dir.path().join("root/deep/1-x"));
        let order = NewRunDir { patch: Some(b"diff".into()), ..order };
        assert!(make(&order).unwrap());
        insta::assert_debug_snapshot!(names_in(&order.path), @r#"
        [
            "claims",
            "code",
            "code.patch",
            "job.sh",
            "logs",
            "resolved.json",
            "run.toml",
        ]
        "#);
        let tree = dir.path().join("root/deep/.store/code/DIGEST");
        fs_err::create_dir_all(&tree).unwrap();
        fs_err::write(tree.join("train.py"), "print()").unwrap();
        let through = fs_err::read_to_string(order.path.join("code/train.py")).unwrap();
        assert_eq!(through, "print()");
        for (name, mode) in [
            ("", 0o700),
            ("logs", 0o700),
            ("run.toml", 0o600),
            ("resolved.json", 0o600),
            ("code.patch", 0o600),
            ("job.sh", 0o700),
            ("../.inbox", 0o700),
        ] {
            assert_eq!(mode_of(&order.path.join(name)), mode, "{name}");
        }
        assert!(!make(&order).unwrap(), "a directory is made once");
        assert_eq!(fs_err::read_to_string(order.path.join("run.toml")).unwrap(), "spec");
    }

    #[test]
    fn a_group_can_read_where_the_site_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs_err::create_dir(&root).unwrap();
        fs_err::set_permissions(&root, std::fs::Permissions::from_mode(0o2770)).unwrap();
        let order = NewRunDir { mode: 0o770, ..order(root.join("1-x")) };
        assert!(make(&order).unwrap());
        for (name, mode) in [("", 0o2770), ("logs", 0o2770), ("run.toml", 0o660), ("job.sh", 0o770)]
        {
            assert_eq!(mode_of(&order.path.join(name)), mode, "{name}");
        }
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-x");
        let order = NewRunDir { secrets: Some(dir.path().join("none.env")), ..order(path.clone()) };
        let error = make(&order).unwrap_err();
        assert!(error.to_string().contains("none.env"), "{error}");
        assert!(!path.exists());
    }
}
