//! The state directory: everything of one personal daemon, found from its path alone.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// `~/.local/state/trainyard`, unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// Why a directory cannot hold the state.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("cannot make the state directory {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot look at the state directory {}", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("the state directory {} belongs to somebody else (user id {owner})", path.display())]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("cannot write in the state directory {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

const OWNER_ONLY: u32 = 0o700;

impl StateDir {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn database(&self) -> PathBuf {
        self.0.join("trainyard.db")
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("daemon.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("daemon.log")
    }

    pub fn lock(&self) -> PathBuf {
        self.0.join("daemon.lock")
    }

    pub fn lease(&self) -> PathBuf {
        self.0.join("lease.json")
    }

    /// What each machine found of a cluster that no site file describes: a home is shared by several.
    pub fn found_sites(&self) -> PathBuf {
        self.0.join("found-site")
    }

    /// Makes the directory for its owner alone, or checks that it is so, and that it can be written.
    pub fn prepare(&self, uid: u32) -> Result<(), StateDirError> {
        let path = || self.0.clone();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY)
            .create(&self.0)
            .map_err(|source| StateDirError::Make { path: path(), source })?;
        let meta =
            self.0.metadata().map_err(|source| StateDirError::Look { path: path(), source })?;
        if meta.uid() != uid {
            return Err(StateDirError::NotOurs { path: path(), owner: meta.uid() });
        }
        if meta.mode() & 0o077 != 0 {
            let closed = std::fs::Permissions::from_mode(OWNER_ONLY);
            std::fs::set_permissions(&self.0, closed)
                .map_err(|source| StateDirError::Write { path: path(), source })?;
        }
        // Said here, a full or read-only disk is one clear sentence instead of an error of the database.
        let probe = tempfile::NamedTempFile::new_in(&self.0);
        let written = probe.and_then(|mut probe| probe.as_file_mut().write_all(&[0; 4096]));
        written.map_err(|source| StateDirError::Write { path: path(), source })
    }
}
