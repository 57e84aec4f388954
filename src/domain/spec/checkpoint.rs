//! `[checkpoint]`: where checkpoints are, how a training goes on from them, and which are kept.

use std::num::NonZeroU32;

use crate::domain::checkpoint::Goal;
use crate::domain::keys::{choice, keys};
use crate::domain::problem::At;

keys! {
    /// Where checkpoints are, how the training goes on from them (`TRAINYARD_RESUME_FROM` names the newest complete one), and
    /// which of them are kept.
    pub struct Checkpoint {
        /// Relative to the run directory, or absolute. Default: `checkpoints`.
        directory: At<String>,
        /// Who writes them. Default: `auto`.
        format: At<CheckpointFormat>,
        /// Whether an attempt goes on from the newest complete one. Default: `auto`.
        resume: At<Resume>,
        /// More arguments of the training, for an attempt that goes on from a checkpoint; `{resume_from}` is its path.
        resume_args: At<Vec<At<String>>>,
        /// How often the training saves, in steps. It is recorded and given to the training as
        /// `TRAINYARD_CHECKPOINT_EVERY_STEPS`; nothing is saved or removed by it.
        every_steps: At<NonZeroU32>,
        /// How many of the newest complete checkpoints are kept; the older ones are removed. Default: all are kept.
        keep_last: At<NonZeroU32>,
        /// Beside `keep_last`: those whose step is a multiple of this are kept, too.
        keep_every_steps: At<NonZeroU32>,
        /// Beside `keep_last`: the best are kept, too.
        keep_best: At<KeepBest>,
        /// Beside `keep_last`: a directory, absolute, that what is not kept is moved to instead of being deleted. It has to
        /// be there.
        archive: At<String>,
    }
    later {}
}

keys! {
    /// Which checkpoints are the best: by what was reported at their step.
    pub struct KeepBest {
        /// The metric's name.
        metric: At<String>,
        /// Whether less or more of it is better.
        goal: At<Goal>,
        /// How many of them are kept. Default: 1.
        count: At<NonZeroU32>,
    }
    later {}
}

choice! {
    /// Who writes the checkpoints.
    pub enum CheckpointFormat {
        /// Told from the names and what is in them.
        Auto = "auto",
        /// `torch.distributed.checkpoint`.
        Dcp = "dcp",
        /// The Hugging Face Trainer.
        Huggingface = "huggingface",
        Deepspeed = "deepspeed",
        /// Megatron-LM.
        Megatron = "megatron",
        Lightning = "lightning",
        Nemo = "nemo",
        /// Each is one file.
        File = "file",
    }
    later {}
}

choice! {
    /// Whether an attempt goes on from a checkpoint.
    pub enum Resume {
        /// From the newest complete one, if there is one.
        Auto = "auto",
        /// Each attempt starts anew.
        Never = "never",
        /// Once the training has begun, it is not begun anew: an attempt without a complete checkpoint fails.
        Require = "require",
    }
    later {}
}
