//! Unpacking an archive that somebody else made: `.tar.gz`, `.tgz` or `.zip`.
//!
//! Nothing in it is trusted. It is unpacked into a new directory, entry by entry, and refused whole, with the entry named,
//! when one would be written somewhere else (an absolute path, `..`, below a link, a link that leaves the tree), is no file,
//! directory or link, comes twice, or when it is much larger than it looks.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::domain::code::{Algorithm, ArchiveDigest};
use crate::domain::tree::{self, BYTES_MAX, ENTRIES_MAX, check_path, stays_inside};
use crate::domain::units::Bytes;
use crate::hands::code::listing::refused;
use crate::hands::code::store::{NEW, hexadecimal};

/// What deflate can do with honest code is far below; a bomb is far above.
const RATIO_MAX: u64 = 200;
/// Archives that unpack to less than this do no harm whatever their ratio.
const HARMLESS_BYTES: u64 = 16 << 20;
/// Headers, names and targets of one entry. Their sizes are in the archive too, and they are read into memory.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Longer targets of links are none.
const LINK_BYTES_MAX: u64 = 4096;

#[cfg(test)]
thread_local! {
    /// How many archives this thread unpacked.
    pub(super) static UNPACKED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Unpacks an archive into a new directory beside what is kept.
pub(super) fn unpack(mut file: &File, beside: &Path) -> io::Result<TempDir> {
    #[cfg(test)]
    UNPACKED.set(UNPACKED.get() + 1);
    let packed = file.metadata()?.len();
    let unpacked = tempfile::Builder::new().prefix(NEW).tempdir_in(beside)?;
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    let mut tree = Unpacking::new(unpacked.path(), packed);
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => tree.tar(file)?,
        [b'P', b'K', 3 | 5, 4 | 6] => tree.zip(file)?,
        _ => return Err(refused("it is neither a gzip-compressed tar archive nor a zip archive")),
    }
    Ok(unpacked)
}

/// The BLAKE3 of an archive.
pub(super) fn hash(mut file: &File) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    file.rewind()?;
    hasher.update_reader(file)?;
    file.rewind()?;
    Ok(hasher.finalize())
}

/// Compares an archive with the digest that it is to have; its BLAKE3 is known already.
pub(super) fn check_digest(
    mut file: &File,
    hash: blake3::Hash,
    digest: &ArchiveDigest,
) -> io::Result<()> {
    let found = match digest.algorithm {
        Algorithm::Sha256 => {
            let mut sum = Sha256::new();
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => sum.update(buffer.get(..read).unwrap_or(&buffer)),
                }
            }
            file.rewind()?;
            hexadecimal(sum)
        }
        Algorithm::Blake3 => hash.to_hex().to_string(),
    };
    if found == digest.hex {
        return Ok(());
    }
    let found = ArchiveDigest { algorithm: digest.algorithm, hex: found };
    Err(refused(format!("it is not the archive that is meant: it has {found}, not {digest}")))
}

/// What an entry is, as both kinds of archive say it.
enum Content<'a> {
    Directory,
    Link(String),
    File { executable: bool, text: &'a mut dyn Read },
    Other(&'static str),
}

/// A text of which only so much may be read as is left.
struct Metered<'a, R> {
    text: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(refused(format!(
                "the names of an entry take more than {HEADER_BYTES_MAX} bytes"
            )));
        }
        let most =
            usize::try_from(self.left.get()).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.text.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

struct Unpacking<'a> {
    root: &'a Path,
    /// Of the archive itself.
    packed: u64,
    /// What was made, and whether one may look below it.
    made: BTreeMap<String, bool>,
    bytes: u64,
}

impl<'a> Unpacking<'a> {
    fn new(root: &'a Path, packed: u64) -> Self {
        Self { root, packed, made: BTreeMap::new(), bytes: 0 }
    }

    fn tar(&mut self, file: &File) -> io::Result<()> {
        let left = Cell::new(HEADER_BYTES_MAX);
        let text = MultiGzDecoder::new(BufReader::new(file));
        let mut archive = tar::Archive::new(Metered { text, left: &left });
        let broken = |error: io::Error| refused(format!("it is damaged: {error}"));
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            left.set(u64::MAX);
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
            let target = entry
                .link_name_bytes()
                .map(|target| String::from_utf8_lossy(&target).into_owned())
                .unwrap_or_default();
            let content = if kind.is_dir() {
                Content::Directory
            } else if kind.is_symlink() {
                Content::Link(target)
            } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                Content::File { executable, text: &mut entry }
            } else if kind.is_pax_global_extensions() {
                left.set(HEADER_BYTES_MAX);
                continue;
            } else {
                Content::Other(if kind.is_hard_link() { "a hard link" } else { "a device or pipe" })
            };
            self.add(&name, content)?;
            left.set(HEADER_BYTES_MAX);
        }
        Ok(())
    }

    fn zip(&mut self, file: &File) -> io::Result<()> {
        let broken = |error: zip::result::ZipError| refused(format!("it is damaged: {error}"));
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
        if archive.len() > ENTRIES_MAX {
            return Err(refused(format!("it has more than {ENTRIES_MAX} entries")));
        }
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            let mode = entry.unix_mode().unwrap_or(0);
            let content = match mode & 0o170_000 {
                _ if entry.is_dir() => Content::Directory,
                0o120_000 => {
                    let mut target = Vec::new();
                    (&mut entry).take(LINK_BYTES_MAX).read_to_end(&mut target)?;
                    Content::Link(String::from_utf8_lossy(&target).into_owned())
                }
                0 | 0o100_000 => Content::File { executable: mode & 0o100 != 0, text: &mut entry },
                _ => Content::Other("a device or pipe"),
            };
            self.add(&name, content)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, content: Content<'_>) -> io::Result<()> {
        let refuse = |why: &str| refused(format!("its entry `{}` {why}", name.escape_debug()));
        let Some(path) = plain_path(name) else {
            return Err(refuse("has an absolute path or `..`, and would be written elsewhere"));
        };
        if path.is_empty() {
            return Ok(());
        }
        check_path(&path).map_err(|error| refuse(&format!("cannot be kept: {error}")))?;
        if self.made.len() >= ENTRIES_MAX {
            return Err(refuse(&format!("is one too many: at most {ENTRIES_MAX} are unpacked")));
        }
        self.make_above(&path).map_err(|()| refuse("lies below a file or a link"))?;
        let absolute = self.root.join(&path);
        let is_directory = matches!(content, Content::Directory);
        match (self.made.get(&path), is_directory) {
            (Some(true), true) => return Ok(()),
            (Some(_), _) => return Err(refuse("comes twice")),
            (None, _) => {}
        }
        match content {
            Content::Directory => fs_err::create_dir(&absolute)?,
            Content::Link(target) => {
                if !stays_inside(&path, &target) || check_path(&target).is_err() {
                    let why =
                        format!("is a link that leaves the tree, to `{}`", target.escape_debug());
                    return Err(refuse(&why));
                }
                fs_err::os::unix::fs::symlink(&target, &absolute)?;
            }
            Content::File { executable, text } => {
                self.write(&absolute, executable, text, &refuse)?;
            }
            Content::Other(what) => return Err(refuse(&format!("is {what}"))),
        }
        self.made.insert(path, is_directory);
        Ok(())
    }

    /// Directories that have no entry of their own.
    fn make_above(&mut self, path: &str) -> Result<(), ()> {
        for above in tree::above(path) {
            match self.made.get(above) {
                Some(true) => {}
                Some(false) => return Err(()),
                None => {
                    fs_err::create_dir(self.root.join(above)).map_err(|_| ())?;
                    self.made.insert(above.to_owned(), true);
                }
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        path: &Path,
        executable: bool,
        text: &mut dyn Read,
        refuse: &dyn Fn(&str) -> io::Error,
    ) -> io::Result<()> {
        let left = BYTES_MAX.saturating_sub(self.bytes);
        let fair = self.packed.saturating_mul(RATIO_MAX).max(HARMLESS_BYTES);
        let left = left.min(fair.saturating_sub(self.bytes));
        let mut file = fs_err::File::create_new(path)?;
        let damaged = |error: io::Error| refuse(&format!("is damaged: {error}"));
        // One byte more than there is room for tells that there is more.
        let written = io::copy(&mut text.take(left + 1), &mut file).map_err(damaged)?;
        self.bytes += written;
        if written > left {
            let why = if self.bytes > BYTES_MAX {
                format!("is too much: the archive unpacks to more than {}", Bytes(BYTES_MAX))
            } else {
                format!(
                    "is too much: the archive has {} and unpacks to more than {RATIO_MAX} times that",
                    Bytes(self.packed)
                )
            };
            return Err(refuse(&why));
        }
        let mode = if executable { 0o700 } else { 0o600 };
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }
}

/// The path of an entry below the tree; none when it is no such path. Empty for the tree itself.
fn plain_path(name: &str) -> Option<String> {
    // A backslash divides directories where some archives were made, and would be part of a name here.
    if name.contains('\\') {
        return None;
    }
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}
