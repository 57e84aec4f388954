//! The directory of one local job, `STATE_DIR/local/ID`: what was ordered, what became of it, and what is asked of it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::ids::SubmissionId;
use crate::files::durable;
use crate::local::order::Order;
use crate::local::record::Record;

/// An order carries an environment, which the kernel limits to less.
const FILE_BYTES_MAX: u64 = 8 << 20;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The files of one local job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool(PathBuf);

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("cannot make the spool of a local job")]
    Make(#[source] io::Error),
    #[error("cannot read the spool of a local job")]
    Read(#[source] io::Error),
    #[error("{} is not what Trainyard writes", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("cannot express {} as JSON", path.display())]
    Express { path: PathBuf, source: serde_json::Error },
    #[error("cannot write into the spool of a local job")]
    Write(#[source] io::Error),
    #[error("cannot remove the spool of a local job")]
    Remove(#[source] io::Error),
}

impl Spool {
    pub fn of(state_dir: &Path, submission: SubmissionId) -> Self {
        Self(state_dir.join("local").join(submission.to_string()))
    }

    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// What the supervisor is to do.
    pub fn order_file(&self) -> PathBuf {
        self.0.join("order.json")
    }

    /// What the supervisor did.
    pub fn record_file(&self) -> PathBuf {
        self.0.join("job.json")
    }

    /// Asks the job to end.
    pub fn cancel_file(&self) -> PathBuf {
        self.0.join("cancel")
    }

    /// Asks the job to end without grace.
    pub fn cancel_now_file(&self) -> PathBuf {
        self.0.join("cancel-now")
    }

    /// Why a supervisor gave up; it has nobody to tell.
    pub fn trouble_file(&self) -> PathBuf {
        self.0.join("trouble.txt")
    }

    /// Whether it was removed, as opposed to being out of reach.
    pub(super) fn is_gone(&self) -> bool {
        self.0.try_exists().is_ok_and(|exists| !exists)
    }

    /// Makes the directory; `false` when there is one of that name.
    pub(super) fn make(&self) -> Result<bool, SpoolError> {
        if let Some(above) = self.0.parent() {
            durable::create_dir_all(above, DIRECTORY_MODE).map_err(SpoolError::Make)?;
        }
        match durable::create_dir(&self.0, DIRECTORY_MODE) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(SpoolError::Make(error)),
        }
    }

    pub fn order(&self) -> Result<Option<Order>, SpoolError> {
        read(&self.order_file())
    }

    pub fn record(&self) -> Result<Option<Record>, SpoolError> {
        read(&self.record_file())
    }

    pub(super) fn write_order(&self, order: &Order) -> Result<(), SpoolError> {
        let path = self.order_file();
        durable::write(&path, &json(&path, order)?, FILE_MODE).map_err(SpoolError::Write)
    }

    /// Writes the first record; `false` when there is one: of several supervisors one wins, for ever.
    pub(super) fn create_record(&self, record: &Record) -> Result<bool, SpoolError> {
        let path = self.record_file();
        match durable::create(&path, &json(&path, record)?, FILE_MODE) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(SpoolError::Write(error)),
        }
    }

    pub(super) fn replace_record(&self, record: &Record) -> Result<(), SpoolError> {
        let path = self.record_file();
        durable::write(&path, &json(&path, record)?, FILE_MODE).map_err(SpoolError::Write)
    }

    /// Leaves word that the job is to end; `false` when there is no spool any more.
    pub(super) fn ask_to_end(&self, grace: bool) -> Result<bool, SpoolError> {
        let file = if grace { self.cancel_file() } else { self.cancel_now_file() };
        match fs_err::write(file, "") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(SpoolError::Write(error)),
        }
    }

    pub(super) fn is_asked_to_end(&self) -> bool {
        self.cancel_file().exists() || self.is_asked_to_end_now()
    }

    pub(super) fn is_asked_to_end_now(&self) -> bool {
        self.cancel_now_file().exists()
    }

    pub(super) fn remove(&self) -> Result<(), SpoolError> {
        match fs_err::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SpoolError::Remove(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, SpoolError> {
    serde_json::to_vec_pretty(value)
        .map_err(|source| SpoolError::Express { path: path.to_owned(), source })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, SpoolError> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SpoolError::Read(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(SpoolError::Read)?;
    let parse = |source| SpoolError::Parse { path: path.to_owned(), source };
    serde_json::from_slice(&bytes).map(Some).map_err(parse)
}
