//! What the script knows of checkpoints: the words and limits of the catalogue's own rules, so that both judge alike.

use std::fmt;

use crate::domain::checkpoint::{BRANCH_FILE, Format, ends, layout, step};
use crate::domain::resolved;
use crate::domain::spec;
use crate::script::shell::ShellText;

/// How the script looks for the checkpoint to go on from.
pub(super) struct Resume<'a> {
    format: Option<Format>,
    pub(super) is_required: bool,
    pub(super) args: Vec<ShellText<'a>>,
    /// Directories that are listed.
    pub(super) lists_max: u32,
    /// Checkpoints that are judged.
    pub(super) judged_max: u32,
    /// Files that are looked at beside what each checkpoint is judged by.
    pub(super) files_max: u32,
    /// Names of one directory.
    pub(super) names_max: u32,
    pub(super) depth_max: u32,
    pub(super) text_bytes_max: usize,
    pub(super) index_bytes_max: usize,
    pub(super) metadata_bytes_max: usize,
    pub(super) header_bytes_max: usize,
    pub(super) branch_file: &'static str,
    pub(super) temporary: Text,
    pub(super) unfinished: Text,
    pub(super) megatron_pointer: Text,
    pub(super) megatron_prefix: Text,
    pub(super) deepspeed_pointer: Text,
    pub(super) deepspeed_prefix: Text,
    pub(super) weights: Patterns,
    pub(super) files: Patterns,
    pub(super) without_step: Words,
    pub(super) step_words: Words,
    pub(super) other_words: Words,
    pub(super) endings: String,
}

impl<'a> Resume<'a> {
    /// None where each attempt starts anew.
    pub(super) fn of(checkpoint: &'a resolved::Checkpoint) -> Option<Self> {
        let is_required = match checkpoint.resume {
            spec::Resume::Never => return None,
            spec::Resume::Auto => false,
            spec::Resume::Require => true,
        };
        Some(Self {
            format: checkpoint.format,
            is_required,
            args: checkpoint.resume_args.iter().map(ShellText).collect(),
            lists_max: 200,
            judged_max: 32,
            files_max: 600,
            names_max: 100_000,
            depth_max: layout::DEPTH_MAX,
            text_bytes_max: ends::TEXT_BYTES_MAX,
            index_bytes_max: ends::INDEX_BYTES_MAX,
            metadata_bytes_max: ends::METADATA_BYTES_MAX,
            header_bytes_max: ends::HEADER_BYTES_MAX,
            branch_file: BRANCH_FILE,
            temporary: Text(layout::TEMPORARY),
            unfinished: Text(layout::UNFINISHED),
            megatron_pointer: Text(layout::MEGATRON_POINTER),
            megatron_prefix: Text(layout::MEGATRON_PREFIX),
            deepspeed_pointer: Text(layout::DEEPSPEED_POINTER),
            deepspeed_prefix: Text(layout::DEEPSPEED_PREFIX),
            weights: Patterns(layout::WEIGHTS),
            files: Patterns(layout::FILES),
            without_step: Words(layout::WITHOUT_STEP),
            step_words: Words(step::STEP_WORDS),
            other_words: Words(step::OTHER_WORDS),
            endings: step::ENDINGS.join(" "),
        })
    }

    /// Whether checkpoints of this format are looked for.
    pub(super) fn seeks(&self, word: &str) -> bool {
        self.format.is_none_or(|format| format.as_str() == word)
    }
}

/// Letters, digits, `.`, `_` and `-` of our own.
pub(super) struct Text(&'static [u8]);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

/// What a `case` of bash tells by its ending.
pub(super) struct Patterns(&'static [&'static [u8]]);

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<String> = self.0.iter().map(|it| format!("*{}", Text(it))).collect();
        f.write_str(&patterns.join(" | "))
    }
}

/// Words for a `case` of bash.
pub(super) struct Words(&'static [&'static str]);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" | "))
    }
}
