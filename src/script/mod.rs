//! The job script: readable bash that stands alone on a compute node. Pure: a [`Resolved`](crate::domain::resolved::Resolved)
//! spec in, text out.
//!
//! [`render()`] fills the templates under `templates/sbatch/`. The script is the same for every run of a spec; which run
//! it works for it reads from the job's name ([`crate::domain::ids::JobName`]), and what a point of a sweep is given from
//! the sweep's table ([`points`]). What it tells is in
//! [`crate::domain::inbox`]. Nothing reaches the text of a script except through the types of [`shell`] and
//! [`directive`].

mod build;
mod container;
pub mod directive;
mod launch;
pub mod points;
mod ports;
mod probe;
pub mod render;
mod requeue;
mod resume;
pub mod shell;
mod watchdog;

pub use build::render_build;
pub use probe::{Probe, render_probe};
pub use render::{LAUNCH_FAILED_EXIT, SUPERSEDED_EXIT, render, render_points};
