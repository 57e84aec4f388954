//! Archives that were captured before: one whose tree is kept is not unpacked again, and one that looks as it did is not
//! read either.
//!
//! What is read is a copy that nobody else has: an archive may be written to at any time.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::domain::inputs::CodeDigest;
use crate::domain::tree::BYTES_MAX;
use crate::domain::units::Bytes;
use crate::hands::code::index::{Index, Look, time_at};
use crate::hands::code::listing::refused;
use crate::hands::code::store::CodeStore;

/// An archive as it is now.
pub(super) struct Seen {
    pub hash: blake3::Hash,
    pub file: File,
    /// Whether the file is a copy; else it looks as it did when it had that hash.
    pub is_copy: bool,
}

/// What an index says of the one archive that it is about.
const NAME: &str = "archive";

/// Looks at an archive; it is copied only where it does not look as it did.
pub(super) fn see(store: &CodeStore, path: &Path) -> io::Result<Seen> {
    let place = index(store, path);
    let file = File::open(path)?;
    let look = Look::of(&file.metadata()?);
    if let Some(hash) = Index::read(&place).hash_of(NAME, &look) {
        return Ok(Seen { hash, file, is_copy: false });
    }
    let now = time_at(&store.root)?;
    let copied = copy(store, &file)?;
    if Look::of(&file.metadata()?) == look {
        Index::write(&place, [(NAME, look, copied.hash)].into_iter(), now);
    }
    Ok(copied)
}

pub(super) fn index(store: &CodeStore, path: &Path) -> PathBuf {
    store.index(&blake3::hash(format!("{NAME} {}", path.display()).as_bytes()))
}

/// Copies an archive from where it stands.
pub(super) fn copy(store: &CodeStore, mut from: &File) -> io::Result<Seen> {
    let mut file = tempfile::tempfile_in(&store.root)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let part = buffer.get(..read).unwrap_or(&buffer);
        hasher.update(part);
        if hasher.count() > BYTES_MAX {
            return Err(refused(format!("it is larger than {}", Bytes(BYTES_MAX))));
        }
        file.write_all(part)?;
    }
    file.rewind()?;
    Ok(Seen { hash: hasher.finalize(), file, is_copy: true })
}

/// The tree that a note leads to, if it is kept. It is used from now on.
pub(super) fn tree(store: &CodeStore, note: &Path) -> io::Result<Option<CodeDigest>> {
    let text = std::fs::read_to_string(note).unwrap_or_default();
    let Ok(digest) = CodeDigest::try_from(text) else { return Ok(None) };
    Ok(store.take(&digest)?.then_some(digest))
}
