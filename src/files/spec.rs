//! Reading a spec file, and verifying what it expects of the file system.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::domain::document::DOCUMENT_BYTES_MAX;
use crate::domain::problem::Problem;
use crate::domain::request::{Change, SpecRequest};
use crate::domain::resolve::{Expectation, Expected};

/// Why a file of configuration could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not UTF-8 text", path.display())]
    NotText { path: PathBuf },
}

/// Reads a text file, at most as much as a document may have and one byte more, so that the excess is noticed.
pub(super) fn read_text(path: &Path) -> Result<String, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| LoadError::NotText { path: path.to_owned() })
}

/// Reads the spec at `path`, as seen from the working directory `from`.
pub fn read_spec(path: &Path, from: &Path, changes: Vec<Change>) -> Result<SpecRequest, LoadError> {
    let absolute = from.join(path);
    let text = read_text(&absolute).map_err(|error| match error {
        LoadError::Read { source, .. } => LoadError::Read { path: path.to_owned(), source },
        other @ LoadError::NotText { .. } => other,
    })?;
    let base = absolute.parent().map_or_else(|| from.to_owned(), Path::to_owned);
    let base = base.canonicalize().unwrap_or(base);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(SpecRequest { file: path.display().to_string(), text, base, stem, changes })
}

/// Looks whether the file system has what a spec expects of it.
pub fn verify(expectations: &[Expectation]) -> Vec<Problem> {
    let missing: Vec<&Path> = expectations
        .iter()
        .filter(|expected| expected.what == Expected::CodeDirectory && !expected.path.is_dir())
        .map(|expected| expected.path.as_path())
        .collect();
    // What would lie in a directory that is missing is not missed by itself: one mistake is one problem.
    let is_inside = |expected: &Expectation| {
        expected.what == Expected::EntryPoint
            && missing.iter().any(|directory| expected.path.starts_with(directory))
    };
    expectations.iter().filter(|expected| !is_inside(expected)).filter_map(verify_one).collect()
}

fn verify_one(expectation: &Expectation) -> Option<Problem> {
    let path = &expectation.path;
    let shown = path.display();
    let fine = match expectation.what {
        Expected::CodeDirectory => path.is_dir(),
        Expected::EntryPoint | Expected::CodeArchive => path.is_file(),
        Expected::Venv => path.join("bin/activate").is_file(),
        Expected::Dataset => path.exists(),
        // Where its directory is here, it would be here too; else only the nodes may have what it lies on.
        Expected::DatasetOfNodes => path.exists() || !has_directory(path),
    };
    if fine {
        return None;
    }
    let message = match expectation.what {
        Expected::CodeDirectory if path.exists() => {
            format!("the code's directory is a file: {shown}")
        }
        Expected::CodeDirectory => format!("there is no directory {shown}"),
        Expected::CodeArchive if path.exists() => {
            format!("the archive of code is no file: {shown}")
        }
        Expected::CodeArchive => format!("there is no file {shown}"),
        Expected::EntryPoint if path.exists() => format!("the entry point is no file: {shown}"),
        Expected::EntryPoint => format!("there is no file {shown}"),
        Expected::Venv if path.exists() => {
            format!("{shown} is no virtual environment: it has no bin/activate")
        }
        Expected::Venv => format!("there is no virtual environment {shown}"),
        Expected::Dataset | Expected::DatasetOfNodes => format!("there is no dataset {shown}"),
    };
    let problem = Problem::new(expectation.place, message);
    let help = match expectation.what {
        Expected::EntryPoint => {
            "write it, or name another: it is relative to `code.path`, which is relative to the spec's own file"
        }
        Expected::CodeDirectory | Expected::CodeArchive | Expected::Venv => {
            "relative paths start at the spec's own file"
        }
        Expected::Dataset => {
            "relative paths start at the spec's own file; `trainyard dataset list` shows the site's"
        }
        Expected::DatasetOfNodes => {
            "its directory is here and has nothing of that name; `trainyard dataset list` shows the site's"
        }
    };
    Some(problem.help(help))
}

/// Whether a path's directory is here. The root says nothing: what is mounted on it differs from node to node.
fn has_directory(path: &Path) -> bool {
    path.parent().is_some_and(|above| above != Path::new("/") && above.is_dir())
}
