//! What scripts leave behind: events in the inbox, exit markers in the run directory.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::domain::inbox::{EVENT_BYTES_MAX, ScriptEvent};
use crate::hands::regular::{self, Opened};
use crate::ports::InboxItem;

/// Names that are looked at in one reading; the rest waits for the next.
const LISTED_MAX: usize = 65_536;

/// Lists the events of a run root's inbox, oldest first, at most `max`.
///
/// With more files than `max` the first by name are taken, whatever the directory's own order is.
pub(super) fn read(run_root: &Path, max: usize) -> io::Result<Vec<InboxItem>> {
    let mut items = Vec::new();
    for file in names(&run_root.join(".inbox"), max)? {
        match content(&file)? {
            Content::Event(event) => items.push(InboxItem { file, event: Some(event) }),
            Content::Rubbish => items.push(InboxItem { file, event: None }),
            Content::Missing => {}
        }
    }
    items.sort_by(|a, b| {
        let key = |item: &InboxItem| item.event.as_ref().map(|event| event.at);
        key(a).cmp(&key(b)).then_with(|| a.file.cmp(&b.file))
    });
    Ok(items)
}

/// Removes files; one that is gone already is as good.
pub(super) fn remove(files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        match fs_err::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The exit marker of an attempt; none also when something else has its name.
pub(super) fn exit_marker(run_dir: &Path, attempt: u32) -> io::Result<Option<ScriptEvent>> {
    let file = run_dir.join("exits").join(format!("{attempt}.json"));
    match content(&file)? {
        Content::Event(event) => Ok(Some(event)),
        Content::Rubbish | Content::Missing => Ok(None),
    }
}

fn names(inbox: &Path, max: usize) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(inbox) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries.take(LISTED_MAX) {
        let entry = entry?;
        let unfinished = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A directory is none of a script's and cannot be removed like a file.
        if !unfinished && !entry.file_type()?.is_dir() {
            files.push(entry.path());
        }
    }
    files.sort();
    files.truncate(max);
    Ok(files)
}

/// What is in an event file.
enum Content {
    Event(ScriptEvent),
    /// Not what a script writes.
    Rubbish,
    Missing,
}

fn content(file: &Path) -> io::Result<Content> {
    let opened = match regular::open(file) {
        // It was made unreadable on purpose: an error of the file, not of the file system.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Opened::Other,
        opened => opened?,
    };
    let open = match opened {
        Opened::Regular(open, _) => open,
        Opened::Missing => return Ok(Content::Missing),
        Opened::Other => return Ok(Content::Rubbish),
    };
    let mut text = Vec::new();
    open.take(EVENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| regular::at(file, &error))?;
    let event = std::str::from_utf8(&text).ok().and_then(|text| ScriptEvent::parse(text).ok());
    Ok(event.map_or(Content::Rubbish, Content::Event))
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    fn event(at: i64) -> String {
        format!(
            r#"{{"token":"tybaaaaaaaaaaaaaaaaaaa","job":"local:7","attempt":1,"restart":0,"event":"ended","at":{at}}}"#
        )
    }

    fn names_of(items: &[InboxItem]) -> Vec<(&str, Option<i64>)> {
        let of = |item: &'_ InboxItem| item.event.as_ref().map(|event| event.at);
        items.iter().map(|i| (i.file.file_name().unwrap().to_str().unwrap(), of(i))).collect()
    }

    #[test]
    fn events_come_oldest_first_and_rubbish_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path(), 10).unwrap(), []);
        let inbox = root.path().join(".inbox");
        fs_err::create_dir(&inbox).unwrap();
        for (name, text) in [
            ("b", event(20)),
            ("a", event(20)),
            ("z", event(10)),
            (".unfinished", event(1)),
            ("huge", format!("{}{}", event(5), " ".repeat(1 << 20))),
            ("rubbish", "{".to_owned()),
        ] {
            fs_err::write(inbox.join(name), text).unwrap();
        }
        fs_err::write(inbox.join("bytes"), [0xff, 0xfe]).unwrap();
        fs_err::create_dir(inbox.join("directory")).unwrap();
        fs_err::os::unix::fs::symlink(inbox.join("a"), inbox.join("link")).unwrap();
        nix::unistd::mkfifo(&inbox.join("pipe"), Mode::S_IRWXU).unwrap();
        let items = read(root.path(), 100).unwrap();
        assert_eq!(
            names_of(&items),
            [
                ("bytes", None),
                ("huge", None),
                ("link", None),
                ("pipe", None),
                ("rubbish", None),
                ("z", Some(10)),
                ("a", Some(20)),
                ("b", Some(20)),
            ]
        );
        assert_eq!(names_of(&read(root.path(), 1).unwrap()), [("a", Some(20))]);

        let mut files: Vec<_> = items.into_iter().map(|item| item.file).collect();
        files.push(inbox.join("never-was"));
        remove(&files).unwrap();
        assert_eq!(read(root.path(), 100).unwrap(), []);
        assert!(inbox.join(".unfinished").exists());
    }

    #[test]
    fn a_marker_is_read_and_everything_else_is_none() {
        let run_dir = tempfile::tempdir().unwrap();
        let exits = run_dir.path().join("exits");
        assert_eq!(exit_marker(run_dir.path(), 1).unwrap(), None);
        fs_err::create_dir(&exits).unwrap();
        fs_err::write(exits.join("1.json"), event(3)).unwrap();
        fs_err::write(exits.join("2.json"), "no").unwrap();
        fs_err::create_dir(exits.join("3.json")).unwrap();
        fs_err::os::unix::fs::symlink(exits.join("1.json"), exits.join("4.json")).unwrap();
        let ends = [1, 2, 3, 4, 5].map(|n| exit_marker(run_dir.path(), n).unwrap());
        assert_eq!(ends.map(|end| end.map(|end| end.at)), [Some(3), None, None, None, None]);
    }
}
