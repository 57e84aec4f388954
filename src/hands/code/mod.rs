//! Captured code: what a directory or an archive holds at the moment of submission, kept once for all runs of it.

mod archive;
mod fetch;
mod gc;
mod git;
mod globs;
mod index;
mod known;
mod listing;
mod pack;
mod store;

pub(super) use gc::{remove, trees};
pub(super) use store::{NEW, PLACE};

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tokio::runtime::Handle;

use crate::domain::code::{ArchiveDigest, Capture, CodeSource};
use crate::domain::inputs::{CapturedCode, CodeDigest, GitState};
use crate::domain::tree::{self, Entry, Kind, Listed};
use crate::files::durable;
use crate::hands::code::git::Found;
use crate::hands::code::globs::Globs;
use crate::hands::code::index::{Index, Look};
use crate::hands::code::known::Seen;
use crate::hands::code::listing::{Listing, Place, refused};
use crate::hands::code::pack::{Candidate, What};
use crate::hands::code::store::CodeStore;
use crate::ports::{CodeOrder, TakenCode};

/// Makes what is missing of a store.
pub(super) fn make_store(run_root: &Path, mode: u32) -> io::Result<()> {
    CodeStore::at(run_root).make(mode)
}

/// Captures the code that an order names, or finds that it is captured already. The store is there.
pub(super) fn capture(runtime: &Handle, order: &CodeOrder) -> io::Result<TakenCode> {
    let store = CodeStore::at(&order.run_root);
    let Capture { source, include, exclude, .. } = &order.capture;
    let globs = Globs::new(include, exclude)?;
    let taking = Taking { store: &store, order, globs: &globs };
    match source {
        CodeSource::Directory(path) => {
            // A link may be turned to another directory tomorrow; what it leads to now is captured.
            let path = fs_err::canonicalize(path)?;
            let found = git::ask(runtime, taking.place(&path), &order.home)?;
            taking.take(&path, found, Some(&taking.index(&path)))
        }
        CodeSource::Archive { path, digest } => {
            taking.archive(known::see(&store, path)?, digest.as_ref())
        }
        CodeSource::Address { url, digest } => {
            let file = fetch::fetch(url, &store.root)?.into_file();
            let hash = archive::hash(&file)?;
            taking.archive(Seen { hash, file, is_copy: true }, digest.as_ref())
        }
    }
}

/// Whether a digest's archive is there; notes that it is used.
pub(super) fn use_stored(run_root: &Path, digest: &CodeDigest) -> io::Result<bool> {
    CodeStore::at(run_root).take(digest)
}

/// The list of a digest's tree.
pub(super) fn list(run_root: &Path, digest: &CodeDigest) -> io::Result<String> {
    fs_err::read_to_string(CodeStore::at(run_root).list(digest))
}

/// Where the tree of a digest is, or will be made, as seen from a run directory.
pub fn from_run_dir(digest: &CodeDigest) -> PathBuf {
    Path::new("..").join(store::PLACE).join(digest.as_str())
}

/// What is the same for all of one order.
#[derive(Clone, Copy)]
struct Taking<'a> {
    store: &'a CodeStore,
    order: &'a CodeOrder,
    globs: &'a Globs,
}

impl<'a> Taking<'a> {
    fn place(self, directory: &'a Path) -> Place<'a> {
        Place { directory, run_root: &self.order.run_root, globs: self.globs }
    }

    /// Takes an archive into the store: unpacks it, unless the tree that came of it before is there.
    fn archive(self, seen: Seen, digest: Option<&ArchiveDigest>) -> io::Result<TakenCode> {
        let Seen { hash, file, is_copy } = seen;
        if let Some(digest) = digest {
            archive::check_digest(&file, hash, digest)?;
        }
        let note = self.store.index(&self.key(&format!("archive {hash}")));
        if let Some(digest) = known::tree(self.store, &note)? {
            let list = fs_err::read_to_string(self.store.list(&digest))?;
            return Ok(self.taken(digest, &tree::listed(&list)));
        }
        let copy =
            if is_copy { Seen { hash, file, is_copy } } else { known::copy(self.store, &file)? };
        if copy.hash != hash {
            return Err(refused("it changed while it was captured"));
        }
        let unpacked = archive::unpack(&copy.file, &self.store.root)?;
        let taken = self.take(unpacked.path(), None, None)?;
        index::note(&note, taken.code.digest.as_str());
        Ok(taken)
    }

    /// Takes a directory into the store. What was read of it is remembered in the index, if there is one.
    fn take(
        self,
        directory: &Path,
        found: Option<Found>,
        index: Option<&Path>,
    ) -> io::Result<TakenCode> {
        let place = Place { directory, run_root: &self.order.run_root, globs: self.globs };
        let (mut listing, untracked, state, patch) = match found {
            Some(Found { listing, untracked, state, patch }) => {
                (listing, untracked, Some(state), patch)
            }
            None => (listing::everything(place)?, Vec::new(), None, None),
        };
        if self.globs.asks_for_more() {
            for path in listing::included(place)?.files {
                listing.add(path)?;
            }
        }
        let mut candidates = candidates(directory, &listing)?;
        let sizes = candidates.iter().filter_map(|candidate| match &candidate.what {
            What::File { look, .. } => Some((candidate.path.as_str(), look.size)),
            What::Link(_) | What::EmptyDirectory => None,
        });
        tree::check_size(sizes).map_err(refused)?;
        let (digest, entries) = keep(self.store, &mut candidates, index)?;
        let listed: Vec<Listed<'_>> = entries.iter().map(Listed::from).collect();
        let mut taken = self.taken(digest, &listed);
        taken.code.git =
            state.map(|state| with_digest(state, patch.as_deref(), &untracked, &entries));
        taken.patch = patch;
        Ok(taken)
    }

    /// A tree of the store, of no git work tree.
    fn taken(self, digest: CodeDigest, listed: &[Listed<'_>]) -> TakenCode {
        let sizes = || listed.iter().filter_map(|listed| listed.bytes);
        let top = tree::top(listed.iter().map(|listed| listed.path));
        let (files, bytes) = (sizes().count() as u64, sizes().sum());
        let code = CapturedCode { digest, files, bytes, top, git: None };
        TakenCode { code, has_entry_point: self.has_entry_point(listed), patch: None }
    }

    /// Where is remembered what was read of a directory.
    fn index(self, source: &Path) -> PathBuf {
        self.store.index(&self.key(&source.display().to_string()))
    }

    /// Stands for a source and the way to choose from it.
    fn key(self, source: &str) -> blake3::Hash {
        let Capture { include, exclude, .. } = &self.order.capture;
        blake3::hash(format!("{source} {include:?} {exclude:?}").as_bytes())
    }

    fn has_entry_point(self, listed: &[Listed<'_>]) -> bool {
        let Some((asked, _)) = &self.order.capture.entry_point else { return true };
        tree::has_entry_point(listed, asked)
    }
}

/// How each file looks now. What is gone since it was listed is left out, as is what is no file. So is what git knows
/// below a directory that a link stands for now: it lies where the link leads, and would be unpacked there.
fn candidates(directory: &Path, listing: &Listing) -> io::Result<Vec<Candidate>> {
    let above: BTreeSet<&str> = listing.files.iter().flat_map(|path| tree::above(path)).collect();
    let above: Vec<&str> = above.into_iter().collect();
    let are_links = pack::in_parallel(&above, |path| Ok(directory.join(path).is_symlink()))?;
    let links: BTreeSet<&str> = above
        .into_iter()
        .zip(are_links)
        .filter_map(|(path, is_link)| is_link.then_some(path))
        .collect();
    let is_there = |path: &&String| tree::above(path).all(|above| !links.contains(above));
    let paths: Vec<&String> = listing.files.iter().filter(is_there).collect();
    let looked = pack::in_parallel(&paths, |path| candidate(directory, path))?;
    let empty = listing.empty.iter().map(|path| Candidate {
        path: path.clone(),
        absolute: directory.join(path),
        what: What::EmptyDirectory,
    });
    let mut candidates: Vec<Candidate> = looked.into_iter().flatten().chain(empty).collect();
    candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(candidates)
}

fn candidate(directory: &Path, path: &str) -> io::Result<Option<Candidate>> {
    const EXECUTABLE: u32 = 0o100;
    let absolute = directory.join(path);
    let metadata = match fs_err::symlink_metadata(&absolute) {
        // Tracked by git and deleted, or its directory is a file now.
        Err(error) if is_none(&error) => return Ok(None),
        found => found?,
    };
    let what = if metadata.is_symlink() {
        What::Link(link(path, &absolute)?)
    } else if metadata.is_file() {
        let executable = metadata.permissions().mode() & EXECUTABLE != 0;
        What::File { look: Look::of(&metadata), executable, hash: None }
    } else {
        return Ok(None);
    };
    Ok(Some(Candidate { path: path.to_owned(), absolute, what }))
}

pub(super) fn is_none(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Where a link leads; one that leads out of the tree leads there from anywhere.
fn link(path: &str, absolute: &Path) -> io::Result<String> {
    let target = fs_err::read_link(absolute)?;
    let text = target.to_str().filter(|target| tree::check_path(target).is_ok());
    let Some(text) = text else {
        return Err(refused(format!("`{path}` cannot be captured: it leads to no plain path")));
    };
    if target.is_absolute() || tree::stays_inside(path, text) {
        return Ok(text.to_owned());
    }
    let above = absolute.parent().unwrap_or(absolute);
    Ok(above.join(&target).to_string_lossy().into_owned())
}

/// Puts a tree into the store, unless it is there, and says what it is.
fn keep(
    store: &CodeStore,
    candidates: &mut [Candidate],
    index_file: Option<&Path>,
) -> io::Result<(CodeDigest, Vec<Entry>)> {
    let index = index_file.map(Index::read).unwrap_or_default();
    let mut unknown = Vec::new();
    for candidate in candidates.iter_mut() {
        if let What::File { look, hash, .. } = &mut candidate.what {
            *hash = index.hash_of(&candidate.path, look);
            if hash.is_none() {
                unknown.push(candidate);
            }
        }
    }
    // What was never captured is not there; everything is read once, for hashes and archive.
    if !index.is_empty() {
        let hashes = pack::in_parallel(&unknown, |candidate| pack::hash(candidate))?;
        let is_news = !unknown.is_empty();
        for (candidate, read) in unknown.into_iter().zip(hashes) {
            if let What::File { hash, .. } = &mut candidate.what {
                *hash = Some(read);
            }
        }
        let entries: Vec<Entry> = candidates.iter().filter_map(entry).collect();
        let digest = tree::digest(&entries);
        if store.take(&digest)? {
            if let Some(file) = index_file.filter(|_| is_news) {
                remember(file, candidates, &entries)?;
            }
            return Ok((digest, entries));
        }
    }
    let (digest, entries) = pack_into(store, candidates)?;
    if let Some(file) = index_file {
        remember(file, candidates, &entries)?;
    }
    Ok((digest, entries))
}

/// What a candidate is, where its hash is known.
fn entry(candidate: &Candidate) -> Option<Entry> {
    let kind = match &candidate.what {
        What::File { look, executable, hash } => {
            Kind::File { size: look.size, executable: *executable, hash: (*hash)? }
        }
        What::Link(target) => Kind::Link(target.clone()),
        What::EmptyDirectory => Kind::EmptyDirectory,
    };
    Some(Entry { path: candidate.path.clone(), kind })
}

/// Writes the archive of a tree and its list, durably.
fn pack_into(store: &CodeStore, candidates: &[Candidate]) -> io::Result<(CodeDigest, Vec<Entry>)> {
    const BUFFER_BYTES: usize = 1 << 20;
    const MODE: u32 = 0o444;
    let file = NamedTempFile::with_prefix_in(store::NEW, &store.root)?;
    let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, file);
    let (entries, packed) = pack::pack(candidates, &mut out)?;
    out.flush()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let digest = tree::digest(&entries);
    if store.take(&digest)? {
        return Ok((digest, entries));
    }
    file.as_file().set_permissions(std::fs::Permissions::from_mode(MODE))?;
    file.as_file().sync_all()?;
    file.persist(store.archive(&digest)).map_err(|error| error.error)?;
    let list = packed.line() + &tree::list(&entries);
    durable::write(&store.list(&digest), list.as_bytes(), MODE)?;
    Ok((digest, entries))
}

fn remember(index_file: &Path, candidates: &[Candidate], entries: &[Entry]) -> io::Result<()> {
    let now = index::time_at(index_file.parent().unwrap_or(index_file))?;
    let files = candidates.iter().zip(entries).filter_map(|(candidate, entry)| {
        match (&candidate.what, &entry.kind) {
            (What::File { look, .. }, Kind::File { hash, .. }) => {
                Some((candidate.path.as_str(), *look, *hash))
            }
            _ => None,
        }
    });
    Index::write(index_file, files, now);
    Ok(())
}

/// The state of a work tree, with the digest of what differs from its commit.
fn with_digest(
    mut state: GitState,
    patch: Option<&[u8]>,
    untracked: &[String],
    entries: &[Entry],
) -> GitState {
    if let Some(changes) = state.changes.as_mut() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(patch.unwrap_or_default());
        for path in untracked {
            let found = entries.binary_search_by(|entry| entry.path.cmp(path));
            if let Some(Entry { kind: Kind::File { hash, .. }, .. }) =
                found.ok().and_then(|at| entries.get(at))
            {
                hasher.update(path.as_bytes()).update(hash.as_bytes());
            }
        }
        changes.digest = hasher.finalize().to_hex().to_string();
    }
    state
}

#[cfg(test)]
mod tests;
