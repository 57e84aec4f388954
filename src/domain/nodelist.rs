//! Slurm's short spelling of node names, `n[1-3,05-07],gpu1`, spelt out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::ids::NotAn;

/// Names that one list may come to; the largest machines have some ten thousand nodes.
pub const NODES_MAX: usize = 65_536;

/// Bytes of one name: names of hosts have no more. With [`NODES_MAX`] it bounds what a list comes to.
pub const NAME_BYTES_MAX: usize = 255;

/// The name of one node: what may stand on a command line, and in a list beside others, and stays one name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NotAn;

    fn from_str(text: &str) -> Result<Self, NotAn> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fine = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= NAME_BYTES_MAX
            && text.chars().all(is_plain);
        if fine { Ok(Self(text.to_owned())) } else { Err(NotAn::new("name of a node", text)) }
    }
}

impl TryFrom<String> for NodeName {
    type Error = NotAn;

    fn try_from(text: String) -> Result<Self, NotAn> {
        text.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names beside one another, with this between them.
pub fn joined<'a>(names: impl IntoIterator<Item = &'a NodeName>, between: &str) -> String {
    let names: Vec<&str> = names.into_iter().map(NodeName::as_str).collect();
    names.join(between)
}

/// Why a list cannot be spelt out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeListError {
    #[error("no list of node names")]
    Malformed,
    #[error("a list of more than {NODES_MAX} node names")]
    TooLong,
}

/// The names in the order of the list. Slurm's words for none give none.
pub fn expand(text: &str) -> Result<Vec<String>, NodeListError> {
    let text = text.trim();
    if matches!(text, "" | "(null)" | "None" | "None assigned" | "n/a" | "N/A" | "Unknown") {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for part in top_level(text)? {
        names.extend(expand_part(part, NODES_MAX - names.len())?);
    }
    Ok(names)
}

/// Splits at the commas outside brackets.
fn top_level(text: &str) -> Result<Vec<&str>, NodeListError> {
    let mut parts = Vec::new();
    let (mut from, mut inside) = (0, false);
    for (at, character) in text.char_indices() {
        match (character, inside) {
            ('[', false) => inside = true,
            (']', true) => inside = false,
            ('[', true) | (']', false) => return Err(NodeListError::Malformed),
            (',', false) => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    let fine = !inside && parts.iter().all(|part| !part.is_empty());
    if fine { Ok(parts) } else { Err(NodeListError::Malformed) }
}

/// Spells out one part, which may have several brackets: `r[1-2]n[1-4]-ib`.
fn expand_part(part: &str, room: usize) -> Result<Vec<String>, NodeListError> {
    if part.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(NodeListError::Malformed);
    }
    let mut names = vec![String::new()];
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('[') {
        let (inner, after) = after.split_once(']').ok_or(NodeListError::Malformed)?;
        let numbers = numbers(inner, room)?;
        if names.len().saturating_mul(numbers.len()) > room {
            return Err(NodeListError::TooLong);
        }
        // All names of a part are about as long; a longer one would only be copied on and on.
        if names.iter().any(|name| name.len() + before.len() > NAME_BYTES_MAX) {
            return Err(NodeListError::Malformed);
        }
        names = names
            .iter()
            .flat_map(|name| numbers.iter().map(move |number| format!("{name}{before}{number}")))
            .collect();
        rest = after;
    }
    if names.len() > room {
        return Err(NodeListError::TooLong);
    }
    if names.iter().any(|name| name.len() + rest.len() > NAME_BYTES_MAX) {
        return Err(NodeListError::Malformed);
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

/// `1-3,05-07` as its numbers, as wide as the first of each range is written.
fn numbers(inner: &str, room: usize) -> Result<Vec<String>, NodeListError> {
    /// Digits of a node's number; more is no number of a node.
    const DIGITS_MAX: usize = 12;
    let number = |text: &str| -> Result<u64, NodeListError> {
        let digits =
            (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().ok_or(NodeListError::Malformed)
    };
    let mut all = Vec::new();
    for range in inner.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (from, to, width) = (number(first)?, number(last)?, first.len());
        if to < from {
            return Err(NodeListError::Malformed);
        }
        let count = usize::try_from(to - from).unwrap_or(usize::MAX).saturating_add(1);
        if count > room.saturating_sub(all.len()) {
            return Err(NodeListError::TooLong);
        }
        all.extend((from..=to).map(|number| format!("{number:0width$}")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(expand(text).map(|names| names.join(" ")), Ok(expected.to_owned()), "{text}");
    }

    #[test]
    fn a_name_stays_one_name() {
        for fine in ["n1", "gpu-07.cluster", "r1_n2", "7"] {
            assert_eq!(fine.parse::<NodeName>().map(String::from), Ok(fine.to_owned()));
        }
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for wrong in ["", "-n1", "n1,n2", "n[1-2]", "n 1", "n1\n", "n1=", "$(x)", "né", &long] {
            assert!(wrong.parse::<NodeName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_spelt_out_in_order() {
        check("n1", "n1");
        check("n[1-3,05-07],gpu1", "n1 n2 n3 n05 n06 n07 gpu1");
        check("n[1-2],n[5]", "n1 n2 n5");
        check("n[098-101]", "n098 n099 n100 n101");
        check("r[1-2]n[1-2]-ib", "r1n1-ib r1n2-ib r2n1-ib r2n2-ib");
        check("cn-0[01-02].cluster", "cn-001.cluster cn-002.cluster");
    }

    #[test]
    fn slurms_words_for_none_give_none() {
        for text in ["", "(null)", "None assigned", "N/A", " "] {
            check(text, "");
        }
    }

    #[test]
    fn what_is_no_list_is_told() {
        for text in [
            "n[1-3",
            "n1-3]",
            "n[3-1]",
            "n[a-b]",
            "n[]",
            "n[1-]",
            "n1,,n2",
            ",n1",
            "n[1,[2]]",
            "a b",
            "n[1234567890123]",
            "n\u{1b}1",
            &format!("{}[1-65536]", "n".repeat(NAME_BYTES_MAX + 1)),
            &format!("[1-65536]{}", "n".repeat(NAME_BYTES_MAX)),
            &"n[1]".repeat(100_000),
        ] {
            assert_eq!(expand(text), Err(NodeListError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_list_has_an_end() {
        assert_eq!(expand("n[1-65536]").map(|names| names.len()), Ok(NODES_MAX));
        for text in ["n[1-65537]", "n[1-65536],x", "n[1-999999999999]", "a[1-300]b[1-300]"] {
            assert_eq!(expand(text), Err(NodeListError::TooLong), "{text}");
        }
    }
}
