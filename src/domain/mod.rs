//! The pure core: values and the functions that decide. No input or output, no clock, no failure except as [`problem::Problem`]s.
//!
//! In reading order: what a person writes ([`spec`], [`site`], read by [`keys`] from a [`document`]), what it means
//! ([`resolve`] to [`resolved`]), what happens to a run ([`run`]), and what is shown of it ([`view`]).

pub mod admit;
pub mod batch_script;
pub mod document;
pub mod keys;
pub mod problem;
mod schema;
pub mod units;

pub mod site;
pub mod site_check;
pub mod spec;

pub mod code;
pub mod dataset;
pub mod environment;
pub mod hardware;
pub mod ids;
pub mod inbox;
pub mod inputs;
pub mod manifest;

pub mod quota;
pub mod rank_log;
pub mod request;
pub mod requirements;
pub mod resolve;
pub mod resolved;
pub mod run_files;
pub mod schedule;
pub mod secrets;
pub mod sweep;
pub mod text;
pub mod tree;
pub mod word;

pub mod bad_nodes;
pub mod build_job;
pub mod charge;
pub mod checkpoint;
pub mod diagnosis;
pub mod estimate;
pub mod ledger;
pub mod metrics;
pub mod run;
pub mod usage;
pub mod view;
pub mod waits;

pub mod gres;
pub mod nodelist;
pub mod number;
pub mod slurm_state;
pub mod tres;
