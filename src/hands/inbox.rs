//! What scripts leave behind: events in the inbox, exit markers in the run directory.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fs_err::DirEntry;
use jiff::Timestamp;

use crate::domain::ids::Token;
use crate::domain::inbox::{EVENT_BYTES_MAX, ScriptEvent};
use crate::domain::run_files::RunFiles;
use crate::hands::regular::{self, Opened};
use crate::ports::InboxItem;

/// Names that are looked at in one reading; the rest waits for the next.
const LISTED_MAX: usize = 65_536;

/// Reads the events of these submissions, oldest first, at most `max`: with more, the first by name.
///
/// A file's name begins with its token, so that the events of others cost no more than their names.
pub(super) fn read(
    run_root: &Path,
    tokens: &BTreeSet<Token>,
    max: usize,
) -> io::Result<Vec<InboxItem>> {
    let mut files: Vec<(Token, PathBuf)> = Vec::new();
    each(run_root, |entry, token| {
        files.extend(
            token.filter(|token| tokens.contains(token)).map(|token| (token, entry.path())),
        );
    })?;
    files.sort_by(|(_, a), (_, b)| a.cmp(b));
    files.truncate(max);
    let mut items = Vec::new();
    for (token, file) in files {
        // What cannot be read now is read later; it does not hide the others.
        match content(&file) {
            Ok(Content::Event(event)) if event.token == token => {
                items.push(InboxItem { file, event: Some(event) });
            }
            Ok(Content::Event(_) | Content::Rubbish) => items.push(InboxItem { file, event: None }),
            Ok(Content::Missing) | Err(_) => {}
        }
    }
    items.sort_by(|a, b| {
        let key = |item: &InboxItem| item.event.as_ref().map(|event| event.at);
        key(a).cmp(&key(b)).then_with(|| a.file.cmp(&b.file))
    });
    Ok(items)
}

/// The submissions that have events here.
pub(super) fn tokens(run_root: &Path) -> io::Result<BTreeSet<Token>> {
    let mut tokens = BTreeSet::new();
    each(run_root, |_, token| tokens.extend(token))?;
    Ok(tokens)
}

/// Removes the events of these submissions, and what is older than `then`, whatever it is; directories stay.
pub(super) fn sweep(run_root: &Path, over: &BTreeSet<Token>, then: Timestamp) -> io::Result<()> {
    let then = std::time::SystemTime::from(then);
    let mut files = Vec::new();
    each(run_root, |entry, token| {
        let is_over = token.is_some_and(|token| over.contains(&token));
        let is_old = || {
            let metadata = entry.metadata();
            metadata
                .is_ok_and(|there| !there.is_dir() && there.modified().is_ok_and(|at| at < then))
        };
        if is_over || is_old() {
            files.push(entry.path());
        }
    })?;
    remove(&files)
}

/// Looks at each name of the inbox, with the token it begins with.
fn each(run_root: &Path, mut look: impl FnMut(&DirEntry, Option<Token>)) -> io::Result<()> {
    let entries = match fs_err::read_dir(run_root.join(".inbox")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.take(LISTED_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let token = name.to_str().and_then(|name| name.split('.').next()?.parse().ok());
        look(&entry, token);
    }
    Ok(())
}

/// Removes files; one that is gone already is as good, and one that cannot be removed does not keep the others.
pub(super) fn remove(files: &[PathBuf]) -> io::Result<()> {
    let mut first = Ok(());
    for file in files {
        match fs_err::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => first = first.and(Err(error)),
            Ok(()) | Err(_) => {}
        }
    }
    first
}

/// The exit marker of an attempt; none also when something else has its name.
pub(super) fn exit_marker(run_dir: &Path, attempt: u32) -> io::Result<Option<ScriptEvent>> {
    let file = RunFiles::of(run_dir).exit_marker(attempt);
    match content(&file)? {
        Content::Event(event) => Ok(Some(event)),
        Content::Rubbish | Content::Missing => Ok(None),
    }
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

    const TOKEN: &str = "tybaaaaaaaaaaaaaaaaaaa";

    fn event(at: i64) -> String {
        format!(
            r#"{{"token":"{TOKEN}","job":"local:7","attempt":1,"restart":0,"event":"ended","at":{at}}}"#
        )
    }

    fn ours() -> BTreeSet<Token> {
        BTreeSet::from([TOKEN.parse().unwrap()])
    }

    fn inbox_of(root: &Path, files: &[(&str, &str)]) -> PathBuf {
        let inbox = root.join(".inbox");
        fs_err::create_dir(&inbox).unwrap();
        for (name, text) in files {
            fs_err::write(inbox.join(name.replace("OURS", TOKEN)), text).unwrap();
        }
        inbox
    }

    fn names_of(items: &[InboxItem]) -> Vec<(String, Option<i64>)> {
        let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().replace(TOKEN, "OURS");
        items.iter().map(|i| (name(&i.file), i.event.as_ref().map(|event| event.at))).collect()
    }

    #[test]
    fn events_come_oldest_first_and_rubbish_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path(), &ours(), 10).unwrap(), []);
        let huge = format!("{}{}", event(5), " ".repeat(1 << 20));
        let other = event(5).replace(TOKEN, Token::from_bits(9).as_str());
        let inbox = inbox_of(
            root.path(),
            &[
                ("OURS.b", &event(20)),
                ("OURS.a", &event(20)),
                ("OURS.z", &event(10)),
                (".OURS.unfinished", &event(1)),
                ("OURS.huge", &huge),
                ("OURS.forged", &other),
                ("OURS.rubbish", "{"),
            ],
        );
        let at = |name: &str| inbox.join(format!("{TOKEN}.{name}"));
        fs_err::write(at("bytes"), [0xff, 0xfe]).unwrap();
        fs_err::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let items = read(root.path(), &ours(), 100).unwrap();
        insta::assert_debug_snapshot!(names_of(&items).iter().map(|(name, at)| format!("{name} {at:?}")).collect::<Vec<_>>(), @r#"
        [
            "OURS.bytes None",
            "OURS.forged None",
            "OURS.huge None",
            "OURS.link None",
            "OURS.pipe None",
            "OURS.rubbish None",
            "OURS.z Some(10)",
            "OURS.a Some(20)",
            "OURS.b Some(20)",
        ]
        "#);
        assert_eq!(names_of(&read(root.path(), &ours(), 1).unwrap()).len(), 1);

        let mut files: Vec<_> = items.into_iter().map(|item| item.file).collect();
        files.push(at("never-was"));
        fs_err::create_dir(at("directory")).unwrap();
        files.insert(0, at("directory"));
        assert!(remove(&files).is_err(), "a directory is no event");
        fs_err::remove_dir(at("directory")).unwrap();
        assert_eq!(read(root.path(), &ours(), 100).unwrap(), []);
        assert!(inbox.join(format!(".{TOKEN}.unfinished")).exists());
    }

    #[test]
    fn the_events_of_others_are_left_alone_until_they_are_old() {
        let root = tempfile::tempdir().unwrap();
        let other = Token::from_bits(9);
        let others = format!("{other}.0.0.ended.json");
        let inbox = inbox_of(
            root.path(),
            &[("OURS.0.0.ended.json", &event(1)), (&others, "x"), ("notes", "y"), (".old", "z")],
        );
        fs_err::create_dir(inbox.join("directory")).unwrap();
        assert_eq!(read(root.path(), &ours(), 100).unwrap().len(), 1);
        assert_eq!(tokens(root.path()).unwrap(), ours().into_iter().chain([other]).collect());
        let names = || {
            let name =
                |e: io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
            inbox.read_dir().unwrap().map(name).collect::<BTreeSet<String>>()
        };
        sweep(root.path(), &ours(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(names(), [others, "notes".into(), ".old".into(), "directory".into()].into());
        sweep(root.path(), &BTreeSet::new(), Timestamp::MAX).unwrap();
        assert_eq!(names(), ["directory".to_owned()].into());
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
