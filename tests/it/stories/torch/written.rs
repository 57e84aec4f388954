//! What a library did to its files, told by strace, so that it can be done again up to any point.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One thing that was done. Paths are below the checkpoint directory.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Folder(PathBuf),
    /// A file is made, or emptied.
    Open(PathBuf),
    Size(PathBuf, u64),
    Write {
        path: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// Two checkpoints of one training.
pub(super) struct Recording {
    /// A directory with the first one, whole.
    pub(super) older: PathBuf,
    /// How the second one came to lie beside it.
    pub(super) acts: Vec<Act>,
}

/// Has the two written.
pub(super) fn record(environment: &str, format: &str, directory: &Path) -> Recording {
    fs::create_dir(directory).unwrap();
    let bin = Path::new(environment).join("bin");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/checkpoints/write.py");
    let trace = directory.join("trace");
    let output = strace(&trace)
        .arg(bin.join("python"))
        .args([script, format])
        .arg(directory)
        // The file system is another one where there is one: a move is a copy then, which can be cut off.
        .env("TMPDIR", if Path::new("/dev/shm").exists() { "/dev/shm" } else { "/tmp" })
        .envs([("OMP_NUM_THREADS", "1"), ("HF_HUB_OFFLINE", "1"), ("DS_ACCELERATOR", "cpu")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&fs::read(trace).unwrap()).into_owned();
    let checkpoints = directory.join("checkpoints");
    let acts = Reader::new(&checkpoints).read(&told, &directory.join("older"));
    let recording = Recording { older: directory.join("older"), acts };
    let again = directory.join("again");
    recording.perform(&again, recording.acts.len());
    assert_eq!(tree(&again), tree(&checkpoints), "what is done again comes to the same");
    recording
}

#[expect(clippy::disallowed_methods, reason = "tests make what they need")]
fn strace(trace: &Path) -> Command {
    const CALLS: &str = "openat,open,creat,write,pwrite64,writev,rename,renameat,renameat2,unlink,\
        unlinkat,ftruncate,lseek,mkdir,mkdirat,sendfile,copy_file_range";
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "--seccomp-bpf", "-s", "0", "-e", "signal=none", "-e"]);
    command.arg(format!("trace={CALLS}")).arg("-o").arg(trace);
    command
}

impl Recording {
    /// Puts the first one and what was done of the second into an empty place.
    pub(super) fn perform(&self, place: &Path, acts: usize) {
        for (name, content) in tree(&self.older) {
            put(&place.join(name), &content);
        }
        for act in &self.acts[..acts] {
            act.perform(place);
        }
    }
}

impl Act {
    pub(super) fn perform(&self, place: &Path) {
        match self {
            Self::Folder(path) => fs::create_dir_all(place.join(path)).unwrap(),
            Self::Open(path) => put(&place.join(path), b""),
            Self::Size(path, bytes) => {
                let file = fs::File::options().write(true).open(place.join(path)).unwrap();
                file.set_len(*bytes).unwrap();
            }
            Self::Write { path, at, bytes } => {
                let file = fs::File::options().write(true).open(place.join(path)).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&file, bytes, *at as u64).unwrap();
            }
            Self::Rename(from, to) => fs::rename(place.join(from), place.join(to)).unwrap(),
            Self::Remove(path) => fs::remove_file(place.join(path)).unwrap(),
        }
    }
}

pub(super) fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// All files below a directory with their contents, by name.
pub(super) fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Reads what strace says of the files below a directory. Their contents are those that lie there in the end.
struct Reader<'a> {
    directory: &'a Path,
    /// The first half of a call that another process interrupted.
    begun: HashMap<String, String>,
    acts: Vec<Act>,
    /// Which file has which name, and where each is written to next.
    files: HashMap<PathBuf, usize>,
    written: Vec<usize>,
    /// The file of each act that writes.
    of_acts: Vec<(usize, usize)>,
}

impl<'a> Reader<'a> {
    fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            begun: HashMap::new(),
            acts: Vec::new(),
            files: HashMap::new(),
            written: Vec::new(),
            of_acts: Vec::new(),
        }
    }

    /// What was done after this directory was made.
    fn read(mut self, told: &str, between: &Path) -> Vec<Act> {
        for line in told.lines() {
            let (process, rest) = line.split_once(char::is_whitespace).unwrap();
            let rest = rest.trim_start();
            if let Some(half) = rest.strip_suffix(" <unfinished ...>") {
                self.begun.insert(process.to_owned(), half.to_owned());
                continue;
            }
            let whole = match rest.strip_prefix("<... ").and_then(|it| it.split_once(" resumed>")) {
                Some((_, end)) => self.begun.remove(process).unwrap_or_default() + end,
                None => rest.to_owned(),
            };
            if whole.starts_with(&format!("mkdir(\"{}\"", between.display())) {
                self.acts.clear();
                self.of_acts.clear();
            }
            self.call(&whole);
        }
        for (act, file) in &self.of_acts {
            let Some((name, _)) = self.files.iter().find(|(_, it)| *it == file) else { continue };
            let content = fs::read(self.directory.join(name)).unwrap();
            if let Act::Write { at, bytes, .. } = &mut self.acts[*act] {
                let end = *at + bytes.len();
                bytes.copy_from_slice(&content[*at..end]);
            }
        }
        self.acts
    }

    fn call(&mut self, call: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let digits = result.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        // It failed.
        let Ok(result) = digits.parse::<usize>() else { return };
        let arguments = arguments.trim_end().trim_end_matches(')');
        let paths: Vec<PathBuf> =
            arguments.split('"').skip(1).step_by(2).filter_map(|path| self.inside(path)).collect();
        let descriptor = |n: usize| {
            let path = arguments.split(", ").nth(n)?.split_once('<')?.1.strip_suffix('>')?;
            self.inside(path)
        };
        match (name, paths.as_slice()) {
            ("mkdir" | "mkdirat", [path]) => self.acts.push(Act::Folder(path.clone())),
            ("openat" | "open" | "creat", [path]) if arguments.contains("O_CREAT") => {
                self.open(path);
            }
            ("rename" | "renameat" | "renameat2", [from, to]) => {
                let file = self.files.remove(from).unwrap();
                self.files.insert(to.clone(), file);
                self.acts.push(Act::Rename(from.clone(), to.clone()));
            }
            ("unlink" | "unlinkat", [path]) => {
                self.files.remove(path);
                self.acts.push(Act::Remove(path.clone()));
            }
            ("ftruncate", _) => {
                let bytes = arguments.rsplit(", ").next().unwrap().parse().unwrap();
                self.acts.extend(descriptor(0).map(|path| Act::Size(path, bytes)));
            }
            ("lseek", _) => {
                if let Some(file) = descriptor(0).and_then(|path| self.files.get(&path).copied()) {
                    self.written[file] = result;
                }
            }
            ("write" | "writev" | "sendfile", _) => self.write(descriptor(0), None, result),
            ("copy_file_range", _) => self.write(descriptor(2), None, result),
            ("pwrite64", _) => {
                let at = arguments.rsplit(", ").next().unwrap().parse().ok();
                self.write(descriptor(0), at, result);
            }
            _ => assert!(paths.is_empty() || name.starts_with("open"), "not known: {call}"),
        }
    }

    fn inside(&self, path: &str) -> Option<PathBuf> {
        Path::new(path).strip_prefix(self.directory).ok().map(Path::to_owned)
    }

    fn open(&mut self, path: &Path) {
        let next = self.written.len();
        let file = *self.files.entry(path.to_owned()).or_insert(next);
        self.written.resize(self.written.len().max(file + 1), 0);
        self.written[file] = 0;
        self.acts.push(Act::Open(path.to_owned()));
    }

    fn write(&mut self, path: Option<PathBuf>, at: Option<usize>, count: usize) {
        let Some(path) = path.filter(|_| count > 0) else { return };
        let file = self.files[&path];
        let start = at.unwrap_or(self.written[file]);
        if at.is_none() {
            self.written[file] += count;
        }
        self.of_acts.push((self.acts.len(), file));
        self.acts.push(Act::Write { path, at: start, bytes: vec![0; count] });
    }
}
