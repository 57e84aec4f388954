//! Reading a spec file, and verifying what it expects of the file system.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::domain::document::DOCUMENT_BYTES_MAX;
use crate::domain::problem::Problem;
use crate::domain::request::{Change, SpecRequest};
use crate::domain::resolve::{Expectation, Expected};
use crate::domain::sweep::POINTS_FILE_BYTES_MAX;
use crate::domain::units::Bytes;
use crate::files::requirements::capture_requirements;
use crate::files::secrets::read_secrets;

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
    let file = path.display().to_string();
    let request = SpecRequest { file, text, base, stem, changes, points: None, point: None };
    let points = request.points_file().map(|named| read_points(&request.base.join(named)));
    Ok(SpecRequest { points, ..request })
}

/// The same, of a spec that somebody else may name: a pipe would be waited for.
pub fn read_spec_file(path: &Path, changes: Vec<Change>) -> Result<SpecRequest, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is no regular file")));
    }
    read_spec(path, Path::new("/"), changes)
}

/// The text of a file of points, or why it cannot be read.
fn read_points(path: &Path) -> Result<String, String> {
    let limit = u64::try_from(POINTS_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > POINTS_FILE_BYTES_MAX {
        return Err(format!("it is larger than {}", Bytes(limit)));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
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
    const BESIDE: &str = "relative paths start at the spec's own file";
    let path = &expectation.path;
    let shown = path.display();
    let there = path.exists();
    let (fine, message, help) = match expectation.what {
        Expected::CodeDirectory if there => {
            (path.is_dir(), format!("the code's directory is a file: {shown}"), BESIDE)
        }
        Expected::CodeDirectory => (false, format!("there is no directory {shown}"), BESIDE),
        Expected::CodeArchive if there => {
            (path.is_file(), format!("the archive of code is no file: {shown}"), BESIDE)
        }
        Expected::CodeArchive => (false, format!("there is no file {shown}"), BESIDE),
        Expected::EntryPoint => {
            let message = if there {
                format!("the entry point is no file: {shown}")
            } else {
                format!("there is no file {shown}")
            };
            let help = "write it, or name another: it is relative to `code.path`, which is relative to the spec's own file";
            (path.is_file(), message, help)
        }
        Expected::Venv if there => {
            let message = format!("{shown} is no virtual environment: it has no bin/activate");
            (path.join("bin/activate").is_file(), message, BESIDE)
        }
        Expected::Venv => (false, format!("there is no virtual environment {shown}"), BESIDE),
        Expected::Image => (there, format!("there is no container image {shown}"), BESIDE),
        Expected::ImageFile if there => {
            (path.is_file(), format!("the container image {shown} is no file"), BESIDE)
        }
        Expected::ImageFile => (false, format!("there is no container image {shown}"), BESIDE),
        Expected::Secrets => {
            let fault = read_secrets(path).err()?;
            let message = format!("the secrets in {shown} cannot be taken: {fault}");
            return Some(Problem::new(expectation.place, message).help(fault.help(path)));
        }
        Expected::Dataset => {
            let help = "relative paths start at the spec's own file; `trainyard dataset list` shows the site's";
            (there, format!("there is no dataset {shown}"), help)
        }
        // Where its directory is here, it would be here too; else only the nodes may have what it lies on.
        Expected::DatasetOfNodes => {
            let help = "its directory is here and has nothing of that name; `trainyard dataset list` shows the site's";
            (there || !has_directory(path), format!("there is no dataset {shown}"), help)
        }
        Expected::Archive => {
            let help =
                "make it first: a file system that is not mounted is told from an empty one by it";
            (path.is_dir(), format!("there is no archive directory {shown}"), help)
        }
        Expected::Requirements => {
            let wrong = capture_requirements(path).err()?;
            return Some(Problem::new(expectation.place, wrong).help(BESIDE));
        }
    };
    (!fine).then(|| Problem::new(expectation.place, message).help(help))
}

/// Whether a path's directory is here. The root says nothing: what is mounted on it differs from node to node.
fn has_directory(path: &Path) -> bool {
    path.parent().is_some_and(|above| above != Path::new("/") && above.is_dir())
}
