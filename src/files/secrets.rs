//! A user's file of secrets: theirs alone, and read as it is.

use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::domain::secrets::{SECRETS_BYTES_MAX, Secrets, SecretsError};

/// Why secrets are not taken from a file.
#[derive(Debug, thiserror::Error)]
pub enum SecretsFault {
    #[error("cannot open it: {0}")]
    Open(#[source] io::Error),
    #[error("it is no file")]
    NoFile,
    #[error("it belongs to somebody else (uid {0})")]
    Foreign(u32),
    #[error("others may read it: its mode is {0:04o}")]
    Shared(u32),
    #[error("{0}")]
    Text(#[source] SecretsError),
}

impl SecretsFault {
    /// What to do about it.
    pub fn help(&self, path: &Path) -> String {
        let shown = path.display();
        match self {
            Self::Open(_) | Self::NoFile => {
                "write a file of NAME=VALUE lines there, with mode 0600; relative paths start at the spec's own file"
                    .into()
            }
            Self::Foreign(_) => "secrets are taken from your own files only: make a copy of it".into(),
            Self::Shared(_) => format!("chmod 600 '{shown}'"),
            Self::Text(_) => {
                "a line is NAME=VALUE, NAME='VALUE' or NAME=\"VALUE\", as bash takes them, or a comment after `#`"
                    .into()
            }
        }
    }
}

/// Reads secrets. The file that was opened is the one that is judged; a link may lead to it.
pub fn read_secrets(path: &Path) -> Result<Secrets, SecretsFault> {
    // What a pipe or a device would do is not waited for.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(SecretsFault::Open)?;
    let metadata = file.metadata().map_err(SecretsFault::Open)?;
    if !metadata.is_file() {
        return Err(SecretsFault::NoFile);
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(SecretsFault::Foreign(metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretsFault::Shared(mode));
    }
    let mut bytes = Vec::new();
    // One byte more, so that the excess is noticed.
    let limit = u64::try_from(SECRETS_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(SecretsFault::Open)?;
    Secrets::parse(&bytes).map_err(SecretsFault::Text)
}
