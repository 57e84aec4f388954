//! How the training goes on from its checkpoints.

use crate::domain::checkpoint::Format;
use crate::domain::problem::{At, Place};
use crate::domain::resolve::Resolver;
use crate::domain::resolved::Checkpoint;
use crate::domain::spec::Resume;
use crate::domain::word::{Piece, Placeholder, Word};

impl Resolver<'_> {
    pub(super) fn checkpoint(&mut self) -> Option<Checkpoint> {
        let asked = self.spec.checkpoint.as_ref()?;
        let resume = asked.resume.as_ref().map_or(Resume::Auto, |resume| resume.value);
        if let Some(args) = &asked.resume_args
            && resume == Resume::Never
        {
            self.at(
                args.place,
                "`checkpoint.resume_args` are never used: `checkpoint.resume` is `never`",
            );
        }
        let resume_args = asked.resume_args.iter().flat_map(|args| &args.value);
        Some(Checkpoint {
            // `auto` is the word of no format.
            format: asked.format.as_ref().and_then(|at| Format::from_word(at.value.as_str())),
            resume,
            resume_args: resume_args.filter_map(|word| self.resume_arg(word)).collect(),
        })
    }

    fn resume_arg(&mut self, word: &At<String>) -> Option<Word> {
        let parsed = self.parsed(&word.value, word.place)?;
        self.refers_to_data(&parsed, word.place).then_some(parsed)
    }

    /// Only arguments that are left out on a fresh start may name the checkpoint.
    pub(super) fn refers_to_no_checkpoint(&mut self, word: &Word, place: Place) -> bool {
        let is_named = word.0.contains(&Piece::Placeholder(Placeholder::ResumeFrom));
        if is_named {
            self.at(place, "`{resume_from}` can stand only in `checkpoint.resume_args`, which are left out on a fresh start");
        }
        !is_named
    }
}
