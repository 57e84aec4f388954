//! Whether a checkpoint is complete: each format's own rule.

use std::collections::{BTreeMap, HashSet};

use jiff::SignedDuration;
use serde::Deserialize;

use crate::domain::checkpoint::ends::{End, end, names_in_pickle};
use crate::domain::checkpoint::layout::{
    DEEPSPEED_POINTER, DEEPSPEED_PREFIX, MEGATRON_POINTER, MEGATRON_PREFIX, TEMPORARY, UNFINISHED,
    is_numbered, is_shard, is_weights,
};
use crate::domain::checkpoint::{Format, Kind, Listing, Looked, step_of};

/// A file that says which of its neighbours was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The file's own name.
    pub name: Vec<u8>,
    /// What it says; none where it could not be read.
    pub text: Option<Vec<u8>>,
    /// How many entries the one that it names has; none where that one is not there.
    pub entries: Option<usize>,
}

impl Pointer {
    /// The one that was written last, as far as it tells: what it names, or where it is blank the newest beside it.
    pub fn target(&self, beside: &Listing) -> Option<Vec<u8>> {
        if !self.is_blank() {
            return self.named();
        }
        let prefix: &[u8] =
            if self.name == MEGATRON_POINTER { MEGATRON_PREFIX } else { DEEPSPEED_PREFIX };
        let numbered = beside.directories().filter(|name| is_numbered(name, prefix));
        numbered.max_by_key(|name| (step_of(name), *name)).map(<[u8]>::to_vec)
    }

    /// It is written in place: it is empty for a moment, and stays so where the disk is full or the power goes.
    fn is_blank(&self) -> bool {
        self.text.as_ref().is_some_and(|text| text.iter().all(|byte| b"\0 \t\n\r".contains(byte)))
    }

    /// The name of the directory that it names.
    fn named(&self) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(self.text.as_ref()?).ok()?.trim();
        if text.is_empty() || text.contains('/') {
            return None;
        }
        if self.name != MEGATRON_POINTER || text == "release" {
            return Some(text.into());
        }
        let number = format!("{:07}", text.parse::<u32>().ok()?);
        Some([MEGATRON_PREFIX, number.as_bytes()].concat())
    }
}

/// All that was looked at of one checkpoint.
#[derive(Debug)]
pub struct Seen<'a> {
    pub format: Format,
    /// Its own name.
    pub name: &'a [u8],
    /// Nothing for a file.
    pub inside: &'a Listing,
    /// What lies beside it.
    pub beside: &'a Listing,
    /// What `NeMo` keeps its weights in.
    pub weights: Option<&'a Listing>,
    pub pointer: Option<&'a Pointer>,
    /// Files of it that were looked at; of a file, itself.
    pub looked: &'a BTreeMap<Vec<u8>, Looked>,
}

/// The files of a checkpoint that its format's rule depends on, relative to it. Not all of them have to be there.
pub fn markers(format: Format, inside: &Listing) -> Vec<&[u8]> {
    match format {
        Format::Dcp => vec![b".metadata"],
        Format::Huggingface => {
            let index = inside.files().find(|name| name.ends_with(b".index.json"));
            [Some(b"trainer_state.json".as_slice()), index].into_iter().flatten().collect()
        }
        Format::Lightning => vec![b".metadata", b"meta.pt"],
        Format::Megatron if is_distributed(inside) => vec![b".metadata", b"metadata.json"],
        Format::Nemo => vec![b"weights/.metadata"],
        Format::Megatron | Format::Deepspeed | Format::File => Vec::new(),
    }
}

/// `Ok` for a complete one; else what it lacks, in a sentence without its end.
pub fn judge(seen: &Seen<'_>) -> Result<(), String> {
    if seen.inside.is_cut || seen.weights.is_some_and(|weights| weights.is_cut) {
        return Err("it has more files than are looked at".to_owned());
    }
    unfinished(seen)?;
    // A file that is a checkpoint by itself is judged below.
    for (name, file) in seen.looked.iter().filter(|(name, _)| *name != seen.name) {
        match end(base(name), file) {
            End::Cut(why) if decides(base(name)) => {
                return Err(format!("`{}` {why}", String::from_utf8_lossy(name)));
            }
            End::Cut(_) | End::Whole | End::Unknown => {}
        }
    }
    match seen.format {
        Format::Dcp => metadata(seen, b".metadata"),
        Format::Huggingface => trainer(seen),
        Format::Deepspeed => {
            has_any(seen.inside, is_weights)?;
            pointed_at(seen, DEEPSPEED_POINTER)
        }
        Format::Megatron => {
            if is_distributed(seen.inside) {
                metadata(seen, b".metadata")?;
                present(seen, b"metadata.json")?;
            } else if seen.inside.directories().next().is_none() {
                return Err("it has no directory of a rank".to_owned());
            }
            pointed_at(seen, MEGATRON_POINTER)
        }
        Format::Lightning if is_file(seen) => itself(seen),
        Format::Lightning => {
            metadata(seen, b".metadata")?;
            present(seen, b"meta.pt").map(|_| ())
        }
        Format::Nemo if is_file(seen) => itself(seen),
        Format::Nemo => metadata(seen, b"weights/.metadata"),
        Format::File => itself(seen),
    }
}

/// Whether the file's end counts: of the others only the writer knows what is in them.
fn decides(name: &[u8]) -> bool {
    is_weights(name)
        || name == b".metadata"
        || name == b"trainer_state.json"
        || name == b"metadata.json"
        || name.ends_with(b".index.json")
}

/// A file has nothing inside, and was looked at under its own name.
fn is_file(seen: &Seen<'_>) -> bool {
    seen.looked.contains_key(seen.name)
}

fn is_distributed(inside: &Listing) -> bool {
    let names = || inside.files();
    names().any(|name| name.starts_with(b".metadata") || name.ends_with(b".distcp"))
        || inside.has_file(b"common.pt")
}

fn base(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b'/').next().unwrap_or(name)
}

/// What its writer leaves only while it writes.
fn unfinished(seen: &Seen<'_>) -> Result<(), String> {
    if seen.name.ends_with(TEMPORARY) || seen.name.starts_with(b"tmp-") {
        return Err("it was not renamed yet".to_owned());
    }
    let stem = seen.name.strip_suffix(b".nemo").unwrap_or(seen.name);
    let is_marked = [seen.name, stem]
        .iter()
        .any(|name| seen.beside.kind(&[name, UNFINISHED].concat()).is_some());
    if is_marked {
        return Err("an `-unfinished` marker lies beside it".to_owned());
    }
    let listings = std::iter::once(seen.inside).chain(seen.weights);
    let mut names = listings.flat_map(|listing| &listing.entries).map(|entry| &entry.name);
    match names.find(|name| name.ends_with(TEMPORARY)) {
        Some(name) => Err(format!("`{}` was not renamed yet", String::from_utf8_lossy(name))),
        None => Ok(()),
    }
}

/// The marker of torch's distributed checkpoints. One that is older than a shard is left of an earlier save into the same
/// place, which is being written over.
fn metadata(seen: &Seen<'_>, name: &[u8]) -> Result<(), String> {
    /// Clocks of the nodes that write differ.
    const SKEW: SignedDuration = SignedDuration::from_secs(2);
    let marker = present(seen, name)?;
    let shards = seen.weights.unwrap_or(seen.inside);
    has_any(shards, |name| name.ends_with(b".distcp"))?;
    let files: HashSet<&[u8]> = shards.files().collect();
    let mut named = names_in_pickle(&marker.head, b".distcp").into_iter();
    if let Some(missing) = named.find(|name| !files.contains(name)) {
        let missing = String::from_utf8_lossy(missing);
        return Err(format!("`{missing}` is missing, which `.metadata` names"));
    }
    let newer = seen.looked.iter().find(|(shard, file)| {
        shard.ends_with(b".distcp") && file.modified.duration_since(marker.modified) > SKEW
    });
    match newer {
        Some((shard, _)) => Err(format!(
            "`{}` is newer than `.metadata`: it is written over",
            String::from_utf8_lossy(shard)
        )),
        None => Ok(()),
    }
}

/// A file that was looked at and has something in it.
fn present<'a>(seen: &Seen<'a>, name: &[u8]) -> Result<&'a Looked, String> {
    let shown = String::from_utf8_lossy(name);
    match seen.looked.get(name) {
        None => Err(format!("it has no `{shown}`, which is written last")),
        Some(file) if file.bytes == 0 => Err(format!("`{shown}` is empty")),
        Some(file) => Ok(file),
    }
}

fn has_any(listing: &Listing, is_one: impl Fn(&[u8]) -> bool) -> Result<(), String> {
    if listing.files().any(is_one) { Ok(()) } else { Err("it has no file with weights".to_owned()) }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// `trainer_state.json`, and every shard that the index names.
fn trainer(seen: &Seen<'_>) -> Result<(), String> {
    present(seen, b"trainer_state.json")?;
    // A model in shards of torch's own, or of DeepSpeed, is a directory.
    if seen.inside.directories().next().is_none() {
        has_any(seen.inside, is_weights)?;
    }
    let index = seen.inside.files().find(|name| name.ends_with(b".index.json"));
    let Some(index) = index else {
        let mut shards = seen.inside.files().filter(|name| is_weights(name) && is_shard(name));
        return shards.next().map_or(Ok(()), |shard| {
            let shown = String::from_utf8_lossy(shard);
            Err(format!("there is no list of its shards, of which `{shown}` is one"))
        });
    };
    let shown = String::from_utf8_lossy(index);
    let file = present(seen, index)?;
    if file.head.len() as u64 != file.bytes {
        return Err(format!("`{shown}` is too large to be read"));
    }
    let Ok(Index { weight_map }) = serde_json::from_slice(&file.head) else {
        return Err(format!("`{shown}` is no list of shards"));
    };
    let files: HashSet<&[u8]> = seen.inside.files().collect();
    match weight_map.values().find(|shard| !files.contains(shard.as_bytes())) {
        Some(shard) => Err(format!("`{shard}` is missing, which `{shown}` names")),
        None => Ok(()),
    }
}

/// Complete is what the pointer names, and what came before it and has as many files: a save that was cut off leaves fewer.
/// A blank one proves nothing of the newest, and as much as ever of what came before.
fn pointed_at(seen: &Seen<'_>, pointer: &[u8]) -> Result<(), String> {
    let shown = String::from_utf8_lossy(pointer);
    let Some(told) = seen.pointer.filter(|told| told.name == pointer) else {
        return Err(format!("there is no `{shown}`, which is written last"));
    };
    let Some(target) = told.target(seen.beside) else {
        return Err(format!("`{shown}` names nothing"));
    };
    if target == seen.name {
        return if told.is_blank() { Err(format!("`{shown}` is empty")) } else { Ok(()) };
    }
    let target_shown = String::from_utf8_lossy(&target).into_owned();
    let steps = step_of(seen.name).zip(step_of(&target));
    if steps.is_none_or(|(own, last)| own >= last) {
        return Err(format!("`{shown}` names `{target_shown}`, not this one"));
    }
    match told.entries {
        None => Err(format!("`{shown}` names `{target_shown}`, which is not there")),
        Some(entries) if seen.inside.entries.len() < entries => {
            Err(format!("it has fewer files than `{target_shown}`, which `{shown}` names"))
        }
        Some(_) => Ok(()),
    }
}

/// A file that shows by itself that it is whole.
fn itself(seen: &Seen<'_>) -> Result<(), String> {
    let Some(file) = seen.looked.get(seen.name) else {
        return Err("it could not be looked at".to_owned());
    };
    match end(seen.name, file) {
        End::Whole => Ok(()),
        End::Cut(why) => Err(format!("it {why}")),
        End::Unknown => Err("nothing in it shows whether it is whole".to_owned()),
    }
}

/// A directory of a rank, of which a file is looked at where the checkpoint itself has none.
pub fn rank_directory(format: Format, inside: &Listing) -> Option<&[u8]> {
    (format == Format::Megatron && !is_distributed(inside))
        .then(|| inside.directories().filter(|name| name.starts_with(b"mp_rank_")).max())
        .flatten()
}

/// Whether its weights are listed, too: those of `NeMo` lie in a directory of their own.
pub fn has_weights(format: Format, inside: &Listing) -> bool {
    format == Format::Nemo && inside.kind(b"weights") == Some(Kind::Directory)
}
