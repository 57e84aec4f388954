//! How the training goes on from its checkpoints, and which of them are kept.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};

use crate::domain::checkpoint::{Format, KeepBest, Retention};
use crate::domain::problem::{At, Place, Problem};
use crate::domain::resolve::{Expectation, Expected, PATH_BYTES_MAX, Resolver};
use crate::domain::resolved::Checkpoint;
use crate::domain::spec::{self, Resume};
use crate::domain::word::{Piece, Placeholder, Word};

impl Resolver<'_> {
    pub(super) fn checkpoint(&mut self, run_root: Option<&Path>) -> Option<Checkpoint> {
        let asked = self.spec.checkpoint.as_ref()?;
        let retention = self.retention(asked, run_root);
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
            every_steps: asked.every_steps.as_ref().map(|every| every.value),
            retention,
        })
    }

    fn retention(
        &mut self,
        asked: &spec::Checkpoint,
        run_root: Option<&Path>,
    ) -> Option<Retention> {
        let best = asked.keep_best.as_ref();
        let archive = asked.archive.as_ref();
        let keep_best = best.and_then(|best| self.keep_best(best));
        let archive_path = archive.and_then(|archive| self.archive(archive, run_root));
        let Some(keep_last) = &asked.keep_last else {
            let every =
                asked.keep_every_steps.as_ref().map(|every| ("keep_every_steps", every.place));
            let best = best.map(|best| ("keep_best", best.place));
            let archive = archive.map(|archive| ("archive", archive.place));
            for (key, place) in [every, best, archive].into_iter().flatten() {
                let message = format!(
                    "`checkpoint.{key}` needs `checkpoint.keep_last`: without it all checkpoints are kept"
                );
                let help = "say how many of the newest are kept in any case: `keep_last = 3`";
                self.problems.push(Problem::at(place, message).help(help));
            }
            return None;
        };
        Some(Retention {
            keep_last: keep_last.value,
            keep_every_steps: asked.keep_every_steps.as_ref().map(|every| every.value),
            keep_best,
            archive: archive_path,
        })
    }

    fn keep_best(&mut self, asked: &At<spec::KeepBest>) -> Option<KeepBest> {
        let spec::KeepBest { metric, goal, count } = &asked.value;
        if metric.is_none() {
            self.at(asked.place, "`checkpoint.keep_best` needs a `metric`: the best by what?");
        }
        if goal.is_none() {
            let message = "`checkpoint.keep_best` needs a `goal`: `minimize` or `maximize`";
            self.at(asked.place, message);
        }
        let (metric, goal) = (metric.as_ref()?, goal.as_ref()?);
        if metric.value.is_empty() || metric.value.chars().any(char::is_control) {
            self.at(metric.place, "`checkpoint.keep_best.metric` is no name of a metric");
        }
        Some(KeepBest {
            metric: metric.value.clone(),
            goal: goal.value,
            count: count.as_ref().map_or(NonZeroU32::MIN, |count| count.value),
        })
    }

    /// Where checkpoints are moved to that are not kept. They would be found again where they are looked for, and lost with
    /// the run's directory.
    fn archive(&mut self, asked: &At<String>, run_root: Option<&Path>) -> Option<PathBuf> {
        let path = Path::new(&asked.value);
        let is_plain = path.components().all(|part| part != Component::ParentDir)
            && asked.value.len() <= PATH_BYTES_MAX
            && !asked.value.chars().any(char::is_control);
        if !path.is_absolute() || !is_plain {
            let message = format!("`{}` is no absolute path of a directory", asked.value);
            self.at(asked.place, message);
            return None;
        }
        let directory = self.spec.checkpoint.as_ref().and_then(|it| it.directory.as_ref());
        let directory = directory.map(|directory| Path::new(&directory.value));
        if directory.is_some_and(|own| own.is_absolute() && path.starts_with(own)) {
            self.at(asked.place, "the archive lies inside the checkpoint directory");
            return None;
        }
        if run_root.is_some_and(|root| path.starts_with(root)) {
            let message = "the archive lies where run directories are made, and would go with them";
            self.at(asked.place, message);
            return None;
        }
        let what = Expected::Archive;
        let place = Some(asked.place);
        self.expectations.push(Expectation { place, what, path: path.to_owned() });
        Some(path.to_owned())
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
