//! What is wrong with a text somebody wrote, and where.
//!
//! A [`Problem`] is a value: checks collect all of them and the edge shows them. Places are kept as byte spans into a
//! numbered source, so that one report can point into a spec, a `--set` flag and three site files at once.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which of the texts that were read together a place belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub u16);

/// A byte range in one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub source: SourceId,
    pub start: usize,
    pub end: usize,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T> At<T> {
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// Problems of one text that are told: whoever has mended these will ask again.
pub const PROBLEMS_MAX: usize = 100;

/// Bytes of one message: it quotes what was written, and that may be anything.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// One thing that is wrong, said so that its writer can mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where; `None` when the fault is something that was *not* written anywhere.
    pub place: Option<Place>,
    pub message: String,
    pub help: Option<String>,
}

impl Problem {
    pub fn at(place: Place, message: impl Into<String>) -> Self {
        Self::new(Some(place), message)
    }

    pub fn nowhere(message: impl Into<String>) -> Self {
        Self::new(None, message)
    }

    pub fn new(place: Option<Place>, message: impl Into<String>) -> Self {
        Self { place, message: shortened(message.into()), help: None }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(shortened(help.into()));
        self
    }

    /// Adds "did you mean" when one of `known` is close to `word`, else the whole list when it is short.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        /// More names than this are not a help but a wall.
        const LISTED_MAX: usize = 16;
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(&known, |known| strsim::jaro_winkler(word, known)) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None if known.is_empty() || known.len() > LISTED_MAX => self,
            None => self.help(format!("known here: {}", known.join(", "))),
        }
    }

    /// Adds "did you mean" where one of these dotted keys is close, before its last dot and behind it: that both are
    /// arguments makes no two keys alike.
    #[must_use]
    pub fn suggest_key<'a>(self, key: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        fn halves(key: &str) -> (&str, &str) {
            key.rsplit_once('.').unwrap_or(("", key))
        }
        let (table, name) = halves(key);
        let similarity = |known: &str| {
            let (of, called) = halves(known);
            strsim::jaro_winkler(table, of).min(strsim::jaro_winkler(name, called))
        };
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(&known, similarity) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// The first problems of a text, and a word about the others.
#[must_use]
pub fn limited(mut problems: Vec<Problem>) -> Vec<Problem> {
    if problems.len() > PROBLEMS_MAX {
        problems.truncate(PROBLEMS_MAX - 1);
        problems.push(Problem::nowhere("there are more problems than are told at once"));
    }
    problems
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text.push_str(" […]");
    }
    text
}

/// The known word that was probably meant.
fn nearest<'a>(known: &[&'a str], similarity: impl Fn(&str) -> f64) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.75;
    known
        .iter()
        .map(|candidate| (similarity(candidate), *candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A text that was read, with the name people know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub text: String,
    /// Where relative paths in it start from.
    pub base: PathBuf,
}

/// All texts that were read together; a [`SourceId`] is an index into it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// Adds a text and gives its number.
    pub fn add(&mut self, source: Source) -> SourceId {
        let id = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        self.0.push(source);
        SourceId(id)
    }

    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.0.get(usize::from(id.0))
    }

    /// The place as `file:line:column`, counted from 1, columns in characters.
    pub fn locate(&self, place: Place) -> Location<'_> {
        let (name, text) = self
            .get(place.source)
            .map_or(("", ""), |source| (source.name.as_str(), source.text.as_str()));
        let before = text.get(..place.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Location {
            name,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        }
    }
}

/// A place as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location<'a> {
    pub name: &'a str,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.name, self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_line_and_column() {
        let mut sources = Sources::default();
        let source = sources.add(Source {
            name: "run.toml".into(),
            text: "a = 1\nß = 2\n".into(),
            base: "/".into(),
        });
        let at = |start| sources.locate(Place { source, start, end: start }).to_string();
        assert_eq!(at(0), "run.toml:1:1");
        assert_eq!(at(6), "run.toml:2:1");
        assert_eq!(at(11), "run.toml:2:5", "columns count characters, not bytes");
        assert_eq!(at(999), "run.toml:3:1", "past the end is the end");
    }

    #[test]
    fn neither_messages_nor_their_number_are_without_end() {
        let long = Problem::nowhere("é".repeat(10_000)).help("x".repeat(10_000));
        assert!(long.message.ends_with("é […]") && long.message.len() < 2_100);
        assert!(long.help.is_some_and(|help| help.len() < 2_100));
        let all = limited(vec![Problem::nowhere("x"); 10_000]);
        assert_eq!(all.len(), PROBLEMS_MAX);
        assert!(all[PROBLEMS_MAX - 1].message.contains("more problems"));
        assert_eq!(limited(all.clone()), all);
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let place = Place { source: SourceId(0), start: 0, end: 0 };
        let help = |word| Problem::at(place, "x").suggest(word, ["nodes", "class"]).help;
        assert_eq!(help("noeds").as_deref(), Some("did you mean `nodes`?"));
        assert_eq!(help("zebra").as_deref(), Some("known here: nodes, class"));
    }
}
