//! `[checkpoint]`: where checkpoints are, and how a training goes on from them.

use crate::domain::keys::{choice, keys};
use crate::domain::problem::At;

keys! {
    /// Where checkpoints are, and how the training goes on from them: `TRAINYARD_RESUME_FROM` names the newest complete one.
    pub struct Checkpoint {
        /// Relative to the run directory, or absolute. Default: `checkpoints`.
        directory: At<String>,
        /// Who writes them. Default: `auto`.
        format: At<CheckpointFormat>,
        /// Whether an attempt goes on from the newest complete one. Default: `auto`.
        resume: At<Resume>,
        /// More arguments of the training, for an attempt that goes on from a checkpoint; `{resume_from}` is its path.
        resume_args: At<Vec<At<String>>>,
    }
    later { "every_steps", "keep_last" }
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
