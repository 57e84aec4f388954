//! What a run was given, as it was when it was submitted: recorded with the run, enough to submit it again.

use serde::{Deserialize, Serialize};

use crate::domain::dataset::Snapshot;
use crate::domain::request::SpecRequest;
use crate::domain::requirements::CapturedRequirements;

/// The inputs of one run. Records from before a field have none of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Inputs {
    /// What was asked, word for word but for secrets.
    #[serde(default)]
    pub request: Option<SpecRequest>,
    /// The code that was captured.
    #[serde(default)]
    pub code: Option<CapturedCode>,
    /// The data, as it was: one for each dataset of the spec.
    #[serde(default)]
    pub datasets: Vec<Snapshot>,
    /// The run that this one repeats.
    #[serde(default)]
    pub rerun_of: Option<i64>,
    /// The requirements that were captured.
    #[serde(default)]
    pub requirements: Option<CapturedRequirements>,
}

/// What the store of a run root keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// A captured tree.
    Code,
    /// An environment that was built of requirements.
    Environment,
    /// What is known of files that were captured before: without it they are read again.
    Index,
    /// Of somebody who was ended in the middle of writing.
    Leftover,
}

impl Stored {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Environment => "environment",
            Self::Index => "index",
            Self::Leftover => "leftover",
        }
    }
}

/// A tree of code in the store. The digest alone says what is in it; the rest says where that came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapturedCode {
    pub digest: CodeDigest,
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
    /// The names that `work/` links to.
    pub top: Vec<String>,
    /// The state of the git work tree that it was taken from.
    pub git: Option<GitState>,
}

/// Of names, kinds and contents of a tree of code: 64 hexadecimal digits of BLAKE3.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct CodeDigest(#[schemars(regex(pattern = "^[0-9a-f]{64}$"))] String);

impl CodeDigest {
    pub fn of(hash: blake3::Hash) -> Self {
        Self(hash.to_hex().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CodeDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<CodeDigest> for String {
    fn from(digest: CodeDigest) -> Self {
        digest.0
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest of code is 64 hexadecimal digits")]
pub struct NoDigest;

impl TryFrom<String> for CodeDigest {
    type Error = NoDigest;

    /// It becomes the name of a file, so nothing else passes.
    fn try_from(text: String) -> Result<Self, NoDigest> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fine = text.len() == 64 && text.bytes().all(is_digit);
        if fine { Ok(Self(text)) } else { Err(NoDigest) }
    }
}

/// Where a git work tree stood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GitState {
    /// None before the first commit.
    pub commit: Option<String>,
    /// None where no branch is checked out.
    pub branch: Option<String>,
    /// Without the password that it may hold.
    pub remote: Option<String>,
    /// What differed from the commit; none when nothing did.
    pub changes: Option<GitChanges>,
}

/// What a work tree had beside its commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GitChanges {
    /// Of the patch and of the files that git did not know.
    pub digest: String,
    /// Tracked files that were changed, added or removed.
    pub modified: u64,
    /// Files that git did not know and does not ignore.
    pub untracked: u64,
    /// Why the run directory has no `code.patch`, where it has none.
    pub no_patch: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_a_digest() {
        let good = blake3::hash(b"").to_hex().to_string();
        assert_eq!(CodeDigest::try_from(good.clone()).map(String::from), Ok(good.clone()));
        for bad in ["", "..", "../../etc/passwd", &good.to_uppercase(), &good[1..]] {
            assert_eq!(CodeDigest::try_from(bad.to_owned()), Err(NoDigest), "{bad}");
        }
    }
}
