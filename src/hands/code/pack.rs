//! Reading a tree's files, each once, into an archive.
//!
//! Small files are read by several threads, a batch ahead of what is written: on a file system that answers slowly, and on
//! one that answers at once, that is what the time goes to. The archive has no times, owners or order of its own, so that
//! one tree has one archive.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::domain::tree::{self, Entry, FILES_TIME, Kind};
use crate::hands::code::index::Look;
use crate::hands::code::listing::refused;
use crate::hands::code::store::{Packed, hexadecimal};

/// Files that are read ahead; with their size below, what is in memory at a time.
const BATCH_FILES: usize = 256;
/// Larger ones are read piece by piece.
const SMALL_BYTES_MAX: u64 = 128 << 10;
const THREADS_MAX: usize = 8;
/// So few are done sooner by one thread than others are started for them.
const ALONE_MAX: usize = 8;

/// Asking the system reads some files.
static THREADS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX));

/// Something that is to be captured, as it looked when it was listed.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub path: String,
    pub absolute: PathBuf,
    pub what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    File { look: Look, executable: bool, hash: Option<blake3::Hash> },
    Link(String),
    EmptyDirectory,
}

/// Puts everything into an archive, and says what it was.
pub(super) fn pack(candidates: &[Candidate], out: impl Write) -> io::Result<(Vec<Entry>, Packed)> {
    let mut archive = Archive::new(out);
    let mut entries = Vec::with_capacity(candidates.len());
    let mut batches = candidates.chunks(BATCH_FILES);
    std::thread::scope(|scope| -> io::Result<()> {
        let start = |batch| scope.spawn(move || read_all(batch));
        let mut reading = batches.next().map(start);
        while let Some(thread) = reading {
            let read =
                thread.join().map_err(|_| io::Error::other("the thread that read died"))??;
            reading = batches.next().map(start);
            for (candidate, text) in read {
                entries.push(archive.add(candidate, text)?);
            }
        }
        Ok(())
    })?;
    Ok((entries, archive.end()?))
}

/// A small file's contents, with their hash.
type Text = Option<(Vec<u8>, blake3::Hash)>;

/// The contents of the small files of a batch.
fn read_all(batch: &[Candidate]) -> io::Result<Vec<(&Candidate, Text)>> {
    let read = |candidate: &Candidate| match &candidate.what {
        What::File { look, .. } if look.size <= SMALL_BYTES_MAX => {
            let text = fs_err::read(&candidate.absolute)?;
            let hash = blake3::hash(&text);
            Ok(Some((text, hash)))
        }
        What::File { .. } | What::Link(_) | What::EmptyDirectory => Ok(None),
    };
    let texts = in_parallel(batch, read)?;
    Ok(batch.iter().zip(texts).collect())
}

/// Does the same with each of many, on several threads, and gives the results in their order.
pub(super) fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    job: impl Fn(&T) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    if all.len() <= ALONE_MAX {
        return all.iter().map(job).collect();
    }
    let share = all.len().div_ceil(*THREADS);
    let job = &job;
    std::thread::scope(|scope| {
        let threads: Vec<_> = all
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(job).collect::<io::Result<Vec<R>>>()))
            .collect();
        let mut results = Vec::with_capacity(all.len());
        for thread in threads {
            let died = |_| Err(io::Error::other("a thread that read files died"));
            results.extend(thread.join().unwrap_or_else(died)?);
        }
        Ok(results)
    })
}

/// The hash of a file that is read for nothing else.
pub(super) fn hash(file: &Candidate) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs_err::File::open(&file.absolute)?)?;
    Ok(hasher.finalize())
}

/// What is written, with its size and its checksum.
struct Summed<W> {
    out: W,
    bytes: u64,
    sum: Sha256,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        self.sum.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What is read, with its hash.
struct Hashed<R> {
    from: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or(buffer));
        Ok(read)
    }
}

struct Archive<W: Write> {
    tar: tar::Builder<Summed<W>>,
    /// The last directory that was written: all that is in it follows at once in the order of paths.
    directory: String,
}

impl<W: Write> Archive<W> {
    fn new(out: W) -> Self {
        let summed = Summed { out, bytes: 0, sum: Sha256::new() };
        Self { tar: tar::Builder::new(summed), directory: String::new() }
    }

    fn add(&mut self, candidate: &Candidate, text: Text) -> io::Result<Entry> {
        let path = &candidate.path;
        self.add_directories(path)?;
        let kind = match &candidate.what {
            What::Link(target) => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                self.tar.append_link(&mut header, path, target)?;
                Kind::Link(target.clone())
            }
            What::EmptyDirectory => {
                self.add_directory(path)?;
                Kind::EmptyDirectory
            }
            What::File { look, executable, .. } => {
                let mode = if *executable { 0o555 } else { 0o444 };
                let size = text.as_ref().map_or(look.size, |(text, _)| text.len() as u64);
                let mut header = header(tar::EntryType::Regular, mode, size);
                let hash = match text {
                    Some((text, hash)) => {
                        self.tar.append_data(&mut header, path, text.as_slice())?;
                        hash
                    }
                    None => self.add_large(&mut header, candidate, look)?,
                };
                Kind::File { size, executable: *executable, hash }
            }
        };
        Ok(Entry { path: path.clone(), kind })
    }

    /// A file that changes meanwhile would be half of the one and half of the other.
    fn add_large(
        &mut self,
        header: &mut tar::Header,
        file: &Candidate,
        look: &Look,
    ) -> io::Result<blake3::Hash> {
        let from = std::fs::File::open(&file.absolute)?;
        let mut hashed = Hashed { from: &from, hasher: blake3::Hasher::new() };
        self.tar.append_data(header, &file.path, (&mut hashed).take(look.size))?;
        let is_same = hashed.hasher.count() == look.size && Look::of(&from.metadata()?) == *look;
        let changed = || refused(format!("`{}` changed while it was captured", file.path));
        is_same.then(|| hashed.hasher.finalize()).ok_or_else(changed)
    }

    /// The directories above a path, each once.
    fn add_directories(&mut self, path: &str) -> io::Result<()> {
        for directory in tree::above(path) {
            let is_known = self.directory.strip_prefix(directory);
            if !is_known.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
                self.add_directory(directory)?;
                directory.clone_into(&mut self.directory);
            }
        }
        Ok(())
    }

    fn add_directory(&mut self, path: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o555, 0);
        self.tar.append_data(&mut header, format!("{path}/"), io::empty())
    }

    fn end(self) -> io::Result<Packed> {
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(Packed { bytes: out.bytes, sha256: hexadecimal(out.sum) })
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(FILES_TIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}
