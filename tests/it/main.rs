//! The integration tests: one binary, the real program, a sealed world each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod batch_scripts;
mod cli;
mod documents;
mod env;
mod environments;
mod faults;
mod hostile;
mod local;
mod remote;
mod script;
mod sim;
mod slurm;
mod stories;
mod tidy;
