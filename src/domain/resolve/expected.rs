//! What the caller has to look for in a file system.

use std::path::PathBuf;

use crate::domain::problem::Place;

/// Something a file system must show before the run can be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    pub place: Option<Place>,
    pub what: Expected,
    pub path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A directory of code.
    CodeDirectory,
    /// An archive of code.
    CodeArchive,
    /// A program of the code.
    EntryPoint,
    /// A virtual environment with `bin/activate`.
    Venv,
    /// A pip requirements file that can be captured.
    Requirements,
    /// A container image: a file or a directory.
    Image,
    /// A container image that can only be a file.
    ImageFile,
    /// A dataset that can be seen from here.
    Dataset,
    /// A dataset that may be on the nodes alone.
    DatasetOfNodes,
    /// A file of secrets, its owner's alone.
    Secrets,
    /// A directory that checkpoints are moved to.
    Archive,
}

impl Expected {
    /// Whether it is where code is taken from.
    pub fn is_of_code(self) -> bool {
        match self {
            Self::CodeDirectory | Self::CodeArchive | Self::EntryPoint => true,
            Self::Venv
            | Self::Requirements
            | Self::Image
            | Self::ImageFile
            | Self::Dataset
            | Self::DatasetOfNodes
            | Self::Secrets
            | Self::Archive => false,
        }
    }
}
