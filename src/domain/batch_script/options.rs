//! The options of `#SBATCH` lines, as sbatch reads them.

use crate::domain::batch_script::Fate;
use crate::domain::batch_script::lines::Line;

/// One option of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asking {
    pub(super) line: usize,
    /// The whole line that it stands in.
    pub(super) shown: String,
    /// Its long name.
    pub(super) name: String,
    pub(super) value: Option<String>,
}

impl Asking {
    pub(super) fn taken(&self, key: impl Into<String>) -> Fate {
        Fate::taken(self.line, &self.shown, key)
    }

    pub(super) fn left(&self, why: impl Into<String>) -> Fate {
        Fate::left(self.line, &self.shown, why)
    }

    pub(super) fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

/// Short options of sbatch, and their long names.
const LETTERS: &[(char, &str)] = &[
    ('A', "account"),
    ('B', "extra-node-info"),
    ('C', "constraint"),
    ('D', "chdir"),
    ('F', "nodefile"),
    ('G', "gpus"),
    ('H', "hold"),
    ('J', "job-name"),
    ('L', "licenses"),
    ('M', "clusters"),
    ('N', "nodes"),
    ('O', "overcommit"),
    ('Q', "quiet"),
    ('S', "core-spec"),
    ('W', "wait"),
    ('a', "array"),
    ('b', "begin"),
    ('c', "cpus-per-task"),
    ('d', "dependency"),
    ('e', "error"),
    ('i', "input"),
    ('k', "no-kill"),
    ('m', "distribution"),
    ('n', "ntasks"),
    ('o', "output"),
    ('p', "partition"),
    ('q', "qos"),
    ('s', "oversubscribe"),
    ('t', "time"),
    ('v', "verbose"),
    ('w', "nodelist"),
    ('x', "exclude"),
];

/// Options whose value, if they have one, stands behind a `=`.
pub(super) const FLAGS: &[&str] = &[
    "contiguous",
    "exclusive",
    "hold",
    "ignore-pbs",
    "nice",
    "no-kill",
    "no-requeue",
    "nvmps",
    "overcommit",
    "oversubscribe",
    "parsable",
    "propagate",
    "quiet",
    "reboot",
    "requeue",
    "spread-job",
    "test-only",
    "use-min-nodes",
    "verbose",
    "wait",
];

/// All options, in order. Of two alike the later counts, as for sbatch.
pub(super) fn read(directives: &[Line], fates: &mut Vec<Fate>) -> Vec<Asking> {
    let mut all: Vec<Asking> = Vec::new();
    let mut is_first_component = true;
    for line in directives {
        let shown = format!("#SBATCH {}", line.text);
        let left = |why: &str| Fate::left(line.number, &shown, why);
        let Some(words) = shlex::split(without_comment(&line.text)) else {
            fates.push(left("its quotes do not close"));
            continue;
        };
        if matches!(words.first().map(String::as_str), Some("hetjob" | "packjob")) {
            is_first_component = false;
        }
        if !is_first_component {
            fates.push(left("a run has one kind of node: this is of another part of the job"));
            continue;
        }
        if words.is_empty() {
            fates.push(left("it has no option"));
        }
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, mut value) = option(&word);
            if value.is_none() && !FLAGS.contains(&name.as_str()) && word.starts_with('-') {
                value = words.next();
            }
            if let Some(at) = all.iter().position(|known| known.name == name) {
                let again =
                    format!("line {} says it again, and sbatch takes the later", line.number);
                fates.push(all.remove(at).left(again));
            }
            all.push(Asking { line: line.number, shown: shown.clone(), name, value });
        }
    }
    all
}

/// sbatch takes an unquoted `#` for the beginning of a comment, in a word too.
fn without_comment(text: &str) -> &str {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            None if c == '#' => return text.get(..at).unwrap_or_default(),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if open == c => quote = None,
            None | Some(_) => {}
        }
    }
    text
}

/// The long name of an option, and its value where that is in the same word.
fn option(word: &str) -> (String, Option<String>) {
    if let Some(long) = word.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (long.to_owned(), None),
        };
    }
    match short(word) {
        Some((name, value)) => (name.to_owned(), value),
        None => (word.to_owned(), None),
    }
}

/// The long name of a short option, and the value that stands behind it in the same word.
pub(super) fn short(word: &str) -> Option<(&'static str, Option<String>)> {
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let (_, long) = LETTERS.iter().find(|(short, _)| *short == letter)?;
    let rest = letters.as_str().trim_start_matches('=');
    Some((long, (!rest.is_empty()).then(|| rest.to_owned())))
}
