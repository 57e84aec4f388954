//! Walks a checkpoint directory.
//!
//! Names are listed, and of each checkpoint a few files are looked at: its markers, a sample of the others, and all of
//! them where few checkpoints have few files. So a look costs the same few calls for each checkpoint, whatever its size.
//! Links are not followed, but for the directory itself.

mod listed;
mod named;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::OFlag;

use crate::domain::checkpoint::{
    Format, Found, Kind, Listing, Looked, POINTERS, Part, Pointer, Seen, TAIL_BYTES, Walked,
    has_weights, is_weights, judge, layout, markers, part, rank_directory, recognise,
    recognise_file, safetensors_header, step_of, without_temporary,
};
use crate::hands::checkpoints::listed::Ahead;
use crate::hands::regular::{self, Opened};

/// Names that one look reads: 200 checkpoints of 10,000 files.
const ENTRIES_MAX: usize = 2_000_000;
/// Checkpoints of one look.
const CHECKPOINTS_MAX: usize = 1_000;
/// Directories that are listed without being checkpoints.
const OTHERS_MAX: usize = 1_000;
/// Files of one checkpoint that are asked about whatever its size, its own directory included.
const CALLS_EACH: usize = 3;
/// What 100 checkpoints may cost. What the markers leave of it goes to all files of the newest that have few.
const CALLS_MAX: usize = 390;
/// Entries whose kind a file system does not tell with their names; beyond that it is not asked for.
const UNTOLD_MAX: usize = 1_000;
/// What is read of all files together; of what comes after, only the ends are looked at.
const READ_BYTES_MAX: usize = 128 << 20;
/// A look that takes longer tells what it has seen.
const PATIENCE: Duration = Duration::from_secs(8);

/// All checkpoints below a directory. A missing one has none.
pub(super) fn walk(root: &Path, wanted: Option<Format>) -> io::Result<Walked> {
    Walk::new(wanted).all(root).map(|walk| walk.walked)
}

struct Walk {
    /// The format that is looked for; all formats where none is named.
    wanted: Option<Format>,
    walked: Walked,
    entries: usize,
    others: usize,
    calls_shared: usize,
    untold_left: usize,
    bytes_left: usize,
    deadline: Instant,
}

/// A directory that is a checkpoint.
struct Sight<'a> {
    path: &'a Path,
    format: Format,
    inside: &'a Listing,
    weights: Option<&'a Listing>,
}

/// A directory that is no checkpoint.
struct Place<'a> {
    path: &'a Path,
    listing: &'a Listing,
    pointer: Option<Pointer>,
    /// The step in its name, for checkpoints whose own name has none. The checkpoint directory's name tells none.
    step: Option<i64>,
}

impl Walk {
    fn new(wanted: Option<Format>) -> Self {
        Self {
            wanted,
            walked: Walked::default(),
            entries: 0,
            others: 0,
            calls_shared: 0,
            untold_left: UNTOLD_MAX,
            bytes_left: READ_BYTES_MAX,
            deadline: Instant::now() + PATIENCE,
        }
    }

    fn all(mut self, root: &Path) -> io::Result<Self> {
        let listing = match self.list(root, OFlag::empty()) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It may be made.
                self.walked.places.push(root.to_owned());
                return Ok(self);
            }
            Err(error) => return Err(regular::at(root, &error)),
        };
        let markers = CALLS_EACH * listing.directories().count() + listing.files().count();
        self.calls_shared = CALLS_MAX.saturating_sub(markers);
        let name = root.file_name().unwrap_or_default().as_bytes();
        match recognise(self.wanted, name, &listing, &Listing::default()) {
            // Its own name says nothing of it.
            Some(format @ (Format::Dcp | Format::Huggingface)) => {
                self.walked.places.push(root.to_owned());
                let nothing = Listing::default();
                let place = Place { path: root, listing: &nothing, pointer: None, step: None };
                self.directory(&place, root, format, &listing);
            }
            Some(_) | None => self.place(root, &listing, 0),
        }
        Ok(self)
    }

    /// Why no more is looked at.
    fn is_over(&mut self) -> bool {
        let why = match () {
            () if self.walked.cut.is_some() => return true,
            () if self.entries >= ENTRIES_MAX => format!("there are more than {ENTRIES_MAX} files"),
            () if self.walked.found.len() >= CHECKPOINTS_MAX => {
                format!("there are more than {CHECKPOINTS_MAX} checkpoints")
            }
            () if self.others >= OTHERS_MAX => {
                format!("there are more than {OTHERS_MAX} directories that are no checkpoints")
            }
            () if Instant::now() >= self.deadline => {
                format!("looking takes longer than {} s", PATIENCE.as_secs())
            }
            () => return false,
        };
        self.walked.cut = Some(why);
        true
    }

    /// Looks for checkpoints in a directory that is none: the newest first, and the one that its pointer names before all
    /// others, which are compared with it.
    fn place(&mut self, path: &Path, listing: &Listing, depth: u32) {
        self.others += 1;
        self.walked.places.push(path.to_owned());
        let step = path.file_name().filter(|_| depth > 0).and_then(|name| step_of(name.as_bytes()));
        let mut place = Place { path, listing, pointer: self.pointer(path, listing), step };
        self.names(&place);
        let target = place.pointer.as_ref().and_then(|pointer| pointer.target(listing));
        let mut files: Vec<&[u8]> = listing.files().collect();
        let mut directories: Vec<&[u8]> =
            listing.directories().filter(|name| !name.starts_with(b".")).collect();
        newest_first(&mut files);
        newest_first(&mut directories);
        if let Some(target) = &target {
            directories.sort_by_key(|name| *name != target.as_slice());
        }
        for name in files {
            if self.is_over() {
                return;
            }
            if let Some(format) = recognise_file(self.wanted, name, listing, depth == 0) {
                self.file(&place, name, format);
            }
        }
        self.below(&mut place, &directories, target.as_deref(), depth);
    }

    /// The directories of one that is no checkpoint, in this order.
    fn below(
        &mut self,
        place: &mut Place<'_>,
        directories: &[&[u8]],
        target: Option<&[u8]>,
        depth: u32,
    ) {
        let path_of = |name: &&[u8]| place.path.join(OsStr::from_bytes(name));
        let paths: VecDeque<PathBuf> = directories.iter().map(path_of).collect();
        std::thread::scope(|scope| {
            let mut ahead = Ahead::new(scope, paths.clone());
            for (name, path) in directories.iter().zip(&paths) {
                if self.is_over() {
                    return;
                }
                let names = ahead.next(self.entries_left());
                // One that was removed meanwhile, or may not be read, shows nothing.
                let Ok(inside) = self.listed(path, names) else { continue };
                if let Some(pointer) = &mut place.pointer
                    && target == Some(*name)
                {
                    pointer.entries = Some(inside.entries.len());
                }
                match recognise(self.wanted, name, &inside, place.listing) {
                    Some(format) => self.directory(place, path, format, &inside),
                    None if depth < layout::DEPTH_MAX => self.place(path, &inside, depth + 1),
                    None => {}
                }
            }
        });
    }

    fn pointer(&mut self, path: &Path, listing: &Listing) -> Option<Pointer> {
        let name = POINTERS.iter().find(|name| listing.has_file(name))?;
        let file = self.look(path, name);
        let text = file.filter(|file| file.head.len() as u64 == file.bytes).map(|file| file.head);
        Some(Pointer { name: name.to_vec(), text, entries: None })
    }

    fn file(&mut self, place: &Place<'_>, name: &[u8], format: Format) {
        // It was renamed or removed meanwhile.
        let Some(file) = self.look(place.path, name) else { return };
        let (bytes, modified) = (file.bytes, file.modified);
        let nothing = Listing::default();
        let seen = Seen {
            format,
            name,
            inside: &nothing,
            beside: place.listing,
            weights: None,
            pointer: None,
            looked: &BTreeMap::from([(name.to_vec(), file)]),
        };
        let lacks = judge(&seen).err();
        let path = place.path.join(OsStr::from_bytes(name));
        let step = step_of(without_temporary(name)).or(place.step);
        self.walked.found.push(Found {
            path: path.to_string_lossy().into_owned(),
            format,
            step,
            lacks,
            bytes: Some(bytes),
            files: Some(1),
            modified: Some(modified),
            is_directory: false,
        });
    }

    fn directory(&mut self, place: &Place<'_>, path: &Path, format: Format, inside: &Listing) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let weights = has_weights(format, inside)
            .then(|| self.list(&path.join("weights"), OFlag::O_NOFOLLOW).ok())
            .flatten();
        let mut looked = BTreeMap::new();
        for marker in markers(format, inside) {
            self.look_into(&mut looked, path, marker);
        }
        let sight = Sight { path, format, inside, weights: weights.as_ref() };
        self.rank_of(&sight, &mut looked);
        let is_all = self.others_of(&sight, &mut looked);
        let seen = Seen {
            format,
            name,
            inside,
            beside: place.listing,
            weights: weights.as_ref(),
            pointer: place.pointer.as_ref(),
            looked: &looked,
        };
        let lacks = judge(&seen).err();
        let modified = looked.values().map(|file| file.modified).max();
        let modified = modified.or_else(|| self.modified(path));
        let listed = inside.files().count() + weights.as_ref().map_or(0, |it| it.files().count());
        self.walked.found.push(Found {
            step: step_of(name).or(place.step),
            path: path.to_string_lossy().into_owned(),
            format,
            lacks,
            bytes: is_all.then(|| looked.values().map(|file| file.bytes).sum()),
            files: inside.directories().next().is_none().then_some(listed as u64),
            modified,
            is_directory: true,
        });
    }

    /// Looks at all files of a checkpoint where that is not too many, else at a sample. Whether it was all.
    fn others_of(&mut self, sight: &Sight<'_>, looked: &mut BTreeMap<Vec<u8>, Looked>) -> bool {
        let Sight { path, inside, weights, .. } = *sight;
        let count = inside.files().count() + weights.map_or(0, |it| it.files().count());
        let own = count.saturating_sub(looked.len());
        if own <= self.calls_shared {
            self.calls_shared -= own;
            for name in inside.files() {
                self.look_into(looked, path, name);
            }
            for name in weights.iter().flat_map(|it| it.files()) {
                self.look_into(looked, path, &[b"weights/", name].concat());
            }
            return inside.directories().next().is_none() && !inside.is_cut;
        }
        let asked = 1 + usize::from(weights.is_some()) + looked.len();
        let shards = || inside.files().filter(|name| is_weights(name));
        let sample = [shards().max(), shards().min()].into_iter().flatten();
        for name in sample.take(CALLS_EACH.saturating_sub(asked)) {
            self.look_into(looked, path, name);
        }
        false
    }

    /// Looks at a file of one rank, where each has a directory of its own.
    fn rank_of(&mut self, sight: &Sight<'_>, looked: &mut BTreeMap<Vec<u8>, Looked>) {
        let Some(rank) = rank_directory(sight.format, sight.inside) else { return };
        let of_rank = sight.path.join(OsStr::from_bytes(rank));
        let listing = self.list(&of_rank, OFlag::O_NOFOLLOW).unwrap_or_default();
        if let Some(file) = listing.files().filter(|name| is_weights(name)).max() {
            self.look_into(looked, sight.path, &[rank, b"/".as_slice(), file].concat());
        }
    }

    fn look_into(&mut self, looked: &mut BTreeMap<Vec<u8>, Looked>, path: &Path, name: &[u8]) {
        if !looked.contains_key(name)
            && let Some(file) = self.look(path, name)
        {
            looked.insert(name.to_vec(), file);
        }
    }

    /// Opens a file and reads as much of it as its judgement needs. None for what is no regular file, or cannot be read.
    fn look(&mut self, directory: &Path, name: &[u8]) -> Option<Looked> {
        self.walked.calls += 1;
        let path = directory.join(OsStr::from_bytes(name));
        let Ok(Opened::Regular(mut file, metadata)) = regular::open(&path) else { return None };
        let bytes = metadata.len();
        let mut read = |from: u64, length: usize| -> io::Result<Vec<u8>> {
            let mut content = Vec::new();
            file.seek(SeekFrom::Start(from))?;
            io::Read::by_ref(&mut file).take(length as u64).read_to_end(&mut content)?;
            Ok(content)
        };
        let head = match part(name) {
            Part::Text(max) if bytes <= max.min(self.bytes_left) as u64 => read(0, max),
            Part::Text(_) => Ok(Vec::new()),
            Part::Pickle(max) if bytes <= max.min(self.bytes_left) as u64 => read(0, max),
            Part::Pickle(_) | Part::Ends => read(0, 8),
            Part::Safetensors => read(0, 8)
                .and_then(|magic| read(0, safetensors_header(&magic).min(self.bytes_left))),
        };
        let head = head.ok()?;
        self.bytes_left = self.bytes_left.saturating_sub(head.len());
        let tail = read(bytes.saturating_sub(TAIL_BYTES as u64), TAIL_BYTES).ok()?;
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok())?;
        Some(Looked { bytes, modified, head, tail })
    }

    /// What the file system did not tell with the name.
    fn kind(&mut self, path: &Path) -> Kind {
        if self.untold_left == 0 {
            let why = "the file system does not tell files from directories";
            self.walked.cut.get_or_insert_with(|| why.to_owned());
            return Kind::Other;
        }
        self.untold_left -= 1;
        self.walked.calls += 1;
        match fs_err::symlink_metadata(path) {
            Ok(there) if there.is_file() => Kind::File,
            Ok(there) if there.is_dir() => Kind::Directory,
            Ok(there) if there.is_symlink() => Kind::Link,
            Ok(_) | Err(_) => Kind::Other,
        }
    }

    /// When the names of a directory last changed.
    fn modified(&mut self, path: &Path) -> Option<Timestamp> {
        self.walked.calls += 1;
        let time = fs_err::symlink_metadata(path).ok()?.modified().ok()?;
        Timestamp::try_from(time).ok()
    }
}

/// When the names of a directory last changed, if it is there.
pub(super) fn changed_at(directory: &Path) -> Option<Timestamp> {
    Timestamp::try_from(fs_err::metadata(directory).ok()?.modified().ok()?).ok()
}

fn newest_first(names: &mut [&[u8]]) {
    names.sort_by_cached_key(|name| {
        std::cmp::Reverse((step_of(without_temporary(name)), name.to_vec()))
    });
}

#[cfg(test)]
mod tests;
