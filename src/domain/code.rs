//! Where a run's code is taken from: a directory, an archive, or an archive at an address.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::problem::Place;

/// What is to be captured, as a spec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Where the spec says so.
    pub place: Option<Place>,
    pub source: CodeSource,
    /// Globs of what is taken although git ignores it, or `exclude` leaves it out.
    pub include: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
    /// The program of the code that is to be started, and where the spec says so.
    pub entry_point: Option<(String, Option<Place>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeSource {
    Directory(PathBuf),
    Archive { path: PathBuf, digest: Option<ArchiveDigest> },
    Address { url: ArchiveUrl, digest: Option<ArchiveDigest> },
}

/// What kind of source it was: recorded, and without what is secret in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    #[default]
    Directory,
    Archive,
    Address,
}

impl CodeSource {
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Directory(_) => SourceKind::Directory,
            Self::Archive { .. } => SourceKind::Archive,
            Self::Address { .. } => SourceKind::Address,
        }
    }
}

/// Whether a path names an archive by its ending.
pub fn is_archive(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".tar.gz", ".tgz", ".zip"].iter().any(|ending| lower.ends_with(ending))
}

/// What an archive as a whole must hash to: `sha256:HEX` or `blake3:HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveDigest {
    pub algorithm: Algorithm,
    /// 64 hexadecimal digits, in lower case.
    pub hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Blake3,
}

impl fmt::Display for ArchiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Blake3 => "blake3",
        };
        write!(f, "{algorithm}:{}", self.hex)
    }
}

impl ArchiveDigest {
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once(':')?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "blake3" => Algorithm::Blake3,
            _ => return None,
        };
        let hex = hex.to_ascii_lowercase();
        let fine = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        fine.then_some(Self { algorithm, hex })
    }
}

/// The address of an archive. Its query may be a signature, its user part a password: both are secret, and it is shown
/// without them.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchiveUrl(String);

/// Why a text is no address that code is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("only http:// and https:// addresses are supported")]
    Scheme,
    #[error("the address names no host")]
    Host,
    #[error("the address has white space or a control character")]
    Character,
}

impl ArchiveUrl {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(UrlError::Scheme);
        }
        let host = authority(rest).rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return Err(UrlError::Host);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whole, for the request alone.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

impl fmt::Display for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.0))
    }
}

impl fmt::Debug for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address of any scheme without what may be secret: its query, and what stands before the host, which may be a
/// password or a token. What is no address is left as it is.
pub fn without_secrets(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let authority = authority(rest);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = rest.get(authority.len()..).unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let check = |text: &str, shown: &str| {
            let url = ArchiveUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
            assert_eq!(url.secret(), text);
        };
        check("https://h.org/a/b.tgz?sig=abc&x=1#f", "https://h.org/a/b.tgz");
        check("http://me:pw@h.org:8080/c.zip", "http://h.org:8080/c.zip");
        check("https://h.org?x=/secret", "https://h.org");
        check("HTTPS://a@b@h/x", "HTTPS://h/x");
        for (text, why) in [
            ("ftp://h/x", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("https:/h", UrlError::Scheme),
            ("https://", UrlError::Host),
            ("https://me@/x", UrlError::Host),
            ("https://:80/x", UrlError::Host),
            ("https://h/a b", UrlError::Character),
            ("https://h/\r\nHost: x", UrlError::Character),
        ] {
            assert_eq!(ArchiveUrl::parse(text), Err(why), "{text}");
        }
        for (address, shown) in [
            ("https://me:token@h.org/x.git", "https://h.org/x.git"),
            ("ssh://me:pw@h.org:22/x.git", "ssh://h.org:22/x.git"),
            ("https://me:t oken@h.org/x.git", "https://h.org/x.git"),
            ("file:///srv/x.git", "file:///srv/x.git"),
            ("git@h.org:me/x.git", "git@h.org:me/x.git"),
            ("../x.git", "../x.git"),
        ] {
            assert_eq!(without_secrets(address), shown);
        }
    }

    #[test]
    fn a_digest_names_its_algorithm() {
        let hex = "a".repeat(64);
        let digest = ArchiveDigest::parse(&format!("sha256:{}", hex.to_uppercase())).unwrap();
        assert_eq!(digest.to_string(), format!("sha256:{hex}"));
        for bad in [hex.as_str(), "md5:abc", "sha256:", &format!("blake3:{}", "g".repeat(64))] {
            assert_eq!(ArchiveDigest::parse(bad), None, "{bad}");
        }
        assert!(is_archive("x.TGZ") && is_archive("/a/b.tar.gz") && !is_archive("x.tar"));
    }
}
