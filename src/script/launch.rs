//! What starts the ranks of a run, on each target.

use crate::domain::resolved::Target;
use crate::domain::spec::Launcher;

/// Which of the launch templates starts the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    Slurm(Launcher),
    Local(Launcher),
}

impl Launch {
    pub(super) fn of(target: &Target, launcher: Launcher) -> Self {
        match target {
            Target::Slurm { .. } => Self::Slurm(launcher),
            Target::Local => Self::Local(launcher),
        }
    }

    fn launcher(self) -> Launcher {
        match self {
            Self::Slurm(launcher) | Self::Local(launcher) => launcher,
        }
    }

    pub(super) fn is_one_process(self) -> bool {
        self.launcher() == Launcher::None
    }

    /// The program that starts the ranks of its node, where there is one.
    pub(super) fn agent(self) -> Option<&'static str> {
        let launcher = self.launcher();
        let has_agent = launcher != Launcher::None && !launcher.has_task_per_rank();
        has_agent.then_some(launcher.as_str())
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
        self.launcher() == Launcher::Deepspeed
    }

    /// Whether the ranks are started by agents of `torch.distributed.run`, whose exit code is not that of a rank.
    pub(super) fn has_elastic_agents(self) -> bool {
        matches!(self.launcher(), Launcher::Torchrun | Launcher::Accelerate)
    }

    pub(super) fn is_mpi(self) -> bool {
        self.launcher() == Launcher::Mpi
    }

    pub(super) fn is_jax(self) -> bool {
        self.launcher() == Launcher::Jax
    }

    /// Whether srun starts each rank.
    pub(super) fn has_task_per_rank(self) -> bool {
        self.uses_srun() && self.launcher().has_task_per_rank()
    }

    /// Whether the lines of several ranks stand in one log and nothing tells them apart.
    pub(super) fn mixes_ranks(self) -> bool {
        !self.is_one_process() && !self.has_task_per_rank()
    }

    pub(super) fn uses_srun(self) -> bool {
        matches!(self, Self::Slurm(launcher) if launcher != Launcher::None)
    }
}
