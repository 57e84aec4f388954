//! Which format a directory or a file is of.

use crate::domain::checkpoint::{Format, Kind, Listing, step_of};

/// The files that say which of their neighbours is complete: those of Megatron and of `DeepSpeed`.
pub const MEGATRON_POINTER: &[u8] = b"latest_checkpointed_iteration.txt";
pub const DEEPSPEED_POINTER: &[u8] = b"latest";
pub const POINTERS: &[&[u8]] = &[MEGATRON_POINTER, DEEPSPEED_POINTER];
/// Before the number in the names of those neighbours.
pub const MEGATRON_PREFIX: &[u8] = b"iter_";
pub const DEEPSPEED_PREFIX: &[u8] = b"global_step";
/// Behind the name of a `NeMo` checkpoint that is being written.
pub const UNFINISHED: &[u8] = b"-unfinished";
/// Behind the name of what is renamed when it is whole.
pub const TEMPORARY: &[u8] = b".tmp";

/// Before the name of one that is being removed. Names with a dot at their beginning are nobody's checkpoints, neither here
/// nor for the job's script.
pub const REMOVED: &str = ".trainyard-removed.";

/// How deep below the checkpoint directory checkpoints are looked for.
pub const DEPTH_MAX: u32 = 4;

/// Endings of files that can be checkpoints by themselves.
pub const FILES: &[&[u8]] = &[b".pt", b".pth", b".safetensors", b".npz", b".json"];
/// Names of single files that are written again and again.
pub const WITHOUT_STEP: &[&str] = &["last", "latest", "best", "checkpoint", "model"];
/// Endings of files that hold weights: an empty one is none.
pub const WEIGHTS: &[&[u8]] =
    &[b".pt", b".pth", b".bin", b".ckpt", b".safetensors", b".distcp", b".npz"];

/// Whether a file holds weights, by its name.
pub fn is_weights(name: &[u8]) -> bool {
    WEIGHTS.iter().any(|ending| name.ends_with(ending))
}

/// What a directory is, by its name, what is in it, and what lies beside it: of the formats that are looked for, all unless
/// one is named. None where it is no checkpoint: it may hold some.
pub fn recognise(
    wanted: Option<Format>,
    name: &[u8],
    inside: &Listing,
    beside: &Listing,
) -> Option<Format> {
    /// The first that it can be is what it is.
    const DIRECTORIES: &[Format] = &[
        Format::Megatron,
        Format::Huggingface,
        Format::Deepspeed,
        Format::Nemo,
        Format::Lightning,
        Format::Dcp,
    ];
    let has_ending = |ending: &[u8]| inside.files().any(|file| file.ends_with(ending));
    let is_distributed = || inside.has_file(b".metadata") || has_ending(b".distcp");
    let has = |name: &[u8]| inside.kind(name) == Some(Kind::Directory);
    let is = |format: Format| match format {
        Format::Megatron => is_numbered(name, MEGATRON_PREFIX) || is_release(name, beside),
        // The directory of a whole training ends with the same file.
        Format::Huggingface => {
            is_trainers(name)
                || (inside.has_file(b"trainer_state.json")
                    && !inside.directories().any(is_trainers))
        }
        Format::Deepspeed => {
            is_numbered(name, DEEPSPEED_PREFIX)
                || has_ending(b"_model_states.pt")
                || has_ending(b"_optim_states.pt")
        }
        Format::Nemo => {
            beside.kind(&[name, UNFINISHED].concat()).is_some()
                || (has(b"weights") && has(b"context"))
        }
        Format::Lightning => {
            name.ends_with(b".ckpt") && (is_distributed() || inside.has_file(b"meta.pt"))
        }
        Format::Dcp => is_distributed(),
        Format::File => false,
    };
    let mut formats = DIRECTORIES.iter().copied();
    formats.find(|format| wanted.is_none_or(|wanted| wanted == *format) && is(*format))
}

/// As [`recognise`], of a file in a directory which is no checkpoint. As a single file any may be looked for.
pub fn recognise_file(
    wanted: Option<Format>,
    name: &[u8],
    beside: &Listing,
    is_at_root: bool,
) -> Option<Format> {
    let format = format_of_file(name, beside, is_at_root)?;
    match wanted {
        Some(Format::File) => Some(Format::File),
        Some(wanted) => (wanted == format).then_some(format),
        None => Some(format),
    }
}

/// Deeper than the checkpoint directory itself only a name with a step counts: a model and its optimizer may lie beside each
/// other there, and neither is a checkpoint.
fn format_of_file(name: &[u8], beside: &Listing, is_at_root: bool) -> Option<Format> {
    let name = without_temporary(name);
    if beside.has_file(b"trainer_state.json") || name.starts_with(b".") || is_shard(name) {
        return None;
    }
    if name.ends_with(b".ckpt") {
        return Some(Format::Lightning);
    }
    if name.ends_with(b".nemo") {
        return Some(Format::Nemo);
    }
    let ending = FILES.iter().find(|ending| name.ends_with(ending))?;
    let stem = name.strip_suffix(*ending).unwrap_or(name);
    // What is JSON may be a config.
    let is_json = *ending == b".json";
    let is_known = || WITHOUT_STEP.iter().any(|known| stem == known.as_bytes());
    let is_one = step_of(name).is_some() || (is_at_root && !is_json && is_known());
    is_one.then_some(Format::File)
}

/// A name without what says that it will be renamed.
pub fn without_temporary(name: &[u8]) -> &[u8] {
    name.strip_suffix(TEMPORARY).unwrap_or(name)
}

pub(super) fn is_numbered(name: &[u8], prefix: &[u8]) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

/// `checkpoint-N`, and `tmp-checkpoint-N`, which is renamed.
fn is_trainers(name: &[u8]) -> bool {
    is_numbered(name.strip_prefix(b"tmp-").unwrap_or(name), b"checkpoint-")
}

fn is_release(name: &[u8], beside: &Listing) -> bool {
    name == b"release" && beside.has_file(MEGATRON_POINTER)
}

/// `model-00001-of-00004.safetensors`: a part of something.
pub(super) fn is_shard(name: &[u8]) -> bool {
    name.windows(4).any(|window| window == b"-of-")
}
