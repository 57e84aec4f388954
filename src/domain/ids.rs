//! How runs, submissions and jobs are named.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A run's number. Runs and sweeps are numbered from the same counter, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

/// The number of one submission: one `sbatch` call, or one start of a local job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubmissionId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random word that names one submission to Slurm, so that it can be asked for when no job id is known. An element of an
/// array has the array's, and its place in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

const TOKEN_MARK: &str = "ty";
/// 20 characters of 5 bits: 100 bits.
const TOKEN_CHARACTERS: usize = 20;
/// Between the token of an array and the place of one of its elements.
const ELEMENT_MARK: char = '_';
const TOKEN_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Token {
    /// Spells 100 of the given random bits.
    pub fn from_bits(mut bits: u128) -> Self {
        let mut token = String::from(TOKEN_MARK);
        for _ in 0..TOKEN_CHARACTERS {
            token.push(char::from(TOKEN_ALPHABET[(bits & 31) as usize]));
            bits >>= 5;
        }
        Self(token)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// That of one element of an array, whose own this is: `ty…_17`.
    #[must_use]
    pub fn element(&self, index: u32) -> Self {
        Self(format!("{}{ELEMENT_MARK}{index}", self.whole()))
    }

    /// That of the submission as a whole: what the job's name holds.
    pub fn whole(&self) -> &str {
        self.0.split_once(ELEMENT_MARK).map_or(&self.0, |(whole, _)| whole)
    }

    /// The place in the array; none where there is no array.
    pub fn index(&self) -> Option<u32> {
        self.0.split_once(ELEMENT_MARK)?.1.parse().ok()
    }

    /// All words in a text that may be tokens, wherever they stand.
    pub fn all_in(text: &str) -> impl Iterator<Item = &str> {
        text.match_indices(TOKEN_MARK).filter_map(|(at, mark)| {
            let random = at + mark.len();
            let word = text.get(at..random + TOKEN_CHARACTERS)?;
            is_random(&word[mark.len()..]).then_some(word)
        })
    }
}

fn is_random(text: &str) -> bool {
    text.len() == TOKEN_CHARACTERS && text.bytes().all(|b| TOKEN_ALPHABET.contains(&b))
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not what its place needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct NotAn {
    what: &'static str,
    text: String,
}

impl NotAn {
    pub fn new(what: &'static str, text: &str) -> Self {
        /// Enough to recognise the text; it may come from a hostile place.
        const SHOWN_MAX: usize = 80;
        Self { what, text: text.chars().take(SHOWN_MAX).collect() }
    }
}

impl FromStr for Token {
    type Err = NotAn;

    fn from_str(text: &str) -> Result<Self, NotAn> {
        let (whole, index) = match text.split_once(ELEMENT_MARK) {
            Some((whole, index)) => (whole, Some(index)),
            None => (text, None),
        };
        // Spelled in one way only: tokens are compared as texts.
        let is_index = |text: &str| text.parse().is_ok_and(|n: u32| n.to_string() == text);
        let random = whole.strip_prefix(TOKEN_MARK);
        if random.is_some_and(is_random) && index.is_none_or(is_index) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAn::new("token", text))
        }
    }
}

impl TryFrom<String> for Token {
    type Error = NotAn;

    fn try_from(text: String) -> Result<Self, NotAn> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

/// What a submission is called in Slurm: `42-llama-sft.1.tyTOKEN`. The script finds its run directory, the number its
/// attempts count from and its token in it, so that a rendered script needs no other word about its run. The elements of an
/// array, `42-lr@100.1.tyTOKEN`, are points of a sweep: the first number is the point at index 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobName {
    /// Name of the directory of the run, or of the sweep, below the run root.
    pub run_dir: String,
    /// The point at index 0; none for a run of its own.
    pub offset: Option<u32>,
    /// The attempt number of restart 0.
    pub attempt_base: u32,
    pub token: Token,
}

impl JobName {
    /// Of a submission of the run with this directory.
    pub fn of(run_dir: &Path, attempt_base: u32, token: Token) -> Self {
        let run_dir = run_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { run_dir, offset: None, attempt_base, token }
    }

    /// Of a submission of the points of the sweep with this directory, from `first_point` on.
    pub fn of_points(sweep_dir: &Path, first_point: u32, attempt_base: u32, token: Token) -> Self {
        Self { offset: Some(first_point), ..Self::of(sweep_dir, attempt_base, token) }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.run_dir)?;
        if let Some(offset) = self.offset {
            write!(f, "@{offset}")?;
        }
        write!(f, ".{}.{}", self.attempt_base, self.token.whole())
    }
}

/// Slurm's job, as an identity: never the raw id, which the last task of an array shares with the array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobKey {
    pub cluster: String,
    /// The job id, or the array's.
    pub job: u64,
    pub array_task: Option<u32>,
}

impl fmt::Display for JobKey {
    /// `cluster:123` or `cluster:123_4`: what the claim's link holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cluster, self.job)?;
        if let Some(task) = self.array_task {
            write!(f, "_{task}")?;
        }
        Ok(())
    }
}

impl FromStr for JobKey {
    type Err = NotAn;

    fn from_str(text: &str) -> Result<Self, NotAn> {
        let parse = || {
            let (cluster, job) = text.rsplit_once(':')?;
            let (job, task) = match job.split_once('_') {
                Some((job, task)) => (job, Some(task.parse().ok()?)),
                None => (job, None),
            };
            let job = job.parse().ok()?;
            (!cluster.is_empty()).then(|| Self {
                cluster: cluster.to_owned(),
                job,
                array_task: task,
            })
        };
        parse().ok_or_else(|| NotAn::new("job key", text))
    }
}

impl TryFrom<String> for JobKey {
    type Error = NotAn;

    fn try_from(text: String) -> Result<Self, NotAn> {
        text.parse()
    }
}

impl From<JobKey> for String {
    fn from(key: JobKey) -> Self {
        key.to_string()
    }
}

/// The name of a run's directory.
pub fn run_dir_name(id: RunId, name: &str) -> String {
    format!("{id}-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_carry_100_bits_and_read_back() {
        let token = Token::from_bits(u128::MAX);
        assert_eq!(token.as_str(), "ty77777777777777777777");
        assert_eq!(token.as_str().parse(), Ok(token));
        assert_eq!(Token::from_bits(1).as_str(), "tybaaaaaaaaaaaaaaaaaaa");
        for wrong in [
            "",
            "ty",
            "tyAAAAAAAAAAAAAAAAAAAA",
            "xx77777777777777777777",
            "ty777777777777777777771",
        ] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn elements_have_the_token_of_their_array_and_a_place() {
        let array = Token::from_bits(u128::MAX);
        let element = array.element(17);
        assert_eq!(element.as_str(), "ty77777777777777777777_17");
        assert_eq!(element.as_str().parse(), Ok(element.clone()));
        assert_eq!((element.whole(), element.index()), (array.as_str(), Some(17)));
        assert_eq!((array.whole(), array.index()), (array.as_str(), None));
        assert_eq!(element.element(3), array.element(3));
        for wrong in ["_", "_x", "_01", "_+1", "_1_2", "_4294967296"] {
            assert!(format!("{array}{wrong}").parse::<Token>().is_err(), "{wrong}");
        }
        let name = JobName::of_points(Path::new("/r/42-lr"), 100, 1, element);
        assert_eq!(name.to_string(), "42-lr@100.1.ty77777777777777777777");
    }

    #[test]
    fn job_keys_read_back() {
        for text in ["main:123", "main:123_4", "a:b:67108865"] {
            assert_eq!(text.parse::<JobKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for wrong in ["", "123", ":1", "main:", "main:x", "main:1_", "revoked"] {
            assert!(wrong.parse::<JobKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_found_wherever_they_stand() {
        let (one, other) = (Token::from_bits(1), Token::from_bits(u128::MAX));
        let text = format!(
            "site-42-tty.1.{one}-gpu tyty{other}ty TYaaaaaaaaaaaaaaaaaaaa tyé{}",
            "a".repeat(20)
        );
        let found: Vec<&str> = Token::all_in(&text)
            .filter(|word| [&one, &other].iter().any(|token| token.as_str() == *word))
            .collect();
        assert_eq!(found, [one.as_str(), other.as_str()]);
        assert!(Token::all_in(&text).all(|word| word.parse::<Token>().is_ok()));
        assert_eq!(Token::all_in("ty").count() + Token::all_in("").count(), 0);
    }
}
