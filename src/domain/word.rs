//! A word of a command line that may hold placeholders such as `{output}`.
//!
//! The placeholders become references to variables of the script, so that one script serves every run of a spec.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::dataset::is_dataset_name;
use crate::domain::keys::choice;

choice! {
    /// What a word may refer to.
    pub enum Placeholder {
        RunDir = "run_dir",
        Work = "work",
        Output = "output",
        Checkpoints = "checkpoints",
        Name = "name",
        Id = "id",
        /// The first dataset.
        Data = "data",
        /// The checkpoint that the attempt goes on from.
        ResumeFrom = "resume_from",
    }
    later {}
}

/// One stretch of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Literal(String),
    Placeholder(Placeholder),
    /// `{data.NAME}`.
    Dataset(String),
}

/// A word with its placeholders recognised. Written and stored as its text, with `{{` for a brace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(pub Vec<Piece>);

/// Why a text is no word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    #[error("unknown placeholder `{{{0}}}`")]
    Unknown(String),
    #[error("a `{{` without its `}}`; write `{{{{` for a brace")]
    Unclosed,
    #[error(
        "it is {0} bytes long, more than the {WORD_BYTES_MAX} that a program can be given in one word"
    )]
    TooLong(usize),
}

/// Linux refuses longer single arguments (`MAX_ARG_STRLEN` is 128 KiB, the final NUL included).
pub const WORD_BYTES_MAX: usize = (128 << 10) - 1;

impl Word {
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Piece::Literal(text.into())])
    }

    /// Recognises the placeholders in `text`. A lone `}` is itself.
    pub fn parse(text: &str) -> Result<Self, WordError> {
        if text.len() > WORD_BYTES_MAX {
            return Err(WordError::TooLong(text.len()));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = from.strip_prefix('}') {
                literal.push('}');
                rest = after;
            } else {
                let (name, after) = from
                    .get(1..)
                    .and_then(|from| from.split_once('}'))
                    .ok_or(WordError::Unclosed)?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(placeholder(name)?);
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// Bytes of the word without what its placeholders will come to.
    pub fn literal_bytes(&self) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::Placeholder(_) | Piece::Dataset(_) => 0,
        };
        self.0.iter().map(bytes).sum()
    }

    /// The word's text before itself: `--key=` before a value.
    #[must_use]
    pub fn prefixed(mut self, prefix: &str) -> Self {
        if let Some(Piece::Literal(first)) = self.0.first_mut() {
            first.insert_str(0, prefix);
        } else {
            self.0.insert(0, Piece::Literal(prefix.to_owned()));
        }
        self
    }
}

fn placeholder(name: &str) -> Result<Piece, WordError> {
    match (Placeholder::from_word(name), name.strip_prefix("data.")) {
        (Some(placeholder), _) => Ok(Piece::Placeholder(placeholder)),
        (None, Some(dataset)) if is_dataset_name(dataset) => Ok(Piece::Dataset(dataset.to_owned())),
        (None, _) => Err(WordError::Unknown(name.to_owned())),
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Placeholder(placeholder) => write!(f, "{{{placeholder}}}")?,
                Piece::Dataset(name) => write!(f, "{{data.{name}}}")?,
            }
        }
        Ok(())
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.to_string()
    }
}

impl TryFrom<String> for Word {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_braces() {
        let check = |text: &str, pieces: Vec<Piece>| {
            assert_eq!(Word::parse(text), Ok(Word(pieces)), "{text}");
        };
        let literal = |text: &str| Piece::Literal(text.into());
        check("", vec![literal("")]);
        check("plain", vec![literal("plain")]);
        check("{output}/model", vec![Piece::Placeholder(Placeholder::Output), literal("/model")]);
        check("{{\"a\": 1}}", vec![literal("{\"a\": 1}")]);
        check(
            "{name}{id}",
            vec![Piece::Placeholder(Placeholder::Name), Piece::Placeholder(Placeholder::Id)],
        );
        check("{data}/x", vec![Piece::Placeholder(Placeholder::Data), literal("/x")]);
        check("{data.a.b-1}", vec![Piece::Dataset("a.b-1".into())]);
        check("a}b", vec![literal("a}b")]);
        assert_eq!(Word::parse("{outptu}"), Err(WordError::Unknown("outptu".into())));
        assert_eq!(Word::parse("{data.}"), Err(WordError::Unknown("data.".into())));
        assert_eq!(Word::parse("{data.$(x)}"), Err(WordError::Unknown("data.$(x)".into())));
        assert_eq!(Word::parse("{output"), Err(WordError::Unclosed));
        assert!(matches!(Word::parse(&"x".repeat(WORD_BYTES_MAX + 1)), Err(WordError::TooLong(_))));
    }

    #[test]
    fn a_word_reads_back_from_its_text() {
        for text in ["", "x", "{output}/a", "{{}}", "a{{b{id}", "{data}{data.x}"] {
            let word = Word::parse(text).expect("a word");
            assert_eq!(Word::parse(&word.to_string()), Ok(word), "{text}");
        }
    }
}
