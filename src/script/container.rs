//! The container that a training runs in, for the script.

use crate::domain::resolved::{self, Gpus, Resolved};
use crate::domain::site::ContainerRuntime;
use crate::script::shell::ShellWord;

/// The container that the training runs in.
pub(super) struct Container<'a> {
    pub(super) runtime: &'static str,
    pub(super) is_pyxis: bool,
    pub(super) is_charliecloud: bool,
    /// Whether the image is a path, and not an address.
    pub(super) is_path: bool,
    pub(super) image: ShellWord<'a>,
    pub(super) args: Vec<ShellWord<'a>>,
    /// As they are, and with both sides.
    pub(super) binds: Vec<ShellWord<'a>>,
    pub(super) gpu_flag: Option<&'static str>,
}

impl<'a> Container<'a> {
    pub(super) fn new(container: &'a resolved::Container, resolved: &Resolved) -> Self {
        let gpu_flag = match container.gpus {
            _ if resolved.compute.gpus_per_node == 0 => None,
            Gpus::Nvidia => Some("--nv"),
            Gpus::Amd => Some("--rocm"),
        };
        Self {
            runtime: match container.runtime {
                ContainerRuntime::Charliecloud => "ch-run",
                ContainerRuntime::Apptainer
                | ContainerRuntime::Singularity
                | ContainerRuntime::Pyxis => container.runtime.as_str(),
            },
            is_pyxis: is_pyxis(container),
            is_charliecloud: container.runtime == ContainerRuntime::Charliecloud,
            is_path: !container.image.contains("://"),
            image: ShellWord(&container.image),
            args: container.args.iter().map(|text| ShellWord(text)).collect(),
            binds: container.binds.iter().map(|text| ShellWord(text)).collect(),
            gpu_flag,
        }
    }
}

pub(super) fn is_pyxis(container: &resolved::Container) -> bool {
    container.runtime == ContainerRuntime::Pyxis
}
