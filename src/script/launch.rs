//! What starts the ranks of a run, on each target.

use crate::domain::resolved::Target;
use crate::domain::spec::Launcher;

/// Which of the launch templates starts the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    None,
    SlurmSrun,
    SlurmTorchrun,
    SlurmAccelerate,
    SlurmDeepspeed,
    SlurmMpi,
    SlurmJax,
    LocalSrun,
    LocalTorchrun,
    LocalAccelerate,
    LocalDeepspeed,
    LocalMpi,
    LocalJax,
}

impl Launch {
    pub(super) fn of(target: &Target, launcher: Launcher) -> Self {
        match (target, launcher) {
            (_, Launcher::None) => Self::None,
            (Target::Slurm { .. }, Launcher::Srun) => Self::SlurmSrun,
            (Target::Slurm { .. }, Launcher::Torchrun) => Self::SlurmTorchrun,
            (Target::Slurm { .. }, Launcher::Accelerate) => Self::SlurmAccelerate,
            (Target::Slurm { .. }, Launcher::Deepspeed) => Self::SlurmDeepspeed,
            (Target::Slurm { .. }, Launcher::Mpi) => Self::SlurmMpi,
            (Target::Slurm { .. }, Launcher::Jax) => Self::SlurmJax,
            (Target::Local, Launcher::Srun) => Self::LocalSrun,
            (Target::Local, Launcher::Torchrun) => Self::LocalTorchrun,
            (Target::Local, Launcher::Accelerate) => Self::LocalAccelerate,
            (Target::Local, Launcher::Deepspeed) => Self::LocalDeepspeed,
            (Target::Local, Launcher::Mpi) => Self::LocalMpi,
            (Target::Local, Launcher::Jax) => Self::LocalJax,
        }
    }

    pub(super) fn is_one_process(self) -> bool {
        self == Self::None
    }

    /// The program that starts the ranks of its node, where there is one.
    pub(super) fn agent(self) -> Option<&'static str> {
        match self {
            Self::SlurmTorchrun | Self::LocalTorchrun => Some("torchrun"),
            Self::SlurmAccelerate | Self::LocalAccelerate => Some("accelerate"),
            Self::SlurmDeepspeed | Self::LocalDeepspeed => Some("deepspeed"),
            Self::None
            | Self::SlurmSrun
            | Self::SlurmMpi
            | Self::SlurmJax
            | Self::LocalSrun
            | Self::LocalMpi
            | Self::LocalJax => None,
        }
    }

    /// What such a program is told when the training is not Python's. `deepspeed` would put an option of its own
    /// between the first word of a command and the others.
    pub(super) fn no_python(self) -> Option<&'static str> {
        self.agent().map(|agent| match agent {
            "torchrun" => "--no-python",
            "accelerate" => "--no_python",
            _ => "--no_python --no_local_rank",
        })
    }

    pub(super) fn is_deepspeed(self) -> bool {
        self.agent() == Some("deepspeed")
    }

    pub(super) fn is_mpi(self) -> bool {
        matches!(self, Self::SlurmMpi | Self::LocalMpi)
    }

    pub(super) fn is_jax(self) -> bool {
        matches!(self, Self::SlurmJax | Self::LocalJax)
    }

    /// Whether srun starts each rank.
    pub(super) fn has_task_per_rank(self) -> bool {
        matches!(self, Self::SlurmSrun | Self::SlurmMpi | Self::SlurmJax)
    }

    pub(super) fn uses_srun(self) -> bool {
        self.has_task_per_rank()
            || matches!(self, Self::SlurmTorchrun | Self::SlurmAccelerate | Self::SlurmDeepspeed)
    }
}
