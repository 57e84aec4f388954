//! Whether a file is whole, as far as its size, its beginning and its end show it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::checkpoint::Looked;
use crate::domain::checkpoint::layout::POINTERS;

/// A text up to this is read whole; of a larger one only the end is looked at.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// The list of a model's shards, which has a line for each tensor.
pub const INDEX_BYTES_MAX: usize = 16 << 20;
/// The list of what each shard of a distributed checkpoint holds.
pub const METADATA_BYTES_MAX: usize = 16 << 20;
/// The longest header of a safetensors file that is read.
pub const HEADER_BYTES_MAX: usize = 4 << 20;
/// What is read of the end of a file: an archive's end record, or its last blocks.
pub const TAIL_BYTES: usize = 1024;
/// What tells a format by its first bytes.
const MAGIC_BYTES: usize = 8;

/// What is read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it, if it is not larger than this.
    Text(usize),
    /// Its header, whose length stands in its first eight bytes.
    Safetensors,
    /// All of it, if it is not larger than this; else its first bytes.
    Pickle(usize),
    /// Its first and last bytes.
    Ends,
}

/// What is to be read of a file with this name.
pub fn part(name: &[u8]) -> Part {
    match () {
        () if name.ends_with(b".index.json") => Part::Text(INDEX_BYTES_MAX),
        () if name.ends_with(b".json") || POINTERS.contains(&name) => Part::Text(TEXT_BYTES_MAX),
        () if name.ends_with(b".safetensors") => Part::Safetensors,
        () if name.ends_with(b".metadata") => Part::Pickle(METADATA_BYTES_MAX),
        () => Part::Ends,
    }
}

/// How many bytes to read of a file's beginning, by its first eight.
pub fn safetensors_header(magic: &[u8]) -> usize {
    let length = magic.first_chunk::<MAGIC_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let whole = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(MAGIC_BYTES);
    if whole > HEADER_BYTES_MAX { MAGIC_BYTES } else { whole }
}

/// What a file's end says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Whole,
    /// In words that follow its name.
    Cut(&'static str),
    /// Nothing in it tells.
    Unknown,
}

/// Whether a file is whole.
pub fn end(name: &[u8], file: &Looked) -> End {
    if file.bytes == 0 {
        return End::Cut("is empty");
    }
    match () {
        () if name.ends_with(b".json") => json(file),
        () if name.ends_with(b".safetensors") => safetensors(file),
        () if name.ends_with(b".nemo") => tar(file),
        () if name == b".metadata" => pickle(file),
        () if name.ends_with(b".distcp") => archives(file),
        () if file.head.starts_with(b"PK\x03\x04") => zip(file),
        () => End::Unknown,
    }
}

/// Any JSON object; its values are passed over.
#[derive(Deserialize)]
struct Object {}

/// As Python writes it with indentation, only its last brace stands at the beginning of a line: that tells a large one,
/// and one with `NaN` in it, which Python writes and JSON does not know.
fn json(file: &Looked) -> End {
    let is_all_there = file.head.len() as u64 == file.bytes;
    let is_whole = (is_all_there && serde_json::from_slice::<Object>(&file.head).is_ok())
        || file.tail.ends_with(b"\n}\n");
    if is_whole { End::Whole } else { End::Cut("is no whole JSON document") }
}

#[derive(Deserialize)]
struct Tensor {
    data_offsets: (u64, u64),
}

/// The header tells where the last tensor ends.
fn safetensors(file: &Looked) -> End {
    const CUT: End = End::Cut("is shorter or longer than its header says");
    let header = file.head.get(MAGIC_BYTES..).unwrap_or_default();
    let length = file.head.first_chunk::<MAGIC_BYTES>().map_or(0, |it| u64::from_le_bytes(*it));
    if (header.len() as u64) < length {
        // There is more of it than was read.
        let is_there = file.bytes > length.saturating_add(MAGIC_BYTES as u64);
        return if is_there { End::Unknown } else { CUT };
    }
    let Ok(tensors) = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(header) else {
        return CUT;
    };
    let mut last = 0;
    for (name, value) in tensors {
        if name == "__metadata__" {
            continue;
        }
        let Ok(tensor) = serde_json::from_value::<Tensor>(value) else { return CUT };
        last = last.max(tensor.data_offsets.1);
    }
    let whole = (MAGIC_BYTES as u64).saturating_add(length).saturating_add(last);
    if whole == file.bytes { End::Whole } else { CUT }
}

const NO_END: End = End::Cut("has no end: it was not written to its end");
/// How many bytes the record at the end of a zip archive has.
const RECORD_BYTES: usize = 22;

/// That record.
fn last_record(file: &Looked) -> Option<&[u8]> {
    let at = file.tail.len().checked_sub(RECORD_BYTES)?;
    file.tail.get(at..).filter(|record| record.starts_with(b"PK\x05\x06"))
}

/// Archives in a row, one for each tensor: where the last one is whole, others may still be missing behind it.
fn archives(file: &Looked) -> End {
    let is_cut = file.head.starts_with(b"PK\x03\x04") && last_record(file).is_none();
    if is_cut { NO_END } else { End::Unknown }
}

/// The record at the end of an archive says where its directory is, which reaches to the record.
fn zip(file: &Looked) -> End {
    /// Two more records lie before it in an archive of more than 4 GiB, and in each of torch's.
    const LARGE_RECORDS_BYTES: u64 = 56 + 20;
    let Some(record) = last_record(file) else { return NO_END };
    let number = |from: usize| {
        let bytes = record.get(from..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
    };
    let (length, offset) = (number(12), number(16));
    let ends = length + offset;
    let before = file.bytes.saturating_sub(RECORD_BYTES as u64);
    let is_large = [length, offset].contains(&u64::from(u32::MAX));
    let is_whole = is_large || ends == before || ends + LARGE_RECORDS_BYTES == before;
    if is_whole { End::Whole } else { NO_END }
}

/// An archive of tar ends in two empty blocks, and its writers fill up its last record.
fn tar(file: &Looked) -> End {
    const RECORD_BYTES: u64 = 10_240;
    if file.head.starts_with(b"\x1f\x8b") {
        return End::Unknown;
    }
    let is_whole = file.bytes.is_multiple_of(RECORD_BYTES)
        && file.tail.len() == TAIL_BYTES
        && file.tail.iter().all(|byte| *byte == 0);
    if is_whole { End::Whole } else { NO_END }
}

/// The names with this ending among the short texts of a pickle, which is not loaded.
pub(super) fn names_in_pickle<'a>(pickle: &'a [u8], ending: &[u8]) -> Vec<&'a [u8]> {
    const SHORT_TEXT: u8 = 0x8c;
    let texts = memchr::memchr_iter(SHORT_TEXT, pickle).filter_map(|at| {
        let length = usize::from(*pickle.get(at + 1)?);
        pickle.get(at + 2..at + 2 + length)
    });
    texts.filter(|text| text.ends_with(ending)).collect()
}

/// A pickle begins with its protocol and ends with a stop. It is not loaded: that would run what it says.
fn pickle(file: &Looked) -> End {
    let is_whole = file.head.starts_with(b"\x80") && file.tail.ends_with(b".");
    if is_whole { End::Whole } else { End::Cut("was not written to its end") }
}
