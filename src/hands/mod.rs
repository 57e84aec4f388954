//! The only place that starts programs and touches users' files.
//!
//! [`InProcess`] does both as this process: personal mode. Files in a run directory are written by the training too, so
//! nothing in them is trusted: symbolic links are not followed, pipes and devices not read, and every read has a limit.
//! Programs get exactly the environment they are given, never this process's; only ssh, which a command starts for its user,
//! gets that.

mod archive;
mod background;
mod build;
mod checkpoints;
mod claim;
mod clock;
mod code;
mod dataset;
mod in_process;
mod inbox;
mod point;
mod program;
mod regular;
mod removal;
mod retire;
mod run_dir;
mod secrets;
mod session;
mod ssh;
mod stored;
mod table;

pub use background::{LastWords, StartedDaemon, start_daemon};
pub use clock::SystemClock;
pub use code::from_run_dir;
pub use in_process::InProcess;
pub use session::{ScriptStart, start_script};
pub use ssh::{Ssh, has_terminal, start_ssh};
