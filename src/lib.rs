//! The training-run control plane of a Slurm cluster. docs/ARCHITECTURE.md is the map.
//!
//! Directions hold from top to bottom: `domain` ← `script` ← `ports` ← adapters (`hands`, `local`, `slurm`, `files`, `store`) ←
//! application (`daemon`, `web`, `cli`).

pub mod domain;
pub mod script;

pub mod fault;
pub mod ports;

pub mod files;
pub mod hands;
pub mod local;
pub mod slurm;
pub mod store;

pub mod api;
pub mod cli;
pub mod daemon;
pub mod web;

#[cfg(test)]
mod fuzz;

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = source.source();
    }
    told
}
